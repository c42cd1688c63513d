from abc import ABC, abstractmethod


class Shape(ABC):
    def __init__(self, name):
        self.name = name

    @property
    @abstractmethod
    def area(self): ...

    def __str__(self):
        return f"{self.name}: {self.area}"


class Square(Shape):
    def __init__(self, side):
        super().__init__("square")
        self.side = side

    @property
    def area(self):
        return self.side**2


print(Square(4))
try:
    Shape("x")
except TypeError as error:
    print(type(error).__name__)
