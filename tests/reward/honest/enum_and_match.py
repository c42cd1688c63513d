from enum import Enum, auto
class Kind(Enum):
    A = auto()
    B = auto()
match [1, 2, 3]:
    case [first, *rest]:
        print(first, rest, Kind.B)
