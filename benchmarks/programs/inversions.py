# The number of inversions of a permutation, with a Fenwick tree.
def main():
    n = int(input())
    permutation = list(map(int, input().split()))
    tree = [0] * (n + 1)
    count = 0
    for seen, value in enumerate(permutation):
        at = value
        smaller = 0
        while at:
            smaller += tree[at]
            at -= at & -at
        count += seen - smaller
        at = value
        while at <= n:
            tree[at] += 1
            at += at & -at
    print(count)


if __name__ == "__main__":
    main()
