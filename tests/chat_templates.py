"""What the chat templates that TRL ships make of an answer, as the page docs/chat-templates.md shows it.

python -m tests.chat_templates > docs/chat-templates.md
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from xcoder_core.errors import InputError
from xcoder_core.models.chat import examples_token_ids, prompt_token_ids

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
PROGRAM = "print(1)\n"
ANSWER = f"```python\n{PROGRAM}```"
REASONED = f"<think>\nAdd.\n</think>\n\n{ANSWER}"
PROMPT = [{"role": "user", "content": "Add."}]
# The token that ends a turn, where a family has one of its own; it is the tokenizer's eos_token there.
ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>",
    "gemma4": "<turn|>",
    "diffusion_gemma": "<turn|>",
    "gemma": "<end_of_turn>",
    "gptoss": "<|return|>",
    "idefics": "<end_of_utterance>",
    "smolvlm": "<end_of_utterance>",
    "llama": "<|eot_id|>",
    "phi": "<|end|>",
}
PAGE = """\
# Chat templates

This page shows what each chat template of TRL makes of one prompt and one answer in this project.
`python -m tests.chat_templates` writes the page, and a test compares it.

- **Thinking** is the template's own switch `enable_thinking`, if it has one.
- **The prompt ends with** the text that SFT, GRPO and evaluation put before the answer.
- **Supervised** is the text that SFT trains on, for an answer that begins with `<think>` and for one without reasoning.
  `…` stands for the answer after its reasoning. The last token also ends a rollout in GRPO and a completion in
  evaluation.

Some prompts end by opening the reasoning. Every completion then begins inside it. Rewards and evaluation put the
opening mark before what the model wrote, so a draft in reasoning that is never closed is not taken for an answer
([Answers](answers.md)).

A template whose prompt is refused cannot be used. A template that is refused under *supervised* can still be sampled,
in GRPO and evaluation. gpt-oss and Muse write each part of an answer to a channel of its own; the answers of a data set
do not name channels.

| template | thinking | the prompt ends with | supervised, with reasoning | supervised, without |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    """A template with its switch, and the tokenizer of a model that has it."""

    name: str
    thinking: bool | None
    tokenizer: PreTrainedTokenizerFast


def cases() -> Iterator[Case]:
    """Every template of TRL; those for training alone (`_training`) render the same text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator([""], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    for file in sorted(TEMPLATES.glob("*.jinja")):
        if file.stem.endswith("_training"):
            continue
        template = file.read_text(encoding="utf-8")
        for thinking in (True, False) if "enable_thinking" in template else (None,):
            end = next((token for family, token in ENDS.items() if file.stem.startswith(family)), "<|im_end|>")
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=end, bos_token="<s>", pad_token="<pad>")
            tokenizer.add_tokens(["<think>", "</think>"])
            switch = "" if thinking is None else f"{{%- set enable_thinking = {str(thinking).lower()} -%}}"
            tokenizer.chat_template = switch + template
            yield Case(file.stem, thinking, tokenizer)


def example(case: Case, answer: str) -> tuple[list[int], list[int]]:
    """Token ids of SFT's prompt and of what it supervises."""
    return next(examples_token_ids(case.tokenizer, [PROMPT], [[{"role": "assistant", "content": answer}]]))


def page() -> str:
    """The whole page."""
    return PAGE + "".join(map(_row, cases()))


def _row(case: Case) -> str:
    thinking = {None: "–", True: "on", False: "off"}[case.thinking]
    supervised = f"{_supervised(case, REASONED)} | {_supervised(case, ANSWER)}"
    return f"| {case.name} | {thinking} | {_ending(case)} | {supervised} |\n"


def _ending(case: Case) -> str:
    try:
        return _code(case.tokenizer.decode(prompt_token_ids(case.tokenizer, PROMPT)).rpartition("Add.")[2])
    except InputError as error:
        return f"refused: {_reason(error)}"


def _supervised(case: Case, answer: str) -> str:
    try:
        _, ids = example(case, answer)
    except InputError as error:
        return f"refused: {_reason(error)}"
    return _code(case.tokenizer.decode(ids).replace(ANSWER, "…"))


def _reason(error: InputError) -> str:
    return re.split(r"[:;(.,]", str(error))[0].strip().replace("|", "\\|")


def _code(text: str) -> str:
    shown = text.replace("\n", "\\n").replace("|", "\\|")
    return f"`{shown}`"


def main() -> None:
    """Write the page to standard output."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(page(), end="")


if __name__ == "__main__":
    main()
