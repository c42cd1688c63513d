"""How often the model solves each prompt before GRPO begins: what the curriculum filters and orders by.

Measured with GRPO's own sampling and tests, divided over the processes, and kept in the stage's folder, so a run that
is killed goes on measuring where it was.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset

from reward.executor import Executor
from reward.extract import extract_code
from reward.test_table import TestTable
from reward.trl import submission_for
from reward.verdict import Verdict
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.models.request import Request, Unanswered
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.records import RecordStore, read_records, read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.settings import require
from xcoder_core.share import Share, await_files
from xcoder_core.stage import StageContext
from xcoder_core.terminal import Progress
from xcoder_train.grpo.rollouts import sampling_settings
from xcoder_train.grpo.settings import GrpoSettings

PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class PassRate:
    """One prompt. `samples` counts those that could be judged; the rest failed with the judge."""

    problem_id: str
    samples: int
    solved: int

    @property
    def share(self) -> float:
        """Solved samples, from 0 to 1."""
        return self.solved / self.samples


@dataclass(frozen=True)
class JudgedPolicy:
    """A model that samples completions, and what judges them."""

    generator: TransformersGenerator
    judge: Executor
    tests: TestTable


def pass_rate_table(folder: Path, share: Share) -> Path:
    """The file of a process's pass rates."""
    return share.file(folder / "pass_rates.parquet")


def pass_rates(
    prompts: Dataset, policy: JudgedPolicy, settings: GrpoSettings, context: StageContext, state: PartialState
) -> dict[str, float]:
    """Pass rate of each prompt by problem, from the recipe's file or measured by all processes together."""
    given = require(settings.curriculum).pass_rates
    if given is not None:
        return read_given(given, prompts["problem_id"])
    policy.generator.model.to(state.device)
    shares = [Share(index, state.num_processes) for index in range(state.num_processes)]
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.device.type == "cuda"):  # as in training
        measure_pass_rates(prompts.to_list(), policy, settings, context, shares[state.process_index])
    await_files(pass_rate_table(context.folder, share) for share in shares)
    return read_measured(context.folder, state.num_processes)


def measure_pass_rates(
    rows: Sequence[Mapping[str, Any]], policy: JudgedPolicy, settings: GrpoSettings, context: StageContext, share: Share
) -> None:
    """Measure a process's share of the prompts (rows with `problem_id` and `prompt`) into its table.

    `grpo.reward.deadline_seconds` bounds the judging of each batch; what it leaves unjudged is not among a prompt's
    samples.
    """
    store = RecordStore(pass_rate_table(context.folder, share), PassRate, ("problem_id",))
    if store.is_sealed:
        return
    samples = require(settings.curriculum).samples
    mine = share.items(sorted((row["problem_id"], row["prompt"]) for row in rows))
    pending = iter([(name, prompt) for name, prompt in mine if (name,) not in store.keys])
    progress = Progress("pass rates", len(mine) * samples, "samples", done=len(store.keys) * samples)
    with progress if share.index == 0 else nullcontext():  # the shares are equally large
        while batch := list(islice(pending, PROMPTS_AT_ONCE)):
            requests = [
                Request(f"{name}/{sample}", prompt, derive_seed(context.seed, "pass rate", name, sample))
                for name, prompt in batch
                for sample in range(samples)
            ]
            texts: dict[str, str] = {}
            for answer in policy.generator.generate(requests, sampling_settings(settings)):
                if isinstance(answer, Unanswered):
                    raise InputError(f"{answer.reason}. Lower grpo.max_prompt_length to what the context allows.")
                texts[answer.request_id] = answer.text
                if share.index == 0:
                    progress.advance()
            programs = [(name, extract_code(texts[f"{name}/{n}"])) for name, _ in batch for n in range(samples)]
            verdicts = _judge(programs, policy, settings.reward.deadline_seconds)
            for place, (name, _) in enumerate(batch):
                own = verdicts[place * samples : (place + 1) * samples]
                known = [verdict for verdict in own if verdict is not Verdict.IE]
                store.append(PassRate(name, len(known), known.count(Verdict.AC)))
    store.seal()


def _judge(programs: Sequence[tuple[str, str | None]], policy: JudgedPolicy, deadline_seconds: float) -> list[Verdict]:
    """The verdict on each program for a problem; wrong where there is no program."""
    submissions = [
        submission_for(str(number), name, code, policy.tests)
        for number, (name, code) in enumerate(programs)
        if code is not None
    ]
    judging = policy.judge.judge_async(submissions, stop_at_first_failure=True, deadline_seconds=deadline_seconds)
    verdicts = {judgement.id: judgement.verdict for judgement in asyncio.run(judging)}
    return [verdicts.get(str(number), Verdict.WA) for number in range(len(programs))]


def read_measured(folder: Path, processes: int) -> dict[str, float]:
    """Pass rates that all processes measured. Raises `InfrastructureError` where a prompt was never judged."""
    rates: dict[str, float] = {}
    for index in range(processes):
        for rate in read_records(pass_rate_table(folder, Share(index, processes)), PassRate):
            if not rate.samples:
                table = pass_rate_table(folder, Share(index, processes))
                raise InfrastructureError(
                    f"no sample of problem {rate.problem_id} could be judged, so its pass rate is not known. Look at "
                    f"the judge (`xcoder doctor`), delete {table}, and run the same command again"
                )
            rates[rate.problem_id] = rate.share
    return rates


def read_given(path: Path, problem_ids: Sequence[str]) -> dict[str, float]:
    """Pass rates from a Parquet file with the columns `problem_id` and `pass_rate` (0 to 1), one for each problem."""
    if not path.is_file():
        raise InputError(f"grpo.curriculum.pass_rates: there is no file {path}")
    table = read_table(path)
    missing = {"problem_id", "pass_rate"} - set(table.column_names)
    if missing:
        raise InputError(f"grpo.curriculum.pass_rates: {path} lacks the column(s) {', '.join(sorted(missing))}")
    rates = dict(zip(table["problem_id"].to_pylist(), table["pass_rate"].to_pylist(), strict=True))
    if len(rates) < table.num_rows:
        raise InputError(f"grpo.curriculum.pass_rates: {path} names a problem twice; expected one row for each problem")
    for name in problem_ids:
        rate = rates.get(name)
        if not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise InputError(
                f"grpo.curriculum.pass_rates: {path} gives {rate!r} for problem {name}; expected a number from 0 to 1"
            )
    return rates
