class Solution:
    def __init__(self, n):
        self.n = n
print(Solution(int(input())).n)
