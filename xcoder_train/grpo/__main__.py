"""`python -m xcoder_train.grpo RECIPE`, also under a launcher, is `python -m xcoder_train.runs.stage grpo RECIPE`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "grpo")
    runpy.run_module("xcoder_train.runs.stage", run_name="__main__")
