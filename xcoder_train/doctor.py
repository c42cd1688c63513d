"""What this machine can do: isolation of programs, Python, GPUs, packages, and whether their versions fit."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from reward.tiers import MADE_OF, NOT_STOPPED, TIERS, why_not


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `is_fine` is None where a lack only rules something out."""

    subject: str
    found: str
    is_fine: bool | None = True


# Package, lowest version that works, first one that does not, and whether training needs it.
_PACKAGES = (
    ("torch", (2, 10), (2, 14), True),
    ("transformers", (5, 17), (6,), True),
    ("trl", (1, 16), (1, 17), True),
    ("accelerate", (1, 15), (2,), True),
    ("peft", (0, 21), (1,), True),
    ("datasets", (5,), (6,), True),
    ("pyarrow", (21,), None, True),
    ("vllm", (0, 22), (0, 32), False),
    ("ray", (2, 50), None, False),
    ("wandb", (0, 28), None, False),
)


def examine() -> list[Finding]:
    """Look at the machine; loads no model and no torch."""
    return [_python(), *_isolation(), _processors(), _disk(), *_gpus(), *(_package(*row) for row in _PACKAGES)]


def show(findings: list[Finding]) -> str:
    """The findings as text, one a line."""
    marks = {True: "ok", False: "PROBLEM", None: "-"}
    return "\n".join(f"{marks[finding.is_fine]:8}{finding.subject:22}{finding.found}" for finding in findings)


def _python() -> Finding:
    version = sys.version.split()[0]
    fits = sys.version_info >= (3, 11)
    return Finding("Python", version if fits else f"{version}; 3.11 or newer is needed", fits)


def _isolation() -> list[Finding]:
    reasons = {tier: why_not(tier) for tier in TIERS}
    used = next((tier for tier, reason in reasons.items() if reason is None), None)
    findings = [
        Finding(
            f"isolation tier {tier}", f"works: {MADE_OF[tier]}" if reason is None else reason, reason is None or None
        )
        for tier, reason in reasons.items()
    ]
    if used is None:
        lacking = "cannot be isolated, so the judge refuses to run; docs/judge.md says what the tiers need"
        return [*findings, Finding("programs", lacking, False)]
    confined = f"run in tier {used}, which does not stop: {NOT_STOPPED[used]} (docs/judge.md)"
    return [*findings, Finding("programs", confined)]


def _processors() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("processors", f"{usable} usable")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / (1 << 30)
    return Finding("free disk here", f"{free:.1f} GiB", free >= 1)


def _gpus() -> list[Finding]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    if shutil.which(query[0]) is None:
        return [Finding("GPU", "none (no NVIDIA driver): small models train on the CPU", None)]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [Finding("GPU", f"nvidia-smi fails: {(done.stderr or done.stdout).strip()}", False)]
    return [Finding(f"GPU {index}", line) for index, line in enumerate(done.stdout.splitlines())]


def _package(name: str, lowest: tuple[int, ...], beyond: tuple[int, ...] | None, is_needed: bool) -> Finding:
    wanted = f">={_dotted(lowest)}" + (f",<{_dotted(beyond)}" if beyond else "")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, f"not installed (wanted: {wanted})", False if is_needed else None)
    parts = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    fits = parts >= lowest and (beyond is None or parts < beyond)
    return Finding(name, version if fits else f"{version} does not fit {wanted}", fits)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
