"""The pass rates of GRPO's prompts as a stage of a run (`xcoder rates RECIPE`): evaluation's sampling and judging."""

import sys

from evaluation.judging import judge_samples
from evaluation.measurement import Measurement
from evaluation.samples import sample_together
from reward.test_table import TestTable
from xcoder_core.models.loading import load_tokenizer
from xcoder_core.records import write_records
from xcoder_core.settings import require
from xcoder_core.share import share_of_this_process
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.grpo.pass_rates import PASS_RATES, PassRate, RewardTests, measured_rates, prompts_as_benchmark
from xcoder_train.grpo.prompts import load_prompts
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import EvaluationStageSettings
from xcoder_train.runs.evaluation import target_generator
from xcoder_train.runs.keys import EvaluationTarget
from xcoder_train.runs.launch import take_own_gpus
from xcoder_train.training.start import quiet_libraries


def work(recipe: Recipe, context: StageContext) -> None:
    """Sample every prompt of GRPO with the model that it starts from, and judge the samples on its reward's tests.

    Of several processes, all sample and the first one does the rest.
    """
    grpo, model, share = require(recipe.grpo), recipe.model, share_of_this_process()
    settings = EvaluationStageSettings(
        samples=grpo.measuring.samples,
        sampling=grpo.sampling(),
        generation=grpo.measuring.generation,
        maximum_invalid_share=grpo.maximum_excluded_share,
    )
    take_own_gpus(settings.generation.tensor_parallel)
    quiet_libraries()
    start, layout = context.start or require(model.path), SynthLayout(context.inputs["synth"])
    tokenizer = load_tokenizer(start, model.trust_remote_code, model.chat_template)
    prompts, too_long = load_prompts(layout, tokenizer, grpo, model.prompt)
    if share.index == 0:
        print(f"pass rates of {len(prompts):,} prompts ({too_long} left out as too long)", file=sys.stderr)
    arrow = share.file(context.folder / "tests.arrow")
    tests = RewardTests(TestTable(layout, arrow, at_most=grpo.reward.tests, seed=recipe.seed))
    arrow.unlink()  # it stays mapped
    measurement = Measurement(
        label="rates",
        folder=context.folder,
        benchmarks=[prompts_as_benchmark(layout, prompts["problem_id"], tests)],
        settings=settings,
        judge=recipe.judge,
        seed=recipe.seed,
        prompt=model.prompt,
        purpose="pass rate",
        bound="grpo.maximum_excluded_share",
    )
    target = EvaluationTarget("rates", start, context.folder, context.key)
    with target_generator(recipe.model_copy(update={"evaluation": settings}), target) as generator:
        sample_together(measurement, generator, share)
    if share.index > 0:
        return
    judge_samples(measurement, recipe.judge.policy)
    rates = measured_rates(measurement.layout.verdicts)
    table = write_records(context.folder / PASS_RATES, PassRate, rates, ("problem_id",))
    context.finish(
        data=context.inputs["synth"].name,
        prompts=len(rates),
        prompts_too_long=too_long,
        never_solved=sum(rate.pass_rate == 0 for rate in rates),
        always_solved=sum(rate.pass_rate == 1 for rate in rates),
        mean=round(sum(rate.pass_rate for rate in rates) / len(rates), 4),
    )
    print(f"pass rates: {table}")
