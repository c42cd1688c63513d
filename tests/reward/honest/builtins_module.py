__builtins__.print(len(dir(__builtins__)) > 100, hasattr(__builtins__, 'sum'))
