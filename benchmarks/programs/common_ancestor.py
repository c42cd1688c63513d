# Lowest common ancestors in a rooted tree, by binary lifting.
import sys


def main():
    data = list(map(int, sys.stdin.read().split()))
    nodes, questions = data[0], data[1]
    parents = [0, 1] + data[2 : nodes + 1]
    depth = [0] * (nodes + 1)
    for node in range(2, nodes + 1):
        depth[node] = depth[parents[node]] + 1
    up = [parents]
    while 1 << len(up) < nodes:
        last = up[-1]
        up.append([last[last[node]] for node in range(nodes + 1)])
    out = []
    at = nodes + 1
    for _ in range(questions):
        a, b = data[at], data[at + 1]
        at += 2
        if depth[a] < depth[b]:
            a, b = b, a
        for level in range(len(up)):
            if depth[a] - depth[b] >> level & 1:
                a = up[level][a]
        if a != b:
            for jump in reversed(up):
                if jump[a] != jump[b]:
                    a, b = jump[a], jump[b]
            a = parents[a]
        out.append(str(a))
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
