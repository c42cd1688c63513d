import sys
print('partial')
sys.exit('something went wrong')
