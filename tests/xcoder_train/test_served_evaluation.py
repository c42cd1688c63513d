"""`xcoder eval` of a model that a real server answers for: through its misbehaviour, a kill, and with a secret key."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openai_server import Call, Fault, OpenAIServer

KEY = "sk-a-very-secret-key"
SUM = "```python\nprint(sum(map(int, input().split())))\n```"

RECIPE = """\
name: tiny
seed: 3
model: {path: someone/served}
evaluation:
  models: [base]
  benchmarks: ["file:bench.jsonl"]
  samples: 6
  k: [1]
  sampling: {max_new_tokens: 40, top_k: 5}
  maximum_invalid_share: 0.1
  generation:
    backend: openai
    openai:
      base_url: BASE_URL
      api_key_env: THE_KEY
      kind: vllm
      max_concurrency: 2
      longest_wait: 0.05
      prompt_price: 1.0
      completion_price: 3.0
judge: {workers: 1}
"""


def row(name: str, statement: str) -> dict[str, Any]:
    return {
        "question_title": name,
        "question_content": statement,
        "platform": "atcoder",
        "question_id": name,
        "contest_id": "abc400",
        "contest_date": "2025-02-01T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3", "testtype": "stdin"}]),
        "private_test_cases": json.dumps([{"input": "4 5\n", "output": "9\n", "testtype": "stdin"}]),
        "metadata": "{}",
    }


def solve(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
    return SUM if "sum" in messages[-1]["content"] else "I do not know."


@pytest.fixture
def served(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("THE_KEY", KEY)
    rows = [row("a", "Print the sum."), row("b", "Print the product of the sums' signs."), row("c", "Print x.")]
    (terminal.folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return terminal


def result_folder(terminal: Any) -> Path:
    (folder,) = (terminal.run_folder / "evaluation").glob("base-*")
    return folder


@pytest.mark.slow
def test_a_killed_evaluation_of_a_served_model_goes_on_and_its_key_is_written_nowhere(served: Any) -> None:
    def misbehave(call: Call) -> Fault | None:
        if "Print x." in call.asked and call.body["seed"] == poisoned[0]:
            return Fault(400, "the prompt is too long")
        return faults.pop() if faults else None

    faults, poisoned = [Fault(429), Fault("cut"), Fault("malformed"), Fault("cut_in_answer")], [-1]
    with OpenAIServer(
        solve, fault_of=misbehave, key=KEY, echo_key=True, models=("someone/served",), seconds_per_token=0.02
    ) as server:
        served.write(RECIPE.replace("BASE_URL", server.base_url))
        process = served.start("eval", "recipe.yaml")
        while sum(call.answered for call in server.calls) < 5:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        time.sleep(0.2)
        before = Counter(call.body["seed"] for call in server.calls if call.answered)
        x_seeds = {call.body["seed"] for call in server.calls if "Print x." in call.asked}
        assert len(before) < 18

        def choose(call: Call) -> Fault | None:
            if "Print x." in call.asked and poisoned[0] == -1 and call.body["seed"] not in x_seeds:
                poisoned[0] = call.body["seed"]
            return misbehave(call)

        server.fault_of = choose
        done = served.xcoder("eval", "recipe.yaml")
        assert done.returncode == 0, done.stderr

    answered = Counter(call.body["seed"] for call in server.calls if call.answered)
    assert set(answered.values()) <= {1, 2}
    assert sum(count == 2 for count in answered.values()) <= 2 * 2  # answered, and not yet taken when the kill came
    folder = result_folder(served)
    scores = json.loads((folder / "scores.json").read_text())["benchmarks"]["bench"]
    assert (scores["invalid"], scores["failures"]["invalid"], scores["failures"]["no_code"]) == (1, 1, 5)
    assert scores["pass_at_1"]["mean"] == pytest.approx(2 / 3)
    assert scores["pass_at_1"]["samples"] == 17

    generation = json.loads((folder / "generation.json").read_text())
    assert generation["sampling_sent"]["top_k"] == 5 and generation["sampling_sent"]["not_sent"] == []
    assert (generation["prompt_tokens"], generation["completion_tokens"]) == (
        scores["prompt_tokens"],
        scores["completion_tokens"],
    )
    expected = (generation["prompt_tokens"] + 3 * generation["completion_tokens"]) / 1e6
    assert generation["cost"] == pytest.approx(expected) and expected > 0
    for path in served.folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in done.stderr + done.stdout


def test_a_plan_checks_the_servers_settings_and_asks_nothing(served: Any) -> None:
    served.write(RECIPE.replace("BASE_URL", "http://127.0.0.1:9/v1"))
    assert served.xcoder("plan", "recipe.yaml").returncode == 0
    without = served.xcoder("plan", "recipe.yaml", "evaluation.generation.openai=null")
    assert without.returncode == 2 and "needs an `openai:` section" in without.stderr
    mistaken = RECIPE.replace("BASE_URL", f"https://me:{KEY}@host/v1").replace("THE_KEY", KEY)
    served.write(mistaken + f"tracking: {{api_key: {KEY}}}\n")
    refused = served.xcoder("plan", "recipe.yaml")
    assert refused.returncode == 2 and "3 mistakes" in refused.stderr
    assert "no user, key or query" in refused.stderr and "the NAME of an environment variable" in refused.stderr
    assert KEY not in refused.stderr + refused.stdout
    served.write(RECIPE.replace("BASE_URL", "http://host/v1").replace("[base]", "[base, sft]"))
    twice = served.xcoder("plan", "recipe.yaml", "evaluation.generation.openai.model=m", "inputs.sft=elsewhere")
    assert twice.returncode == 2 and "measured 2 times over" in twice.stderr


@pytest.mark.slow
def test_a_model_is_measured_without_a_recipe_and_kept(served: Any) -> None:
    with OpenAIServer(solve, models=("a-name",)) as server:
        command = ["eval", "--model", "a-name", "--benchmark", "file:bench.jsonl", "--server", server.base_url]
        done = served.xcoder(*command, "evaluation.samples=2", "evaluation.k=[1]", "judge.workers=1")
        assert done.returncode == 0, done.stderr
        assert len(server.calls) == 6
        again = served.xcoder(*command, "evaluation.samples=2", "evaluation.k=[1]", "judge.workers=1")
        assert again.returncode == 0 and len(server.calls) == 6
    (scores,) = (served.folder / "runs" / "eval-a-name" / "evaluation").glob("base-*/scores.json")
    assert json.loads(scores.read_text())["benchmarks"]["bench"]["pass_at_1"]["mean"] == pytest.approx(2 / 3)


def test_an_evaluation_without_a_recipe_says_what_it_needs(served: Any) -> None:
    for arguments in ([], ["--model", "m"], ["recipe.yaml", "--server", "http://host/v1"], ["r.yaml", "--model", "m"]):
        refused = served.xcoder("eval", *arguments)
        assert refused.returncode == 2 and "--benchmark file:PATH" in refused.stderr
