x = 1
def bump():
    global x
    x += 1
bump()
exec('x += 10')
print(x, eval('x * 2'), 'x' in globals())
