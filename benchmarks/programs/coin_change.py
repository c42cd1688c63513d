# Fewest coins for an amount, and the number of ways to pay it modulo 10^9 + 7.
def main():
    amount = int(input())
    coins = list(map(int, input().split()))
    fewest = [0] + [amount + 1] * amount
    ways = [1] + [0] * amount
    for coin in coins:
        for total in range(coin, amount + 1):
            fewest[total] = min(fewest[total], fewest[total - coin] + 1)
            ways[total] = (ways[total] + ways[total - coin]) % 1000000007
    print(fewest[amount] if fewest[amount] <= amount else -1, ways[amount])


main()
