"""The two corpora that every isolation tier is held against: hostile programs with what their headers promise, and
honest ones with what plain Python makes of them.

An attack's header says, one a line:

    # MODE: stdio | func           a program, or a `Solution` whose method `add` is called with 3 and 4
    # EXPECT: RE|WA                the verdicts that the judge may give
    # CONTROL: EFFECT              what plain Python without isolation makes of it; may stand more than once
    # CONTROL WITH: OLD -> NEW     the control runs with this replaced, so that it does little harm
    # CONTROL RUN: twice           the control runs it twice in one process
    # CONTROL NEEDS: PATH VALUE    the control is left out where this file of the kernel says something else

An EFFECT is one of

    prints REGEX        standard output holds it (read as Latin-1)
    floods stdout       it holds at least as much as the judge would take; also `floods stderr`
    leaves PATTERN      such a file stands in a shared folder, or in its own, when it is over
    ends STATUS         `exit 0`, the name of a signal, or `stopped`
    fills memory        it takes most of the memory that it is given
    lasts               it takes all the CPU time that it is given
    kills its parent
    none: REASON        why there is no control
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from reward.submission import Submission
from reward.tiers import why_not
from xcoder_core.problem import Limits

HERE = Path(__file__).parent
CANARY = "JUDGE_CANARY_TOKEN"
"""An environment variable of the judge's own process, which attacks look for."""
EXPECTED = "7\nEXPECTED_CANARY_7f3a\n"
OUTPUT_MIB = 4
ATTACK_LIMITS = Limits(seconds=1.0, memory_mib=256)
LIMITS_OF_ENDLESS = Limits(seconds=0.25, memory_mib=256)
LONG_WAY_TO_ITS_END = {"17_deep_recursion_segv": Limits(seconds=20.0, memory_mib=64)}
GENERATED_INPUTS = {"sequence_of_a_million": "".join(f"{number}\n" for number in range(1_000_000))}


@dataclass(frozen=True)
class Attack:
    """A hostile program and its header."""

    name: str
    code: str

    @property
    def is_function(self) -> bool:
        """True where it is a `Solution`, not a program."""
        return self._all("MODE") == ["func"]

    @property
    def allowed_verdicts(self) -> set[str]:
        """What the judge may say of it."""
        [verdicts] = self._all("EXPECT")
        return set(verdicts.split()[0].split("|"))

    @property
    def controls(self) -> list[str]:
        """What it does without isolation."""
        return self._all("CONTROL")

    @property
    def why_no_control(self) -> str | None:
        """Why it is not run without isolation, or None where it is."""
        return self.controls[0].removeprefix("none: ") if self.controls[0].startswith("none: ") else None

    @property
    def needs(self) -> list[tuple[str, str]]:
        """Files of the kernel, and what they must say for the attack to work at all."""
        return [(path, value) for path, value in (line.split() for line in self._all("CONTROL NEEDS"))]

    @property
    def tamed_code(self) -> str:
        """What the control runs: the code below the header, made harmless."""
        code = re.sub(r"\A(#.*\n)+", "", self.code)
        for edit in self._all("CONTROL WITH"):
            old, new = edit.split(" -> ")
            assert old in code, f"{self.name}: {old!r} is not in the code"
            code = code.replace(old, new)
        return code * 2 if self._all("CONTROL RUN") == ["twice"] else code

    @property
    def submission(self) -> Submission:
        """What the judge gets."""
        return Submission(
            id=self.name,
            code=self.code,
            inputs=("3\n4",) if self.is_function else ("3 4\n",),
            expected=("7",) if self.is_function else (EXPECTED,),
            function_name="add" if self.is_function else None,
            limits=LONG_WAY_TO_ITS_END.get(
                self.name, LIMITS_OF_ENDLESS if self.allowed_verdicts == {"TLE"} else ATTACK_LIMITS
            ),
        )

    def _all(self, label: str) -> list[str]:
        return re.findall(rf"^# {label}: (.*?)\s*$", self.code, re.MULTILINE)


ATTACKS = [Attack(path.stem, path.read_text()) for path in sorted((HERE / "attacks").glob("*.py"))]
HONEST = sorted((HERE / "honest").glob("*.py"))


def honest_input(program: Path) -> str:
    """What an honest program reads."""
    given = program.with_suffix(".in")
    if given.exists():
        return given.read_bytes().decode()
    return GENERATED_INPUTS.get(program.stem, "")


def honest_submission(program: Path) -> Submission:
    """What the judge gets of it."""
    return Submission(
        id=program.stem,
        code=program.read_bytes().decode(),
        inputs=(honest_input(program),),
        expected=(None,),
        limits=Limits(seconds=10.0, memory_mib=512),
    )


def skip_unless_formed(tier: str) -> None:
    """Leave a test out where the machine lacks what a tier needs. A tier that is formed and does not hold is a failure,
    for which the judge would quietly go on with a weaker one."""
    reason = why_not(tier)
    if reason is None:
        return
    if "cannot be formed here" not in reason:
        pytest.fail(f"tier {tier}: {reason}")
    pytest.skip(reason)
