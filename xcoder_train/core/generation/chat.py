"""The token path: how messages become token ids, the same in SFT, GRPO and evaluation, and which tokens stop."""

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xcoder_train.core.errors import InputError
from xcoder_train.core.prompt import Message


def prompt_token_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """What the model reads before it answers: the chat template with the opening of the answer."""
    return list(tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False))


def example_token_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], completion: Sequence[Message]
) -> tuple[list[int], list[int]]:
    """Token ids of prompt and answer; the answer ends with the turn's stop token, whatever the template adds after it.

    Raises `InputError` for a template under which the model would be trained on another prompt than it meets later.
    """
    before = prompt_token_ids(tokenizer, prompt)
    whole = list(tokenizer.apply_chat_template([*prompt, *completion], return_dict=False))
    if whole[: len(before)] != before:
        raise InputError(
            "the chat template renders a prompt differently when an answer follows it, so training and sampling would "
            f"differ. Prompt alone: {tokenizer.decode(before)!r}; with its answer: "
            f"{tokenizer.decode(whole[: len(before)])!r}. Use a chat template that keeps the prompt as it is."
        )
    answer = whole[len(before) :]
    stops = stop_token_ids(tokenizer)
    while answer and answer[-1] not in stops:
        answer.pop()
    if not answer:
        raise InputError(
            f"the chat template does not end an answer with one of the stop tokens {sorted(stops)}; a model trained on "
            f"it would never stop. Set the tokenizer's eos_token to the token that ends a turn."
        )
    return before, answer


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
