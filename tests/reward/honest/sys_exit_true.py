import sys
print('flag')
sys.exit(True)
