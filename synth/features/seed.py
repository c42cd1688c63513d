"""The feature tree that ships with the package, so that a model endpoint is all that synthesis needs."""

from pathlib import Path

from synth.features.tree import FeatureTree, tree_from_nested
from xcoder_train.core.yaml_source import read_yaml_file

SEED_TREE = Path(__file__).with_name("seed_tree.yaml")


def seed_tree() -> FeatureTree:
    """A fresh copy of the built-in tree, each feature counted once."""
    return tree_from_nested(read_yaml_file(SEED_TREE).plain())
