"""Opening the judge that the settings name."""

from reward.config import JudgeSettings
from reward.executor import Executor
from reward.judge import Judge
from reward.ranks import ranks_of_this_job


def open_judge(settings: JudgeSettings) -> Executor:
    """The judge of `settings.executor`. The ranks of a distributed job divide its workers: those of a node for the
    executor `local`, those of every node of the cluster for `ray`.

    Raises `EnvironmentLacks` where programs cannot be isolated, or Ray or its cluster is missing.
    """
    if settings.executor == "ray":
        from reward.ray_judge import RayJudge

        return RayJudge(settings, sharers=ranks_of_this_job())
    return Judge(settings)
