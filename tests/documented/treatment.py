"""What the tests do with each command of the pages: the one table. The first row that a command fits counts.

RUN: executed as it is written, in every run of the tests. SLOWLY: executed by
`pytest -m slow tests/test_documented_commands.py`, made smaller by the words in the third column. READ: not executed,
for the reason in the third column. Whatever is done with it, the program that a command calls must take its words
(`acceptance.py`), in every run of the tests.
"""

import re
from dataclasses import dataclass
from enum import Enum


class How(Enum):
    """What is done with a command."""

    RUN = "executed as it is written"
    SLOWLY = "executed by `pytest -m slow`"
    READ = "only read"


@dataclass(frozen=True)
class Treatment:
    """`fits` is a regular expression for the whole command."""

    how: How
    fits: str
    because: str = ""


_SMALL_DATA = (
    "synth.splits.solved.tasks=48 synth.splits.unsolved.tasks=16 synth.splits.unsolved_short.tasks=8 "
    "synth.splits.depth_1_2.tasks=8 synth.splits.depth_3.tasks=8"
)
_SHORT_SFT = "sft.training.max_steps=4"
_SHORT_GRPO = (
    "grpo.prompts_per_step=4 grpo.rollouts=4 grpo.micro_batch=4 grpo.rollout_batch=16 grpo.training.max_steps=2 "
    "grpo.training.warmup_steps=0"
)
_SMALL_ABLATION = (
    "'ablation.seeds=[0]' synth.splits.solved.tasks=40 synth.splits.depth_1_2.tasks=6 "
    "'ablation.axes.tasks.350={sft.data.tasks: 8}' 'ablation.axes.tasks.700={sft.data.tasks: 16}' "
    "ablation.axes.tasks.1400=null ablation.axes.tasks.2800=null"
)

NAMES = r"(xcoder|accelerate)( [a-z][a-z-]*)+"
"""A command's name alone, which prose may mention; that there is such a command is looked up."""

TREATMENTS = (
    # Executed as they are written.
    Treatment(How.RUN, r"echo .* > programs\.jsonl"),
    Treatment(How.RUN, r"xcoder judge (programs|FILE)\.jsonl.*"),
    Treatment(How.RUN, r"xcoder doctor"),
    Treatment(How.RUN, r"xcoder slurm .*"),  # where its script goes to bash, bash reads it and does not run it
    Treatment(How.RUN, r"xcoder ablate RECIPE --commands \w+"),
    Treatment(How.READ, r"xcoder plan .*measured_in=.*", "starts from a finished run of a language model"),
    Treatment(How.RUN, r"xcoder plan .+"),
    # Executed slowly. Their order here is the order in which they are executed: the controls start from the quickstart.
    Treatment(How.READ, r"xcoder run .*unsolved_short=null.*", "measured once; its recipe is executed below"),
    Treatment(How.SLOWLY, r"xcoder run recipes/laptop/quickstart\.yaml.*", f"{_SMALL_DATA} {_SHORT_SFT} {_SHORT_GRPO}"),
    Treatment(How.SLOWLY, r"xcoder run recipes/laptop/controls\.yaml.*", _SHORT_GRPO),
    Treatment(How.SLOWLY, r"xcoder run recipes/laptop/more-sft\.yaml.*", _SHORT_SFT),
    Treatment(
        How.SLOWLY,
        r"xcoder ablate recipes/laptop/task-scaling\.yaml.*",
        f"{_SMALL_ABLATION} sft.training.num_train_epochs=1",
    ),
    Treatment(
        How.SLOWLY, r"xcoder ablate recipes/laptop/task-scaling-steps\.yaml.*", f"{_SMALL_ABLATION} {_SHORT_SFT}"
    ),
    Treatment(
        How.SLOWLY,
        r"xcoder ablate recipes/laptop/tasks-or-solutions\.yaml.*",
        "'ablation.seeds=[0]' synth.splits.solved.tasks=30 synth.splits.depth_1_2.tasks=6 "
        "sft.training.num_train_epochs=1 'ablation.axes={tasks × solutions: {512x4: null, 256x8: "
        "{sft.data.tasks: 2, sft.data.solutions_per_task: 2}, 2048x1: {sft.data.tasks: 4}}}'",
    ),
    Treatment(
        How.SLOWLY,
        r"xcoder ablate recipes/laptop/online-rates\.yaml.*",
        "'ablation.seeds=[0]' synth.splits.solved.tasks=48 synth.splits.unsolved.tasks=16 "
        "synth.splits.unsolved_short.tasks=8 synth.splits.depth_3.tasks=8 ablation.axes.groups.dynamic=null "
        f"ablation.axes.groups.online=null grpo.evaluation.tasks=8 evaluation.samples=2 {_SHORT_SFT} {_SHORT_GRPO}",
    ),
    Treatment(How.SLOWLY, r"python -m benchmarks\.streaming", "--answers 2 --tokens 100 --rounds 1"),
    Treatment(How.SLOWLY, r"python -m benchmarks\.cleaning", "--problems 20"),
    Treatment(How.SLOWLY, r"python -m benchmarks\.soak", "--executions 400 --output soak.json"),
    Treatment(How.SLOWLY, r"python -m benchmarks\.synthesis", "--tasks 20 --every 12 --out synthesis.json"),
    Treatment(
        How.SLOWLY,
        r"python -m benchmarks\.verification( .*)?",
        "--quick --output verification.json --plot verification.png",
    ),
    Treatment(How.SLOWLY, r"python -m benchmarks\.answers"),
    Treatment(How.SLOWLY, r"python -m tests\.chat_templates"),
    Treatment(How.SLOWLY, r"python -m benchmarks\.ablations --runs-dir runs"),
    Treatment(How.SLOWLY, r"python -m benchmarks\.judge --markdown"),
    Treatment(How.SLOWLY, r"pytest tests/\S+.*", "--collect-only"),
    Treatment(How.SLOWLY, r"python -m tests\.recipe_reference > docs/recipe-reference\.md"),
    Treatment(How.SLOWLY, r"python -m tests\.growth\.defaults > tests/growth/defaults\.json"),
    # A service, what is sent to it, and the file that guards it: one story, told in this order.
    Treatment(How.SLOWLY, r"openssl rand -hex 32 > token.*"),
    Treatment(How.SLOWLY, r"xcoder judge serve.*", "--port 0"),
    Treatment(How.SLOWLY, r"curl .*http://127\.0\.0\.1:8080/.*", "--fail"),
    # Only read.
    Treatment(How.READ, r"git clone .*", "the address is the reader's"),
    Treatment(How.READ, r"pip install .*", "fetches packages"),
    Treatment(How.READ, r"make \S+", "installs packages first; what it then calls stands in the Makefile"),
    Treatment(How.READ, r"\. \.venv/bin/activate", "`make install` makes the environment"),
    Treatment(How.READ, r"(.* )?pytest -m (slow|vllm_server) .*", "belongs to the slow tests itself, or needs vLLM"),
    Treatment(How.READ, r"pytest -(n 2 --dist loadfile|m vllm .*)", "the whole suite, or what needs vLLM"),
    Treatment(How.READ, r"python -m benchmarks\.humaneval .*", "needs HumanEval's file and the package evalplus"),
    Treatment(How.READ, r"python -m tests\.mutations .*", "breaks the project on purpose, for many minutes"),
    Treatment(How.READ, r"xcoder (run|synth|sft|rates|grpo|eval|report|ablate) RECIPE.*", "RECIPE is any recipe"),
    Treatment(How.READ, r"xcoder ablate runs/NAME/.*", "NAME stands for a finished ablation"),
    Treatment(
        How.READ, r"xcoder (run|sft|ablate) recipes/(ablations|single-gpu|xcoder-)\S*.*", "needs GPUs, and the hub"
    ),
    Treatment(How.READ, r"xcoder sft \S+ sft\.launch\.accelerate=.*", "tests/xcoder_train/training/test_launching.py"),
    Treatment(How.READ, r"xcoder synth recipes/synthesis/openai\.yaml.*", "needs a language model on a server"),
    Treatment(How.READ, r"xcoder synth recipes/synthesis/published\.yaml.*", "needs sets of gigabytes from the hub"),
    Treatment(How.READ, r"(HF_TOKEN=TOKEN )?xcoder push-(data|model) .*", "needs a hub and a token"),
    Treatment(How.READ, r"xcoder eval --(model|compare|rejudge) .*", "needs a model, or results of one"),
    Treatment(How.READ, r"accelerate launch .+", "needs GPUs, or RECIPE stands for any recipe"),
    Treatment(How.READ, r"ray (start|stop).*", "starts and ends a cluster that outlives the test"),
    Treatment(How.READ, r"pip freeze > requirements\.txt", "says what is installed on the reader's machine"),
    Treatment(How.READ, r"hf auth login", "asks for a token"),
    Treatment(
        How.READ, r"xcoder trace PROBLEM_ID.*", "PROBLEM_ID is one of a finished run; tests/xcoder_train/test_trace.py"
    ),
    Treatment(How.READ, r"(HF_HOME=\S+ )?hf download .*", "fetches gigabytes from the hub"),
    Treatment(
        How.READ, r"wandb sync .*", "needs an account; tests/xcoder_train/training/test_sft.py reads what it would send"
    ),
    Treatment(How.READ, r"vllm serve .*", "needs a GPU, and vLLM"),
    Treatment(How.READ, r"perf (record|report) .*", "perf is part of no test machine"),
    Treatment(How.READ, r"export PISTON_ENDPOINTS=\S+", "sets a variable for another project's trainer"),
    Treatment(How.READ, r"python -m pytest -m gpu .*", "needs a GPU"),
    Treatment(How.READ, r"python -m benchmarks\.gpu\.\w+ .*", "needs a GPU; tests/benchmarks runs it tiny on a CPU"),
    Treatment(How.READ, r"python -m benchmarks\.(judge|livecodebench) .*CHECKOUT.*", "needs LiveCodeBench's code"),
    Treatment(
        How.READ,
        r"python -m benchmarks\.training .*",
        "a quarter of an hour; tests/benchmarks/test_training_benchmarks.py runs it tiny",
    ),
    Treatment(
        How.READ,
        r"python -m benchmarks\.quickstart .*",
        "three seeds of the quickstart with their controls, half an hour; the quickstart itself is executed above",
    ),
    Treatment(
        How.READ,
        r"python -m benchmarks\.online_rates.*",
        "an hour or more; tests/benchmarks/test_online_rates_benchmark.py reads runs that it writes",
    ),
    Treatment(How.READ, r"python -m benchmarks\.busy", "the quickstart twice, forty minutes"),
    Treatment(How.READ, r"python -m benchmarks\.packing .*", "needs a pretrained model"),
    Treatment(How.READ, NAMES, "the name of a command"),
)


def treatment_of(command: str) -> Treatment | None:
    """The table's first row that the command fits."""
    return next((row for row in TREATMENTS if re.fullmatch(row.fits, command, re.DOTALL)), None)
