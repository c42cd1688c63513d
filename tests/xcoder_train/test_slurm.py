"""The script that submits a recipe's stages: read by bash, submitted through a stand-in for the scheduler's command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_train.commands.slurm import slurm_script
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.folder import RunFolder
from xcoder_train.runs.keys import stage_key

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
        Path("recipes/xcoder-qwen2.5-7b.yaml"),
        [launch, "name=two", "runs_dir=elsewhere"],
        time="12:00:00",
        partition="gpu",
        account=None,
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
        *(f"--parsable --dependency=afterok:{number} --kill-on-invalid-dep=yes" for number in (1, 2, 3, 4)),
    ]
    assert [line for job in jobs for line in job.splitlines() if "job-name" in line] == [
        f"#SBATCH --job-name=two-{stage}" for stage in ("synth", "sft", "grpo", "evaluation", "report")
    ]


def test_a_job_of_two_machines_starts_accelerate_on_each_with_its_rank(jobs: list[str], tmp_path: Path) -> None:
    sft = jobs[1].split("\n", 1)[1]
    assert "#SBATCH --nodes=2" in sft and "#SBATCH --gpus-per-node=8" in sft and "--partition=gpu" in sft
    started = _executed(sft, tmp_path, SLURM_NODEID="1")
    assert "--num_machines 2 --machine_rank 1 --main_process_ip first --main_process_port 20007 -m xcoder_" in started
    assert started.strip().endswith("accelerate: recipes/accelerate/fsdp2-multinode.yaml} name=two runs_dir=elsewhere")


def _executed(job: str, folder: Path, **environment: str) -> str:
    """What a job's script says where every command that it starts says how it was called."""
    texts = {
        "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "scontrol": "echo first; echo second",
        "python": 'echo "HF_HOME=${HF_HOME-}" "$@"',
        "ray": 'echo ray "$@"',
    }
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", job], env={**given, **environment}, check=True, capture_output=True, text=True)
    return done.stdout


def test_other_stages_are_the_command_itself(jobs: list[str]) -> None:
    assert "--kill-on-bad-exit=1 xcoder eval recipes/xcoder-qwen2.5-7b.yaml" in jobs[3]
    assert "gpus-per-node" not in jobs[0] and "#SBATCH --gpus-per-node=8" in jobs[2]


def _jobs_of(*overrides: str, recipe: str = "recipes/xcoder-qwen2.5-7b.yaml", **given: str | None) -> dict[str, str]:
    """The script of each stage's job."""
    options = {"time": None, "partition": None, "account": None, **given}
    script = slurm_script(ROOT / recipe, [*overrides, "runs_dir=elsewhere"], **options)
    bodies = [part.partition("\nJOB\n")[0] + "\n" for part in script.split("<<'JOB'\n")[1:]]
    return dict(zip(("synth", "sft", "grpo", "evaluation", "report"), bodies, strict=True))


def _asked(job: str) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in job.splitlines() if line.startswith("#SBATCH")]


def test_a_recipe_says_what_its_jobs_ask_for_and_one_stage_may_ask_for_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    jobs = _jobs_of(
        "slurm.options={gpus-per-node: null, gres: 'gpu:h100:8', partition: slow, time: 1-00:00:00, account: us}",
        "slurm.synth={partition: cpu, gres: null, exclusive: null, cpus-per-task: 64, comment: of us}",
        partition="fast",
    )
    assert {"gres=gpu:h100:8", "partition=fast", "time=1-00:00:00", "account=us", "exclusive", "mem=0"} <= set(
        _asked(jobs["sft"])
    )
    assert not any(option.startswith("gpus-per-node") for option in _asked(jobs["sft"]))
    assert {"partition=cpu", "cpus-per-task=64", "comment='of us'", "time=1-00:00:00"} <= set(_asked(jobs["synth"]))
    assert not {"exclusive", "mem=0", "gres=gpu:h100:8"} & set(_asked(jobs["synth"]))
    assert "time=24:00:00" in _asked(_jobs_of()["sft"])


def test_other_nodes_are_no_change_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = Path("recipes/laptop/quickstart.yaml")
    here, there = (load_recipe(path, [f"runs_dir={tmp_path}", f"slurm.options.partition={name}"]) for name in "ab")
    here.run_folder.mkdir()
    RunFolder(here).write_recipe(path, [])
    assert RunFolder(there).settings_that_changed() == []
    assert stage_key(here, "synth") == stage_key(there, "synth")


def test_a_report_takes_no_whole_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert not {"exclusive", "mem=0"} & set(_asked(_jobs_of()["report"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("slurm.options.signal=USR2@60", "`signal` is what the script of `xcoder slurm` works by"),
        ("slurm.sft={nodes: 4}", "slurm asks for 4 nodes for sft, which uses 1"),
        ("slurm.options.nodes=null", "slurm asks for None nodes for synth"),
        ("slurm.options={'mem=0; rm -r x': 1}", "slurm.options"),
        ("slurm.setup=JOB", "would end the job's script"),
    ],
)
def test_options_that_would_break_the_script_are_refused(
    override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=re.escape(message)):
        _jobs_of(override)


def test_what_an_environment_needs_is_set_up_before_the_shell_becomes_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The activation of conda and `module` read variables that may not be set."""
    monkeypatch.chdir(ROOT)
    job = _jobs_of('slurm.setup="export FOUND=${NOT_SET}yes\\necho set up: $FOUND"')["report"]
    (tmp_path / "xcoder").write_text("#!/bin/bash\necho stage: $FOUND")
    (tmp_path / "xcoder").chmod(0o755)
    assert _executed(job, tmp_path).splitlines() == ["set up: yes", "stage: yes"]


def test_the_processes_of_several_nodes_have_the_environment_that_the_recipe_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    launch = "sft.launch={nodes: 2, processes: 16, accelerate: recipes/accelerate/fsdp2-multinode.yaml, environment: "
    job = _jobs_of(launch + "{HF_HOME: /a b}}")["sft"]
    assert _executed(job, tmp_path, SLURM_NODEID="0").startswith("HF_HOME=/a b -m accelerate")


def test_a_stage_that_judges_on_ray_starts_the_cluster_on_its_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    jobs = _jobs_of("judge.executor=ray", "slurm.synth={nodes: 4}")
    assert "nodes=4" in _asked(jobs["synth"]) and "ray" not in jobs["sft"].partition("srun")[2].split()
    assert 'srun --nodes=1 --overlap --ntasks=1 --nodelist="$MASTER"' in jobs["synth"]
    ray = jobs["synth"].partition("bash -c '")[2].partition("' &")[0]
    places = {"RAY_ADDRESS": "first:20007", "PORT": "20007", "SLURM_CPUS_ON_NODE": "64"}
    head, other = (
        _executed("ray_answers() { true; }\n" + ray, tmp_path, SLURM_NODEID=number, **places) for number in "02"
    )
    assert head == "ray start --block --num-cpus 64 --head --port 20007 --include-dashboard false\n"
    assert other == "ray start --block --num-cpus 64 --address first:20007\n"
    assert "ray start" not in _jobs_of("judge={executor: ray, ray_address: 'head:6379'}")["synth"]
    several = "grpo.launch={nodes: 2, processes: 16, accelerate: recipes/accelerate/fsdp2-multinode.yaml}"
    with pytest.raises(InputError, match="grpo trains on 2 nodes, and judge.executor=ray would need a cluster"):
        _jobs_of("judge.executor=ray", several)


def test_the_scripts_are_clean_in_the_eyes_of_shellcheck(
    jobs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What submits, and each of the jobs: with several machines and GPUs, and with neither."""
    monkeypatch.chdir(ROOT)
    ray_and_setup = ["judge.executor=ray", "slurm.setup=module load cuda", f"runs_dir={tmp_path / 'runs'}"]
    laptop = slurm_script(
        Path("recipes/laptop/quickstart.yaml"), ray_and_setup, time="1:00:00", partition=None, account="us"
    )
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
