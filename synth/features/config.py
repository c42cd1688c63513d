"""Settings of features: where the feature tree comes from, and the shape of the subtrees drawn from it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xcoder_core.models.settings import SamplingSettings
from xcoder_core.settings import Settings

Range = tuple[int, int]


class ShapeSettings(Settings):
    """The shape of a subtree. Ranges are [fewest, most], drawn anew at every node; a node may have fewer children.

    The defaults span X-Coder's three shapes (3 or 4 categories, 3 inner branches, 1 or 2 leaves).
    """

    root: Range = (3, 4)
    """Categories."""

    inner: Range = (3, 3)
    """Branches below a category, and below every other feature that is no leaf."""

    leaves: Range = (1, 2)
    """Leaves of one feature."""

    minimum_leaves: int = Field(default=12, ge=1)
    """Subtrees with fewer leaves are drawn again."""

    maximum_leaves: int | None = Field(default=None, ge=1)
    """Subtrees with more leaves are drawn again."""

    by_count: bool = False
    """Draw features in proportion to how often they were extracted, instead of evenly."""

    @model_validator(mode="after")
    def _ranges_have_an_order(self) -> "ShapeSettings":
        for name in ("root", "inner", "leaves"):
            fewest, most = getattr(self, name)
            if not 1 <= fewest <= most:
                raise ValueError(f"{name} is [fewest, most] with 1 <= fewest <= most; found [{fewest}, {most}]")
        if self.maximum_leaves is not None and self.maximum_leaves < self.minimum_leaves:
            raise ValueError(f"maximum_leaves ({self.maximum_leaves}) is below minimum_leaves ({self.minimum_leaves})")
        return self


class BuiltinTree(Settings):
    """The tree that ships with the package."""

    kind: Literal["builtin"] = "builtin"
    """Chooses this source."""


class FeatureFile(Settings):
    """A file of features: a tree, or subtrees."""

    kind: Literal["tree", "xcoder_tree", "xcoder_rows"]
    """`tree`: a tree that an earlier run wrote (`features/tree.json`). `xcoder_tree`: X-Coder's merged tree,
    `feature_evoled.json`, which is JSON nested by category with leaves in lists. `xcoder_rows`: X-Coder's published
    feature rows, each of which is the subtree of one task; nothing is drawn or evolved."""

    path: Path
    """The file; for `xcoder_rows` `.jsonl`, `.json` or `.parquet`."""


class Snippets(Settings):
    """Features are extracted by the language model from tasks with their solutions."""

    kind: Literal["snippets"]
    """Chooses this source."""

    path: Path
    """`.jsonl`, `.json` or `.parquet`, one snippet a row."""

    instruction: str = "question"
    """Column of the task's text."""

    code: str | None = "solutions"
    """Column of the solution: text, or a list whose first item is taken; null if there are no solutions."""

    limit: int | None = Field(default=None, ge=1)
    """Read only this many rows, from the first; all when left out."""

    maximum_characters: int = Field(default=30_000, ge=1)
    """Snippets of more characters, text and solution together, are set aside; a model's context would cut them."""


class EvolutionSettings(Settings):
    """How a language model grows the tree: by siblings of a branch's features, and by finer features below leaves."""

    rounds: int = Field(default=0, ge=0)
    """How often every branch of the tree is asked about; each round grows the tree of the round before."""

    questions_per_round: int | None = Field(default=None, ge=1)
    """Most questions of one round, drawn by the seed from the tree's branches; one for every branch when left out."""

    new_features: int = Field(default=4, ge=1)
    """How many new siblings, or finer features of one leaf, a question asks for."""

    maximum_levels: int = Field(default=6, ge=2, le=12)
    """Leaves on this level get no finer features; categories are on level 1."""


class FeatureSettings(Settings):
    """What tasks can be about, for a language model as the teacher."""

    source: Annotated[BuiltinTree | FeatureFile | Snippets, Field(discriminator="kind")] = BuiltinTree()
    """Where features come from."""

    evolution: EvolutionSettings = EvolutionSettings()
    """Growth of the tree before subtrees are drawn from it."""

    shape: ShapeSettings = ShapeSettings()
    """The subtree that one task is made from."""

    sampling: SamplingSettings = SamplingSettings(temperature=0.7, top_p=0.95, top_k=0, max_new_tokens=16384)
    """How the answers of extraction and evolution are sampled."""

    @model_validator(mode="after")
    def _rows_are_not_evolved(self) -> "FeatureSettings":
        if self.source.kind == "xcoder_rows" and self.evolution.rounds:
            raise ValueError("evolution.rounds cannot be set with xcoder_rows, whose rows are subtrees already")
        return self


def feature_file(settings: FeatureSettings) -> Path | None:
    """The file that features come from; its content affects the result as the settings do."""
    return None if isinstance(settings.source, BuiltinTree) else settings.source.path
