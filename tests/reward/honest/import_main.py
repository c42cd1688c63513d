import __main__
value = 7
print(__main__.value)
