from sys import stdin, stdout
for line in stdin:
    stdout.write(line.upper())
