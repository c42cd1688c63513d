"""A trace as plain text of at most 80 columns: one block per step of the way, in the order in which it was gone."""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from xcoder_train.core.terminal import harmless

WIDTH = 80
LABEL = 14
STATEMENT_LINES = 6
QUESTIONS, STEPS, SAMPLES = 8, 12, 12
"""How many of each are told one by one; --json has them all."""


def show_trace(told: dict[str, Any]) -> str:
    """The trace for a reader. What teachers and models wrote cannot steer the terminal."""
    return "\n".join(line.rstrip() for line in map(harmless, _lines(told)))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    synthesis = told["synthesis"]
    yield from _row("problem", told["problem_id"] or "none: this task never became one")
    yield from _row("run", told["run"])
    if synthesis is not None:
        outcome = synthesis["outcome"]
        dropped = f"dropped at {outcome['stage']}: {outcome['reason']}"
        yield from _row("outcome", "kept" if outcome["kept"] else dropped)
        yield from _synthesis(synthesis)
        yield from _training(told, synthesis)
    elif told["benchmark"] is not None:
        yield from _benchmark(told["benchmark"])
    yield from _scores(told)


def _synthesis(told: dict[str, Any]) -> Iterator[str]:
    task = told["task"]
    yield from _head("features")
    for number, path in enumerate(task["features"] or ["none are stored"], start=1):
        use = task.get("feature_uses", {}).get(path)
        yield from _row(str(number) if task["features"] else "", path + (f" ({use})" if use else ""))
    if task.get("strategy"):
        yield from _row("strategy", task["strategy"])
    if task.get("subtree"):
        yield from _row("chosen from", f"a subtree of {len(task['subtree'])} features")

    yield from _head("task", told["task_id"] or "")
    use = f", for {task['use']}" if task["use"] else ""
    yield from _row("split", f"{task['split']}{use}; synthesis {told['key']}")
    if "style" in task:
        limits = f"{task['limits']['seconds']:g} s, {task['limits']['memory_mib']} MiB"
        yield from _row("form", f"{task['style']}, {_io(task)}; checker {task['checker']}; {limits}")
    if task.get("draws"):
        draws = "" if task["pipeline"] is None else f", {task['draws']} draw{'s' * (task['draws'] > 1)}"
        yield from _row("depth", f"{task['depth']}{draws}")
    yield from _statement(task.get("statement"))
    yield from _teacher(told["teacher"], task.get("source"))
    for other in told["other_tasks"]:
        removed = other["cleaning"]
        yield from _row("also made", f"{other['task_id']}, {'kept' if removed is None else removed['reason']}")
    for one in told["quarantined"]:
        yield from _row("quarantined", f"{one['about']}: {one['reason']}")

    yield from _head("tests")
    yield from _tests(told["tests"])
    yield from _head("solutions")
    yield from _solutions(told["solutions"], told["verification"], told["tests"]["labelled"])
    yield from _head("cleaning")
    yield from _cleaning(told)


def _teacher(teacher: dict[str, Any], source: str | None) -> Iterator[str]:
    asked = teacher["questions"]
    yield from _row("teacher", teacher["name"] or f"not known; imported as {source or 'a row'}")
    if not asked:
        return
    tokens = [sum(one[name] for one in asked) for name in ("prompt_tokens", "completion_tokens")]
    yield from _row("asked", f"{len(asked)} times; {tokens[0]:,} prompt tokens, {tokens[1]:,} completion tokens")
    stages: defaultdict[str, list[str]] = defaultdict(list)
    for one in asked:
        again = f" (try {one['attempt']})" if one["attempt"] > 1 else ""
        stages[one["stage"]].append(f"{one['question']}{again} {one['prompt_tokens']:,}+{one['completion_tokens']:,}")
    for stage, questions in stages.items():
        yield from _row(f"  {stage}", _some(questions, QUESTIONS))


def _tests(tests: dict[str, Any]) -> Iterator[str]:
    if not tests["inputs"] and not tests["refused"]:
        yield from _row("", "none")
        return
    yield from _row("inputs", f"{tests['inputs']:,}{_counts(tests['categories'], ': ')}")
    if tests["programs"]:
        yield from _row("made by", ", ".join(name.replace("_", " ") for name in tests["programs"]))
    if tests["refused"]:
        yield from _row("refused", f"{len(tests['refused'])}: {_some(tests['refused'], 3)}")
    right = tests["labels_right"]
    told = "" if right is None or not tests["labelled"] else f"; {right} right, as the teacher knows the truth"
    yield from _row("labelled", f"{tests['labelled']:,}{_counts(tests['origins'], ': ')}{told}")
    if tests["labelled"]:
        yield from _row("weights", ", ".join(f"{count} of weight {w}" for w, count in tests["weights"].items()))
    if tests["agreement"] is not None:
        yield from _row("agreement", "mean {mean:.0%}, least {least:.0%}".format(**tests["agreement"]))


def _solutions(solutions: list[dict[str, Any]], verification: dict[str, Any] | None, tests: int) -> Iterator[str]:
    if not solutions:
        yield from _row("", "none are stored")
    for one in solutions:
        yield from _row(f"#{one['index']}", "; ".join(_of_solution(one, tests)))
    if verification is not None:
        right = {None: "", True: ", which is right", False: ", which is wrong"}[verification["golden_right"]]
        golden = "none elected" if verification["golden"] is None else f"#{verification['golden']}{right}"
        yield from _row("golden", golden)
        if verification["limit_seconds"] is not None:
            yield from _row("time limit", f"{verification['limit_seconds']:g} s, calibrated on the golden solution")
        told = f"dropped: {verification['reason']}" if verification["reason"] else "kept"
        yield from _row("verification", f"{told}; agreement {verification['agreement']:.0%}")


def _of_solution(one: dict[str, Any], tests: int) -> Iterator[str]:
    if one["fault"]:
        yield f"quarantined: {one['fault']}"
        return
    if one.get("same_program_as") is not None:
        yield f"the same program as #{one['same_program_as']}"
    elif one.get("runs"):
        yield f"runs {_counts(one['runs'])}"
    if one.get("passed") is not None and tests:
        passed = f"passed {one['passed']} of {tests}, score {one['score']:.2f}"
        yield passed + (", accepted" if one["accepted"] else "")
    if one.get("golden"):
        yield "golden"
    if one["sft_row"] is not None:
        yield f"row {one['sft_row']:,} of the SFT dataset"
    if one.get("passed") is None and not one.get("runs"):
        yield f"by {one['model']}"


def _cleaning(told: dict[str, Any]) -> Iterator[str]:
    removed, sets = told["cleaning"]["removed"], told["cleaning"]["compared_with"]
    verification = told["verification"]
    if removed is not None:
        like = f"{removed['similarity']:.0%} of {removed['like_task']}, {removed['like']}"
        yield from _row("removed", f"{removed['reason']}: {like}")
    elif verification is not None and verification["reason"] or told["outcome"]["stage"] == "tasks":
        yield from _row("", "not reached")
    else:
        yield from _row("", "not a duplicate of an earlier task")
    if sets:
        found = "found in one" if removed and removed["reason"] == "contaminated" else "in none of them"
        yield from _row("compared with", f"{', '.join(one['name'] for one in sets)}: {found}")


def _training(told: dict[str, Any], synthesis: dict[str, Any]) -> Iterator[str]:
    use, rows = synthesis["task"]["use"], synthesis["datasets"]
    if not synthesis["outcome"]["kept"] or use == "evaluation":
        return
    yield from _head("training")
    if use == "sft":
        yield from _row("SFT dataset", "rows " + _some([f"{row['row']:,}" for row in rows["sft"]], STEPS))
        yield from _sft(told["sft"])
    else:
        yield from _row("RL dataset", "row " + _some([f"{row:,}" for row in rows["rl"]], STEPS))
        yield from _grpo(told["grpo"])


def _sft(told: dict[str, Any] | None) -> Iterator[str]:
    if told is None:
        yield from _row("SFT", "the run has no finished SFT")
        return
    chosen = told["solutions"]
    if chosen is None:
        which = f"not known: {told['why']}"
    elif chosen:
        which = f"trained on solutions {', '.join(f'#{index}' for index in chosen)}"
    else:
        which = "none of its rows was chosen (sft.data)"
    yield from _row("SFT", f"{told['key']}: {which}")
    met = f"{told['examples']:,} examples, {told['steps']:,} steps, {told['epochs']:.1f} epochs"
    too_long = f"; {told['too_long']:,} examples of the run were too long, which is not stored one by one"
    yield from _row("", met + (too_long if told["too_long"] else ""))


def _grpo(told: dict[str, Any] | None) -> Iterator[str]:
    if told is None:
        yield from _row("GRPO", "the run has no finished GRPO")
        return
    left = [f"{told['prompts_too_long']:,} too long"] if told["prompts_too_long"] else []
    left += [f"{told['prompts_without_lesson']:,} without a lesson"] if told["prompts_without_lesson"] else []
    out = f"; left out: {', '.join(left)}" if left else ""
    yield from _row("GRPO", f"{told['key']}: {told['prompts']:,} prompts, {told['steps']:,} steps{out}")
    if told["pass_rate"] is not None:
        yield from _row("before", "the model solved it in {solved} of {samples} samples".format(**told["pass_rate"]))
    if not told["met"]:
        yield from _row("met", f"in none of the {told['steps_with_tables']:,} steps whose rollouts are stored")
    for step in told["met"][:STEPS]:
        reward = "no reward" if step["mean_reward"] is None else f"mean reward {step['mean_reward']:+.2f}"
        yield from _row(f"  step {step['step']}", f"{step['rollouts']} rollouts: {_counts(step['verdicts'])}; {reward}")
    if len(told["met"]) > STEPS:
        yield from _row("", f"and {len(told['met']) - STEPS:,} more steps (--json)")


def _benchmark(told: dict[str, Any]) -> Iterator[str]:
    yield from _head("task", told["source"])
    difficulty = f", {told['difficulty']}" if told["difficulty"] else ""
    yield from _row("form", f"{told['style']}, {_io(told)}{difficulty}")
    yield from _statement(told["statement"])


def _scores(told: dict[str, Any]) -> Iterator[str]:
    synthesis = told["synthesis"]
    if not told["scores"]:
        if synthesis is None or synthesis["task"]["use"] == "evaluation":
            yield from _head("scores")
            yield from _row("", "no finished evaluation met the problem")
        return
    for score in told["scores"]:
        yield from _head("scores", f"{score['model']} on {score['benchmark']}")
        shown = [f"{one['verdict']} {one['passed']}/{one['tests']}{_cut(one)}" for one in score["samples"]]
        yield from _row("samples", _some(shown, SAMPLES))
        rate = "no valid sample" if score["pass_at_1"] is None else f"{100 * score['pass_at_1']:.1f} %"
        invalid = f"; {score['invalid']} invalid, which do not count" if score["invalid"] else ""
        yield from _row("pass@1", f"{rate}: {score['correct']} of {score['valid']} samples right{invalid}")
        for name, cells in score["cells"].items():
            means = [f"{row} {_percent(cell['mean'])} of {cell['problems']:,}" for row, cell in cells.items()]
            yield from _row(f"in {name.replace('_at_', '@')}", f"column {score['model']}, rows {', '.join(means)}")
    if told["in_report"] is not None:
        yield from _head("report")
        yield from _row("", "shown among the sample problems" if told["in_report"] else "counted in its tables")


def _statement(text: str | None) -> Iterator[str]:
    if text is None:
        yield from _row("statement", "not stored")
        return
    lines = [part for line in text.strip().split("\n") for part in textwrap.wrap(line, WIDTH - LABEL - 4) or [""]]
    for number, line in enumerate(lines[:STATEMENT_LINES]):
        yield f"  {'statement' if number == 0 else '':{LABEL}}  {line}"
    if len(lines) > STATEMENT_LINES:
        yield from _row("", f"… {len(lines) - STATEMENT_LINES:,} more lines")


def _head(name: str, more: str = "") -> Iterator[str]:
    yield ""
    yield f"{name}  {more}" if more else name


def _row(label: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, WIDTH - LABEL - 4, break_on_hyphens=False) or [""]
    yield f"  {label:{LABEL}}  {lines[0]}"
    yield from (f"  {'':{LABEL}}  {line}" for line in lines[1:])


def _io(task: Mapping[str, Any]) -> str:
    return "standard input" if task["io"] == "stdin" else f"the function {task['function_name']}"


def _cut(sample: Mapping[str, Any]) -> str:
    return " (cut off)" if sample["finish_reason"] == "length" else ""


def _percent(mean: float | None) -> str:
    return "no estimate" if mean is None else f"{100 * mean:.1f} %"


def _counts(counts: Mapping[str, int], before: str = "") -> str:
    return before + ", ".join(f"{count} {name}" for name, count in counts.items()) if counts else ""


def _some(items: list[str], most: int) -> str:
    more = f", … {len(items) - most:,} more (--json)" if len(items) > most else ""
    return ", ".join(items[:most]) + more
