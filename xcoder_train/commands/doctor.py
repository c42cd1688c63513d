"""What works on this machine, what does not, and what to install: isolation, compilers, GPUs, packages."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from packaging.requirements import Requirement

from reward.compiler import compiled_languages
from reward.judge import usable_cores
from reward.tiers import MADE_OF, NOT_STOPPED, TIERS, why_not
from reward.worker import PACKAGES
from xcoder_core.errors import EnvironmentLacks, install_command, installed_version

app = typer.Typer(rich_markup_mode=None)

DISTRIBUTION = "xcoder-train"
EXTRAS = {
    "vllm": "vLLM, on GPUs",
    "ray": "several nodes",
    "serve": "judge serve",
    "qlora": "4-bit weights",
    "deepspeed": "ZeRO-3",
    "cyaron": "CYaRon inputs",
}
"""What each extra of pyproject.toml is for. The packages and versions are named only there."""

_COLUMNS = 80
_SUBJECT = 27  # where what was found begins
_QUICKSTART_MEMORY = 6 << 30


@app.command()
def doctor() -> None:
    """Show what works here, what does not, and what to install."""
    findings = examine()
    print(show(findings))
    raise typer.Exit(exit_code(findings))


@dataclass(frozen=True)
class Finding:
    """One subject of the examination. `is_fine` is None where a lack only rules something out."""

    subject: str
    found: str
    is_fine: bool | None = True


def examine() -> list[Finding]:
    """Look at the machine; loads no model and no torch."""
    return [*_machine(), *_gpus(), *_isolation(), *_packages()]


def exit_code(findings: list[Finding]) -> int:
    """0, or that of `EnvironmentLacks` where something that every run needs does not work."""
    return EnvironmentLacks.exit_code if any(finding.is_fine is False for finding in findings) else 0


def show(findings: list[Finding]) -> str:
    """The findings as text of at most 80 columns, and what they come to."""
    marks = {True: "ok", False: "PROBLEM", None: "-"}
    lines = []
    for finding in findings:
        head = f"{marks[finding.is_fine]:9}{finding.subject:{_SUBJECT - 9}}"
        lines += textwrap.wrap(
            finding.found, _COLUMNS, initial_indent=head, subsequent_indent=" " * _SUBJECT, break_on_hyphens=False
        )
    problems = sum(finding.is_fine is False for finding in findings)
    if problems:
        what = "1 problem has" if problems == 1 else f"{problems} problems have"
        end = f"{what} to be mended before anything runs."
    elif any(finding.is_fine is None for finding in findings):
        end = "Ready. What is marked with - is not needed by recipes/laptop."
    else:
        end = "Ready."
    return "\n".join([*lines, "", end])


def _machine() -> Iterator[Finding]:
    yield Finding("Python", sys.version.split()[0])  # pip installs this package for no version that is too old
    yield Finding("processor cores", f"{usable_cores()} usable")
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = installed >= _QUICKSTART_MEMORY
    lacks = "" if enough else "; the quickstart needs 6 GiB"
    yield Finding("memory", f"{installed / (1 << 30):.1f} GiB{lacks}", enough or None)
    here = Path.cwd()
    free = shutil.disk_usage(here).free / (1 << 30)
    if os.access(here, os.W_OK):
        yield Finding("disk", f"{free:.1f} GiB free here" + ("" if free >= 1 else "; a run needs 1 GiB"), free >= 1)
    else:
        yield Finding("disk", f"{here} cannot be written to; give runs_dir=FOLDER to a run", None)


def _gpus() -> list[Finding]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    if shutil.which(query[0]) is None:
        return [Finding("GPU", "no NVIDIA driver; small models train on the CPU", None)]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [Finding("GPU", f"nvidia-smi fails: {(done.stderr or done.stdout).strip()}", False)]
    return [Finding("GPU", f"{count} x {line}") for line, count in Counter(done.stdout.splitlines()).items()]


def _isolation() -> Iterator[Finding]:
    reasons = {tier: why_not(tier) for tier in TIERS}
    for tier, reason in reasons.items():
        yield Finding(
            f"isolation tier {tier}", MADE_OF[tier] if reason is None else f"not here: {reason}", reason is None or None
        )
    used = next((tier for tier, reason in reasons.items() if reason is None), None)
    if used is None:
        yield Finding("judging Python", "no tier works, so the judge refuses to run; see docs/judge.md", False)
        return
    yield Finding("judging Python", f"in tier {used}, which does not stop: {NOT_STOPPED[used]} (docs/judge.md)")
    where = sysconfig.get_path("platlib")  # where the judge looks
    missing = [name for name in PACKAGES[:2] if not Path(where, name).is_dir()]
    if missing:
        found = f"no {' and '.join(missing)} in {where}: right programs that import it fail; reinstall it there"
        yield Finding("programs import", found, False)
    else:
        yield Finding("programs import", " and ".join(PACKAGES[:2]))
    compilers = {language.compiler for language in compiled_languages().values()}
    no_compilers = sorted(compiler for compiler in compilers if shutil.which(compiler) is None)
    if used == "D":
        yield Finding("judging C++", "not in tier D: a compiler has to read files", None)
    elif no_compilers:
        yield Finding("judging C++", f"no compiler; apt-get install {' '.join(no_compilers)}", None)
    else:
        yield Finding("judging C++", f"by {' and '.join(sorted(compilers))}")


def _packages() -> Iterator[Finding]:
    """Held against what the installed project itself asks for."""
    try:
        asked = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", f"{DISTRIBUTION} is not installed here; make install, or pip install -e .", False)
        return
    needed = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    mistaken = {each.name: mistake for each in needed if (mistake := _mistake(each)) is not None}
    if not mistaken:
        versions = ", ".join(f"{name} {installed_version(name)}" for name in ("torch", "trl"))
        yield Finding("packages", f"{len(needed)} within their bounds, among them {versions}")
    for each in needed:
        if each.name in mistaken:
            yield Finding(each.name, f"{mistaken[each.name]}; pip install '{each.name}{each.specifier}'", False)
    for extra, purpose in EXTRAS.items():
        wanted = [each for each in asked if each.marker is not None and each.marker.evaluate({"extra": extra})]
        wanted = [each for each in wanted if each not in needed]
        mistakes = [mistake for each in wanted if (mistake := _mistake(each)) is not None]
        if mistakes:
            unfit = [mistake for mistake in mistakes if not mistake.endswith("not installed")]
            mend = "; ".join([install_command(extra), *unfit])
            yield Finding(f"extra {extra}", f"{mend} (for {purpose})", False if unfit else None)
        else:
            yield Finding(f"extra {extra}", f"{wanted[0].name} {installed_version(wanted[0].name)} (for {purpose})")


def _mistake(requirement: Requirement) -> str | None:
    """What is wrong with the installed package; None where it fits."""
    version = installed_version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} does not fit {requirement.specifier}"
    return None
