from statistics import mean, median, mode, pstdev

values = [2, 4, 4, 4, 5, 5, 7, 9]
print(mean(values), median(values), mode(values), pstdev(values))
