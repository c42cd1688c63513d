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
    """The cluster for `executor: ray`: HOST:PORT of its head node, or `auto` to find it. This machine must be a node of
    it either way."""

    workers: int | None = Field(default=None, ge=1)
    """Sandbox workers on this machine, or on each node of the cluster; when left out, one for each core that this
    process may use, or that the cluster counts on the node. The ranks of a distributed job share them."""

    policy: Policy = "faithful"
    """How verdicts are decided: `faithful` as `python3 program.py < input` would behave, `livecodebench` as the
    official LiveCodeBench checker decides, for comparison with published scores."""

    tier: Literal["A", "B", "C", "D"] | None = None
    """Isolation tier to insist on; when left out, the strongest one that passes the self-test."""

    allow_unsandboxed: bool = False
    """Run even if no tier passes the self-test. Every result then says so."""

    output_mib: int = Field(default=16, ge=1, le=1024)
    """What one test may write to standard output or standard error, in MiB."""

    wall_factor: float = Field(default=2.0, ge=1)
    """Wall-clock limit as a multiple of the CPU limit; it ends programs that sleep."""

    wall_extra_seconds: float = Field(default=1.0, ge=0)
    """Added to the wall-clock limit, in seconds, so that a busy machine does not decide verdicts."""


class OverlongSettings(Settings):
    """A penalty that grows over the last tokens before the length limit (DAPO, arXiv 2503.14476, equation 13)."""

    tokens: int = Field(ge=1)
    """The last tokens before the limit, over which the penalty grows evenly from 0; in DAPO 4,096 of 20,480."""

    penalty: float = Field(default=1.0, gt=0)
    """What a completion at its limit loses."""


class RewardSettings(Settings):
    """What a rollout is worth once it is judged."""

    kind: Literal["paper", "fraction", "all"] = "paper"
    """`paper`: -2 without code that parses, else 5 x the share of tests passed; `fraction`: the share; `all`: 1 or
    0."""

    tests: int | None = Field(default=None, ge=1)
    """Most tests of a problem, chosen once for each problem by the seed; all when left out."""

    no_code: float = 0.0
    """Added to the reward of a completion without code that parses; `paper` has its -2 for that already."""

    truncated: float = 0.0
    """Added to the reward of a completion that reached its length limit without ending."""

    overlong: OverlongSettings | None = None
    """A penalty for a completion that comes near its length limit, whether it ends or not."""

    leave_out_truncated: bool = False
    """Give no reward to a completion that reached its length limit without ending: it counts neither in its group's
    mean nor in its deviation, and teaches nothing. On held-out tasks it keeps its reward."""

    deadline_seconds: float = Field(default=900.0, gt=0)
    """Judging one batch may take this long; what is not judged by then has no reward. At most half of
    `training.ddp_timeout`."""

    shuffle_within_batch: bool = False
    """A control experiment, which must not learn: rewards are dealt out at random within each batch."""

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
    """Tests of all requests that may wait or run at once. A request beyond that is refused with status 429."""

    request_mib: int = Field(default=64, ge=1)
    """Largest body of one request in MiB. A larger one is refused with status 413."""

    queue_mib: int = Field(default=512, ge=1)
    """Most MiB that the bodies of all requests may take at once. A request beyond that is refused with status 429."""

    body_seconds: float = Field(default=60.0, gt=0)
    """Seconds in which a body must arrive. A slower one is refused with status 408."""

    deadline_seconds: float = Field(default=600.0, gt=0)
    """Seconds that a request may take; what is not judged by then is a failure of the service, never a wrong answer."""

    long_deadline_seconds: float = Field(default=3600.0, gt=0)
    """The same for code-judge's `long-batch` endpoints."""

    max_seconds: float = Field(default=120.0, gt=0)
    """Most CPU seconds per test that a request may ask for."""

    max_memory_mib: int = Field(default=4096, ge=16)
    """Most memory per test that a request may ask for, in MiB."""

    shutdown_seconds: int = Field(default=10, ge=0)
    """Seconds that requests in progress get to finish once the service is told to end."""

    @model_validator(mode="after")
    def _one_request_must_fit(self) -> "ServiceSettings":
        if self.queue_mib < self.request_mib:
            raise ValueError(f"queue_mib ({self.queue_mib}) must be at least request_mib ({self.request_mib})")
        return self
