"""Judged rollouts on disk: a killed run samples and judges only what its step lacks, and another can train on them.

`rollouts/` in the stage's folder has a journal for each step and process (see xcoder_core/records.py). A step's own are
needed until no checkpoint from before it is kept; then they are dropped, or sealed as Parquet tables.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reward.trl import Worth
from xcoder_core.errors import InputError
from xcoder_core.records import RecordStore, read_records, read_unsealed
from xcoder_core.share import Share

ROLLOUTS = "rollouts"
"""The folder of judged rollouts in a stage's folder."""
_STEP = re.compile(r"step-(\d+)-\d+-of-\d+\.(journal|parquet)")
_KEY = ("slot", "number")


@dataclass(frozen=True)
class Rollout:
    """One judged rollout. `log_probabilities` are those of its tokens by what sampled them."""

    step: int
    """The version of the policy: optimiser steps before it was sampled."""
    slot: int
    """The place of its prompt in the order of prompts, over all epochs."""
    number: int
    """Its place in its group."""
    problem_id: str
    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    worth: Worth


Place = tuple[int, int]
"""Slot and number of a rollout."""
Group = list[Rollout]
"""The rollouts of one prompt, in order of their numbers."""


def has_signal(group: Group) -> bool:
    """Whether two of the rewards that count differ. They are compared exactly: a rounded deviation of 0 is not always
    0."""
    return len({rollout.worth.reward for rollout in group if not rollout.worth.left_out} - {None}) > 1


class RolloutFiles:
    """The judged rollouts of one run, by step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store: RecordStore[Rollout] | None = None

    def append(self, rollouts: list[Rollout], share: Share) -> None:
        """Keep rollouts of one step; each survives the death of this process from here on."""
        path = share.file(self.folder / f"step-{rollouts[0].step:06}.parquet")
        if self._store is None or self._store.path != path:
            if self._store is not None:
                self._store.close()
            self._store = RecordStore(path, Rollout, _KEY)
        self._store.extend(rollouts)

    def of_step(self, step: int, problems: Mapping[int, str] | None = None) -> dict[Place, Rollout]:
        """What any process has kept of a step, by slot and number; others may be writing to it. Only rollouts of
        `problems`, by slot, where they are given: another number of processes may have had other ones there."""
        found = {}
        for path in self._files().get(step, ()):
            records = read_records(path, Rollout) if path.suffix == ".parquet" else read_unsealed(path, Rollout)
            wanted = (one for one in records if problems is None or problems.get(one.slot) == one.problem_id)
            found.update({(rollout.slot, rollout.number): rollout for rollout in wanted})
        return found

    def groups(self, rollouts: int) -> Iterator[Group]:
        """All whole groups of so many rollouts, in the order in which they were sampled."""
        for step in sorted(self._files()):
            yield from whole_groups(self.of_step(step).values(), rollouts)

    def drop_before(self, step: int, *, keep: bool) -> None:
        """Drop or seal what no step from this one on can need: groups may be a set of rollouts old, no older."""
        for earlier in sorted(number for number in self._files() if number < step)[:-1]:
            self._finish(self._files()[earlier], keep)

    def finish(self, *, keep: bool) -> None:
        """Drop or seal all, once training is over."""
        for paths in self._files().values():
            self._finish(paths, keep)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _finish(self, paths: Iterable[Path], keep: bool) -> None:
        for path in paths:
            if keep:
                RecordStore(path.with_suffix(".parquet"), Rollout, _KEY).seal()
            else:
                path.unlink()

    def _files(self) -> dict[int, list[Path]]:
        found = defaultdict(list)
        for path in sorted(self.folder.glob("step-*")):
            if match := _STEP.fullmatch(path.name):
                found[int(match[1])].append(path)
        return found


def whole_groups(rollouts: Iterable[Rollout], size: int) -> list[Group]:
    """The groups of `size` rollouts among these, in the order of their prompts."""
    groups = defaultdict(list)
    for rollout in sorted(rollouts, key=lambda one: (one.slot, one.number)):
        groups[rollout.slot].append(rollout)
    return [group for group in groups.values() if len(group) == size]


def stored_rollouts(given: Path) -> RolloutFiles:
    """Those of the GRPO result at `given`, or in the folder itself. Raises InputError where there are none."""
    for files in map(RolloutFiles, (given / ROLLOUTS, given)):
        if files._files():
            return files
    raise InputError(
        f"{given} holds no judged rollouts; expected the folder of a GRPO that ran with grpo.keep_rollouts: true"
    )
