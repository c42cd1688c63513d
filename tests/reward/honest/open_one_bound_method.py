import os
write = os.fdopen(1, 'w').write
write('42\n')
