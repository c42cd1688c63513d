"""Warnings about a GRPO run that is going wrong, from what it logs; each is printed and kept in `alarms.jsonl`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from transformers import TrainerCallback, TrainerState, TrainingArguments

from xcoder_train.grpo.settings import AlarmSettings
from xcoder_train.training.tracking import Line

FIRST_LINES = 5
"""Logged lines whose mean is what entropy and syntax errors are compared with; as many are compared."""

_UNPARSABLE = ("verdicts/CE", "verdicts/no code")
_LIMITS = {
    "sampling_difference": (
        "sampling/sampling_logp_difference/mean",
        "stale rollout weights",
        "log-probabilities of sampled tokens differ by {:.3g} between vLLM and the policy; vLLM may sample from old "
        "weights",
    ),
    "masked_share": (
        "sampling/masked_share",
        "masked tokens",
        "the importance correction masks {:.1%} of the tokens; widen its bounds, or set "
        "training.vllm_importance_sampling_mode: token_truncate, which masks none",
    ),
    "special_cased": (
        "hacking/names_its_tests",
        "tests special-cased",
        "{:.1%} of the rollouts hold inputs and outputs of their tests as literals; look at the column names_its_tests "
        "of the completions",
    ),
}
"""By the setting with the limit: the metric, the alarm's name, and its message about the metric's value."""


class Watch:
    """The lines that a run has logged. `look` takes the next one and yields what is wrong with the run."""

    def __init__(self, settings: AlarmSettings) -> None:
        self.settings = settings
        self.history: list[Line] = []

    def look(self, line: Line) -> Iterator[tuple[str, str]]:
        """Each alarm by its name, with its message."""
        self.history.append(line)
        for check in (self._limits, self._idle, self._entropy, self._syntax):
            yield from check(line)

    def _limits(self, line: Line) -> Iterator[tuple[str, str]]:
        for setting, (metric, name, message) in _LIMITS.items():
            value = line.get(metric)
            if value is not None and value > getattr(self.settings, setting):
                yield name, message.format(value)

    def _idle(self, line: Line) -> Iterator[tuple[str, str]]:
        last = self.history[-self.settings.idle_steps :]
        if len(last) == self.settings.idle_steps and all(one.get("frac_reward_zero_std") == 1 for one in last):
            yield (
                "no variance",
                f"no group had rewards that differ in the last {len(last)} logged steps, so nothing was learned; "
                "grpo.curriculum leaves out prompts that are always or never solved",
            )

    def _entropy(self, line: Line) -> Iterator[tuple[str, str]]:
        before, now = self._mean("entropy", first=True), self._mean("entropy", first=False)
        if before is not None and now is not None and now < self.settings.entropy_share * before:
            yield "entropy collapse", f"entropy fell from {before:.3g} to {now:.3g}; rollouts hardly differ any more"

    def _syntax(self, line: Line) -> Iterator[tuple[str, str]]:
        before, now = ([self._mean(name, first=first) or 0.0 for name in _UNPARSABLE] for first in (True, False))
        if len(self.history) > FIRST_LINES and sum(now) > sum(before) + self.settings.syntax_errors:
            yield "syntax errors", f"rollouts without parsable code rose from {sum(before):.1%} to {sum(now):.1%}"

    def _mean(self, name: str, *, first: bool) -> float | None:
        """Over the first or the last lines; None until there are more than the first ones."""
        if len(self.history) <= FIRST_LINES:
            return None
        lines = self.history[:FIRST_LINES] if first else self.history[-FIRST_LINES:]
        values = [line[name] for line in lines if line.get(name) is not None]
        return sum(values) / len(values) if values else None


class Alarms(TrainerCallback):
    """Shows a `Watch` every logged training step; after a resume, the lines that `metrics.jsonl` kept come first.

    Among the callbacks it comes after `MetricsFile`. `counts` is how often each alarm was raised.
    """

    def __init__(self, settings: AlarmSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.watch = Watch(settings)
        self.counts: dict[str, int] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Take up what was logged before a resume, and raise what it raised."""
        if state.is_world_process_zero:
            (self.folder / "alarms.jsonl").unlink(missing_ok=True)
            for text in (self.folder / "metrics.jsonl").read_text().splitlines():
                line = json.loads(text)
                self._look(line.pop("step"), line, printed=False)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, *_: object, logs: Line | None = None, **kwargs: object
    ) -> None:
        if state.is_world_process_zero and logs:
            self._look(state.global_step, logs, printed=True)

    def _look(self, step: int, line: Line, *, printed: bool) -> None:
        if "reward" not in line:  # an evaluation, or the closing summary
            return
        for name, message in self.watch.look(line):
            self.counts[name] = self.counts.get(name, 0) + 1
            with open(self.folder / "alarms.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "alarm": name, "message": message}) + "\n")
            if printed and self.counts[name] == 1:  # the file has every one
                print(f"ALARM at step {step}, {name}: {message}", file=sys.stderr)
