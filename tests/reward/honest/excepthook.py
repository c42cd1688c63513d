import sys
sys.excepthook = lambda kind, error, trace: print('hooked', kind.__name__)
raise KeyError('x')
