with open('/dev/stdin') as stream:
    print(stream.read().upper())
