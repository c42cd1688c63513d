import io, sys
sys.stdout = buffer = io.StringIO()
print('held')
sys.stdout = sys.__stdout__
print(buffer.getvalue().upper())
