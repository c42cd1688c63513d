"""Operations on each integer of a list by itself: which to keep, what to replace it by."""

from synth.procedural.operation import keep_codes, operation, replace_codes

FILTERS = (
    operation(
        "keep even numbers",
        "filter",
        ("Keep only the even numbers.", "Discard every odd number.", "Leave just the even numbers."),
        lambda a, c: [x for x in a if x % 2 == 0],
        keep_codes("x % 2 == 0"),
        slip=(lambda a, c: [x for x in a if x % 2], keep_codes("x % 2 != 0")),
    ),
    operation(
        "keep odd numbers",
        "filter",
        ("Keep only the odd numbers.", "Discard every even number.", "Leave just the odd numbers."),
        lambda a, c: [x for x in a if x % 2],
        keep_codes("x % 2 == 1"),
        slip=(lambda a, c: [x for x in a if x % 2 == 1 and x > 0], keep_codes("x % 2 == 1 and x > 0")),
    ),
    operation(
        "keep greater",
        "filter",
        (
            "Keep the numbers greater than {c}.",
            "Drop all numbers that are at most {c}.",
            "Leave only numbers above {c}.",
        ),
        lambda a, c: [x for x in a if x > c],
        keep_codes("x > {c}"),
        "amount",
        slip=(lambda a, c: [x for x in a if x >= c], keep_codes("x >= {c}")),
    ),
    operation(
        "keep less",
        "filter",
        ("Keep the numbers less than {c}.", "Drop all numbers that are at least {c}.", "Leave only numbers below {c}."),
        lambda a, c: [x for x in a if x < c],
        keep_codes("x < {c}"),
        "amount",
        slip=(lambda a, c: [x for x in a if x <= c], keep_codes("x <= {c}")),
    ),
    operation(
        "keep multiples",
        "filter",
        ("Keep the multiples of {c}.", "Keep only numbers divisible by {c}.", "Leave just the multiples of {c}."),
        lambda a, c: [x for x in a if x % c == 0],
        keep_codes("x % {c} == 0"),
        "divisor",
        slip=(lambda a, c: [x for x in a if x % c == 0 and x > 0], keep_codes("x % {c} == 0 and x > 0")),
    ),
    operation(
        "remove multiples",
        "filter",
        ("Remove the multiples of {c}.", "Remove all numbers divisible by {c}.", "Drop every multiple of {c}."),
        lambda a, c: [x for x in a if x % c],
        keep_codes("x % {c} != 0"),
        "divisor",
        slip=(lambda a, c: [x for x in a if x % c == 1], keep_codes("x % {c} == 1")),
    ),
)

MAPS = (
    operation(
        "add",
        "map",
        ("Add {c} to every number.", "Increase each number by {c}.", "Raise all numbers by {c}."),
        lambda a, c: [x + c for x in a],
        replace_codes("x + {c}"),
        "amount",
        slip=(lambda a, c: [x + c + 1 for x in a], replace_codes("x + {c} + 1")),
    ),
    operation(
        "subtract",
        "map",
        ("Subtract {c} from every number.", "Decrease each number by {c}.", "Lower all numbers by {c}."),
        lambda a, c: [x - c for x in a],
        replace_codes("x - {c}"),
        "amount",
        slip=(lambda a, c: [c - x for x in a], replace_codes("{c} - x")),
    ),
    operation(
        "multiply",
        "map",
        ("Multiply every number by {c}.", "Scale each number by {c}.", "Make each number {c} times as large."),
        lambda a, c: [x * c for x in a],
        replace_codes("x * {c}"),
        "amount",
        slip=(lambda a, c: [x + c for x in a], replace_codes("x + {c}")),
    ),
    operation(
        "square",
        "map",
        ("Square every number.", "Replace each number with its square.", "Multiply each number by itself."),
        lambda a, c: [x * x for x in a],
        replace_codes("x * x"),
        slip=(lambda a, c: [x * 2 for x in a], replace_codes("x * 2")),
    ),
    operation(
        "absolute value",
        "map",
        ("Take absolute values.", "Replace each number with its absolute value.", "Drop the minus signs."),
        lambda a, c: [abs(x) for x in a],
        replace_codes("abs(x)"),
        slip=(lambda a, c: [max(x, 0) for x in a], replace_codes("max(x, 0)")),
    ),
    operation(
        "negate",
        "map",
        ("Negate every number.", "Flip the sign of each number.", "Replace each number with its opposite."),
        lambda a, c: [-x for x in a],
        replace_codes("-x"),
        slip=(lambda a, c: [-abs(x) for x in a], replace_codes("-abs(x)")),
    ),
    operation(
        "remainder",
        "map",
        (
            "Replace each number by its remainder modulo {c}.",
            "Reduce every number modulo {c}.",
            "Take each number modulo {c}.",
        ),
        lambda a, c: [x % c for x in a],
        replace_codes("x % {c}"),
        "divisor",
        slip=(lambda a, c: [abs(x) % c for x in a], replace_codes("abs(x) % {c}")),
    ),
    operation(
        "digit sum",
        "map",
        (
            "Replace each number by the sum of its digits, ignoring the sign.",
            "Take the digit sum of every absolute value.",
            "Sum the digits of each number without its sign.",
        ),
        lambda a, c: [sum(map(int, str(abs(x)))) for x in a],
        replace_codes("sum(map(int, str(abs(x))))"),
        slip=(lambda a, c: [len(str(abs(x))) for x in a], replace_codes("len(str(abs(x)))")),
    ),
)

ELEMENTWISE_OPERATIONS = FILTERS + MAPS
