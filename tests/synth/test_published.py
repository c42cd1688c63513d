"""Published sets in their own columns become problems, tests and solutions that training reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reward.config import JudgeSettings
from reward.test_table import TestTable
from synth.config import SynthSettings
from synth.pipeline import synthesise
from synth.published.stage import import_published
from synth.tables import Quarantined, Removal, WorkTables
from tests.synth.published_rows import (
    ADD,
    LONGEST,
    MAXIMUM,
    SFT_ROWS,
    SUM,
    TWO_SUM,
    context_in,
    in_and_out,
    rl,
    rl_rows,
    write_parquet,
)
from xcoder_core.errors import InputError
from xcoder_core.problem import Problem, Solution, TestCase, problem_id
from xcoder_core.records import read_records, read_table
from xcoder_core.stage import Membership, SynthLayout


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets as they lie on the hub, in two files each."""
    folder = tmp_path_factory.mktemp("hub")
    for number, rows in enumerate((SFT_ROWS[:5], SFT_ROWS[5:])):
        write_parquet(folder / "sft" / "data" / f"verified_90k-0000{number}-of-00002.parquet", rows)
    write_parquet(folder / "sft" / "data" / "unique_prompt_202k-00000-of-00001.parquet", SFT_ROWS[:1])
    parts = folder / "rl" / "syn_rl_data" / "xcoder_data" / "sorted_by_passrate"
    for number, rows in enumerate((rl_rows()[:4], rl_rows()[4:])):
        write_parquet(parts / f"part_000{number}.parquet", rows)
    write_parquet(folder / "rl" / "real_rl_data" / "non_sys_prompt" / "test_wo_prompt.parquet", rl_rows()[:1])
    return folder


def settings_for(sets: Path, **changed: Any) -> SynthSettings:
    imports = [
        {"source": "x-coder-sft-376k", "path": str(sets / "sft"), "configuration": "verified_90k"},
        {"source": "x-coder-rl-40k", "path": str(sets / "rl")},
    ]
    return SynthSettings.model_validate({"import": imports, "cleaning": {"similarity": 0.99}, **changed})


@pytest.fixture(scope="session")
def sft_only(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> SynthLayout:
    folder = tmp_path_factory.mktemp("sft_only")
    synthesise(only(sets, 0), JudgeSettings(), "plain", context_in(folder))
    return SynthLayout(folder)


@pytest.fixture(scope="session")
def rl_only(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> SynthLayout:
    folder = tmp_path_factory.mktemp("rl_only")
    synthesise(only(sets, 1), JudgeSettings(), "plain", context_in(folder))
    return SynthLayout(folder)


def only(sets: Path, place: int, **changed: Any) -> SynthSettings:
    item = settings_for(sets).model_dump(mode="json")["import"][place]
    return SynthSettings.model_validate({"import": [item], "cleaning": {"similarity": 0.99}, **changed})


def quarantined(layout: SynthLayout) -> dict[int, str]:
    rows = read_records(WorkTables(layout.folder).quarantine, Quarantined)
    return {int(row.task_id.rpartition("-")[2]): row.reason for row in rows}


def test_answers_are_kept_byte_for_byte_and_pooled_by_problem(sft_only: SynthLayout) -> None:
    identity = problem_id(SUM, "stdin", None, None)
    pooled = [row for row in read_records(sft_only.solutions, Solution) if row.problem_id == identity]
    assert [row.response for row in pooled] == [SFT_ROWS[0]["response"], SFT_ROWS[2]["response"]]
    assert pooled[0].code.strip() == ADD and pooled[0].passed is None
    rows = read_table(sft_only.dataset("sft") / "train.parquet").to_pylist()
    ours = [row for row in rows if row["problem_id"] == identity]
    assert {row["completion"][0]["content"] for row in ours} == {row.response for row in pooled}
    assert [row["rank"] for row in ours] == [0, 1] and ours[0]["prompt"] == [{"role": "user", "content": SUM}]


def test_bad_rows_are_quarantined_with_their_reasons_and_counted(sft_only: SynthLayout) -> None:
    reasons = quarantined(sft_only)
    assert reasons == {
        3: "the same answer as an earlier row of the problem",
        4: "no Python program, only cpp",
        5: "the answer is cut short: reasoning or a code block is not closed",
        6: "the program does not parse as Python",
        7: "`query` holds no text",
        11: "the solution is for another signature than most solutions of the problem",
    }
    (counts,) = json.loads(sft_only.funnel.read_text()).values()
    assert counts["rows"] == len(SFT_ROWS) and sum(counts["set_aside"].values()) == len(reasons)
    assert (counts["made"], counts["kept"], counts["accepted_solutions"], counts["rows_merged"]) == (4, 4, 6, 2)
    assert counts["kinds"] == {"function": 2, "stdin": 2}


def test_function_problems_are_told_from_stdin_problems(sft_only: SynthLayout) -> None:
    """Where a statement shows no signature, the one that most solutions are for is shown with it."""
    found = {row.statement: row for row in read_records(sft_only.problems, Problem)}
    assert (found[SUM].io, found[SUM].function_name, found[SUM].starter_code) == ("stdin", None, None)
    assert found[TWO_SUM].function_name == "twoSum"
    assert found[MAXIMUM].starter_code == "class Solution:\n    def best(self, values: list[int]) -> int:"


def test_the_band_of_a_file_is_the_difficulty_of_its_problems(tmp_path: Path, sft_only: SynthLayout) -> None:
    """A problem that several bands hold belongs to the first of them, in the order of the files."""
    parts = tmp_path / "rl" / "syn_rl_data" / "xcoder_data" / "sorted_by_passrate"
    again = {**rl_rows()[3], "difficulty": "what the row itself says"}
    for name, rows in (("part_0000", rl_rows()[:1]), ("part_0001", rl_rows()[1:3]), ("rl_tasks_easy", [again])):
        write_parquet(parts / f"{name}.parquet", rows)
    synthesise(only(tmp_path, 1), JudgeSettings(), "plain", context_in(tmp_path / "made"))
    layout = SynthLayout(tmp_path / "made")
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    rows = read_table(layout.dataset("rl") / "train.parquet").to_pylist()
    easy = TWO_SUM.replace("places", "indices")
    expected = {SUM: "part_0000", TWO_SUM: "part_0001", easy: "rl_tasks_easy"}
    assert {problem.statement: problem.difficulty for problem in problems.values()} == expected
    assert {problems[row["problem_id"]].statement: row["difficulty"] for row in rows} == expected
    assert {problem.difficulty for problem in read_records(sft_only.problems, Problem)} == {None}


def test_tests_move_out_of_the_rows_into_the_store(rl_only: SynthLayout, tmp_path: Path) -> None:
    table = read_table(rl_only.dataset("rl") / "train.parquet")
    assert table.column_names == ["problem_id", "style", "depth", "prompt", "pass_rate", "difficulty", "solvable"]
    lookup = TestTable(rl_only, tmp_path / "tests.arrow", at_most=None, seed=0)
    stdin = lookup[problem_id(SUM, "stdin", None, None)]
    assert dict(zip(stdin.inputs, stdin.expected, strict=True)) == {
        "1 2\n": "3\n",
        "4 5\n": "9",
        "7 8\n": "15\n",
        "0\n1": "1\n",
    }
    named = next(row for row in read_records(rl_only.problems, Problem) if row.statement == TWO_SUM)
    assert lookup[named.problem_id].function_name == "twoSum"
    assert lookup[named.problem_id].inputs == ("[2, 7]\n9", "[3, 3]\n6")
    assert lookup[named.problem_id].expected == ("[0, 1]", "[0, 1]")


def test_rl_rows_that_cannot_be_judged_are_quarantined(rl_only: SynthLayout) -> None:
    signature = "a function problem whose statement shows no signature of the function that is called"
    assert quarantined(rl_only) == {
        4: "there are not as many outputs as inputs",
        5: signature,
        6: "`input_output` is not valid JSON",
        7: signature,
    }
    (counts,) = json.loads(rl_only.funnel.read_text()).values()
    assert (counts["rows"], counts["made"], counts["rows_merged"], counts["tests"]) == (8, 3, 1, 7)


def test_what_the_reward_finds_judges_a_program(rl_only: SynthLayout, tmp_path: Path) -> None:
    from reward.open_judge import open_judge
    from reward.submission import Submission

    tests = TestTable(rl_only, tmp_path / "tests.arrow", at_most=None, seed=0)
    for statement, code, passed in (
        (SUM, ADD, 3),
        (TWO_SUM, "class Solution:\n def twoSum(s, n, t): return [0, 1]", 2),
    ):
        named = next(row for row in read_records(rl_only.problems, Problem) if row.statement == statement)
        held = tests[named.problem_id]
        submission = Submission("a", code, held.inputs, held.expected, held.function_name, held.limits)
        with open_judge(JudgeSettings(workers=1)) as judge:
            (judgement,) = judge.judge([submission], stop_at_first_failure=False)
        assert judgement.passed == passed, judgement


def test_a_problem_of_two_sets_belongs_to_the_first(sets: Path, tmp_path: Path) -> None:
    synthesise(settings_for(sets), JudgeSettings(), "plain", context_in(tmp_path))
    layout = SynthLayout(tmp_path)
    uses = {row.problem_id: row.use for row in read_records(layout.memberships, Membership)}
    assert uses[problem_id(SUM, "stdin", None, None)] == "sft" and sorted(uses.values()) == ["rl", *["sft"] * 4]
    counts = json.loads(layout.funnel.read_text())["x-coder-rl-40k-synthetic"]
    assert counts["set_aside"]["the problem is in an import that stands before this one"] == 3


def test_the_bytes_do_not_depend_on_kills_or_on_how_much_is_held(
    sets: Path, tmp_path: Path, digests: Callable[[Path], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at every write of a run, at every row: the same problems, tests, datasets and cards as in one go."""
    import synth.published.pooling as pooling

    settings = settings_for(sets)
    import_published(settings, "plain", context_in(tmp_path / "whole"))
    written = pooling.ImportWork.write_read

    class Killed(BaseException):
        pass

    def killing(self: Any, at: Any) -> None:
        written(self, at)
        raise Killed

    monkeypatch.setattr(pooling.ImportWork, "write_read", killing)
    monkeypatch.setattr(pooling, "RUN_BYTES", 1)
    kills = 0
    while True:
        try:
            import_published(settings, "plain", context_in(tmp_path / "killed"))
        except Killed:
            kills += 1
            continue
        break
    assert kills == len(SFT_ROWS) + len(rl_rows()) + 2
    whole, killed = digests(tmp_path / "whole"), digests(tmp_path / "killed")
    assert {k: v for k, v in whole.items() if "position" not in k} == {
        k: v for k, v in killed.items() if "position" not in k
    }
    assert {"problems.parquet", "tests.parquet", "datasets/sft/train.parquet", "quarantine.parquet"} <= whole.keys()


def test_a_limit_takes_the_first_rows(sets: Path, tmp_path: Path) -> None:
    settings = only(sets, 0)
    item = {**settings.model_dump(mode="json")["import"][0], "limit": 2}
    import_published(SynthSettings.model_validate({"import": [item]}), "plain", context_in(tmp_path))
    assert [row.statement for row in read_records(SynthLayout(tmp_path).problems, Problem)] in (
        [SUM, LONGEST],
        [LONGEST, SUM],
    )


def test_json_lines_are_read_as_parquet_is(sets: Path, sft_only: SynthLayout, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SFT_ROWS))
    item = {"source": "x-coder-sft-376k", "path": str(path), "configuration": "verified_90k"}
    settings = SynthSettings.model_validate({"import": [item], "cleaning": {"similarity": 0.99}})
    import_published(settings, "plain", context_in(tmp_path / "run"))
    assert SynthLayout(tmp_path / "run").problems.read_bytes() == sft_only.problems.read_bytes()


def test_evaluation_problems_among_the_published_files_are_never_read(sets: Path, tmp_path: Path) -> None:
    item = {"source": "x-coder-rl-40k", "path": str(sets / "rl"), "configuration": "real"}
    with pytest.raises(InputError, match="with `real_rl_data` in its path"):
        import_published(SynthSettings.model_validate({"import": [item]}), "plain", context_in(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs `splits`.*or `import`"),
        ({"splits": {"a": {"use": "sft", "tasks": 1}}}, "`splits` says how tasks are made"),
        ({"candidates_per_task": 4}, "`candidates_per_task` says how tasks are made"),
        ({"verification": {"vote": "em"}}, "`verification` says how tasks are made"),
        ({"import": [{"source": "x-coder-rl-40k", "configuration": "verified_90k"}]}, "expected synthetic, real"),
        ({"import": [{"source": "x-coder-rl-40k"}] * 2}, "names one set twice"),
        ({"import": [{"source": "x-coder-rl-40k", "path": "/", "revision": "a"}]}, "revision belongs to a dataset"),
    ],
)
def test_imports_and_synthesis_are_not_mixed_up(settings: dict[str, Any], said: str) -> None:
    given = (
        settings if settings == {} or "import" in settings else {"import": [{"source": "x-coder-rl-40k"}], **settings}
    )
    with pytest.raises(ValidationError, match=said):
        SynthSettings.model_validate(given)


def test_what_an_evaluation_set_holds_is_not_imported(sets: Path, tmp_path: Path) -> None:
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(
        json.dumps({"question_id": "abc_1", "question_content": f"Title\n{SUM.upper()}\nExamples"}) + "\n"
    )
    settings = only(sets, 0, cleaning={"similarity": 0.99, "decontaminate": [str(benchmark)]})
    import_published(settings, "plain", context_in(tmp_path / "run"))
    layout = SynthLayout(tmp_path / "run")
    (removal,) = read_records(WorkTables(layout.folder).removals, Removal)
    assert (removal.reason, removal.partner_task_id, removal.partner_problem_id) == ("contaminated", "bench", "abc_1")
    assert SUM not in {row.statement for row in read_records(layout.problems, Problem)}
    assert json.loads(layout.decontamination.read_text())["tasks_removed"] == 1


def test_an_imported_test_carries_where_it_comes_from(rl_only: SynthLayout) -> None:
    assert {row.origin for row in read_records(rl_only.tests, TestCase)} == {"published"}


def test_an_input_with_two_outputs_is_no_test(sets: Path, tmp_path: Path) -> None:
    rows = [
        rl(SUM, "codeforces", type="stdin_stdout", input_output=in_and_out(["1 2\n", "4 5\n"], ["3\n", "9\n"])),
        rl(SUM, "codeforces", type="stdin_stdout", input_output=in_and_out(["1 2\n"], ["4\n"])),
    ]
    write_parquet(tmp_path / "set" / "syn_rl_data.parquet", rows)
    item = {"source": "x-coder-rl-40k", "path": str(tmp_path / "set")}
    import_published(SynthSettings.model_validate({"import": [item]}), "plain", context_in(tmp_path / "run"))
    layout = SynthLayout(tmp_path / "run")
    assert [(row.input, row.expected) for row in read_records(layout.tests, TestCase)] == [("4 5\n", "9\n")]
    (counts,) = json.loads(layout.funnel.read_text()).values()
    assert (counts["tests"], counts["tests_in_conflict"]) == (1, 1)


def test_an_import_prints_what_became_of_every_row(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesise(only(sets, 0), JudgeSettings(), "plain", context_in(tmp_path))
    shown = capsys.readouterr().err
    (funnel,) = json.loads(SynthLayout(tmp_path).funnel.read_text()).values()
    assert f"rows {funnel['rows']}, set aside: " in shown and f"problems kept {funnel['kept']}, " in shown
    assert funnel["set_aside"] and all(f"{reason} {count}, " in shown for reason, count in funnel["set_aside"].items())


def test_an_import_of_which_cleaning_keeps_nothing_is_an_error_that_says_why(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set" / "data" / "verified_90k-00000-of-00001.parquet", SFT_ROWS[:1])
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"question_id": "abc_1", "question_content": f"Title\n{SUM.upper()}\nExamples"}) + "\n")
    item = {"source": "x-coder-sft-376k", "path": str(tmp_path / "set"), "configuration": "verified_90k"}
    settings = SynthSettings.model_validate({"import": [item], "cleaning": {"decontaminate": [str(bench)]}})
    with pytest.raises(InputError, match=r"kept no task at all.* reasons: contaminated \(1\)"):
        synthesise(settings, JudgeSettings(), "plain", context_in(tmp_path / "run"))
    assert not (tmp_path / "run" / "stage.json").exists()
