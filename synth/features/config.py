"""Settings of features: where the feature tree comes from, and the shape of the subtrees drawn from it."""

from pathlib import Path

from pydantic import Field, model_validator

from xcoder_train.core.settings import Settings

Range = tuple[int, int]


class ShapeSettings(Settings):
    """The shape of a subtree. Ranges are [fewest, most], drawn anew at every node; a node may have fewer children.

    The defaults span X-Coder's three shapes (3 or 4 categories, 3 inner branches, 1 or 2 leaves).
    """

    root: Range = (3, 4)
    """Categories."""

    inner: Range = (3, 3)
    """Branches below a category and below every other inner feature."""

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
            raise ValueError(
                f"maximum_leaves ({self.maximum_leaves}) must not be below minimum_leaves ({self.minimum_leaves})"
            )
        return self


class FeatureSettings(Settings):
    """Which features tasks are about, with a language model as the teacher."""

    tree: Path | None = None
    """A feature tree as `synth.features.tree.write_tree` writes it; the built-in seed tree when left out."""

    shape: ShapeSettings = ShapeSettings()
