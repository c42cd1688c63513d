"""GRPO whose rollouts a vLLM engine makes in the same process, on a CPU: `python … RECIPE [key.path=value …]`.

Nothing of this project is changed, but three things of vLLM and TRL that have no setting:

* vLLM's build for CPUs packs linear layers for oneDNN and drops their weights, so that none can be loaded later.
  Without oneDNN they stay plain layers.
* TRL lets vLLM choose its dtype, and for stored float32 vLLM chooses bfloat16. Here the engine computes as the
  policy does.
* TRL lets vLLM compile the model, which takes longer than all of this run.

COLOCATED_ENGINE may hold further arguments of the engine as JSON, such as a cache of few blocks. COLOCATED_WATCH names
a file for what its scheduler did.
"""

import atexit
import functools
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Take the three away, then run the stage as its command does."""
    import trl.generation.vllm_generation as trl_vllm
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False
    further = json.loads(os.environ.get("COLOCATED_ENGINE", "{}"))
    trl_vllm.LLM = functools.partial(trl_vllm.LLM, dtype="float32", enforce_eager=True, **further)
    if "COLOCATED_WATCH" in os.environ:
        _watch(Path(os.environ["COLOCATED_WATCH"]))
    from xcoder_train.runs import stage

    return stage.main(["grpo", *sys.argv[1:]])


def _watch(file: Path) -> None:
    """Count how many rollouts run together at most, and how many lose their keys and values to others."""
    from vllm.v1.core.sched.scheduler import Scheduler

    schedule, preempt, seen = Scheduler.schedule, Scheduler._preempt_request, {"together": 0, "preempted": 0}

    def scheduled(self: Scheduler, *args: Any, **kwargs: Any) -> Any:
        done = schedule(self, *args, **kwargs)
        seen["together"] = max(seen["together"], len(self.running))
        return done

    def preempted(self: Scheduler, *args: Any, **kwargs: Any) -> Any:
        seen["preempted"] += 1
        return preempt(self, *args, **kwargs)

    Scheduler.schedule, Scheduler._preempt_request = scheduled, preempted
    atexit.register(lambda: file.write_text(json.dumps(seen)))


if __name__ == "__main__":
    sys.exit(main())
