"""A recipe to change."""

from pathlib import Path

import pytest

from tests.xcoder_train.recipe.small import GOOD


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path
