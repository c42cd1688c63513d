"""The procedural model behind the loopback server, in a process of its own that can be killed and started again.

    python serve.py PORT FOLDER SECONDS_PER_TOKEN

What it must remember stands in FOLDER: `pipelines.jsonl`, what its statements mean, and `asked.txt`, the seed of every
request that it began to answer.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from openai_server import OpenAIServer
from procedural_model import ProceduralModel

from synth.procedural.pipeline import Pipeline, read_pipeline, write_pipeline


class Pipelines(dict[str, Pipeline]):
    """Statements with their meaning, each in the file before it is known."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                statement, pipeline = json.loads(line)
            except ValueError:  # the line that a kill cut off; nobody got that answer
                continue
            super().__setitem__(statement, read_pipeline(pipeline))

    def __setitem__(self, statement: str, pipeline: Pipeline) -> None:
        with open(self.path, "a") as file:
            file.write("\n" * (file.tell() > 0) + json.dumps([statement, write_pipeline(pipeline)]))
        super().__setitem__(statement, pipeline)


def main(port: int, folder: Path, seconds_per_token: float) -> None:
    """Serve until it is killed."""
    model = ProceduralModel(pipelines=Pipelines(folder / "pipelines.jsonl"))

    def answer(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
        with open(folder / "asked.txt", "a") as asked:
            asked.write(f"{parameters['seed']}\n")
        return model(messages, parameters)

    with OpenAIServer(answer=answer, port=port, seconds_per_token=seconds_per_token):
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
