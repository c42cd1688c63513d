def cross(o, a, b):
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])


points = sorted({(i * 7919 % 1009, i * 104729 % 997) for i in range(500)})


def half(points):
    hull = []
    for p in points:
        while len(hull) > 1 and cross(hull[-2], hull[-1], p) <= 0:
            hull.pop()
        hull.append(p)
    return hull


hull = half(points)[:-1] + half(points[::-1])[:-1]
area = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(hull, hull[1:] + hull[:1]))
print(len(hull), area)
