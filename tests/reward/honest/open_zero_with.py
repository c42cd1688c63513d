with open(0) as stream:
    for line in stream:
        print(line.strip()[::-1])
