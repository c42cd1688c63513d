import sys


def main(argv):
    n = int(sys.stdin.readline())
    print(n * n, len(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
