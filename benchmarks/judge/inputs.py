"""Inputs of the realistic programs in `benchmarks/programs/`: one generator per program, seeded, of a given size.

`FULL_SIZE` says how large the largest input of each program is; it was chosen so that bare python needs between about
1 and 200 ms of CPU time for it, evenly spread on a logarithmic scale over the programs.
"""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

PROGRAMS = Path(__file__).parents[1] / "programs"
SHARES_OF_FULL_SIZE = (0.1, 0.3, 0.6, 1.0, 1.0)
"""The sizes of a program's tests."""


def inputs_of(name: str) -> list[str]:
    """The inputs of a program, the same ones each time."""
    make, full_size = GENERATORS[name]
    drawn = random.Random(name)
    return [make(drawn, max(4, round(full_size * share))) for share in SHARES_OF_FULL_SIZE]


def lines(*rows: Iterable[object] | str) -> str:
    """A text of one line per row; rows that are not text are written with blanks between their values."""
    return "".join((row if isinstance(row, str) else " ".join(map(str, row))) + "\n" for row in rows)


def numbers(drawn: random.Random, count: int, least: int, most: int) -> list[int]:
    return [drawn.randint(least, most) for _ in range(count)]


def word(drawn: random.Random, length: int, letters: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    return "".join(drawn.choices(letters, k=length))


def grid(drawn: random.Random, size: int, mark: str, share: float) -> list[str]:
    """Rows of dots with a share of marks."""
    return ["".join(mark if drawn.random() < share else "." for _ in range(size)) for _ in range(size)]


def edges(drawn: random.Random, nodes: int, count: int, weight: int = 0) -> list[list[int]]:
    """Pairs of different nodes from 1 on, with a weight up to `weight` where it is not 0."""
    pairs = [drawn.sample(range(1, nodes + 1), 2) for _ in range(count)]
    return [[*pair, drawn.randint(1, weight)] if weight else pair for pair in pairs]


def one_number(drawn: random.Random, size: int) -> str:
    return lines([size + drawn.randint(0, size // 10)])


def array(drawn: random.Random, size: int) -> str:
    return lines([size], numbers(drawn, size, 1, 10**9))


def few_values(drawn: random.Random, size: int) -> str:
    return lines([size], numbers(drawn, size, 1, size))


def permutation(drawn: random.Random, size: int) -> str:
    return lines([size], drawn.sample(range(1, size + 1), size))


def array_and_number(drawn: random.Random, size: int) -> str:
    return lines([size, max(1, size // 20)], numbers(drawn, size, 1, 10**6))


def weighted_graph(drawn: random.Random, size: int) -> str:
    return lines([size, 4 * size], *edges(drawn, size, 4 * size, 10**6))


def sparse_graph(drawn: random.Random, size: int) -> str:
    return lines([size, 2 * size], *edges(drawn, size, 2 * size))


def acyclic_graph(drawn: random.Random, size: int) -> str:
    return lines([size, 3 * size], *(sorted(pair) for pair in edges(drawn, size, 3 * size)))


def towns_and_questions(drawn: random.Random, size: int) -> str:
    roads = edges(drawn, size, 2 * size, 1000)
    return lines([size, len(roads), size], *roads, *edges(drawn, size, size))


def updates_and_minima(drawn: random.Random, size: int) -> str:
    queries = []
    for kind in drawn.choices((1, 2), k=size):
        left, right = sorted(numbers(drawn, 2, 1, size))
        queries.append([1, left, drawn.randint(1, 10**9)] if kind == 1 else [2, left, right])
    return lines([size, size], numbers(drawn, size, 1, 10**9), *queries)


def weights_and_values(drawn: random.Random, size: int) -> str:
    return lines([size, 20 * size], *([drawn.randint(1, 5 * size), drawn.randint(1, 1000)] for _ in range(size)))


def walls(drawn: random.Random, size: int) -> str:
    rows = grid(drawn, size, "#", 0.02)
    return lines([size, size], "." + rows[0][1:], *rows[1:-1], rows[-1][:-1] + ".")


def start_and_goal(drawn: random.Random, size: int) -> str:
    rows = grid(drawn, size, "#", 0.25)
    return lines([size, size], "S" + rows[0][1:], *rows[1:-1], rows[-1][:-1] + "G")


def text_and_pattern(drawn: random.Random, size: int) -> str:
    return lines(word(drawn, size, "ab"), word(drawn, 6, "ab"))


def recurrence(drawn: random.Random, size: int) -> str:
    return lines([size, 10**9 + 7], numbers(drawn, size, 1, 100), numbers(drawn, size, 1, 100))


def points(drawn: random.Random, size: int) -> str:
    return lines([size], *(numbers(drawn, 2, 0, 1000) for _ in range(size)))


def number_and_modulus(drawn: random.Random, size: int) -> str:
    return lines([size, 10**40 + drawn.randint(1, 10**9)])


def two_words(drawn: random.Random, size: int) -> str:
    return lines(word(drawn, size, "abcd"), word(drawn, size, "abcd"))


def amount_and_coins(drawn: random.Random, size: int) -> str:
    return lines([size], sorted({1, *numbers(drawn, 8, 2, max(3, size // 3))}))


def words_and_prefixes(drawn: random.Random, size: int) -> str:
    words = [word(drawn, drawn.randint(3, 12), "abcdef") for _ in range(size)]
    return lines([size, size], *words, *(word(drawn, 3, "abcdef") for _ in range(size)))


def board(drawn: random.Random, size: int) -> str:
    return lines([size], *grid(drawn, size, "#", 0.05))


def subset_target(drawn: random.Random, size: int) -> str:
    weights = numbers(drawn, size, 1, 1000)
    return lines([size, sum(weights) // 2], weights)


def living_cells(drawn: random.Random, size: int) -> str:
    return lines([size, 6], *grid(drawn, size, "o", 0.3))


def grid_and_rectangles(drawn: random.Random, size: int) -> str:
    rectangles = []
    for _ in range(size * 4):
        top, bottom = sorted(numbers(drawn, 2, 1, size))
        left, right = sorted(numbers(drawn, 2, 1, size))
        rectangles.append([top, left, bottom, right])
    rows = [numbers(drawn, size, -1000, 1000) for _ in range(size)]
    return lines([size, size, len(rectangles)], *rows, *rectangles)


def mirrored_text(drawn: random.Random, size: int) -> str:
    half = word(drawn, size // 4, "abc")
    return lines(word(drawn, size // 4, "abc") + half + half[::-1] + word(drawn, size // 4, "abc"))


def repeating_text(drawn: random.Random, size: int) -> str:
    repeated = word(drawn, size // 5)
    return lines(word(drawn, size // 5) + repeated + word(drawn, size // 5) + repeated + word(drawn, size // 5))


def rooted_tree(drawn: random.Random, size: int) -> str:
    parents = [drawn.randint(max(1, node - 20), node - 1) for node in range(2, size + 1)]
    return lines([size, size], parents, *(numbers(drawn, 2, 1, size) for _ in range(size)))


def meetings(drawn: random.Random, size: int) -> str:
    starts = numbers(drawn, size, 0, 10**6)
    return lines([size], *([start, start + drawn.randint(1, 10**4)] for start in starts))


def expression(drawn: random.Random, size: int) -> str:
    parts = [str(drawn.randint(1, 1000))]
    while len(parts) < size:
        parts.append(drawn.choice("+-*") + str(drawn.randint(1, 1000)))
        if drawn.random() < 0.2:
            parts[-1] = drawn.choice("+-*") + f"({drawn.randint(1, 99)}{drawn.choice('+-*')}{drawn.randint(1, 99)})"
    return lines("".join(parts))


def prose(drawn: random.Random, size: int) -> str:
    vocabulary = [word(drawn, drawn.randint(2, 9)) for _ in range(400)]
    written = (drawn.choice(vocabulary).capitalize() + drawn.choice(["", "", ",", "."]) for _ in range(size))
    return lines(*(" ".join(row) for row in zip(*[iter(written)] * 10, strict=False)))


def keys(drawn: random.Random, size: int) -> str:
    return lines([size // 10 + 1, size], (int(drawn.expovariate(10 / size)) for _ in range(size)))


GENERATORS: dict[str, tuple[Callable[[random.Random, int], str], int]] = {
    "big_factorial": (number_and_modulus, 2900),
    "coin_change": (amount_and_coins, 110_000),
    "common_ancestor": (rooted_tree, 28_000),
    "dijkstra": (weighted_graph, 17_000),
    "distinct_window": (few_values, 5000),
    "edit_distance": (two_words, 660),
    "expression": (expression, 3600),
    "floyd_warshall": (towns_and_questions, 140),
    "game_of_life": (living_cells, 43),
    "grid_paths": (walls, 230),
    "inversions": (permutation, 82_000),
    "knapsack": (weights_and_values, 100),
    "knuth_morris_pratt": (text_and_pattern, 50_000),
    "largest_rectangle": (array, 5000),
    "longest_increasing": (array, 5000),
    "longest_palindrome": (mirrored_text, 22_000),
    "matrix_power": (recurrence, 14),
    "maze": (start_and_goal, 120),
    "meeting_rooms": (meetings, 11_000),
    "prefix_tree": (words_and_prefixes, 7800),
    "queens": (board, 9),
    "recently_used": (keys, 6900),
    "rectangle_sums": (grid_and_rectangles, 140),
    "repeated_substring": (repeating_text, 38_000),
    "running_median": (array, 26_000),
    "segment_tree": (updates_and_minima, 27_000),
    "sieve": (one_number, 250_000),
    "spanning_tree": (weighted_graph, 5400),
    "split_array": (array_and_number, 5200),
    "strong_components": (sparse_graph, 21_000),
    "subset_sums": (subset_target, 27),
    "topological_order": (acyclic_graph, 9000),
    "travelling_salesman": (points, 12),
    "union_find": (sparse_graph, 25_000),
    "window_maximum": (array_and_number, 11_000),
    "word_count": (prose, 16_000),
}
