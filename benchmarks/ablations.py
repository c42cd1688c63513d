"""The tables of docs/ablations.md, from stored results of the ablations.

    python -m benchmarks.ablations                     # write the tables again from benchmarks/results/ablations
    python -m benchmarks.ablations --runs-dir runs     # take over the results.json of ablations that were run there

A table stands between `<!-- ablation: RECIPE -->` and `<!-- end -->`; RECIPE is a path from the project's root. An
ablation without stored results says "not run yet" with its command. Nothing is run here.
"""

import argparse
import re
from pathlib import Path

from xcoder_core.files import write_json, write_text
from xcoder_train.ablation.results import RESULTS_FILE, read_results
from xcoder_train.ablation.runs import Ablation
from xcoder_train.ablation.tables import plot, to_markdown_page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ablations.md"
RESULTS = ROOT / "benchmarks" / "results" / "ablations"
MARKED = re.compile(r"(<!-- ablation: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Take over, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", type=Path)
    runs_dir = parser.parse_args().runs_dir
    page = PAGE.read_text(encoding="utf-8")
    for _, recipe, _ in MARKED.findall(page):
        name = Ablation(ROOT / recipe).recipe.name
        if runs_dir is not None and (runs_dir / name / RESULTS_FILE).exists():
            write_json(RESULTS / f"{name}.json", read_results(runs_dir / name / RESULTS_FILE).to_json())
        if (RESULTS / f"{name}.json").exists():
            for kind in ("png", "svg"):
                plot(read_results(RESULTS / f"{name}.json"), PAGE.parent / "ablations" / f"{name}.{kind}")
    write_text(PAGE, filled(page, RESULTS))


def filled(page: str, results: Path) -> str:
    """The page with every marked place written anew from the results that are stored."""
    return MARKED.sub(lambda found: found[1] + _table(found[2], results) + found[3], page)


def _table(recipe: str, results: Path) -> str:
    name = Ablation(ROOT / recipe).recipe.name
    stored = results / f"{name}.json"
    if not stored.exists():
        return f"Not run yet: `xcoder ablate {recipe}`\n"
    return f"{to_markdown_page(read_results(stored))}\n![{name}](ablations/{name}.png)\n"


if __name__ == "__main__":
    main()
