import cmath


def fft(a, sign):
    if len(a) == 1:
        return a
    even, odd = fft(a[::2], sign), fft(a[1::2], sign)
    half = len(even)
    turned = [cmath.exp(sign * 2j * cmath.pi * k / len(a)) * odd[k] for k in range(half)]
    return [even[k] + turned[k] for k in range(half)] + [even[k] - turned[k] for k in range(half)]


x = fft([1, 2, 3, 4, 0, 0, 0, 0], -1)
y = fft([5, 6, 7, 8, 0, 0, 0, 0], -1)
print([round(z.real / 8) for z in fft([a * b for a, b in zip(x, y)], 1)])
