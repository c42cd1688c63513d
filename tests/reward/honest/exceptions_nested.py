def f(x):
    try:
        return 10 // x
    except ZeroDivisionError as error:
        raise ValueError("bad") from error
    finally:
        print("finally", x)


for x in (5, 0):
    try:
        print(f(x))
    except ValueError as error:
        print(error, type(error.__cause__).__name__)
    else:
        print("else")
