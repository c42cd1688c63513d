import sys
import numpy as np
print(np.loadtxt(sys.stdin).mean(), np.random.default_rng(1).integers(10))
