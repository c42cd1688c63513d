"""What a stage is handed: its folder, its seed, its inputs. What it leaves: files, and a note of what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xcoder_train.core.files import write_json

RESULT_FILE = "stage.json"


@dataclass(frozen=True)
class StageContext:
    """Where one stage of one run works.

    `folder` belongs to the stage alone and is named after its key. `inputs` maps the name of an earlier stage
    ("synth", "sft", …) to the folder of its finished result.
    """

    run: str
    name: str
    key: str
    folder: Path
    seed: int
    inputs: Mapping[str, Path]

    def finish(self, **figures: Any) -> None:
        """Mark the stage as whole. `figures` are what the report and the manifest show of it (JSON values)."""
        write_json(self.folder / RESULT_FILE, {"stage": self.name, "key": self.key, **figures})
