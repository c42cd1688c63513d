"""The figures of the code's shape. `python -m tests.figures` prints them and fails where one that is held has grown."""

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("xcoder_core", "xcoder_train", "reward", "synth", "evaluation")
# What may not grow back; each is lowered with the change that lowers it.
HELD = {
    "modules directly in xcoder_train/": 3,
    "modules in import circles": 0,
    "imports of own modules inside functions": 10,
    "parameters of the longest public signature": 7,
    "uses of Any": 75,
}


def main() -> int:
    """Print the table; exit status 1 where a figure that is held is larger than it was."""
    argparse.ArgumentParser("python -m tests.figures", None, __doc__).parse_args()
    figures = measure({path: path.read_text(encoding="utf-8") for path in product_files()})
    for name, value in figures.items():
        most = HELD.get(name)
        print(f"{name:45} {value:7,}" + ("" if most is None else f"  (at most {most})"))
    return 1 if any(figures[name] > most for name, most in HELD.items()) else 0


def product_files() -> list[Path]:
    """Every Python file of the product."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def measure(sources: dict[Path, str]) -> dict[str, int]:
    """The figures of these files by name."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
    imports = {path: list(_own_imports(tree)) for path, tree in trees.items()}
    public = [node for tree in trees.values() for node in ast.walk(tree) if _is_public_function(node)]
    return {
        "lines of product code": sum(source.count("\n") for source in sources.values()),
        "modules directly in xcoder_train/": sum(path.parent == ROOT / "xcoder_train" for path in sources),
        "modules in import circles": len(_in_circles(imports)),
        "imports of own modules inside functions": sum(inside for found in imports.values() for _, inside in found),
        "parameters of the longest public signature": max(map(_parameters, public)),
        "uses of Any": sum(
            isinstance(node, ast.Name) and node.id == "Any" for tree in trees.values() for node in ast.walk(tree)
        ),
    }


def _own_imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Each module of ours that is imported, and whether a function does it."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield node.module, id(node) in inside


def _in_circles(imports: dict[Path, list[tuple[str, bool]]]) -> set[str]:
    """The modules that reach themselves, counting imports inside functions and for types alone."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in imports}
    follows = {name: {module for module, _ in imports[path]} & names.keys() for name, path in names.items()}
    reached: dict[str, set[str]] = defaultdict(set)
    for name in names:
        waiting = list(follows[name])
        while waiting:
            following = waiting.pop()
            if following not in reached[name]:
                reached[name].add(following)
                waiting += follows[following]
    return {name for name in names if name in reached[name]}


def _is_public_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    return len([each for each in given.posonlyargs + given.args + given.kwonlyargs if each.arg not in ("self", "cls")])


if __name__ == "__main__":
    sys.exit(main())
