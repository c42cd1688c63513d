"""The provenance of one problem, gathered from the stored files of a run. No model is loaded, nothing is written."""

from typing import Any

from xcoder_train.trace.find import Found
from xcoder_train.trace.scores import evaluated_problem, is_in_report, trace_scores
from xcoder_train.trace.synthesis import trace_synthesis
from xcoder_train.trace.training import trace_grpo, trace_sft


def trace(found: Found) -> dict[str, Any]:
    """From the features of a task to the cells of the score tables, as JSON values.

    `synthesis`, `sft`, `grpo` and `benchmark` are None where the run has no such result, or that knows nothing of the
    problem.
    """
    run = found.run
    synth = run.result("synth")
    synthesis = None if synth is None else trace_synthesis(found, synth)
    use = None if synthesis is None else synthesis["task"]["use"]
    return {
        "problem_id": found.problem_id,
        "run": str(run.folder),
        "synthesis": synthesis,
        "sft": trace_sft(found, synth, run.result("sft")) if synth is not None and use == "sft" else None,
        "grpo": trace_grpo(found, run.result("grpo")) if use == "rl" else None,
        "benchmark": evaluated_problem(found),
        "scores": trace_scores(found),
        "in_report": is_in_report(found),
    }
