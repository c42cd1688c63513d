import sys
sys.stdout.writelines(str(i) + '\n' for i in range(5))
