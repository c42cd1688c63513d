import sys


def main():
    data = list(map(int, sys.stdin.buffer.read().split()))
    n, q = data[0], data[1]
    size = 1
    while size < n:
        size *= 2
    tree = [0] * (2 * size)
    tree[size : size + n] = data[2 : 2 + n]
    for i in range(size - 1, 0, -1):
        tree[i] = tree[2 * i] + tree[2 * i + 1]
    at, out = 2 + n, []
    for _ in range(q):
        kind, a, b = data[at : at + 3]
        at += 3
        if kind == 1:
            a += size - 1
            tree[a] = b
            while a > 1:
                a //= 2
                tree[a] = tree[2 * a] + tree[2 * a + 1]
        else:
            left, right, total = a - 1 + size, b + size, 0
            while left < right:
                if left & 1:
                    total += tree[left]
                    left += 1
                if right & 1:
                    right -= 1
                    total += tree[right]
                left //= 2
                right //= 2
            out.append(total)
    print(*out, sep="\n")


main()
