"""How full vLLM's cache is and how many rollouts it lets wait, looked at while it samples."""

import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from trl.generation.vllm_generation import VLLMGeneration

Look = Callable[[], dict[str, float]]
NAMES = {"cache_use": "vllm:kv_cache_usage_perc", "waiting": "vllm:num_requests_waiting"}
"""What is looked at, by what a server's `/metrics` calls it: a share, and a number of rollouts."""


def engine_gauges(engine: VLLMGeneration) -> Look:
    """What looks at the engine; at nothing in a process that asks no server itself."""
    if engine.mode == "server":
        return partial(server_gauges, engine.vllm_client.base_url) if engine.accelerator.is_main_process else dict
    scheduler = engine.llm.llm_engine.engine_core.engine_core.scheduler  # vLLM keeps no statistics for TRL
    return lambda: {"cache_use": scheduler.kv_cache_manager.usage, "waiting": len(scheduler.waiting)}


def server_gauges(url: str) -> dict[str, float]:
    """What a server's `/metrics` says, of several engines the largest; {} where it does not answer at once."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found = {name: re.findall(rf"^{theirs}(?:{{.*}})? (\S+)$", text, re.MULTILINE) for name, theirs in NAMES.items()}
    return {name: max(map(float, values)) for name, values in found.items() if values}


@contextmanager
def watched(look: Look, most: dict[str, float]) -> Iterator[None]:
    """Look every second while the block runs, more often at first, and keep the largest values in `most`."""
    over = threading.Event()

    def watch() -> None:
        is_over, pause = False, 0.01
        while not is_over:
            most.update({name: max(most.get(name, 0.0), value) for name, value in look().items()})
            is_over, pause = over.wait(pause), min(2 * pause, 1.0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
