with open('/dev/stdout', 'w') as out:
    out.write('device\n')
