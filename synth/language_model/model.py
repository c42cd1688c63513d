"""The model behind a language-model teacher, as its settings say."""

from synth.language_model.config import LocalTeacherSettings, OpenAITeacherSettings
from xcoder_train.core.generation.request import Generator
from xcoder_train.core.hub import loading


def model_name(settings: OpenAITeacherSettings | LocalTeacherSettings) -> str:
    """What the records call the model."""
    return settings.server.model or "" if isinstance(settings, OpenAITeacherSettings) else settings.model


def load_model(settings: OpenAITeacherSettings | LocalTeacherSettings, seed: int) -> Generator:
    """What samples the teacher's answers. Raises `EnvironmentLacks` where a package, a key or the hub is missing."""
    if isinstance(settings, OpenAITeacherSettings):
        from xcoder_train.core.generation.openai_backend import OpenAIGenerator

        return OpenAIGenerator(settings.server, model_name(settings))
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with loading("tokenizer", settings.model):
        tokenizer = AutoTokenizer.from_pretrained(settings.model, trust_remote_code=False)
    if settings.kind == "vllm":
        from xcoder_train.core.generation.vllm_backend import VllmGenerator

        return VllmGenerator(settings.model, tokenizer, settings.generation, trust_remote_code=False, seed=seed)
    from xcoder_train.core.generation.transformers_backend import TransformersGenerator

    with loading("model", settings.model):
        # Read apart, or the attention that a config.json names would win: it may be a package, which is code.
        config = AutoConfig.from_pretrained(settings.model, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            settings.model,
            config=config,
            dtype=settings.generation.on(has_gpu=torch.cuda.is_available()).dtype,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]  # it is wrapped untyped
    return TransformersGenerator(model, tokenizer, settings.generation.batch_size)
