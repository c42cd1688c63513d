"""Publishing the datasets on a dataset hub: each with its card, the RL dataset with its problems and tests.

Held-out tasks are never sent. The token is read from the environment and is only part of the requests.
"""

import os
from functools import partial
from pathlib import Path

from pydantic import Field

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.hub import Repository, upload
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.settings import Settings, VariableName
from xcoder_core.stage import Membership, SynthLayout


class PushSettings(Settings):
    """Where the datasets are published. The dataset of use `sft` becomes the repository `NAME-sft`."""

    repository: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """Owner and name, such as `me/contest-tasks`. A repository that does not exist is made."""

    private: bool = True
    """Whether a new repository is private. An existing one stays as it is."""

    token_env: VariableName = "HF_TOKEN"
    """The NAME of the environment variable that holds the token, never the token itself."""

    endpoint: str | None = None
    """URL of the hub; when left out, the default of huggingface_hub (HF_ENDPOINT)."""


def push_datasets(settings: PushSettings, layout: SynthLayout) -> dict[str, str]:
    """Send `datasets/sft` and `datasets/rl`, where they exist, in one commit each; return each commit's URL, by use.

    A dataset that has not changed makes no new commit. Raises `EnvironmentLacks` without a token or where the hub
    refuses or cannot be reached, and `InputError` where there is nothing to send.
    """
    token = os.environ.get(settings.token_env)
    if not token:
        raise EnvironmentLacks(
            f"{settings.token_env} is not set (synth.push_to.token_env); expected a token of the hub that may write"
        )
    uses = [use for use in ("sft", "rl") if layout.dataset(use).is_dir()]
    if not uses:
        raise InputError(f"{layout.folder} holds no dataset to push; expected {layout.dataset('sft')} or the one of rl")
    mend = f"Look at synth.push_to.repository and at what the token in {settings.token_env} may do."
    commits = {}
    for use in uses:
        name = f"{settings.repository}-{use}"
        repository = Repository(name, settings.private, "dataset", settings.endpoint, token)
        commit = upload(repository, partial(_gather, layout, use), "Datasets of one synthesis", mend)
        commits[use] = str(commit.commit_url)
    return commits


def _gather(layout: SynthLayout, use: str, folder: Path) -> None:
    """Lay what is sent into `folder`: links to the dataset's files, and for rollouts their problems and tests."""
    for path in layout.dataset(use).iterdir():
        (folder / path.name).symlink_to(path.resolve())
    if use == "rl":
        ours = {row.problem_id for row in read_records(layout.memberships, Membership) if row.use == use}
        problems = (row for row in read_records(layout.problems, Problem) if row.problem_id in ours)
        write_records(folder / "problems.parquet", Problem, problems, ("problem_id",))
        tests = (row for row in read_records(layout.tests, TestCase) if row.problem_id in ours)
        write_records(folder / "tests.parquet", TestCase, tests, ("problem_id", "index"))
