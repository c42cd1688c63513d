"""Run by a Python that has the package `evalplus`: its extraction and its check, on answers from standard input.

    PYTHON benchmarks/humaneval_official.py < TASKS > VERDICTS

A line of TASKS is a row of HumanEval with `answers`, a list of [text, whether it continues the prompt]. A line of
VERDICTS has, for each of them, whether it passes. The inputs are those of the row's test program, and the expected
outputs what the canonical solution gives: the package's own larger inputs are on no package index.
"""

import json
import sys
from copy import deepcopy
from typing import Any

from evalplus.eval import PASS, untrusted_check  # type: ignore[import-not-found]
from evalplus.sanitize import sanitize  # type: ignore[import-not-found]


def recorded_inputs(row: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The arguments of each call of the test program, and what the canonical solution gives for them."""
    scope: dict[str, Any] = {}
    exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], scope)
    function, inputs, outputs = scope[row["entry_point"]], [], []

    def candidate(*arguments: Any) -> Any:
        inputs.append(deepcopy(list(arguments)))
        outputs.append(function(*arguments))
        return deepcopy(outputs[-1])

    scope["check"](candidate)
    return inputs, outputs


def main() -> None:
    """One line of verdicts for each line of tasks."""
    for line in sys.stdin:
        row = json.loads(line)
        inputs, outputs = recorded_inputs(row)
        tolerance = 1e-4 if row["entry_point"] == "find_zero" else 0  # as that test program of HumanEval has it
        passes = []
        for text, continues in row["answers"]:
            program = sanitize(row["prompt"].strip() + "\n" + text if continues else text, row["entry_point"])
            status, _ = untrusted_check(
                "humaneval",
                program,
                inputs,
                row["entry_point"],
                outputs,
                tolerance,
                [0.0] * len(inputs),
                fast_check=True,
            )
            passes.append(status == PASS)
        print(json.dumps(passes), flush=True)


if __name__ == "__main__":
    main()
