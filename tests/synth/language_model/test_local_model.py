"""A model that this process loads is asked like a server."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from synth.config import SynthSettings
from synth.language_model.config import LocalTeacherSettings
from synth.language_model.dialogue import Dialogue, Interview, Question, Unusable
from synth.language_model.teacher import model_name, open_teacher
from xcoder_core.errors import InputError
from xcoder_core.models.answered import Answers
from xcoder_core.models.request import Completion
from xcoder_core.models.settings import SamplingSettings

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random model of a few thousand parameters that writes bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<pad>", "<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=256, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_local_model_answers_and_what_it_cannot_do_is_set_aside(folder: Path, tmp_path: Path) -> None:
    section = {"kind": "transformers", "model": str(folder), "generation": {"batch_size": 4}}
    teacher = SynthSettings.model_validate({"teacher": section, "splits": {"a": {"use": "sft", "tasks": 1}}}).teacher
    assert isinstance(teacher, LocalTeacherSettings) and model_name(teacher) == str(folder)

    def read(completion: Completion) -> str:
        raise AssertionError("an answer that was cut off is never read")

    def dialogue() -> Dialogue[str]:
        return (yield Question("write", [{"role": "user", "content": "Write."}], read))

    model = open_teacher(teacher, 3)
    with Answers(tmp_path / "answers.parquet") as answers:
        short = Interview(model, answers, SamplingSettings(max_new_tokens=4), "test", 3)
        ((_, cut_off),) = short.hold([("a", dialogue())])
        assert isinstance(cut_off, Unusable) and cut_off.reason.startswith("cut off")
        kept = list(answers.kept())
    assert len(kept) == 2 and all(answer.completion_tokens == 4 for answer in kept)


def test_a_local_model_without_a_chat_template_is_named_as_the_input_that_it_is(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": None}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(InputError, match="has no chat template"):
        open_teacher(LocalTeacherSettings(kind="transformers", model=str(folder)), 3)
