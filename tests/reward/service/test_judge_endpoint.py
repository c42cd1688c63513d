"""Our own endpoint: verdicts as in the file interface, and requests that are wrong."""

import json
from typing import Any

import pytest

SUM = "a, b = map(int, input().split())\nprint(a + b)"
JSON = {"Content-Type": "application/json"}
TESTS = [{"input": "1 2\n", "expected": "3\n"}, {"input": "3 4\n", "expected": "7\n"}]


def submission(**changes: Any) -> dict[str, Any]:
    return {"id": "x", "language": "python", "code": SUM, "function_name": None, "tests": TESTS} | changes


def test_verdicts_come_in_order_and_in_the_form_of_the_file_interface(service: Any) -> None:
    function = {"code": "def double(n): return 2 * n", "function_name": "double"}
    body = {
        "submissions": [
            submission(id="right"),
            submission(id="wrong", code="print(3)", limits={"seconds": 1, "memory_mib": 256}),
            submission(id="function", tests=[{"input": "[1]", "expected": "[1, 1]"}], **function),
            submission(id="broken", code="print("),
            submission(id="half a pair \ud800", code="while True: pass", limits={"seconds": 0.2}),
        ]
    }
    answer = service.client.post("/v1/judge", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 200
    verdicts = answer.json()["verdicts"]
    assert [(v["id"], v["verdict"], v["passed"], v["total"]) for v in verdicts] == [
        ("right", "AC", 2, 2),
        ("wrong", "WA", 1, 2),
        ("function", "AC", 1, 1),
        ("broken", "CE", 0, 2),
        ("half a pair \ud800", "TLE", 0, 2),
    ]
    assert verdicts[0].keys() == {"id", "verdict", "passed", "total", "tests", "tier", "policy", "message"}
    assert verdicts[0]["tests"][0].keys() == {"verdict", "cpu_seconds", "wall_seconds", "memory_mib"}
    assert "SyntaxError" in verdicts[3]["message"]


def test_a_checker_decides_as_in_the_file_interface(service: Any) -> None:
    tolerance = {"kind": "float", "absolute": 0.5, "relative": 0}
    program = {"kind": "program", "code": "print('accept')"}
    near = submission(code="print(sum(map(int, input().split())) + 0.25)")
    body = {"submissions": [near, near | {"checker": tolerance}, near | {"checker": program}]}
    verdicts = service.client.post("/v1/judge", json=body).json()["verdicts"]
    assert [verdict["verdict"] for verdict in verdicts] == ["WA", "AC", "AC"]


def test_a_failed_test_ends_a_submission_where_the_request_says_so(service: Any) -> None:
    body = {"submissions": [submission(code="print(0)")], "stop_at_first_failure": True}
    (verdict,) = service.client.post("/v1/judge", json=body).json()["verdicts"]
    assert (verdict["verdict"], len(verdict["tests"]), verdict["total"]) == ("WA", 1, 2)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"tests": []}, ["tests"], "at least 1 item"),
        ({"code": 7}, ["code"], "valid string"),
        ({"tests": [{"input": "1"}]}, ["tests", 0, "expected"], "required"),
        ({"tests": [{"input": "1", "expected": 1}]}, ["tests", 0, "expected"], "valid string"),
        ({"limits": {"minutes": 1}}, ["limits", "minutes"], "not permitted"),
        ({"limits": {"seconds": True}}, ["limits", "seconds"], "valid number"),
        ({"limits": {"seconds": 0}}, [], "limits.seconds is 0"),
        ({"limits": {"seconds": 1e4}}, ["limits", "seconds"], "at most 120"),
        ({"limits": {"memory_mib": 1 << 19}}, ["limits", "memory_mib"], "at most 4096"),
        ({"language": "cobol"}, [], "known languages are python"),
        ({"function_name": "not a name"}, [], "not a Python name"),
        ({"functionname": "f"}, ["functionname"], "not permitted"),
        ({"checker": {"kind": "exact"}}, [], "one of lines, float"),
    ],
)
def test_a_wrong_field_is_named(service: Any, changes: dict[str, Any], field: list[str | int], message: str) -> None:
    answer = service.client.post("/v1/judge", json={"submissions": [submission(), submission(**changes)]})
    assert answer.status_code == 422
    (wrong,) = answer.json()["detail"]
    assert wrong["loc"] == ["body", "submissions", 1, *field]
    assert message in wrong["msg"]


@pytest.mark.parametrize(
    ("content", "status"), [(b"{oops", 422), (b"[" * 100_000, 400), (b"", 422), (b"\xff\xfe", 422), (b"[1]", 422)]
)
def test_what_is_not_json_is_refused(service: Any, content: bytes, status: int) -> None:
    answer = service.client.post("/v1/judge", content=content, headers=JSON)
    assert (answer.status_code, "detail" in answer.json()) == (status, True)
    assert service.client.get("/health").status_code == 200


def test_an_error_does_not_repeat_the_request(service: Any) -> None:
    answer = service.client.post("/v1/judge", json={"submissions": "x" * 100_000})
    assert answer.status_code == 422
    assert len(answer.content) < 1000


def test_every_endpoint_stands_in_the_openapi_page(service: Any) -> None:
    assert service.client.get("/docs").status_code == 200
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {"/v1/judge", "/run_code", "/judge", "/judge/batch", "/judge/long-batch", "/health"} <= paths.keys()


def test_health_and_metrics_tell_what_was_done(service: Any) -> None:
    health = service.client.get("/health").json()
    assert health == {"status": "ok", "tier": health["tier"], "workers": 2}
    accepted = service.metric('xcoder_judge_tests_total{verdict="AC"}')
    service.client.post("/v1/judge", json={"submissions": [submission()]})
    service.client.get("/no-such-page")
    assert service.metric('xcoder_judge_tests_total{verdict="AC"}') == accepted + 2
    assert service.metric('xcoder_judge_requests_total{endpoint="/v1/judge",status="200"}') >= 1
    assert service.metric('xcoder_judge_requests_total{endpoint="other",status="404"}') >= 1
    assert service.metric("xcoder_judge_queue_tests") == 0
    assert service.metric("xcoder_judge_test_cpu_seconds_total") > 0
