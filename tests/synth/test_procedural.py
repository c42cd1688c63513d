"""The procedural teacher: truth, statements, programs, mistakes, reservation. Programs run in the real judge."""

import ast
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reward.config import JudgeSettings
from reward.extract import extract_code
from reward.judge import Judge
from reward.submission import Submission
from synth.config import MAXIMUM_DEPTH, ProceduralTeacherSettings
from synth.procedural.input_forms import FORMS, Instance, draw_instance, read_instance, write_instance
from synth.procedural.pipeline import (
    OPERATIONS,
    OUTPUTS,
    Pipeline,
    Step,
    draw_pipeline,
    is_meaningful,
    read_pipeline,
    write_pipeline,
)
from synth.procedural.task import ProceduralTask, draw_inputs, draw_task, true_output
from synth.procedural.teacher import (
    Breakage,
    ProceduralTeacher,
    Writing,
    break_program,
    mistakes,
    write_program,
    writings,
)
from tests.synth.right_programs import right_programs
from xcoder_core.problem import Limits

STYLES = ("codeforces", "atcoder", "leetcode")


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(workers=2)) as running:
        yield running


def tasks(count: int, depths: tuple[int, ...] = (1, 2, 3)) -> list[ProceduralTask]:
    return [draw_task(seed, depths[seed % len(depths)], STYLES[seed // 3 % 3]) for seed in range(count)]


def submission(name: str, task: ProceduralTask, program: str, inputs: tuple[str, ...]) -> Submission:
    return Submission(
        id=name,
        code=program,
        inputs=inputs,
        expected=tuple(true_output(task.pipeline, text) for text in inputs),
        function_name=task.problem.function_name,
        share_process=task.problem.io == "function",
    )


def pipeline_of(form: str, steps: list[tuple[str, int | str | None]], output: str) -> Pipeline:
    by_name = {operation.name: operation for operation in OPERATIONS.values()}
    return Pipeline(FORMS[form], tuple(Step(by_name[name], value) for name, value in steps), OUTPUTS[output])


def check_all_pass(judge: Judge, submissions: list[Submission]) -> None:
    for asked, judgement in zip(submissions, judge.judge(submissions, stop_at_first_failure=True), strict=True):
        assert judgement.verdict == "AC", f"{judgement.verdict} {judgement.message}\n{asked.code}\n{asked.inputs}"


def test_every_operation_in_every_code_style_gives_the_truth_under_the_judge(judge: Judge) -> None:
    """300 tasks over depths 1 to 3 and all statement styles, three programs each."""
    submissions, seen = [], Counter[tuple[str, int]]()
    for number, task in enumerate(tasks(300)):
        forms = task.pipeline.form
        for style in range(3):
            writing = Writing(style, (number + style) % len(forms.variables), (number + style) % len(forms.readers))
            program = write_program(task.pipeline, writing)
            submissions.append(submission(f"{number}/{style}", task, program, draw_inputs(task.pipeline, 2, number)))
            seen.update((feature, style) for feature in task.pipeline.features)
    check_all_pass(judge, submissions)
    features = [
        *OPERATIONS,
        *(output.feature for output in OUTPUTS.values()),
        *(form.feature for form in FORMS.values()),
    ]
    assert not [(feature, style) for feature in features for style in range(3) if not seen[feature, style]]


@pytest.mark.slow
def test_every_right_program_of_900_tasks_passes_under_the_judge(judge: Judge) -> None:
    check_all_pass(
        judge,
        [
            submission(f"{number}/{place}", task, program, draw_inputs(task.pipeline, 6, number))
            for number, task in enumerate(tasks(900))
            for place, program in enumerate(right_programs(task.pipeline))
        ],
    )


def test_planted_mistakes_are_mostly_caught(judge: Judge) -> None:
    wrong = []
    for number, task in enumerate(tasks(150)):
        mistaken = mistakes(task.pipeline, random.Random(number))
        assert mistaken, f"no mistake is possible in {task.problem.statement!r}"
        program = write_program(mistaken[0], Writing(number % 3, 0, 0))
        assert program not in right_programs(task.pipeline)
        wrong.append(submission(str(number), task, program, draw_inputs(task.pipeline, 6, number)))
    verdicts = Counter(judgement.verdict.value for judgement in judge.judge(wrong, stop_at_first_failure=True))
    assert verdicts["WA"] >= 0.85 * len(wrong)
    assert verdicts["WA"] + verdicts["AC"] + verdicts["RE"] == len(wrong)


@pytest.mark.parametrize(
    ("form", "steps", "output", "text", "expected"),
    [
        ("line of integers", [("keep greater", 2), ("square", None)], "sum", "1 2 3 -4 5\n", "34"),
        ("line of integers", [("keep odd numbers", None)], "list", "-3 2 7\n", "-3 7"),
        ("counted integers", [("window sums", 3)], "maximum", "4\n1 2 3 4\n", "9"),
        ("counted integers", [("window sums", 4)], "maximum", "3\n1 2 3\n", "0"),
        ("counted integers with k", [("take first", "k"), ("negate", None)], "list", "4 2\n1 -2 3 4\n", "-1 2"),
        ("counted integers with k", [("subtract", "k")], "largest subarray sum", "4 3\n1 5 4 2\n", "3"),
        ("line of words", [("leading letters", 2), ("distinct words", None)], "joined words", "abc abd cc\n", "abcc"),
        ("line of words", [("letter counts", "a"), ("running maximum", None)], "list", "ab aab b\n", "1 2 2"),
        ("integer list", [("differences", None)], "list", "[5, 3, 9]", "[-2, 6]"),
        ("integer list and k", [("keep less", "k")], "count", "[1, 2, 3]\n3", "2"),
        ("word list", [("upper case", None)], "words", '["ab", "c"]', '["AB", "C"]'),
    ],
)
def test_the_truth_of_tasks_worked_out_by_hand(
    form: str, steps: list[tuple[str, int | str | None]], output: str, text: str, expected: str
) -> None:
    assert true_output(pipeline_of(form, steps, output), text) == expected


def test_a_pipeline_with_an_operation_that_changes_nothing_is_refused() -> None:
    rng = random.Random(0)
    assert is_meaningful(pipeline_of("line of integers", [("square", None)], "sum"), rng)
    assert not is_meaningful(pipeline_of("line of integers", [("reverse", None)], "sum"), rng)
    idle = [("sort increasing", None), ("sort decreasing", None)]
    assert not is_meaningful(pipeline_of("line of integers", idle, "list"), rng)  # type: ignore[arg-type]


def test_a_pipeline_whose_answers_are_nearly_constant_is_refused() -> None:
    constant = [("take first", 2)]
    assert not is_meaningful(pipeline_of("line of integers", constant, "count"), random.Random(0))  # type: ignore[arg-type]


def test_evaluation_signatures_are_reserved_and_never_drawn_for_training() -> None:
    rng = random.Random(0)
    drawn = {
        reserved: {draw_pipeline(rng, 1 + n % 3, n % 4 == 0, reserved)[0].signature for n in range(400)}
        for reserved in (True, False)
    }
    assert not drawn[True] & drawn[False]
    assert len(drawn[True]) > 100


def test_a_signature_ignores_parameters_and_keeps_order_and_form() -> None:
    one = pipeline_of("line of integers", [("add", 2), ("square", None)], "sum")
    assert one.signature == pipeline_of("line of integers", [("add", 5), ("square", None)], "sum").signature
    assert one.signature != pipeline_of("line of integers", [("square", None), ("add", 2)], "sum").signature
    assert one.signature != pipeline_of("counted integers", [("add", 2), ("square", None)], "sum").signature
    assert one.features == (
        "input/stdin/line of integers",
        "list operation/map/add",
        "list operation/map/square",
        "output/numbers/sum",
    )


def test_a_pipeline_composes_as_many_different_operations_as_its_depth_says() -> None:
    for depth in range(1, MAXIMUM_DEPTH + 1):
        for style in STYLES:
            steps = draw_task(depth, depth, style).pipeline.steps  # type: ignore[arg-type]
            assert len({step.operation.name for step in steps}) == len(steps) == depth


def test_the_deepest_evaluation_tasks_can_be_drawn() -> None:
    """Among these seeds are some that need more than a thousand draws."""
    drawn = [draw_task(seed, MAXIMUM_DEPTH, "leetcode", reserved=True) for seed in range(60)]
    assert all(task.pipeline.is_reserved for task in drawn) and max(task.draws for task in drawn) > 1000


def test_pipelines_and_inputs_are_read_back_as_they_were_written() -> None:
    rng = random.Random(0)
    for task in tasks(60):
        assert read_pipeline(write_pipeline(task.pipeline)) == task.pipeline
        instance = draw_instance(task.pipeline.form, rng)
        assert read_instance(task.pipeline.form, write_instance(task.pipeline.form, instance)) == instance


def test_inputs_are_different_and_as_many_as_asked() -> None:
    for task in tasks(30):
        assert len(set(draw_inputs(task.pipeline, 15, 1))) == 15


def test_statement_styles_have_their_form() -> None:
    for seed in range(60):
        codeforces, atcoder, leetcode = (draw_task(seed, 2, style).problem for style in STYLES)
        assert codeforces.statement.startswith("You are given ") and " Print " in codeforces.statement
        assert "\n" not in codeforces.statement
        assert all(part in atcoder.statement for part in ("\nConstraints: ", "\nInput: ", "\nOutput: "))
        assert leetcode.statement.startswith("Given ") and " Return " in leetcode.statement
        assert (codeforces.io, codeforces.function_name, codeforces.starter_code) == ("stdin", None, None)
        assert (leetcode.io, leetcode.function_name) == ("function", "solve")
        assert leetcode.starter_code is not None
        ast.parse(leetcode.starter_code + " pass")


def test_statements_and_programs_stay_short_enough_for_a_small_model() -> None:
    drawn = [draw_task(seed, 3, "codeforces") for seed in range(300)]
    statements = [len(task.problem.statement) for task in drawn]
    programs = [len(program) for task in drawn for program in right_programs(task.pipeline)]
    assert sum(statements) / len(statements) < 200 and max(statements) < 320
    assert sum(programs) / len(programs) < 270


def test_every_operation_is_worded_in_at_least_three_ways_and_shows_its_parameter() -> None:
    for operation in OPERATIONS.values():
        assert len(set(operation.phrasings)) >= 3
        assert all(("{c}" in phrasing) == (operation.parameter is not None) for phrasing in operation.phrasings)
    wordings = [phrasing for operation in OPERATIONS.values() for phrasing in operation.phrasings]
    assert len(wordings) == len(set(wordings))
    assert all(len(set(part.phrasings)) >= 3 for part in (*OUTPUTS.values(), *FORMS.values()))


def test_mistakes_change_the_truth() -> None:
    for number, task in enumerate(tasks(60)):
        rng = random.Random(number)
        instances = [draw_instance(task.pipeline.form, rng) for _ in range(400)]
        for mistaken in mistakes(task.pipeline, rng):
            assert mistaken.form == task.pipeline.form
            assert any(mistaken.answer(instance) != task.pipeline.answer(instance) for instance in instances)


@pytest.mark.parametrize(
    ("breakage", "status"), [("crash", "RE"), ("endless loop", "TLE"), ("no code block", None), ("syntax error", None)]
)
def test_broken_answers_break_as_they_should(judge: Judge, breakage: Breakage, status: str | None) -> None:
    task = draw_task(3, 2, "codeforces")
    pipeline = replace(
        task.pipeline, steps=(Step(OPERATIONS["list operation/map/square"]),), form=FORMS["line of integers"]
    )
    code = extract_code(break_program("a = list(map(int, input().split()))\n", breakage, random.Random(1)))
    if status is None:
        if breakage == "no code block":
            assert code is None
        else:
            with pytest.raises(SyntaxError):
                ast.parse(code or "")
        return
    assert code is not None
    text = write_instance(pipeline.form, Instance([1, 2], 0))
    asked = Submission(breakage, code, (text,), (None,), limits=Limits(seconds=0.5))
    assert [run.status for run in next(judge.execute([asked])).runs] == [status]


def responses(count: int, **rates: float) -> list[tuple[ProceduralTask, list[str]]]:
    silent = {"wrong_rate": 0.0, "common_mistake_rate": 0.0, "broken_rate": 0.0}
    teacher = ProceduralTeacher(ProceduralTeacherSettings.model_validate({**silent, **rates}), 5)
    drawn = [(f"task {n}", task) for n, task in enumerate(tasks(count))]
    return [(task, teacher.responses(name, task.pipeline, list(range(8)))) for name, task in drawn]


def test_right_candidates_alternate_between_the_code_styles() -> None:
    for task, given in responses(40):
        styles: list[set[str]] = [set(), set(), set()]
        for writing in writings(task.pipeline):
            styles[writing.style].add(write_program(task.pipeline, writing))
        programs = [extract_code(response) or "" for response in given]
        assert all(program in set().union(*styles) for program in programs)
        if not (styles[0] & styles[1] or styles[0] & styles[2] or styles[1] & styles[2]):
            assert len(set(programs)) == len(programs)
            for place in (0, 3):
                three = programs[place : place + 3]
                assert sorted(n for program in three for n in range(3) if program in styles[n]) == [0, 1, 2]


def test_the_stated_share_of_candidates_is_wrong_or_broken() -> None:
    outcomes: Counter[str] = Counter()
    for task, given in responses(250, wrong_rate=0.3, broken_rate=0.1):
        right = {ast.dump(ast.parse(program)) for program in right_programs(task.pipeline)}
        for response in given:
            code = extract_code(response)
            try:
                known = code is not None and ast.dump(ast.parse(code)) in right
            except SyntaxError:
                known, code = False, None
            broken = code is None or "missing += 1" in code or "while True" in code
            outcomes["broken" if broken else "right" if known else "wrong"] += 1
    total = sum(outcomes.values())
    assert abs(outcomes["wrong"] / total - 0.3) < 0.04
    assert abs(outcomes["broken"] / total - 0.1) < 0.025


def test_mistaken_candidates_share_the_common_mistake_at_the_stated_rate() -> None:
    """With every mistake common, all candidates of a task compute one and the same wrong pipeline."""
    for task, given in responses(40, wrong_rate=1.0, common_mistake_rate=1.0):
        inputs = [read_instance(task.pipeline.form, text) for text in draw_inputs(task.pipeline, 6, 1)]
        possible = mistakes(task.pipeline, random.Random(0))
        programs = {extract_code(response) for response in given}
        explained = [m for m in possible if programs <= set(right_programs(m))]
        assert explained and all(m.answer(i) == explained[0].answer(i) for m in explained for i in inputs)


def test_a_candidate_is_the_same_whichever_others_are_asked_with_it() -> None:
    teacher = ProceduralTeacher(ProceduralTeacherSettings(wrong_rate=0.4, broken_rate=0.2), 5)
    for number, task in enumerate(tasks(30)):
        together = teacher.responses(str(number), task.pipeline, list(range(6)))
        alone = [teacher.responses(str(number), task.pipeline, [index])[0] for index in range(6)]
        assert together == alone
