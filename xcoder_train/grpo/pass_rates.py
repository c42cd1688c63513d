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

from reward.executor import Executor
from reward.extract import extract_code
from reward.test_table import TestTable
from reward.trl import submission_for
from reward.verdict import Verdict
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.models.generation import SamplingSettings
from xcoder_core.models.request import Request, Unanswered
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records, read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.share import Share
from xcoder_train.grpo.settings import CurriculumSettings

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


def pass_rate_table(folder: Path, share: Share) -> Path:
    """Where a process's pass rates stand."""
    return share.file(folder / "pass_rates.parquet")


def measure_pass_rates(
    rows: Sequence[Mapping[str, Any]],
    generator: TransformersGenerator,
    judge: Executor,
    tests: TestTable,
    sampling: SamplingSettings,
    *,
    samples: int,
    deadline_seconds: float,
    seed: int,
    folder: Path,
    share: Share,
) -> None:
    """Measure this process's prompts (rows with `problem_id` and `prompt`) into its table in `folder`.

    `deadline_seconds` bounds the judging of each batch; what it leaves unjudged is not among a prompt's samples.
    """
    store = RecordStore(pass_rate_table(folder, share), PassRate, ("problem_id",))
    if store.is_sealed:
        return
    mine = share.items(sorted((row["problem_id"], row["prompt"]) for row in rows))
    pending = iter([(name, prompt) for name, prompt in mine if (name,) not in store.keys])
    shown = Progress("pass rates", len(mine) * samples, "samples", done=len(store.keys) * samples)
    with shown if share.index == 0 else nullcontext():  # it speaks for all, whose shares are as large
        while some := list(islice(pending, PROMPTS_AT_ONCE)):
            requests = [
                Request(f"{name}/{sample}", prompt, derive_seed(seed, "pass rate", name, sample))
                for name, prompt in some
                for sample in range(samples)
            ]
            texts: dict[str, str] = {}
            for answer in generator.generate(requests, sampling):
                if isinstance(answer, Unanswered):
                    raise InputError(f"{answer.reason}. Lower grpo.max_prompt_length to what the context allows.")
                texts[answer.request_id] = answer.text
                if share.index == 0:
                    shown.advance()
            asked = [(name, extract_code(texts[f"{name}/{n}"])) for name, _ in some for n in range(samples)]
            with_code = [
                submission_for(str(number), name, code, tests)
                for number, (name, code) in enumerate(asked)
                if code is not None
            ]
            judged = asyncio.run(
                judge.judge_async(with_code, stop_at_first_failure=True, deadline_seconds=deadline_seconds)
            )
            verdicts = {judgement.id: judgement.verdict for judgement in judged}
            for place, (name, _) in enumerate(some):
                own = [verdicts.get(str(place * samples + n), Verdict.WA) for n in range(samples)]
                known = [verdict for verdict in own if verdict is not Verdict.IE]
                store.append(PassRate(name, len(known), known.count(Verdict.AC)))
    store.seal()


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


def kept_by(settings: CurriculumSettings, rate: float) -> bool:
    """Whether a prompt with this pass rate can still teach something, as the settings have it."""
    return not (settings.drop_unsolved and rate == 0) and not (settings.drop_solved and rate == 1)
