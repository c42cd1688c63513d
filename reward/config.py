"""Settings of the judge, of the reward and of the HTTP service."""

from typing import Literal

from pydantic import Field, model_validator

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


class OverlongSettings(Settings):
    """A penalty that grows over the last tokens before the length limit (DAPO, arXiv 2503.14476, equation 13)."""

    tokens: int = Field(ge=1)
    """Tokens before the limit over which it grows evenly from 0; DAPO has 4,096 of 20,480."""

    penalty: float = Field(default=1.0, gt=0)
    """What a completion at its limit loses."""


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

    overlong: OverlongSettings | None = None
    """Take from the reward of a completion that comes near its length limit, whether it ends or not."""

    leave_out_truncated: bool = False
    """Give no reward to a completion that reached its length limit without ending: it counts neither in its group's
    mean nor in its deviation, and teaches nothing. On held-out tasks it keeps its reward."""

    deadline_seconds: float = Field(default=900.0, gt=0)
    """Judging one batch may take this long; what is not judged by then has no reward. At most half of
    `training.ddp_timeout`."""

    shuffle_within_batch: bool = False
    """A control that must not learn: rewards are dealt out at random within each batch."""

    @model_validator(mode="after")
    def _truncated_has_one_meaning(self) -> "RewardSettings":
        if self.leave_out_truncated and self.truncated:
            raise ValueError("truncated has no effect with leave_out_truncated; keep one of the two")
        return self


class ServiceSettings(Settings):
    """What `xcoder judge serve` may be told."""

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback a token is required."""

    port: int = Field(default=8080, ge=0, le=65535)
    """TCP port; 0 takes a free one, which is printed at start."""

    queue_tests: int = Field(default=20_000, ge=1)
    """Tests that may wait or run at once, over all requests. What would pass it is refused with status 429."""

    request_mib: int = Field(default=64, ge=1)
    """Largest body of one request in MiB. A larger one is refused with status 413."""

    queue_mib: int = Field(default=512, ge=1)
    """Bodies of all requests held at once in MiB. What would pass it is refused with status 429."""

    body_seconds: float = Field(default=60.0, gt=0)
    """A body must have arrived by then, since room is held for it. A slower one is refused with status 408."""

    deadline_seconds: float = Field(default=600.0, gt=0)
    """A request may take this long; what is not judged by then is an infrastructure failure, never a wrong answer."""

    long_deadline_seconds: float = Field(default=3600.0, gt=0)
    """The same for code-judge's `long-batch` endpoints."""

    max_seconds: float = Field(default=120.0, gt=0)
    """Most CPU seconds per test that a request may ask for."""

    max_memory_mib: int = Field(default=4096, ge=16)
    """Most memory per test that a request may ask for, in MiB."""

    shutdown_seconds: int = Field(default=10, ge=0)
    """How long requests in progress may go on once the service is told to end."""

    @model_validator(mode="after")
    def _one_request_must_fit(self) -> "ServiceSettings":
        if self.queue_mib < self.request_mib:
            raise ValueError(f"queue_mib ({self.queue_mib}) must be at least request_mib ({self.request_mib})")
        return self
