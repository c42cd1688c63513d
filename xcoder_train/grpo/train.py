"""GRPO on judged code: `accelerate launch … -m xcoder_train.grpo RECIPE [key.path=value …]` or `xcoder grpo RECIPE`.

Load prompts and policy, prepare judge and rollouts, train, save. The reward stands in `reward/trl.py`, what a
micro-batch computes in `trainer.py`.
"""

import json
import math
import shutil
import sys
from functools import partial
from pathlib import Path

import torch
from transformers import PrinterCallback

from reward.config import JudgeSettings
from reward.open_judge import open_judge
from reward.test_table import TestTable
from reward.trl import JudgedReward
from xcoder_core.models.chat import completion_text, opened_reasoning, prompt_token_ids, stop_token_ids
from xcoder_core.models.loading import agree_on_stop_tokens, load_tokenizer
from xcoder_core.models.settings import ModelSettings
from xcoder_core.models.vllm_backend import in_vllm_words
from xcoder_core.settings import require
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.grpo.adapters import engine_takes
from xcoder_train.grpo.alarms import Alarms
from xcoder_train.grpo.arguments import grpo_config
from xcoder_train.grpo.colocated import choose_port, memory_arguments, prepare_engine
from xcoder_train.grpo.groups import Groups
from xcoder_train.grpo.pass_rates import known_rates
from xcoder_train.grpo.prompts import PromptOrder, curriculum, held_out_prompts, load_prompts
from xcoder_train.grpo.rollout_files import ROLLOUTS
from xcoder_train.grpo.rollouts import sampler
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.grpo.vllm_rollouts import check_vllm
from xcoder_train.training.checkpoints import TimedCheckpoints, train_from_newest
from xcoder_train.training.optimizer import optimizer_factory
from xcoder_train.training.start import begin_training
from xcoder_train.training.tracking import Clock, MetricsFile, TrainingProgress
from xcoder_train.training.trl_arguments import CHECKPOINTS
from xcoder_train.training.weights import load_training_model, lora_config, save_trained


@in_vllm_words()
def train(
    settings: GrpoSettings, model: ModelSettings, judging: JudgeSettings, context: StageContext
) -> dict[str, object]:
    """Train on the synthesis in `context.inputs["synth"]`, from the model that an input has trained, or from `model`.

    Leaves `model/` and the judged rollouts of every logged step in the context's folder. Returns the figures of the
    training in the main process, and {} in every other one.
    """
    clock = Clock(context.folder / CHECKPOINTS)
    state = begin_training(settings.training)

    start = context.start or require(model.path)
    rollouts_by: dict[str, object] = {}
    is_colocated = settings.generation == "vllm_colocate"
    if is_colocated:
        choose_port()
    if settings.generation != "transformers":
        rollouts_by = check_vllm(settings, has_gpu=torch.cuda.is_available(), model=str(start))
    engine = memory_arguments(settings, start, state.device)
    tokenizer = load_tokenizer(start, model.trust_remote_code, model.chat_template)
    layout = SynthLayout(context.inputs["synth"])
    prompts, too_long = load_prompts(layout, tokenizer, settings, model.prompt)
    settings.refuse_too_few(len(prompts), f"prompts of at most {settings.max_prompt_length} tokens")
    with state.main_process_first():
        tests = TestTable(layout, context.folder / "tests.arrow", at_most=settings.reward.tests, seed=context.seed)
    considered = len(prompts)
    if state.is_main_process:
        print(f"GRPO on {len(prompts):,} prompts ({too_long} left out as too long)", file=sys.stderr)

    with open_judge(judging) as judge:
        policy = load_training_model(start, model, lora=settings.lora is not None)
        agree_on_stop_tokens(policy, tokenizer)  # TRL reads there which tokens end a rollout
        order = PromptOrder(len(prompts), context.seed)
        if settings.curriculum is not None:
            rates = known_rates(settings.curriculum, prompts["problem_id"], context.inputs)
            prompts, order = curriculum(prompts, rates, settings.curriculum, context.seed)
            if state.is_main_process:
                print(f"{len(prompts):,} of {considered:,} prompts can teach something", file=sys.stderr)
            settings.refuse_too_few(len(prompts), "prompts that grpo.curriculum keeps")
        stop_tokens = stop_token_ids(tokenizer, policy)
        opened = opened_reasoning(tokenizer, prompt_token_ids(tokenizer, prompts[0]["prompt"]))
        reward = JudgedReward(
            judge,
            tests,
            settings.reward,
            stop_tokens=stop_tokens,
            maximum_excluded_share=settings.maximum_excluded_share,
            seed=context.seed,
            text_of=partial(completion_text, tokenizer, opened),
            length_limit=settings.length_limit,
        )
        held_out = None
        if settings.evaluation is not None:
            held_out = held_out_prompts(layout, tokenizer, settings, model.prompt, context.seed)
        with state.main_process_first():
            if state.is_main_process and not settings.resume:
                shutil.rmtree(context.folder / ROLLOUTS, ignore_errors=True)
        groups = Groups(settings, prompts, order, sampler(settings), reward, context.folder / ROLLOUTS)
        alarms = Alarms(settings.alarms, context.folder)
        trainer = FrugalGrpoTrainer(
            model=policy,
            reward_funcs=reward,
            args=grpo_config(settings, context, state.num_processes, stop_tokens, len(held_out or ()), engine),
            train_dataset=prompts,
            eval_dataset=held_out,
            processing_class=tokenizer,
            peft_config=lora_config(settings.lora),
            rollout_func=groups.roll_out,
            optimizer_factory=optimizer_factory(settings.optimizer, settings.training),
            groups=groups,
            geometric_bounds=settings.training.geometric_bounds,
            engine_lora=settings.lora if is_colocated and engine_takes(settings.lora, policy, start) else None,
            callbacks=[
                MetricsFile(context.folder / "metrics.jsonl"),
                alarms,
                TrainingProgress("GRPO", "reward"),
                groups,
            ],
        )
        if is_colocated:
            rollouts_by |= prepare_engine(trainer, settings, context.seed)
        trainer.add_callback(clock)
        trainer.add_callback(TimedCheckpoints(settings.training.save_minutes, every=settings.steps_per_set))
        trainer.remove_callback(PrinterCallback)
        steps = train_from_newest(trainer, state, context.folder, resume=settings.resume)
        saved = save_trained(trainer, tokenizer, start, model, context.folder / "model")

    uses = settings.steps_per_set
    rollouts_per_set = settings.prompts_per_set * settings.rollouts
    asked = groups.cursor if settings.dynamic_sampling else math.ceil(steps / uses) * settings.prompts_per_set
    figures: dict[str, object] = {}
    if state.is_main_process:
        groups.files.finish(keep=settings.keep_rollouts)
        figures = {
            "data": context.inputs["synth"].name,
            "prompts": len(prompts),
            "prompts_too_long": too_long,
            "prompts_without_lesson": considered - len(prompts),
            "steps": steps,
            "rollouts": asked * settings.rollouts,
            "excluded_rollouts": round(sets_excluded(context.folder / "metrics.jsonl", uses) * rollouts_per_set),
            "alarms": alarms.counts,
            "judge_tier": judge.tier,
            **({"rollouts_by": rollouts_by, "trained_by": computed_in(trainer)} if rollouts_by else {}),
            **saved,
            "training_seconds": clock.seconds(),
        }
    trainer.end()
    return figures


def computed_in(trainer: FrugalGrpoTrainer) -> dict[str, str]:
    """The version of torch, and the dtypes of the policy's weights and of its computation."""
    weights = str(next(trainer.model.parameters()).dtype).removeprefix("torch.")
    return {"torch": torch.__version__, "weights": weights, "dtype": "bfloat16" if trainer.args.bf16 else weights}


def sets_excluded(metrics: Path, uses: int) -> float:
    """Rollouts without a reward, over all processes and all starts of the run, in sets that each serve `uses` steps."""
    total, before = 0.0, 0
    for text in metrics.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "judge/excluded" in line:
            made = math.ceil(line["step"] / uses)
            total, before = total + line["judge/excluded"] * (made - before), made
    return total
