"""Settings of the judge: what a program may use, how many run at once, and how outputs are compared."""

from typing import Literal

from pydantic import Field

from xcoder_core.settings import Settings

Policy = Literal["faithful", "livecodebench"]


class JudgeSettings(Settings):
    """What runs and judges programs, wherever a recipe needs that: labels, rewards and scores."""

    executor: Literal["local", "ray"] = "local"
    """Where programs run: `local` on this machine, `ray` on all nodes of a running Ray cluster."""

    ray_address: str = Field(default="auto", pattern=r"^(auto|[^/\s]+:[0-9]{1,5})$")
    """The cluster of the executor `ray`: `auto` for the one that this machine is a node of, or HOST:PORT of its head
    node. This machine must be a node of it either way."""

    workers: int | None = Field(default=None, ge=1)
    """Sandbox workers on this machine, or on each node of the cluster; one per core that this process may use, or that
    the cluster counts on the node, when left out. The ranks of a distributed job divide them."""

    policy: Policy = "faithful"
    """What decides a verdict: `faithful` is what `python3 program.py < input` would do, `livecodebench` what the
    official LiveCodeBench checker does, for comparison with published scores."""

    tier: Literal["A", "B", "C", "D"] | None = None
    """Isolation tier to insist on; the strongest one that the self-test can form when left out."""

    allow_unsandboxed: bool = False
    """Run even where no tier can be formed. Every result then says so."""

    output_mib: int = Field(default=16, ge=1, le=1024)
    """What one test may write to standard output or standard error, in MiB."""

    wall_factor: float = Field(default=2.0, ge=1)
    """Wall-clock cap as a multiple of the CPU limit; the backstop for programs that sleep."""

    wall_extra_seconds: float = Field(default=1.0, ge=0)
    """Added to the wall-clock cap, in seconds, so that a loaded machine does not decide verdicts."""


class RewardSettings(Settings):
    """What a rollout is worth once it is judged."""

    kind: Literal["paper", "fraction", "all"] = "paper"
    """`paper`: -2 without parsable code, else 5 x share of tests passed; `fraction`: that share; `all`: 1 or 0."""

    tests: int | None = Field(default=None, ge=1)
    """Most tests per problem, chosen once per problem from the seed; all when left out."""

    no_code: float = 0.0
    """Added to the reward of a completion without code that parses; `paper` has its -2 for that already."""

    truncated: float = 0.0
    """Added to the reward of a completion that reached its length limit without ending."""

    deadline_seconds: float = Field(default=900.0, gt=0)
    """Judging one batch may take this long; what is not judged by then has no reward. At most half of
    `training.ddp_timeout`."""

    shuffle_within_batch: bool = False
    """A control that must not learn: rewards are dealt out at random within each batch."""
