import sys
sys.__stdout__.write('original\n')
