"""The judge that a recipe asks for: of this machine, or of a Ray cluster."""

from reward.config import JudgeSettings
from reward.executor import Executor
from reward.judge import Judge, usable_cores
from xcoder_core.errors import EnvironmentLacks, install_command
from xcoder_core.share import share_of_this_process


def open_judge(settings: JudgeSettings, *, alone: bool = False) -> Executor:
    """The judge of `settings.executor`. The ranks of a distributed job divide its workers: those of a node for the
    executor `local`, those of every node of the cluster for `ray`.

    With `alone` this rank judges for all of them and has every worker.
    Raises `EnvironmentLacks` where programs cannot be isolated, or Ray or its cluster is missing.
    """
    if settings.executor == "ray":
        try:
            from reward.ray_judge import RayJudge
        except ModuleNotFoundError as error:
            raise EnvironmentLacks(
                f"the executor `ray` needs {error.name}, which is not installed: {install_command('ray')}, or use the "
                "executor `local`"
            ) from error
        return RayJudge(settings, sharers=1 if alone else share_of_this_process().of)
    return Judge(settings, workers=settings.workers or usable_cores() if alone else None)
