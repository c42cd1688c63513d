# Point updates and range minima: "1 i v" sets, "2 l r" asks for the minimum of positions l to r.
import sys


class SegmentTree:
    def __init__(self, values):
        self.size = len(values)
        self.tree = [0] * self.size + values
        for node in range(self.size - 1, 0, -1):
            self.tree[node] = min(self.tree[2 * node], self.tree[2 * node + 1])

    def set(self, index, value):
        node = index + self.size
        self.tree[node] = value
        while node > 1:
            node //= 2
            self.tree[node] = min(self.tree[2 * node], self.tree[2 * node + 1])

    def minimum(self, left, right):
        best = 10**18
        left += self.size
        right += self.size + 1
        while left < right:
            if left & 1:
                best = min(best, self.tree[left])
                left += 1
            if right & 1:
                right -= 1
                best = min(best, self.tree[right])
            left //= 2
            right //= 2
        return best


data = sys.stdin.buffer.read().split()
count, queries = int(data[0]), int(data[1])
tree = SegmentTree(list(map(int, data[2 : 2 + count])))
answers = []
for query in range(queries):
    kind, first, second = map(int, data[2 + count + 3 * query : 5 + count + 3 * query])
    if kind == 1:
        tree.set(first - 1, second)
    else:
        answers.append(tree.minimum(first - 1, second - 1))
print("\n".join(map(str, answers)))
