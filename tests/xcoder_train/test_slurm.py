"""The script that submits a recipe's stages: read by bash, submitted through a stand-in for the scheduler's command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xcoder_train.slurm import slurm_script

ROOT = Path(__file__).parents[2]
SUBMIT = """\
#!/bin/bash
number=$(( $(ls "$JOBS" | wc -l) + 1 ))
{ echo "$@"; cat; } > "$JOBS/$number"
echo $number
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the scheduler is handed for the full recipe with SFT on two machines: arguments, then the job's script."""
    monkeypatch.chdir(ROOT)
    launch = "sft.launch={nodes: 2, processes: 16, accelerate: recipes/accelerate/fsdp2-multinode.yaml}"
    script = slurm_script(
        Path("recipes/xcoder-qwen2.5-7b.yaml"), [launch, "name=two"], time="01:00:00", partition="gpu", account=None
    )
    (tmp_path / "sbatch").write_text(SUBMIT)
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "jobs").mkdir()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "JOBS": str(tmp_path / "jobs")}
    subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True)
    return [path.read_text() for path in sorted((tmp_path / "jobs").iterdir(), key=lambda path: int(path.name))]


def test_each_stage_waits_for_the_one_before(jobs: list[str]) -> None:
    assert [job.splitlines()[0] for job in jobs] == [
        "--parsable",
        *(f"--parsable --dependency=afterok:{number}" for number in (1, 2, 3, 4)),
    ]
    assert [line for job in jobs for line in job.splitlines() if "job-name" in line] == [
        f"#SBATCH --job-name=two-{stage}" for stage in ("synth", "sft", "grpo", "evaluation", "report")
    ]


def test_a_job_of_two_machines_starts_accelerate_on_each_with_its_rank(jobs: list[str], tmp_path: Path) -> None:
    sft = jobs[1].split("\n", 1)[1]
    assert "#SBATCH --nodes=2" in sft and "#SBATCH --gpus-per-node=8" in sft and "--partition=gpu" in sft
    for name, text in {
        "srun": 'shift; exec "$@"',
        "scontrol": "echo first; echo second",
        "python": 'echo "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "n[1-2]"}
    started = subprocess.run(["bash", "-c", sft], env=environment, check=True, capture_output=True, text=True).stdout
    assert "--num_machines 2 --machine_rank 1 --main_process_ip first -m xcoder_train.sft" in started
    assert started.strip().endswith("accelerate: recipes/accelerate/fsdp2-multinode.yaml} name=two")


def test_other_stages_are_the_command_itself(jobs: list[str]) -> None:
    assert "srun --ntasks=1 xcoder eval recipes/xcoder-qwen2.5-7b.yaml" in jobs[3]
    assert "gpus-per-node" not in jobs[0] and "#SBATCH --gpus-per-node=8" in jobs[2]


def test_the_scripts_are_clean_in_the_eyes_of_shellcheck(
    jobs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What submits, and each of the jobs: with several machines and GPUs, and with neither."""
    monkeypatch.chdir(ROOT)
    laptop = slurm_script(Path("recipes/laptop/quickstart.yaml"), [], time="1:00:00", partition=None, account="us")
    bodies = [part.partition("\nJOB\n")[0] for part in laptop.split("<<'JOB'\n")[1:]]
    assert len(bodies) == 5
    scripts = [tmp_path / f"{number}.sh" for number in range(1 + len(bodies) + len(jobs))]
    texts = [laptop, *bodies, *(job.split("\n", 1)[1] for job in jobs)]
    for path, text in zip(scripts, texts, strict=True):
        path.write_text(text + "\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), *scripts], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
