import contextlib, io
buffer = io.StringIO()
with contextlib.redirect_stdout(buffer):
    print('inside')
print(buffer.getvalue().strip().upper())
