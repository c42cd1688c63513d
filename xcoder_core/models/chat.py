"""The token path: how messages become token ids, the same in SFT, GRPO and evaluation, and which tokens stop."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xcoder_core.errors import InputError
from xcoder_core.models.prompt import CONTINUATION, Message
from xcoder_core.models.reasoning import PAIRS, PARTS, continue_from, opening_at_end

_ANSWER = "The answer."
# What a template may put before an answer without reasoning, besides white space: nothing, or reasoning that is empty.
_NO_REASONING = {"", *("".join(pair) for pair in PAIRS.items())}


def prompt_token_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """What the model reads before it answers: the chat template with the opening of the answer, or the bare text."""
    if messages[0]["role"] == CONTINUATION:
        return list(tokenizer(messages[0]["content"])["input_ids"])
    return _encoded(tokenizer, _rendered(tokenizer, messages, add_generation_prompt=True))


def opened_reasoning(tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int]) -> str:
    """The mark such as `<think>` with which a prompt opens the model's reasoning, and the white space after it."""
    return opening_at_end(str(tokenizer.decode(list(prompt_ids[-16:]))))


def completion_text(tokenizer: PreTrainedTokenizerBase, opened: str, token_ids: Sequence[int]) -> str:
    """What a model wrote after a prompt that `opened` its reasoning (`opened_reasoning`), with that opening in front.

    So a text says by itself whether its reasoning was closed. Special tokens are left out, but for the marks of
    reasoning, which some tokenizers have among them.
    """
    left_out = _left_out(tokenizer)
    return opened + str(tokenizer.decode([token for token in token_ids if token not in left_out]))


@lru_cache(maxsize=1)
def _left_out(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every special token, whether it has a name or not, that no mark of reasoning is made of."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(token for token, held in added if held.special and held.content not in PARTS)


def examples_token_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[Message]],
) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of each prompt as it is sampled from, and of its answer: the text byte for byte, then the turn's end.

    The answer is not rendered by the template: Qwen3's adds or reshapes `<think>`, others strip, and an answer's first
    newline would merge with the prompt's last. What looks like a special token in it is text. Reasoning that the prompt
    opens is not opened again; an answer without reasoning closes it first. All answers are encoded together, on all
    cores. Raises `InputError` for a template under which the model would be trained on another prompt than it meets
    later.
    """
    rendered = [_rendered(tokenizer, prompt, add_generation_prompt=True) for prompt in prompts]
    texts = [continue_from(before, said["content"]) for before, (said,) in zip(rendered, completions, strict=True)]
    answers = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for prompt, before, answer in zip(prompts, rendered, answers, strict=True):
        yield _encoded(tokenizer, before), [*answer, _turn_end(tokenizer, prompt, before)]


def _encoded(tokenizer: PreTrainedTokenizerBase, rendered: str) -> list[int]:
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, add_generation_prompt: bool = False
) -> str:
    from jinja2 import TemplateError

    try:
        rendered = str(
            tokenizer.apply_chat_template(list(messages), add_generation_prompt=add_generation_prompt, tokenize=False)
        )
    except TemplateError as error:
        roles = " and ".join(message["role"] for message in messages)
        raise InputError(
            f"the chat template cannot render a conversation of {roles}: {error}. Name a file with one that "
            "can (model.chat_template), or a wording without a system message (model.prompt)."
        ) from error
    for message in messages:
        # Templates strip a text; that all of it is gone means that the template wants another form of content.
        lines = [line.strip() for line in message["content"].splitlines() if line.strip()]
        if lines and not any(line in rendered for line in lines):
            raise InputError(
                f"the chat template leaves out the text of the {message['role']} message: {lines[0][:60]!r} is not in "
                f"{rendered[:200]!r}. Expected one for messages whose content is text (model.chat_template)."
            )
    return rendered


def _turn_end(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], before: str) -> int:
    """The stop token by which the template ends an answer to this prompt, which is `before` when rendered alone."""
    # Templates that open the reasoning leave it out of a turn that is over.
    before = before.removesuffix(opening_at_end(before))
    answered = [*prompt, {"role": "assistant", "content": _ANSWER}]
    whole = _rendered(tokenizer, answered)
    if not whole.startswith(before):
        raise InputError(
            "the chat template renders a prompt differently when an answer follows it, so training and sampling would "
            f"differ. Prompt alone: {before!r}; with its answer: {whole!r}. Use one that keeps the prompt."
        )
    between, _, end = whole[len(before) :].rpartition(_ANSWER)
    if "".join(between.split()) not in _NO_REASONING:
        raise InputError(
            f"the chat template puts {between!r} between a prompt and its answer: a model would learn another form "
            "than its own. Use one that begins an answer with its text or its reasoning (model.chat_template)."
        )
    stops = stop_token_ids(tokenizer)
    ends = [token for token in tokenizer.encode(end, add_special_tokens=False) if token in stops]
    if not ends:
        raise InputError(
            f"the chat template does not end an answer with one of the stop tokens {sorted(stops)}; a model trained on "
            "it would never stop. Set the tokenizer's eos_token to the token that ends a turn."
        )
    return ends[-1]


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> frozenset[int]:
    """The tokens after which generation ends: the tokenizer's end of sequence, `<|im_end|>`, and the model's own."""
    stops = {tokenizer.eos_token_id}
    turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    if turn_end is not None and turn_end != tokenizer.unk_token_id:
        stops.add(turn_end)
    if model is not None and model.generation_config is not None:
        own = model.generation_config.eos_token_id
        stops.update(own if isinstance(own, list) else [own])
    return frozenset(token for token in stops if token is not None)
