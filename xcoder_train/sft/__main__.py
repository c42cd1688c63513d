"""`python -m xcoder_train.sft RECIPE`, also under a launcher, is `python -m xcoder_train.runs.stage sft RECIPE`."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "sft")
    runpy.run_module("xcoder_train.runs.stage", run_name="__main__")
