"""The token path: what is trained on is what is met when sampling, byte for byte, and it ends with a stop token."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xcoder_core.errors import InputError
from xcoder_core.models.chat import examples_token_ids, prompt_token_ids, stop_token_ids
from xcoder_core.models.loading import train_tokenizer

TEMPLATES = Path(trl.__file__).parent / "chat_templates"

RESPONSES = [
    "```python\nprint(1)\n```",
    "naïve – 数字 🙂\n",
    "\nstarts with a newline",
    "\n\n\nends with several\n\n\n",
    "line\r\nline\r\n",
    "  spaces around  ",
    "<think>\nFirst add, then print.\n</think>\n\n```python\nprint(2)\n```",
    "<think>no newlines</think>print(3)",
    "<think>\n\n</think>\n\nprint(4)",
    "a stop token in words: <|im_end|> and <|end|> do not end me",
    "",
]
PROMPT = [{"role": "user", "content": "Print a number.\n"}]
WITH_SYSTEM = [{"role": "system", "content": "You program."}, *PROMPT]


def qwen_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of Qwen; newlines merge, as they do in Qwen's own vocabulary."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["\n\n\n\nuser\nassistant\nprint(1)\n\n"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokenizer.add_tokens(["<think>", "</think>"])  # ordinary tokens that are never split, as in Qwen3
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(params=["ours", "qwen2_5", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """Ours, and tokenizers with the chat templates of Qwen2.5 and Qwen3 that TRL ships."""
    if request.param == "ours":
        return train_tokenizer(RESPONSES * 3, 330)
    return qwen_tokenizer((TEMPLATES / f"{request.param}.jinja").read_text())


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("prompt", [PROMPT, WITH_SYSTEM], ids=["user", "system"])
def test_training_reads_the_prompt_of_sampling_and_learns_the_response_byte_for_byte(
    tokenizer: PreTrainedTokenizerBase, prompt: list[dict[str, str]], response: str
) -> None:
    before, answer = next(examples_token_ids(tokenizer, [prompt], [[{"role": "assistant", "content": response}]]))
    assert before == prompt_token_ids(tokenizer, prompt)
    assert answer[-1] in stop_token_ids(tokenizer)
    assert not stop_token_ids(tokenizer) & set(answer[:-1])
    assert tokenizer.decode(answer[:-1], clean_up_tokenization_spaces=False) == response


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
def test_the_end_of_a_turn_is_learned_and_not_the_end_of_a_document(name: str) -> None:
    tokenizer = qwen_tokenizer((TEMPLATES / f"{name}.jinja").read_text())
    tokenizer.eos_token = "<|endoftext|>"  # as base models have it
    _, answer = next(examples_token_ids(tokenizer, [PROMPT], [[{"role": "assistant", "content": "print(1)"}]]))
    assert answer[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert stop_token_ids(tokenizer) == {answer[-1], tokenizer.eos_token_id}


def test_a_template_that_renders_the_prompt_otherwise_before_an_answer_is_refused() -> None:
    forced = "{% if add_generation_prompt %}Certainly:\n{% endif %}"
    tokenizer = qwen_tokenizer((TEMPLATES / "qwen2_5.jinja").read_text() + forced)
    with pytest.raises(InputError, match="renders a prompt differently.*Certainly"):
        next(examples_token_ids(tokenizer, [PROMPT], [[{"role": "assistant", "content": "print(1)"}]]))


def test_a_template_that_never_ends_an_answer_is_refused() -> None:
    open_ended = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}{% endfor %}"
    opening = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    tokenizer = qwen_tokenizer(open_ended + opening)
    with pytest.raises(InputError, match="does not end an answer with one of the stop tokens"):
        next(examples_token_ids(tokenizer, [PROMPT], [[{"role": "assistant", "content": "print(1)"}]]))


def test_the_models_own_stop_tokens_are_kept(tiny_model: Callable[..., PreTrainedModel]) -> None:
    model = tiny_model("qwen2")
    model.generation_config.eos_token_id = [7, 8]
    tokenizer = train_tokenizer(["a"], 300)
    assert stop_token_ids(tokenizer, model) == {7, 8, tokenizer.eos_token_id}
