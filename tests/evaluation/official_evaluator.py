"""Runs the official LiveCodeBench code of a checkout on local rows: `python FILE CHECKOUT ROWS MODULE ARGUMENTS…`.

Two imports are replaced: the download of the data set (`datasets.load_dataset` gives the rows of a JSONL file) and the
client of a model provider, which no part of judging uses. The official reader, checker, metrics and writers run as
they are.
"""

import json
import multiprocessing
import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    checkout, rows, module, *arguments = sys.argv[1:]
    multiprocessing.set_start_method("fork", force=True)
    stand_in: Any = types.ModuleType("datasets")
    stand_in.load_dataset = lambda *_, **__: [json.loads(line) for line in Path(rows).read_text().splitlines()]
    sys.modules["datasets"] = stand_in
    client: Any = types.ModuleType("anthropic")
    client.HUMAN_PROMPT = client.AI_PROMPT = ""
    sys.modules["anthropic"] = client
    os.chdir(checkout)  # it reads its examples from there
    sys.path.insert(0, checkout)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
