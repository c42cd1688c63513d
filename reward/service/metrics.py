"""What the service counts, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """One registry per service, so that two in one process do not mix."""

    def __init__(self, workers: int, queue_tests: int) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "xcoder_judge_requests",
            "Requests answered, by endpoint and HTTP status.",
            ["endpoint", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "xcoder_judge_request_seconds",
            "Time from a request to its answer.",
            ["endpoint"],
            buckets=SECONDS,
            registry=registry,
        )
        self.tests = Counter(
            "xcoder_judge_tests",
            "Tests run, by verdict; OK where nothing was compared.",
            ["verdict"],
            registry=registry,
        )
        self.test_cpu_seconds = Counter("xcoder_judge_test_cpu_seconds", "CPU time of the programs.", registry=registry)
        self.disconnects = Counter(
            "xcoder_judge_disconnects", "Requests whose client left before the answer.", ["endpoint"], registry=registry
        )
        self.queued_tests = Gauge("xcoder_judge_queue_tests", "Tests that wait or run.", registry=registry)
        self.queued_bytes = Gauge("xcoder_judge_queue_bytes", "Bodies of requests in progress.", registry=registry)
        Gauge("xcoder_judge_queue_tests_limit", "Most tests that may wait or run.", registry=registry).set(queue_tests)
        Gauge("xcoder_judge_workers", "Sandbox workers.", registry=registry).set(workers)

    def exposition(self) -> bytes:
        """All of it, as `/metrics` answers."""
        return generate_latest(self._registry)
