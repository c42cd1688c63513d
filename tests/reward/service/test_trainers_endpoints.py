"""Requests exactly as the clients of SandboxFusion, verl, code-judge, rStar and open-r1 send them."""

import base64
import shutil
from typing import Any

import pytest

SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
CPP_SUM = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }"

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def verl(service: Any, code: str, stdin: str | None = "", **changes: Any) -> dict[str, Any]:
    """What verl's reward posts for one test, with the same headers."""
    payload = {
        "compile_timeout": 10,
        "run_timeout": 10,
        "code": code,
        "stdin": stdin,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    answer = service.client.post("/run_code", json=payload | changes, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_program_that_ends_well_is_a_success_with_its_output(service: Any) -> None:
    answer = verl(service, SUM, "1 2\n")
    result = answer["run_result"]
    assert 0 < result.pop("execution_time") < 5
    assert result == {"status": "Finished", "return_code": 0, "stdout": "3\n", "stderr": ""}
    assert {name: answer[name] for name in answer if name != "run_result"} == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "executor_pod_name": None,
        "files": {},
    }


def test_a_request_of_the_fewest_fields_is_enough(service: Any) -> None:
    answer = service.client.post("/run_code", json={"code": 'print("Hello")', "language": "python"}).json()
    assert (answer["status"], answer["run_result"]["stdout"]) == ("Success", "Hello\n")
    assert verl(service, "print(1)", None)["status"] == "Success"


def test_a_program_that_fails_gives_its_output_error_and_return_code(service: Any) -> None:
    answer = verl(service, "import sys\nprint('before', flush=True)\nprint('why', file=sys.stderr)\nsys.exit(3)")
    result = answer["run_result"]
    assert (answer["status"], result["status"], result["return_code"]) == ("Failed", "Finished", 3)
    assert (result["stdout"], result["stderr"]) == ("before\n", "why\n")


def test_a_syntax_error_is_an_error_of_the_run_as_in_the_original(service: Any) -> None:
    answer = verl(service, "print(")
    result = answer["run_result"]
    assert (answer["status"], answer["compile_result"]) == ("Failed", None)
    assert (result["status"], result["return_code"]) == ("Finished", 1)
    assert "SyntaxError" in result["stderr"]


def test_running_out_of_time_memory_or_output_is_a_failure_of_the_program(service: Any) -> None:
    slow = verl(service, "print('begun', flush=True)\nwhile True: pass", run_timeout=0.3)
    assert (slow["status"], slow["run_result"]["status"], slow["run_result"]["return_code"]) == (
        "Failed",
        "TimeLimitExceeded",
        None,
    )
    assert slow["run_result"]["stdout"] == "begun\n"
    large = verl(service, "x = bytearray(1 << 30)", memory_limit_MB=64)
    assert (large["status"], large["run_result"]["return_code"]) == ("Failed", 1)
    assert "MemoryError" in large["run_result"]["stderr"]
    loud = verl(service, "try:\n    while True: print('x' * 10**6, flush=True)\nexcept OSError: import os; os._exit(0)")
    assert (loud["status"], loud["run_result"]["return_code"] != 0) == ("Failed", True)


@needs_compiler
def test_cpp_is_compiled_and_a_source_that_is_not_cpp_is_a_failure_of_compiling(service: Any) -> None:
    answer = verl(service, CPP_SUM, "1 2\n", language="cpp")
    assert (answer["status"], answer["run_result"]["stdout"]) == ("Success", "3")
    answer = verl(service, "int main(", language="cpp")
    assert (answer["status"], answer["run_result"]) == ("Failed", None)
    assert answer["compile_result"]["return_code"] == 1
    assert "error" in answer["compile_result"]["stderr"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"language": "rust"}, "language"),
        ({"files": {"a.txt": base64.b64encode(b"1").decode()}}, "files"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"run_timeout": 1000}, "run_timeout"),
        ({"memory_limit_MB": 1 << 20}, "memory_limit_MB"),
        ({"code": None}, "code"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_field(service: Any, changes: dict[str, Any], field: str) -> None:
    answer = service.client.post("/run_code", json={"code": "print(1)", "language": "python"} | changes)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", field])


def judge_submission(**changes: Any) -> dict[str, Any]:
    """What code-judge's client posts for one submission."""
    body = {"sub_id": None, "type": "python", "solution": SUM, "input": "1 2", "expected_output": "3"}
    return body | changes


@pytest.mark.parametrize("path", ["/judge", "/run"])
def test_one_submission(service: Any, path: str) -> None:
    def ask(**changes: Any) -> dict[str, Any]:
        return service.client.post(path, json=judge_submission(**changes)).json()

    right = ask(sub_id="mine")
    assert right.keys() - {"stdout", "stderr"} == {"sub_id", "success", "run_success", "cost", "reason"}
    assert (right["sub_id"], right["success"], right["run_success"], right["reason"]) == ("mine", True, True, "")
    assert 0 < right["cost"] < 5
    wrong = ask(expected_output="4")
    assert (wrong["success"], wrong["run_success"], bool(wrong["sub_id"])) == (False, True, True)
    failing = ask(input="")
    assert (failing["success"], failing["run_success"], failing["reason"]) == (False, False, "")
    assert ask(expected_output=None)["success"]
    assert not ask(expected_output=None, solution="1 / 0")["success"]
    assert not ask(solution="print(")["run_success"]
    assert ("stdout" in right) == (path == "/run")
    if path == "/run":
        assert (right["stdout"], right["stderr"]) == ("3\n", "")
        assert "EOFError" in failing["stderr"]
        loud = ask(solution="print('x' * 10**6)", expected_output="x" * 10**6)
        assert (loud["success"], loud["stdout"]) == (True, "x" * 1000)


@pytest.mark.parametrize("path", ["/judge/batch", "/judge/long-batch", "/run/batch", "/run/long-batch"])
def test_a_batch_keeps_the_order_of_its_submissions(service: Any, path: str) -> None:
    submissions = [judge_submission(sub_id=str(k), input=f"{k} {k}", expected_output=str(2 * k)) for k in range(40)]
    submissions[7]["solution"] = "print(0)"
    submissions[9]["expected_output"] = "0"
    submissions[11] = {"type": "python", "solution": "assert 1 == 2", "expected_output": ""}
    answer = service.client.post(path, json={"type": "batch", "submissions": submissions})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [each["sub_id"] for each in results if each["sub_id"].isdigit()] == [str(k) for k in range(40) if k != 11]
    assert [place for place, each in enumerate(results) if not each["success"]] == [7, 9, 11]
    assert [place for place, each in enumerate(results) if not each["run_success"]] == [11]
    assert answer.json()["sub_id"]


@needs_compiler
def test_a_batch_may_hold_several_languages(service: Any) -> None:
    submissions = [judge_submission(), judge_submission(type="cpp", solution=CPP_SUM), judge_submission()]
    answer = service.client.post("/judge/batch", json={"type": "batch", "submissions": submissions})
    assert [each["success"] for each in answer.json()["results"]] == [True] * 3


def test_a_submission_that_no_worker_can_run_is_refused_with_its_field(service: Any) -> None:
    batch = {"type": "batch", "submissions": [judge_submission(), judge_submission(type="math")]}
    for path in ("/judge/batch", "/run/long-batch"):
        answer = service.client.post(path, json=batch)
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "submissions", 1, "type"])
    empty = service.client.post("/judge/long-batch", json={"type": "batch", "submissions": []})
    assert empty.status_code == 422


def open_r1(service: Any, code: str, given: str, expected: str, **config: Any) -> Any:
    """What open-r1's CodeForces reward posts for one test."""
    lines = {"TIME_LIMIT": 2.0, "MEMORY_LIMIT": 256.0, "INPUT_MODE": "stdio"} | config
    payload = {
        "files": [
            {"name": "main.python", "content": code},
            {"name": "input.txt", "content": given},
            {"name": "correct_output.txt", "content": expected},
            {"name": "grader_config", "content": "\n".join(f"{name}={value}" for name, value in lines.items())},
        ],
        "run_timeout": 12_000.0,
        "language": "cf_python3",
        "version": "*",
    }
    return service.client.post("/api/v2/execute", json=payload, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("code", "expected", "code_of_run", "passed"),
    [
        (SUM, "3", 0, True),
        (SUM, "4", 0, False),
        ("print('Yes', '\\n\\n', 1)", "YES\r\n1\r\n", 0, True),
        ("print('yesterday')", "YESTERDAY", 0, False),
        ("print(", "3", 1, False),
        ("print(3)\nraise SystemExit(7)", "3", 7, False),
        ("while True: pass", "3", 124, False),
    ],
)
def test_a_codeforces_test(service: Any, code: str, expected: str, code_of_run: int, passed: bool) -> None:
    answer = open_r1(service, code, "1 2\r\n", expected, TIME_LIMIT=0.5).json()
    assert answer["compile"]["code"] == 0
    assert (answer["run"]["code"], answer["run"]["stdout"].strip()) == (code_of_run, "1" if passed else "0")


def test_what_piston_would_need_more_for_is_refused(service: Any) -> None:
    for config in ({"INPUT_MODE": "file"}, {"TIME_LIMIT": "long"}, {"TIME_LIMIT": 1e9}, {"MEMORY_LIMIT": "inf"}):
        answer = open_r1(service, SUM, "1 2", "3", **config)
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "files"])
    body = {"language": "c++17", "version": "*", "files": [{"name": "main.cpp", "content": ""}]}
    refused = service.client.post("/api/v2/execute", json=body)
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "language"])


def test_signs_of_life_are_those_of_the_originals(service: Any) -> None:
    assert service.client.get("/v1/ping").json() == "pong"
    assert service.client.get("/ping").json() == "pong"
    assert service.client.get("/api/v2/runtimes").json()[0]["aliases"] == ["cf_python3"]
    assert service.client.get("/status").json() == {"queue": 0, "num_workers": 2}
