"""The evaluation stage of a run: `python -m xcoder_train.evaluate RECIPE` or `xcoder eval RECIPE`.

Each model has a result of its own, so that a changed GRPO measures its model alone; all meet the same problems.
"""

import sys

import torch

from evaluation.benchmark import Benchmark
from evaluation.evaluate import compare, evaluate_model, load_benchmarks, summarise
from evaluation.results import load_result
from evaluation.tables import print_results
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_json
from xcoder_train.core.generation.request import Generator
from xcoder_train.core.generation.transformers_backend import TransformersGenerator
from xcoder_train.core.generation.vllm_backend import VllmGenerator
from xcoder_train.core.stage import RESULT_FILE, StageContext
from xcoder_train.model import load_model, load_tokenizer
from xcoder_train.quiet import quiet_libraries
from xcoder_train.recipe import Recipe, present
from xcoder_train.results import EvaluationTarget, evaluation_targets
from xcoder_train.run import run_stage
from xcoder_train.run_folder import update_summary


def work(recipe: Recipe, context: StageContext) -> None:
    """Measure every model of the recipe that is not measured yet, compare them, and write the run's headline."""
    quiet_libraries()
    benchmarks = load_benchmarks(present(recipe.evaluation).benchmarks, context.inputs.get("synth"))
    targets = evaluation_targets(recipe, recipe.run_folder)
    for target in targets:
        if not target.is_whole:
            measure(recipe, target, benchmarks)
    results = {target.label: load_result(target.folder) for target in targets}
    differences = compare(results)
    write_json(context.folder / "differences.json", differences)
    update_summary(recipe.run_folder, **summarise(results), differences=differences)
    print_results(results, differences)
    context.finish(models={target.label: target.folder.name for target in targets})


def measure(recipe: Recipe, target: EvaluationTarget, benchmarks: list[Benchmark]) -> None:
    """Sample, judge and score one model."""
    if isinstance(target.model_path, str) or target.model_path.is_dir():
        result = evaluate_model(
            present(recipe.evaluation),
            recipe.judge,
            benchmarks,
            target.label,
            make_generator(recipe, target),
            target.folder,
            recipe.seed,
            recipe.model.prompt,
        )
        write_json(target.folder / RESULT_FILE, {"stage": "evaluation", "key": target.key, "label": result.label})
    else:
        raise InputError(f"there is no model in {target.model_path} to evaluate as `{target.label}`")


def make_generator(recipe: Recipe, target: EvaluationTarget) -> Generator:
    """What samples the target's completions, as `evaluation.generation` says."""
    settings = present(recipe.evaluation).generation
    tokenizer = load_tokenizer(target.model_path, recipe.model)
    if settings.backend == "vllm":
        return VllmGenerator(
            target.model_path,
            tokenizer,
            settings,
            trust_remote_code=recipe.model.trust_remote_code,
            seed=recipe.seed,
        )
    model = load_model(target.model_path, recipe.model)
    if torch.cuda.is_available():
        model.to("cuda")  # type: ignore[arg-type]  # transformers wraps it without its types
    return TransformersGenerator(model, tokenizer, settings.batch_size)


def main(arguments: list[str] | None = None) -> int:
    """Command line of this stage."""
    return run_stage("evaluation", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
