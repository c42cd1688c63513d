"""What the judge says about a program: per test, per submission, and per execution without expected outputs."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict on one test or on a whole submission. IE is a fault of ours, never the program's."""

    AC = "AC"  # accepted: the output matches
    WA = "WA"  # wrong answer: the program ended well and the output does not match
    TLE = "TLE"  # time limit exceeded: CPU seconds over the limit, or the wall-clock cap was reached
    MLE = "MLE"  # memory limit exceeded: ended by a failed allocation under the limit
    OLE = "OLE"  # output limit exceeded on standard output or standard error
    RE = "RE"  # runtime error: an uncaught exception, a non-zero exit status or a signal
    CE = "CE"  # compile error: the program never ran
    IE = "IE"  # infrastructure error: nothing is known about the program


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test. Times are in seconds, `memory_mib` is the peak resident size in MiB."""

    __test__ = False  # the name is the field's; pytest must not collect it

    verdict: Verdict
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a submission: that of its first failing test, AC where all pass.

    `tests` holds the tests that ran, in order (none for CE and IE; under the policy `livecodebench` none after the one
    in which the process died), `total` counts all. `message` says why for CE and IE.
    """

    id: str
    verdict: Verdict
    passed: int
    total: int
    tests: tuple[TestResult, ...]
    tier: str
    policy: str
    message: str = ""

    @property
    def is_infrastructure_failure(self) -> bool:
        """True where nothing is known about the program: exclude it, never count it as wrong."""
        return self.verdict is Verdict.IE

    @property
    def characters(self) -> int:
        """How much output it holds: none, whatever the program printed."""
        return 0

    def to_json(self) -> dict[str, object]:
        """The verdict line of the file interface."""
        return {
            "id": self.id,
            "verdict": self.verdict.value,
            "passed": self.passed,
            "total": self.total,
            "tests": [
                {
                    "verdict": test.verdict.value,
                    "cpu_seconds": round(test.cpu_seconds, 4),
                    "wall_seconds": round(test.wall_seconds, 4),
                    "memory_mib": round(test.memory_mib, 1),
                }
                for test in self.tests
            ],
            "tier": self.tier,
            "policy": self.policy,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One test of an execution: `status` is "OK" or a verdict other than AC and WA.

    `output` is standard output, or a function's value as JSON, and None unless `status` is "OK". `error` is the end of
    standard error. `stdout` is standard output up to its cap whatever the status, empty for function problems.
    `return_code` is as in `subprocess`: the exit status, or minus the signal; None where the program never ran.
    """

    status: str
    output: str | None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_mib: float = 0.0
    error: str = ""
    stdout: str = ""
    return_code: int | None = None

    @property
    def exit_status(self) -> int:
        """As `return_code`, but never 0 where the program failed: clients would compare what it printed."""
        return 0 if self.status == "OK" else self.return_code or 1


@dataclass(frozen=True, slots=True)
class Execution:
    """What a submission printed or returned on each of its inputs, in order: one `Run` per input, always."""

    id: str
    runs: tuple[Run, ...]
    tier: str

    @property
    def characters(self) -> int:
        """How much output it holds."""
        return sum(len(run.output or "") + len(run.stdout) + len(run.error) for run in self.runs)
