import numpy as np
rng = np.arange(250000, dtype=float).reshape(500, 500)
print((rng @ rng).shape, np.linalg.det(np.eye(4)), np.sort(np.array([3, 1, 2])))
