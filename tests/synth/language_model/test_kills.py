"""Fifty kills at random instants, of the process and of the teacher's server: the same bytes, nothing asked twice."""

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from procedural_model import ProceduralModel
from synthesis_run import PRELOADED, PROJECT, digests, live, result_folder, start, write_recipe

from synth.tables import WorkTables
from xcoder_core.models.answered import Answer
from xcoder_core.records import RecordStore, read_records
from xcoder_core.seeds import derive_seed

KILLS = 50
CONCURRENCY = 4
SEED = 5
TEACHER_STAGES = ("tasks:", "inputs:", "candidates:")


@dataclass
class Teacher:
    """The server in a process of its own."""

    folder: Path
    seconds_per_token: float
    port: int = 0
    kills: int = 0
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Serve on the same port as before."""
        loopback = PROJECT / "tests" / "loopback"
        environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{loopback}"}
        command = [sys.executable, str(loopback / "serve.py"), str(self.port), str(self.folder)]
        self.process = subprocess.Popen([*command, str(self.seconds_per_token)], env=environment)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    def asked(self) -> list[int]:
        """The seed of every request so far."""
        path = self.folder / "asked.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def kept_seeds(folder: Path) -> set[int]:
    """The seeds of the requests whose answers the run has; each request has its own."""
    seeds: set[int] = set()
    if not (folder / "runs" / "loopback" / "synth").exists():  # killed before it began
        return seeds
    for stage in ("tasks", "inputs", "solutions"):
        path = WorkTables(result_folder(folder)).answers(stage)
        store = RecordStore(path, Answer, ("request_id", "asked"))
        for answer in read_records(path, Answer) if store.is_sealed else store.pending():
            key, name, attempt = answer.request_id.rsplit("/", 2)
            seeds.add(derive_seed(SEED, "teacher", key, name, int(attempt)))
    return seeds


@pytest.mark.slow
def test_fifty_kills_of_process_and_server_change_no_byte_and_no_kept_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback = PROJECT / "tests" / "loopback"
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{loopback}")  # of the process that forks the lives, too
    with OpenAIServer(answer=ProceduralModel()) as serving:
        (tmp_path / "whole").mkdir()
        process = start(write_recipe(tmp_path / "whole", serving.base_url))
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    whole = digests(result_folder(tmp_path / "whole"))

    rng = random.Random()
    kills = server_kills = rounds = asked_again = 0
    while kills < KILLS:
        folder = tmp_path / f"round-{rounds}"
        folder.mkdir()
        teacher = Teacher(folder, seconds_per_token=0.004)
        try:
            killed, asked = run_with_kills(folder, teacher, rng)
        finally:
            teacher.kill()
        assert digests(result_folder(folder)) == whole
        kills, server_kills, rounds = kills + killed, server_kills + teacher.kills, rounds + 1
        asked_again += asked
    print(f"{kills} kills of the process and {server_kills} of the server in {rounds} runs; {asked_again} requests "
          "that were on their way were asked again, none that was kept")  # fmt: skip


def run_with_kills(folder: Path, teacher: Teacher, rng: random.Random) -> tuple[int, int]:
    """Start the run until it ends by itself: how often it was killed, and how many requests were sent again."""
    recipe = write_recipe(folder, f"http://127.0.0.1:{teacher.port}/v1")
    text = recipe.read_text().replace("max_concurrency: 16", f"max_concurrency: {CONCURRENCY}, longest_wait: 0.5")
    recipe.write_text(text)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOADED)
    killed = lives = 0
    while True:
        before, asked_before = kept_seeds(folder), len(teacher.asked())
        log = folder / f"life-{lives}.txt"
        log.touch()
        lives += 1
        process = forks.Process(target=live, args=(str(recipe), str(log)))
        process.start()
        if rng.random() < 0.8:  # else it is killed while it starts
            while log.stat().st_size == 0 and process.is_alive():
                time.sleep(0.01)
        if log.read_text().startswith(TEACHER_STAGES):  # measured in requests, so that a busy machine gets on as well
            wanted = asked_before + rng.randint(CONCURRENCY, 3 * CONCURRENCY)
            server_dies_at = rng.randint(asked_before, wanted) if rng.random() < 0.3 else None
            while process.is_alive() and len(teacher.asked()) < wanted:
                if server_dies_at is not None and len(teacher.asked()) >= server_dies_at:
                    time.sleep(rng.uniform(0, 0.1))
                    teacher.kill()
                    teacher.kills += 1
                    teacher.start()
                    server_dies_at = None
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
        else:
            time.sleep(rng.uniform(0, 3))
        if process.is_alive():
            process.kill()
            killed += 1
        process.join()
        asked = teacher.asked()
        assert not before & set(asked[asked_before:]), "a request whose answer was kept was asked again"
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0, log.read_text()
            return killed, len(asked) - len(set(asked))
