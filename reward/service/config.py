"""Settings of the HTTP service: where it listens, and what it takes before it says no."""

from pydantic import Field, model_validator

from xcoder_core.settings import Settings


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
