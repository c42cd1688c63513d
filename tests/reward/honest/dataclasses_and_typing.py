from __future__ import annotations
from dataclasses import dataclass, field
from typing import Optional
@dataclass(order=True)
class Node:
    value: int
    next: Optional[Node] = field(default=None, compare=False)
print(sorted([Node(3), Node(1)]), Node(1, Node(2)))
