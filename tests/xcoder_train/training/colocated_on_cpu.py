"""GRPO whose rollouts a vLLM engine makes in the same process, on a CPU: `python … RECIPE [key.path=value …]`.

Nothing of this project is changed, but three things of vLLM and TRL that have no setting:

* vLLM's build for CPUs packs linear layers for oneDNN and drops their weights, so that none can be loaded later.
  Without oneDNN they stay plain layers.
* TRL lets vLLM choose its dtype, and for stored float32 vLLM chooses bfloat16. Here the engine computes as the
  policy does.
* TRL lets vLLM compile the model, which takes longer than all of this run.
"""

import functools
import sys


def main() -> int:
    """Take the three away, then run the stage as its command does."""
    import trl.generation.vllm_generation as trl_vllm
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False
    trl_vllm.LLM = functools.partial(trl_vllm.LLM, dtype="float32", enforce_eager=True)
    from xcoder_train.runs import stage

    return stage.main(["grpo", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
