"""The evaluation stage of a run (`xcoder eval RECIPE`).

Each model has a result of its own, so that a changed GRPO measures its model alone; all meet the same problems.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from evaluation.benchmark import Benchmark, decontamination_status
from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from evaluation.evaluate import begin, compare, judge_and_score, summarise
from evaluation.measurement import Measurement
from evaluation.prompting import FEW_SHOT
from evaluation.results import ModelResult, load_result, score_at
from evaluation.samples import sample_together
from evaluation.tables import breakdowns_markdown, print_results
from xcoder_core.errors import InputError
from xcoder_core.files import write_json, write_text
from xcoder_core.models.loading import load_trained, needed_adapter, open_generator, start_of
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Generator
from xcoder_core.models.settings import GenerationSettings
from xcoder_core.settings import require
from xcoder_core.share import Share, share_of_this_process
from xcoder_core.stage import RESULT_FILE, StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import update_summary
from xcoder_train.runs.keys import EvaluationTarget, evaluation_targets, training_data
from xcoder_train.runs.launch import take_own_gpus
from xcoder_train.training.start import quiet_libraries

GENERATION_FILE = "generation.json"


def work(recipe: Recipe, context: StageContext) -> None:
    """Measure every model of the recipe that is not measured yet, compare them, and write the run's headline."""
    settings = require(recipe.evaluation)
    take_own_gpus(settings.generation.tensor_parallel)
    quiet_libraries()
    share = share_of_this_process()
    benchmarks = load_benchmarks(settings.benchmarks, context.inputs.get("synth"), settings.livecodebench_folder)
    targets = evaluation_targets(recipe, recipe.run_folder)
    for target in targets:
        if not target.is_whole:
            if share.index == 0:
                print(f"model: {target.label}", file=sys.stderr, flush=True)
            measure(recipe, target, benchmarks, share)
    if share.index > 0:
        return
    results = {target.label: load_result(target.folder) for target in targets}
    differences = compare(results)
    write_json(context.folder / "differences.json", differences)
    write_text(context.folder / "breakdowns.md", breakdowns_markdown(results))
    update_summary(recipe.run_folder, **summarise(results), differences=differences)
    print_results(results, differences)
    track_results(context, results)
    context.finish(models={target.label: target.folder.name for target in targets})


def measure(recipe: Recipe, target: EvaluationTarget, benchmarks: list[Benchmark], share: Share) -> None:
    """Sample, judge and score one model; of several processes, all sample and the first one does the rest."""
    settings = on_this_machine(require(recipe.evaluation))
    data = training_data(recipe, target.label)
    measurement = Measurement(
        label=target.label,
        folder=target.folder,
        benchmarks=benchmarks,
        settings=settings,
        judge=recipe.judge,
        seed=recipe.seed,
        prompt=settings.prompt or recipe.model.prompt,
        decontamination={benchmark.name: decontamination_status(data, benchmark) for benchmark in benchmarks},
    )
    if share.index == 0:
        begin(measurement)
    with target_generator(recipe, target) as generator:
        sample_together(measurement, generator, share)
        if share.index > 0:
            return
        result = judge_and_score(measurement)
        weights = sampled_weights(target, settings.generation)
        described = {"weights": weights, **describe_generation(settings, generator, result)}
    write_json(target.folder / GENERATION_FILE, described)
    write_json(target.folder / RESULT_FILE, {"stage": "evaluation", "key": target.key, "label": result.label})


@contextmanager
def target_generator(recipe: Recipe, target: EvaluationTarget) -> Iterator[Generator]:
    """What samples the target's completions, as `evaluation.generation` says."""
    evaluation = on_this_machine(require(recipe.evaluation))
    settings, path = evaluation.generation, target.model_path
    start_and_adapter = None
    if settings.backend != "openai" and not (isinstance(path, str) or path.is_dir()):
        raise InputError(f"there is no model in {path} to evaluate as `{target.label}`")
    if settings.backend == "vllm" and (adapter := needed_adapter(path, getattr(torch, settings.dtype))) is not None:
        start_and_adapter = start_of(adapter), adapter
        if needed_adapter(start_of(adapter), torch.float32) is not None:
            raise InputError(
                f"vLLM holds one adapter, and {start_of(adapter)} needs another below {adapter}: use transformers"
            )
    generator = open_generator(
        settings,
        path,
        recipe.seed,
        recipe.model,
        needs_template=evaluation.prompt != FEW_SHOT,
        load=partial(load_trained, path, recipe.model),
        start_and_adapter=start_and_adapter,
    )
    try:
        yield generator
    finally:
        if isinstance(generator, OpenAIGenerator):
            generator.close()


def on_this_machine(settings: EvaluationSettings) -> EvaluationSettings:
    """The settings with the dtype that completions are computed in here."""
    has_gpu = torch.cuda.is_available()
    return settings.model_copy(update={"generation": settings.generation.on(has_gpu=has_gpu)})


def sampled_weights(target: EvaluationTarget, settings: GenerationSettings) -> str:
    """The folder or hub name that is sampled: `model/`, or an adapter above the start that it names."""
    if settings.backend == "openai":  # a server is asked for the whole model
        return str(target.model_path)
    return str(needed_adapter(target.model_path, getattr(torch, settings.dtype)) or target.model_path)


def describe_generation(settings: EvaluationSettings, generator: Generator, result: ModelResult) -> dict[str, object]:
    """What the completions were sampled with and what they took; tokens are counted over all starts of the run."""
    entries = result.scores["benchmarks"].values()
    prompt_tokens = sum(entry["prompt_tokens"] for entry in entries)
    completion_tokens = sum(entry["completion_tokens"] for entry in entries)
    described: dict[str, object] = {
        "backend": settings.generation.backend,
        "dtype": settings.sampled_in,
        "sampling_sent": settings.sampling.model_dump(mode="json"),
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
    }
    if isinstance(generator, OpenAIGenerator):
        described |= {
            "sampling_sent": generator.sampling_sent(settings.sampling),
            "cost": generator.settings.cost(prompt_tokens, completion_tokens),
            "retries_of_last_start": generator.usage.retries,
        }
    return described


def track_results(context: StageContext, results: dict[str, ModelResult]) -> None:
    """A W&B run of the evaluation: pass@k of every model and benchmark as summary and table."""
    if not context.start_tracking(context):
        return
    import wandb

    run = wandb.run
    assert run is not None  # begun just above; an evaluation is one process
    rows = [
        [label, benchmark, f"pass@{k}", score["mean"], *(score["ci95"] or (None, None))]
        for label, result in results.items()
        for benchmark, scored in result.scores["benchmarks"].items()
        for k in result.scores["k"]
        for score in (score_at(scored, k),)
    ]
    run.log({"pass@k": wandb.Table(["model", "benchmark", "rate", "mean", "low", "high"], rows)})
    run.summary.update({f"{label}/{benchmark}/{name}": mean for label, benchmark, name, mean, *_ in rows})
    run.finish()
