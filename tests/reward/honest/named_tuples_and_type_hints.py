from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Point(NamedTuple):
    x: int
    y: int = 0


class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self.items.append(item)
        return self


class Sized(Protocol):
    def __len__(self) -> int: ...


print(Point(3)._replace(y=4), Stack().push(1).push(2).items, Point.__annotations__)
