"""Opening the judge that the settings name."""

import os

from reward.config import JudgeSettings
from reward.executor import Executor
from reward.judge import Judge


def open_judge(settings: JudgeSettings, *, sharers: int = 1) -> Executor:
    """The judge of `settings.executor`; `sharers` processes like this one divide the workers among themselves.

    They are the processes of this machine for the executor `local`, of the whole cluster for `ray`.
    Raises `EnvironmentLacks` where programs cannot be isolated, or Ray or its cluster is missing.
    """
    if settings.executor == "ray":
        from reward.ray_judge import RayJudge

        return RayJudge(settings, sharers=sharers)
    return Judge(settings, workers=max(1, (settings.workers or len(os.sched_getaffinity(0))) // sharers))
