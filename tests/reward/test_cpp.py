"""Programs in C++: the same verdicts and the same sandbox as Python's, the compiler included."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward.compiler import compile_program, compiled_languages
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import why_not
from reward.verdict import Judgement, Verdict
from reward.worker import Interruption
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

ROOT = Path(__file__).parents[2]
HEAD = "#include <bits/stdc++.h>\nusing namespace std;\n"
# All of the library takes a second to compile, which most of these programs do not need.
SMALL = "".join(
    f"#include <{name}>\n" for name in ("csignal", "cstdio", "cstdlib", "sys/socket.h", "unistd.h", "vector")
)
SUM = HEAD + "int main() { long long a, b; cin >> a >> b; cout << a + b << endl; }"

VERDICTS = {
    SUM: Verdict.AC,
    SMALL + 'int main() { puts("8"); }': Verdict.WA,
    SMALL + "int main() { abort(); }": Verdict.RE,
    SMALL + "int main() { int *p = nullptr; *p = 1; }": Verdict.RE,
    SMALL + 'int main() { puts("7"); return 1; }': Verdict.RE,
    SMALL + "int main() { volatile int i = 0; while (true) i++; }": Verdict.TLE,
    SMALL + "int main() { sleep(60); }": Verdict.TLE,
    SMALL + "int main() { std::vector<std::vector<char>> v; while (true) v.emplace_back(1 << 20, 1); }": Verdict.MLE,
    SMALL + 'int main() { while (true) puts("x"); }': Verdict.OLE,
    SMALL + "int main() { return x; }": Verdict.CE,
    "int main() {": Verdict.CE,
    "": Verdict.CE,
}
HELD = {
    "fork": 'int main() { puts(fork() == -1 ? "7" : "PWNED"); }',
    "shell": 'int main() { char *a[] = {(char *)"sh", 0}; execve("/bin/sh", a, 0); puts("7"); }',
    "system": 'int main() { puts(system("true") == 0 ? "PWNED" : "7"); }',
    "network": 'int main() { puts(socket(AF_INET, SOCK_STREAM, 0) == -1 ? "7" : "PWNED"); }',
    "read": 'int main() { puts(fopen("/etc/passwd", "r") ? "PWNED" : "7"); }',
    "write": 'int main() { puts(fopen("/tmp/pwned_cpp", "w") ? "PWNED" : "7"); }',
    "kill": 'int main() { puts(kill(getppid(), 0) == 0 ? "PWNED" : "7"); }',
}
COMPILER_ATTACKS = {
    "include a file": '#include "/etc/passwd"\nint main() {}',
    "include itself": "#include __FILE__\nint main() {}",
    "include endlessly": '#include "/dev/zero"\nint main() {}',
    "embed a file": 'asm(".incbin \\"/etc/passwd\\""); int main() {}',
    "huge executable": "char x[1 << 30] = {1}; int main() {}",
}


@pytest.fixture(scope="module", params=["A", pytest.param("B", marks=pytest.mark.slow), "C"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    if (reason := why_not(request.param)) is not None:
        pytest.skip(f"tier {request.param} cannot be formed here: {reason}")
    with Judge(JudgeSettings(tier=request.param), workers=2) as judge:
        yield judge


def submission(code: str, language: str = "cpp") -> Submission:
    return Submission("p", code, ("3 4\n", "3 4\n"), ("7\n", "7\n"), language=language, limits=Limits(1.0, 256))


def judged(judge: Judge, *submissions: Submission) -> list[Judgement]:
    return list(judge.judge(submissions, stop_at_first_failure=True))


def test_verdicts(judge: Judge) -> None:
    verdicts = [judgement.verdict for judgement in judged(judge, *map(submission, VERDICTS))]
    assert verdicts == list(VERDICTS.values())


def test_attacks_are_held_and_the_program_after_them_is_judged_right(judge: Judge) -> None:
    *attacks, after = judged(judge, *(submission(SMALL + code) for code in HELD.values()), submission(SUM))
    assert dict(zip(HELD, (attack.verdict for attack in attacks), strict=True)) == dict.fromkeys(HELD, Verdict.AC)
    assert after.verdict is Verdict.AC
    assert not Path("/tmp/pwned_cpp").exists()


def test_a_source_that_attacks_the_compiler_does_not_compile_and_learns_nothing(judge: Judge) -> None:
    for judgement in judged(judge, *map(submission, COMPILER_ATTACKS.values())):
        assert judgement.verdict is Verdict.CE
        assert "root:" not in judgement.message


def test_threads_deep_recursion_and_large_input_are_fine(judge: Judge) -> None:
    threads = HEAD + "int main() { int x = 0; thread t([&] { x = 7; }); t.join(); cout << x; }"
    deep = (
        HEAD
        + "int f(int n) { volatile int x = n; return n ? f(n - 1) + (x < 0) : 7; } int main() { cout << f(3000000); }"
    )
    assert [judgement.verdict for judgement in judged(judge, submission(threads), submission(deep))] == [Verdict.AC] * 2
    numbers = " ".join(map(str, range(500_000)))
    total = HEAD + "int main() { long long s = 0, x; while (cin >> x) s += x; cout << s; }"
    given = Submission("p", total, (numbers,), (str(sum(range(500_000))),), language="cpp")
    assert judged(judge, given)[0].verdict is Verdict.AC


def test_the_standard_is_the_one_that_is_named(judge: Judge) -> None:
    modern = (
        HEAD + "#include <concepts>\ntemplate <std::integral T> T f(T x) { return x; } int main() { cout << f(7); }"
    )
    assert [j.verdict for j in judged(judge, submission(modern), submission(modern, "cpp20"))] == [
        Verdict.CE,
        Verdict.AC,
    ]


def test_outputs_can_be_had_without_expected_ones(judge: Judge) -> None:
    (execution,) = judge.execute([Submission("p", SUM, ("1 2", "3 4"), (None, None), language="cpp")])
    assert [run.output for run in execution.runs] == ["3\n", "7\n"]


def test_a_program_is_compiled_once() -> None:
    language = compiled_languages()["cpp"]
    assert compile_program(language, SUM, "B", Interruption()) is compile_program(language, SUM, "B", Interruption())


def test_what_cannot_be_judged_is_refused_as_input() -> None:
    with pytest.raises(InputError, match="'fortran'; known languages are python, cpp, cpp20"):
        submission(SUM, "fortran")
    with pytest.raises(InputError, match="function_name is for Python"):
        Submission("p", SUM, ("1",), ("1",), function_name="f", language="cpp")


def test_a_missing_compiler_is_said_before_anything_runs(tmp_path: Path) -> None:
    line = {"id": "p", "language": "cpp", "code": SUM, "tests": [{"input": "1 2", "expected": "3"}]}
    (tmp_path / "programs.jsonl").write_text(json.dumps(line))
    command = [sys.executable, "-m", "xcoder_train.cli", "judge", str(tmp_path / "programs.jsonl")]
    run = subprocess.run(command, env={"PATH": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (3, "")
    assert "needs the compiler 'g++', which is not installed" in run.stderr
