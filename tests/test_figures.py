"""The figures count what they say."""

from tests.figures import ROOT, measure

PACKAGE = ROOT / "xcoder_train"


def test_circles_late_imports_and_parameters_are_counted() -> None:
    figures = measure(
        {
            PACKAGE / "first.py": "from xcoder_train.second import b\n\ndef f(self, x, *, y): ...\n",
            PACKAGE / "second.py": "def g():\n    from xcoder_train.first import f\n    import json\n",
            PACKAGE / "room" / "third.py": "from typing import Any\nfrom xcoder_train.first import f\nx: Any\n",
        }
    )
    assert figures == {
        "lines of product code": 9,
        "modules directly in xcoder_train/": 2,
        "modules in import circles": 2,
        "imports of own modules inside functions": 1,
        "parameters of the longest public signature": 2,
        "uses of Any": 1,
    }
