import sys

out = []
for i in range(50_000):
    out.append(str(i * i % 1009))
sys.stdout.write("\n".join(out))
sys.stdout.write("\n")
