"""Duplicates among verified tasks: which go, which stay, and in favour of whom."""

import hashlib
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth.cleaning import Decontamination, EvaluationSet, find_duplicates, find_removals, read_evaluation_set
from synth.config import CleaningSettings, SynthSettings
from synth.procedural.teacher import ProceduralTeacher
from synth.statement_index import statement_ngrams, statement_shingles
from synth.tables import Removal, Task, Verdict, WorkTables, task_id
from synth.teaching import make_tasks
from xcoder_core.errors import InputError
from xcoder_core.problem import problem_id
from xcoder_core.records import RecordStore, read_records
from xcoder_core.stage import Membership, SynthLayout

WORDS = [f"word{n}" for n in range(60)]


def verdict(task_id: str, statement: str, problem_id: str | None = None) -> Verdict:
    identity = problem_id or f"problem of {task_id}"
    split = task_id.split("-")[1]
    return Verdict(task_id, identity, split, statement, None, (), (), (), (), (), (), (), 0, 0, True)


def removals(*verdicts: Verdict, **settings: float) -> list[Removal]:
    return list(find_duplicates(iter(verdicts), CleaningSettings.model_validate(settings)))


def changed(count: int) -> str:
    """The 60-word statement with its last `count` words replaced."""
    return " ".join(WORDS[: 60 - count] + [f"other{n}" for n in range(count)])


def test_an_exact_duplicate_always_goes_and_names_its_partner() -> None:
    one, two = verdict("000-a-1", "Add 2. Print it.", "same"), verdict("001-b-1", "Add 2. Print it.", "same")
    (removal,) = removals(one, two, similarity=1.0)
    assert removal == Removal("001-b-1", "same", "b", "exact duplicate", "000-a-1", "same", 1.0)


def test_a_near_duplicate_goes_at_the_similarity_that_was_set() -> None:
    """Five of 60 words changed leave 53 of 63 three-word shingles in common: 0.84."""
    one, two = verdict("000-a-1", changed(0)), verdict("001-b-1", changed(5))
    (removal,) = removals(one, two, similarity=0.8)
    assert (removal.task_id, removal.reason, removal.partner_task_id) == ("001-b-1", "near-duplicate", "000-a-1")
    assert abs(removal.similarity - 53 / 63) < 1e-9
    assert removals(one, two, similarity=0.9) == []


def test_different_statements_stay() -> None:
    assert removals(verdict("000-a-1", changed(0)), verdict("001-b-1", changed(40)), similarity=0.7) == []


def test_the_most_similar_earlier_task_is_the_partner() -> None:
    far, near = verdict("000-a-1", changed(8)), verdict("000-a-2", changed(2))
    (removal,) = removals(far, near, verdict("001-b-1", changed(1)), similarity=0.8)
    assert removal.partner_task_id == "000-a-2"


def test_what_was_removed_removes_nothing_itself() -> None:
    """Each is like the one before it; the third is not like the first."""
    chain = [verdict(f"000-a-{n}", changed(5 * n)) for n in range(3)]
    assert [removal.task_id for removal in removals(*chain, similarity=0.8)] == ["000-a-1"]


def test_memory_does_not_grow_with_the_tasks_that_stay() -> None:
    """Python's own is traced; what SQLite holds is bounded by its cache."""
    most_traced: list[int] = []

    def different(count: int) -> Iterator[Verdict]:
        for number in range(count):
            yield verdict(f"000-a-{number}", " ".join(f"word{number}x{place}" for place in range(40)))
            most_traced.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        assert list(find_duplicates(different(900), CleaningSettings())) == []
    finally:
        tracemalloc.stop()
    assert max(most_traced[600:]) - max(most_traced[:300]) < 60_000  # bytes, for some 600 further tasks


def test_shingles_ignore_case_punctuation_and_line_breaks() -> None:
    assert statement_shingles("Add 2.\nPrint: the sum!", 3) == statement_shingles("add 2 print THE sum", 3)
    assert len(statement_shingles("one two", 3)) == 1
    assert statement_shingles("a b c d", 3) != statement_shingles("a b c d", 2)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("给定n个整数a1，求和。", ["给", "定", "n", "个", "整", "数", "a1", "求", "和"]),
        ("データを2回読む", ["デ", "ー", "タ", "を", "2", "回", "読", "む"]),
        ("ﾃﾞｰﾀ 𠮷々 12", ["ﾃ", "ﾞ", "ｰ", "ﾀ", "𠮷", "々", "12"]),
        ("พิมพ์ ๑๒ ค่าx", ["พิ", "ม", "พ์", "๑๒", "ค่", "า", "x"]),
        ("ພິມ ໑໒", ["ພິ", "ມ", "໑໒"]),
        ("បោះពុម្ព។", ["បោះ", "ពុ", "ម្", "ព"]),
        ("ကိန်း၊ ၁၂", ["ကိ", "န်း", "၁၂"]),
        ("གྲངས་ཀ།", ["གྲ", "ང", "ས", "ཀ"]),
    ],
)
def test_characters_are_words_where_a_script_has_no_spaces(statement: str, words: list[str]) -> None:
    assert statement_shingles(statement, 1) == {zlib.crc32(word.encode()) for word in words}


@pytest.mark.parametrize(
    "statement",
    [
        "정수 N개가 주어진다. 합을_출력 ㄱㄴ ﾡ",
        "يُعطى عددٌ صحيح n، اطبع المجموع ١٢٣",
        "Дано целое ЧИСЛО n; ё-моё",
        "एक पूर्णांक n दिया गया है। योग छापें १२",
        "Ünïcode naïve_x façade 12ab ① ² ǅ ᚠ ߊ",
        "Δίνεται ο αριθμός · שלום עולם ՀԱՅ ქართ አማርኛ தமிழ் বাংলা",
    ],
)
def test_shingles_of_scripts_with_spaces_stay_as_they_were(statement: str) -> None:
    """Other ones would take other tasks out of sets that are cleaned again."""
    words = re.findall(r"[^\W_]+", statement.lower())
    runs = {" ".join(words[place : place + 2]) for place in range(len(words) - 1)}
    assert statement_shingles(statement, 2) == {zlib.crc32(run.encode()) for run in runs}


CHINESE = "给定一个长度为n的整数序列和一个整数k，请你选出恰好k个互不相邻的元素，使它们的和最大，并输出这个最大值。"
JAPANESE = (
    "長さNの文字列Sが与えられます。隣り合う二文字を何度でも入れ替えられるとき、辞書順で最小の文字列を求めてください。"
)
THAI = "ให้ตัวเลขมาหนึ่งชุดซึ่งเรียงจากน้อยไปมากจงหาว่ามีกี่คู่ที่ผลรวมหารด้วยสามลงตัวแล้วพิมพ์จำนวนคู่นั้นออกมา"


@pytest.mark.parametrize("statement", [CHINESE, JAPANESE, THAI])
def test_copies_are_found_in_languages_without_spaces(statement: str, tmp_path: Path) -> None:
    edited = statement[:20] + "甲" + statement[21:]
    within = "从前有一位国王。" + statement.rstrip("。") + "，祝你好运"
    against = evaluation_set(tmp_path, statement, "Print the sum of two integers that are given on one line.")
    other = verdict("000-a-3", CHINESE if statement != CHINESE else JAPANESE)
    copies = [verdict("000-a-1", edited), verdict("000-a-2", within)]
    removed = held_against(against, *copies, other)
    assert [removal.task_id for removal in removed] == ["000-a-1", "000-a-2"]
    near = removals(verdict("000-a-0", statement), verdict("000-a-1", edited), other, similarity=0.8)
    assert [(one.task_id, one.reason) for one in near] == [("000-a-1", "near-duplicate")]


def evaluation_set(folder: Path, *statements: str, name: str = "bench", **columns: Any) -> EvaluationSet:
    """A file in LiveCodeBench's columns, read back."""
    path = folder / f"{name}.jsonl"
    rows = [{"question_id": f"q{n}", "question_content": text, **columns} for n, text in enumerate(statements)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_evaluation_set(path)


def held_against(held: EvaluationSet, *verdicts: Verdict, uses: str = "sft", **settings: Any) -> list[Removal]:
    cleaning = CleaningSettings.model_validate({"similarity": 1.0, **settings})
    against = Decontamination([held], cleaning)
    return list(find_removals(iter(verdicts), cleaning, against, {v.split: uses for v in verdicts}))


def test_a_task_that_an_evaluation_set_holds_goes_and_names_the_problem(tmp_path: Path) -> None:
    held = evaluation_set(tmp_path, " ".join(f"other{n}" for n in range(60)), changed(0).upper())
    copied, longer = verdict("001-b-1", changed(4)), verdict("001-b-2", f"Once upon a time. {changed(0)} The end.")
    clean = verdict("001-b-3", " ".join(f"own{n}" for n in range(60)))
    found = {removal.task_id: removal for removal in held_against(held, copied, longer, clean)}
    assert found.keys() == {"001-b-1", "001-b-2"}
    assert {(r.reason, r.partner_task_id, r.partner_problem_id) for r in found.values()} == {
        ("contaminated", "bench", "q1")
    }
    assert (
        abs(found["001-b-1"].similarity - 52 / 56) < 1e-9
    )  # 60 words have 56 five-grams, four changed ones spoil four
    assert found["001-b-2"].similarity == 1.0


def test_a_contaminated_task_removes_no_other_as_its_duplicate(tmp_path: Path) -> None:
    held = evaluation_set(tmp_path, changed(0))
    same = [verdict("001-b-1", changed(0), "same"), verdict("001-b-2", changed(0), "same")]
    assert [removal.reason for removal in held_against(held, *same)] == ["contaminated"] * 2


def test_the_share_that_was_set_decides(tmp_path: Path) -> None:
    held = evaluation_set(tmp_path, changed(0))
    half = verdict("001-b-1", changed(30))  # 26 of 56 five-grams in common
    assert [removal.task_id for removal in held_against(held, half, ngram_share=0.46)] == ["001-b-1"]
    assert held_against(held, half, ngram_share=0.47) == []
    assert held_against(held, verdict("001-b-1", changed(47)), ngram_words=13, ngram_share=0)
    assert not held_against(held, verdict("001-b-1", changed(48)), ngram_words=13, ngram_share=0)


def test_phrases_of_the_trade_are_no_evidence(tmp_path: Path) -> None:
    """Five problems share a sentence; a sixth that has it as well was taken from none of them."""
    phrase = "the first line of the input contains two integers n and k separated by one space"
    told = [f"{phrase} " + " ".join(f"p{n}w{m}" for m in range(10)) for n in range(6)]
    held = evaluation_set(tmp_path, *told[:5])
    assert held_against(held, verdict("001-b-1", told[5])) == []
    assert held_against(held, verdict("001-b-1", told[5]), boilerplate=None) != []
    assert held_against(held, verdict("001-b-1", told[0])) != []
    assert held_against(evaluation_set(tmp_path, *[told[0]] * 5), verdict("001-b-1", told[0])) != []


def test_tasks_for_evaluation_are_not_decontaminated(tmp_path: Path) -> None:
    held = evaluation_set(tmp_path, changed(0))
    assert held_against(held, verdict("000-a-1", changed(0)), uses="evaluation") == []


def test_problems_outside_the_window_are_not_compared(tmp_path: Path) -> None:
    dated = evaluation_set(tmp_path, changed(0), contest_date="2024-07-31T00:00:00")
    copied = verdict("001-b-1", changed(0))
    assert held_against(dated, copied, window=["2024-07-31", "2024-07-31"]) != []
    assert held_against(dated, copied, window=["2024-08-01", None]) == []
    assert held_against(dated, copied, window=[None, "2024-07-30"]) == []
    assert held_against(evaluation_set(tmp_path, changed(0)), copied, window=["2024-08-01", None]) != []


def test_the_report_says_what_was_compared_and_by_what_check(tmp_path: Path) -> None:
    held = evaluation_set(tmp_path, changed(0), changed(60), contest_date="2024-09-01")
    settings = CleaningSettings.model_validate({"window": ["2025-01-01", None]})
    report = Decontamination([held], settings).report(7, ["bench", "bench"])
    (entry,) = report.pop("sets")
    assert entry.pop("sha256") == hashlib.sha256((tmp_path / "bench.jsonl").read_bytes()).hexdigest()
    assert entry == {
        "name": "bench", "problems": 2, "compared": 0, "dates": ["2024-09-01", "2024-09-01"], "tasks_removed": 2
    }  # fmt: skip
    check = {"kind": "word n-grams", "words": 5, "share": 0.2, "boilerplate": 3, "window": ["2025-01-01", None]}
    assert report == {"check": check, "tasks_checked": 7, "tasks_removed": 2}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "holds no row"),
        ("{}", "none of the columns question_content"),
        ('{"question_content": " "}', "holds no text"),
        ("[1]", "expected an object"),
        ('{"problem": "a", "contest_date": "soon"}', "is not a date in ISO format"),
    ],
)
def test_an_evaluation_set_that_cannot_be_read_is_refused_with_its_row(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=said):
        read_evaluation_set(path)


def test_ngrams_have_hashes_that_do_not_meet_by_accident() -> None:
    assert max(statement_ngrams(" ".join(WORDS), 5)) > 1 << 32
    assert statement_ngrams("Add 2.\nPrint: it!", 3) == statement_ngrams("add 2 print IT", 3)


def test_a_run_says_what_it_was_compared_with(finished_run: Path) -> None:
    report = json.loads(SynthLayout(finished_run).decontamination.read_text())
    assert report["sets"] == [] and report["tasks_checked"] == 0


def test_a_training_task_like_an_evaluation_task_is_removed_from_a_run(
    tmp_path: Path, small_settings: dict[str, Any], finish_synthesis: Callable[..., Path]
) -> None:
    """Planted: the first training task is the first evaluation task with other punctuation."""
    small_settings["splits"] = {
        "train": {"use": "sft", "tasks": 3, "depth": [2], "styles": {"codeforces": 1}},
        "heldout": {"use": "evaluation", "tasks": 2, "depth": [2], "styles": {"codeforces": 1}},
    }
    small_settings["teacher"] = {"wrong_rate": 0.0, "broken_rate": 0.0}
    settings = SynthSettings.model_validate(small_settings)
    scratch, tables = WorkTables(tmp_path / "scratch"), WorkTables(tmp_path / "run")
    make_tasks(settings, ProceduralTeacher(settings.teacher, 11), scratch, 11)
    heldout = next(read_records(scratch.tasks, Task))
    assert heldout.use == "evaluation"

    statement = heldout.problem.statement.replace("Print", "print -")
    identity = problem_id(statement, "stdin", None, None)
    reworded = replace(heldout.problem, statement=statement, problem_id=identity)
    planted = replace(heldout, task_id=task_id(1, "train", 0), split="train", use="sft", problem=reworded)
    store = RecordStore(tables.tasks, Task, ("task_id",))
    store.append(planted)
    store.close()

    layout = SynthLayout(finish_synthesis(tmp_path / "run", small_settings))
    (removal,) = read_records(tables.removals, Removal)
    assert removal == Removal(
        planted.task_id, identity, "train", "near-duplicate", heldout.task_id, heldout.problem.problem_id, 1.0
    )
    uses = {record.problem_id: record.use for record in read_records(layout.memberships, Membership)}
    assert uses[heldout.problem.problem_id] == "evaluation" and identity not in uses
    assert json.loads(layout.funnel.read_text())["train"]["dropped"] == {"near-duplicate": 1}


def test_two_evaluation_problems_of_one_id_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "joined.jsonl"
    rows = [{"id": 1, "statement": "Print one."}, {"id": 2, "statement": "Print two."}, {"id": 1, "statement": "Sort."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [problem.problem for problem in read_evaluation_set(path).problems] == ["1", "2", "1 (row 3)"]
