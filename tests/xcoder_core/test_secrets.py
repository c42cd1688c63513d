"""What is taken for a secret, and what is not."""

import pytest

from xcoder_core.secrets import hide_forms, hide_given, names_a_secret, secret_form

FORMS = [
    "hf_abcdefghijklmnopqrstuvwx",
    "sk-proj-0123456789abcdefghij",
    "ghp_0123456789abcdefghij",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-1234567890-abcdef",
    "Bearer 0123456789abcdef",
    "https://me:hunter2@host/v1",
    "https://ghp-token-of-mine@host/repository.git",
]


@pytest.mark.parametrize("text", FORMS)
def test_known_forms_are_recognised_and_hidden(text: str) -> None:
    secret = text.removeprefix("Bearer ").removeprefix("https://").partition("@")[0]
    assert secret_form(f"before {text} after") is not None
    assert secret not in hide_forms(f"before {text} after") and "before" in hide_forms(f"before {text} after")


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8000/v1",
        "https://host/path?x=a@b",
        "me@example.org",
        "Qwen/Qwen2.5-7B",
        "runs/sk-learn",
        "list operation/map",
        "hf_transfer",
    ],
)
def test_addresses_paths_and_names_are_no_secrets(text: str) -> None:
    assert secret_form(text) is None and hide_forms(text) == text


@pytest.mark.parametrize(
    "name", ["api_key", "WANDB_API_KEY", "hub_token", "HF_TOKEN", "password", "AWS_SECRET_ACCESS_KEY"]
)
def test_names_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["api_key_env", "token_env", "eos_token", "max_new_tokens", "tokens", "keys", "top_k"])
def test_names_that_only_sound_like_it(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("sft.training.hub_token=hunter2", "sft.training.hub_token=[hidden]"),
        ("x.server={api_key: hunter2, model: m}", "x.server={api_key: [hidden], model: m}"),
        ('x={"password": "hunter2"}', 'x={"password": "[hidden]"}'),
        ("x.api_key_env=hunter2", "x.api_key_env=[hidden]"),
        ("x.api_key_env=OPENAI_API_KEY", "x.api_key_env=OPENAI_API_KEY"),
        ("sft.tokens=5000", "sft.tokens=5000"),
    ],
)
def test_what_was_typed_is_shown_without_what_it_gave_to_a_secrets_name(typed: str, shown: str) -> None:
    assert hide_given(typed) == shown


def test_what_the_environment_holds_under_the_name_of_a_secret_is_hidden_whatever_its_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("MY_TOKEN", "correct horse battery")
    monkeypatch.setenv("SHORT_TOKEN", "on")
    said = "key 0123456789abcdef of correct horse battery on a server"
    assert hide_forms(said) == "key [hidden] of [hidden] on a server"
    assert hide_given(said) == "key [hidden] of [hidden] on a server"
