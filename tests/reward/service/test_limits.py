"""What the service refuses: strangers, too much at once, too large, too slow. And its faults are never verdicts."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from reward.service.serve import read_token

TOKEN = "correct-horse-battery-staple"
SLEEP = "import time\ntime.sleep(20)"


def sleeping(tests: int, seconds: float = 30) -> dict[str, Any]:
    each = {"input": "", "expected": ""}
    return {"submissions": [{"id": "s", "code": SLEEP, "tests": [each] * tests, "limits": {"seconds": seconds}}]}


@contextmanager
def in_background(work: Callable[[], Any]) -> Iterator[list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    try:
        yield results
    finally:
        thread.join()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def post_and_leave(service: Any, path: str, body: dict[str, Any], seconds: float) -> None:
    with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=service.address, timeout=seconds) as client:
        client.post(path, json=body)


def test_a_full_queue_is_answered_with_429_and_takes_again_later(start: Callable[..., Any]) -> None:
    service = start("--workers", "1", "--queue-tests", "4")
    with in_background(lambda: post_and_leave(service, "/v1/judge", sleeping(4), 3)):
        until(lambda: service.metric("xcoder_judge_queue_tests") == 4)
        for path, body in [
            ("/v1/judge", sleeping(1)),
            ("/run_code", {"code": "print(1)", "language": "python"}),
            ("/judge/long-batch", {"type": "batch", "submissions": [{"type": "python", "solution": ""}]}),
        ]:
            answer = service.client.post(path, json=body)
            assert (answer.status_code, int(answer.headers["Retry-After"]) >= 1) == (429, True)
            assert "the queue takes 4" in answer.json()["detail"]
        assert service.client.get("/health").status_code == 200
    until(lambda: service.metric("xcoder_judge_queue_tests") == 0)
    assert service.client.post("/run_code", json={"code": "print(1)", "language": "python"}).status_code == 200
    assert service.client.post("/v1/judge", json=sleeping(5)).status_code == 413


def test_a_client_that_leaves_ends_its_programs(start: Callable[..., Any]) -> None:
    service = start("--workers", "1")
    endless = {"code": "import time\ntime.sleep(3600)", "language": "python", "run_timeout": 60}
    post_and_leave(service, "/run_code", endless, 1)
    assert service.client.post("/judge", json={"type": "python", "solution": "print(1)"}).json()["success"]
    assert service.metric('xcoder_judge_disconnects_total{endpoint="/run_code"}') == 1
    assert service.metric("xcoder_judge_queue_tests") == 0


def test_a_small_request_does_not_wait_for_all_of_a_large_one(start: Callable[..., Any]) -> None:
    service = start("--workers", "1")
    napping = {"type": "python", "solution": "import time\ntime.sleep(0.05)"}
    batch = {"type": "batch", "submissions": [napping | {"solution": napping["solution"] + f"#{k}"} for k in range(30)]}
    with in_background(lambda: service.client.post("/judge/long-batch", json=batch)) as large:
        until(lambda: service.metric("xcoder_judge_queue_tests") == 30)
        assert httpx.post(service.address + "/judge", json=napping, timeout=30).json()["success"]
        assert large == []
    assert [each["success"] for each in large[0].json()["results"]] == [True] * 30


def test_what_is_not_judged_in_time_is_no_verdict(start: Callable[..., Any]) -> None:
    service = start("--workers", "1", "--deadline-seconds", "0.5")
    (verdict,) = service.client.post("/v1/judge", json=sleeping(1)).json()["verdicts"]
    assert (verdict["verdict"], "deadline" in verdict["message"]) == ("IE", True)
    assert service.client.post("/run_code", json={"code": SLEEP, "language": "python"}).status_code == 504
    result = service.client.post("/judge", json={"type": "python", "solution": SLEEP, "expected_output": ""}).json()
    assert (result["success"], result["reason"]) == (False, "queue_timeout")


def test_a_sandbox_that_keeps_dying_is_no_verdict(start: Callable[..., Any]) -> None:
    service = start("--workers", "1")
    over = threading.Event()

    def kill_sandboxes() -> None:
        while not over.wait(0.3):
            for process in service.below():
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    with in_background(kill_sandboxes):
        try:
            answer = service.client.post("/run_code", json={"code": SLEEP, "language": "python"}).json()
            result = service.client.post("/run", json={"type": "python", "solution": SLEEP}).json()
            (verdict,) = service.client.post("/v1/judge", json=sleeping(1)).json()["verdicts"]
        finally:
            over.set()
    assert (answer["status"], answer["run_result"], bool(answer["message"])) == ("SandboxError", None, True)
    assert (result["reason"], result["success"], result["run_success"]) == ("internal_error", False, False)
    assert (verdict["verdict"], verdict["passed"], bool(verdict["message"])) == ("IE", 0, True)


def test_a_request_that_is_too_large_is_refused_before_it_is_read(start: Callable[..., Any]) -> None:
    service = start("--request-mib", "1", "--queue-mib", "1")
    large = b'{"code": "' + b"x" * (1 << 20) + b'", "language": "python"}'
    assert service.client.post("/run_code", content=large).status_code == 413
    assert service.client.post("/run_code", content=iter([large])).status_code == 413
    assert service.metric("xcoder_judge_queue_bytes") == 0


def test_a_request_that_does_not_arrive_is_given_up(start: Callable[..., Any]) -> None:
    service = start("--body-seconds", "0.5")

    def slow_body() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1.5)
        yield b"}"

    answer = service.client.post("/run_code", content=slow_body(), headers={"Content-Length": "2"})
    assert (answer.status_code, "within 0.5 s" in answer.json()["detail"]) == (408, True)
    assert service.metric("xcoder_judge_queue_bytes") == 0


def test_a_token_is_asked_for_and_never_told(start: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    service = start("--host", "0.0.0.0", "--token-file", str(file))
    program = {"code": "print(1)", "language": "python"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic %"}):
        answer = service.client.post("/run_code", json=program, headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert service.client.get("/metrics").status_code == 401
    assert service.client.get("/health").status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert service.client.post("/run_code", json=program, headers=bearer).json()["status"] == "Success"
    in_url = service.address.replace("://", f"://trainer:{TOKEN}@") + "/run_code"
    assert httpx.post(in_url, json=program).json()["status"] == "Success"
    metrics = service.client.get("/metrics", headers=bearer).text
    assert 'xcoder_judge_requests_total{endpoint="/run_code",status="401"} 4.0' in metrics
    service.end()
    assert TOKEN not in service.said + metrics


def test_a_token_behind_a_byte_order_mark_is_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\r\n", encoding="utf-8-sig")
    assert read_token(tmp_path / "token") == TOKEN


@pytest.mark.parametrize(
    ("options", "token", "message"),
    [
        (["--host", "0.0.0.0"], None, "a token is required"),
        (["--host", "::"], None, "a token is required"),
        (["--host", "0.0.0.0"], "short", "at least 16"),
        (["--token-file", "/nonexistent"], None, "cannot read the token"),
        (["--queue-tests", "0"], None, "--queue-tests 0"),
        (["--queue-mib", "1"], None, "queue_mib (1) must be at least request_mib (64)"),
        (["--tier", "Z"], None, "--tier Z"),
    ],
)
def test_a_service_that_may_not_start_says_why(
    options: list[str], token: str | None, message: str, command: list[str], environment: dict[str, str]
) -> None:
    if token is not None:
        environment = environment | {"XCODER_JUDGE_TOKEN": token}
    ended = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert message in ended.stderr
    assert token is None or token not in ended.stderr


def test_a_web_page_has_no_program_run(start: Callable[..., Any]) -> None:
    open_to_this_machine = start("--workers", "1")
    program = {"code": "print(1)", "language": "python"}
    port = open_to_this_machine.address.rpartition(":")[2]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": f"evil.example:{port}"},  # a name of the page's own that it has resolve to loopback
        {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "["},
    ):
        refused = open_to_this_machine.client.post("/run_code", json=program, headers=headers)
        assert (refused.status_code, "web pages" in refused.text) == (403, True), headers
    for headers in ({"Host": f"localhost:{port}"}, {"Host": "[::1]"}, {"Origin": open_to_this_machine.address}):
        assert open_to_this_machine.client.post("/run_code", json=program, headers=headers).status_code == 200
    guarded = start("--workers", "1", token=TOKEN)
    known = {"Authorization": f"Bearer {TOKEN}"}
    behind_a_proxy = known | {"Host": "judge.example"}
    assert guarded.client.post("/run_code", json=program, headers=behind_a_proxy).status_code == 200
    of_a_page = known | {"Origin": "http://evil.example"}  # whose browser was once told the token in a URL
    assert guarded.client.post("/run_code", json=program, headers=of_a_page).status_code == 403


def test_connections_that_ask_for_nothing_keep_no_one_out(start: Callable[..., Any]) -> None:
    service = start("--workers", "1", descriptors=256)
    idle = [service.connect() for _ in range(120)]
    try:
        for each in idle:
            each.sendall(b"POST /run_code HT")
        program = {"code": "print(1)", "language": "python"}
        assert httpx.post(f"{service.address}/run_code", json=program, timeout=20).json()["status"] == "Success"
        idle += [service.connect() for _ in range(200)]
        until(lambda: answers(service))  # those that gave no head in time are gone, and the rest found no place
        assert httpx.post(f"{service.address}/run_code", json=program, timeout=20).json()["status"] == "Success"
        assert idle[0].recv(1) == b""
    finally:
        for each in idle:
            each.close()


def answers(service: Any) -> bool:
    try:
        return httpx.get(f"{service.address}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_a_head_without_end_is_refused(start: Callable[..., Any]) -> None:
    service = start("--workers", "1")
    before = service.peak_memory()
    with service.connect() as hostile:
        hostile.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(OSError):
            for number in range(100_000):
                hostile.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
    assert service.peak_memory() - before < 32 << 20


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/judge", '{"submissions": [' + ",".join(["[]"] * 300_000) + "]}"),
        ("/v1/judge", "{" + ",".join(f'"{number}": 1' for number in range(100_000)) + "}"),
        ("/v1/judge", '{"submissions": [{"id": "' + "A" * 1_000_000 + '", "code": "", "tests": []}]}'),
        ("/v1/judge", '{"' + "A" * 1_000_000 + '": 1}'),
        ("/run_code", '{"code": "", "language": "python", "files": {"a": ' + "[" * 500 + "]" * 500 + "}}"),
        ("/run_code", "[" * 1_000_000),
        ("/judge/batch", '{"submissions": [' + ",".join(["1"] * 300_000) + "]}"),
        ("/api/v2/execute", '{"language": "cf_python3", "files": [' + ",".join(["1"] * 300_000) + "]}"),
    ],
)
def test_a_request_of_nothing_but_mistakes_is_refused_in_few_words(service: Any, path: str, body: str) -> None:
    before = service.peak_memory()
    answer = service.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and len(answer.content) < 20_000
    assert service.peak_memory() - before < 100 << 20


def test_tests_of_a_function_that_are_no_json_are_the_clients_mistake(service: Any) -> None:
    tests = [{"input": "1", "expected": "1"}, {"input": "[1", "expected": "1"}]
    program = {"id": "f", "code": "def f(x): return x", "function_name": "f", "tests": tests}
    refused = service.client.post("/v1/judge", json={"submissions": [program]})
    assert (refused.status_code, "tests[1].input" in refused.text) == (422, True)
