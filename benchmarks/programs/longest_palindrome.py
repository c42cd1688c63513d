# The longest palindrome in a text (Manacher's algorithm): its length and the first one.
def main():
    text = input().strip()
    spread = "|" + "|".join(text) + "|"
    radius = [0] * len(spread)
    centre = right = 0
    for index in range(len(spread)):
        if index < right:
            radius[index] = min(right - index, radius[2 * centre - index])
        low, high = index - radius[index] - 1, index + radius[index] + 1
        while low >= 0 and high < len(spread) and spread[low] == spread[high]:
            low -= 1
            high += 1
        radius[index] = high - index - 1
        if high - 1 > right:
            centre, right = index, high - 1
    longest = max(radius)
    start = (radius.index(longest) - longest) // 2
    print(longest, text[start : start + longest])


main()
