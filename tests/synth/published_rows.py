"""A few rows in the columns of X-Coder's published sets: good ones, and each kind of bad one."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from xcoder_core.stage import StageContext

SUM = "Read two integers a and b from one line and print their sum. Both lie between -1000 and 1000."
LONGEST = "A caravan of n camels crosses a desert. Given their loads, print the length of the longest rising run."
TWO_SUM = (
    "Given an array nums and a target, return the places of the two numbers that add up to it.\n\n"
    "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        pass"
)
MAXIMUM = "Given a list of integers, return its greatest element.\n\nExample 1:\n\nInput: values = [1, 3]\nOutput: 3"
ADD = "a, b = map(int, input().split())\nprint(a + b)"


def answer(code: str, thought: str = "Add them.\n\n  Carefully. ", tag: str = "python") -> str:
    return f"<think>\n{thought}</think>\n\nThe program:\n\n```{tag}\n{code}\n```\nDone.\r\n"


def sft(query: str, response: str) -> dict[str, Any]:
    return {"query": query, "response": response}


SFT_ROWS = [
    sft(SUM, answer(ADD)),
    sft(LONGEST, answer("n = int(input())\nprint(n)")),
    sft(SUM + " \n", answer("print(sum(map(int, input().split())))", thought="Another way.")),
    sft(SUM, answer(ADD)),  # the same answer again
    sft(SUM, answer("#include <iostream>", tag="cpp")),
    sft(SUM, "<think>\nThis never ends"),
    sft(SUM, answer("print(")),
    sft("  ", answer(ADD)),
    sft(TWO_SUM, answer("class Solution:\n    def twoSum(self, nums, target):\n        return [0, 1]")),
    sft(MAXIMUM, answer("class Solution:\n    def best(self, values: list[int]) -> int:\n        return max(values)")),
    sft(
        MAXIMUM,
        answer("class Solution:\n    def best(self, values: list[int]) -> int:\n        return sorted(values)[-1]"),
    ),
    sft(MAXIMUM, answer("class Solution:\n    def top(self, v):\n        return max(v)")),
]


def rl(problem: str, kind: str, **columns: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("type", "input_output", "selected_uts"))
    prompt = [{"role": "user", "content": f"Solve this.\n{problem}"}]
    return {"id": problem[:9], "problem": problem, "prompt": prompt, "prompter_type": kind, **row, **columns}


def in_and_out(inputs: list[Any], outputs: list[Any], **more: Any) -> str:
    return json.dumps({"inputs": inputs, "outputs": outputs, **more})


def rl_rows() -> list[dict[str, Any]]:
    nested = {"input_output": in_and_out([[[2, 7], 9], [[3, 3], 6]], [[0, 1], [0, 1]], fn_name="twoSum")}
    plain = in_and_out(["1 2\n", "4 5\n"], ["3\n", 9])
    more = in_and_out(["1 2\n", "7 8\n", ["0", "1"]], ["3\n", "15\n", ["1", ""]])
    asserted = {"test_cases": ["assert Solution().twoSum(target=9, nums=[2, 7]) == [0, 1]"]}
    return [
        rl(SUM, "codeforces", type="stdin_stdout", input_output=plain),
        rl(TWO_SUM, "livecodebench", selected_uts=json.dumps(nested)),
        rl(SUM, "codeforces", type="stdin_stdout", input_output=json.dumps(more)),
        rl(TWO_SUM.replace("places", "indices"), "leetcode", input_output=json.dumps(asserted)),
        rl(LONGEST, "codeforces", type="stdin_stdout", input_output=in_and_out(["1\n"], [])),
        rl(
            MAXIMUM,
            "livecodebench",
            selected_uts=json.dumps({"input_output": in_and_out([[[1]]], [1], fn_name="best")}),
        ),
        rl(LONGEST, "codeforces", type="stdin_stdout", input_output="{"),
        rl(LONGEST, "leetcode", input_output=json.dumps({"test_cases": ["assert f(open('x')) == 1"]})),
    ]


def write_parquet(path: Path, rows: list[dict[str, Any]], per_group: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.parquet.ParquetWriter(path, table.schema) as writer:
        for start in range(0, len(rows), per_group):
            writer.write_table(table.slice(start, per_group))


def context_in(folder: Path) -> StageContext:
    return StageContext("test", "synth", "key", folder, 3, {})
