try:
    open('input-that-is-not-there.txt')
except OSError as error:
    print('no file')
