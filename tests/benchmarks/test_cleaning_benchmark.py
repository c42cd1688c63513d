"""The benchmark of cleaning, small: copies of the easy kinds are found, and what is told of it is what was measured."""

import json

from benchmarks.cleaning import BEGIN, END, PAGE, RESULTS, RULES, decontaminate, near_duplicates, plant, tables
from synth.config import CleaningSettings

DEFAULT = CleaningSettings()


def test_the_defaults_find_what_is_planted_and_leave_clean_tasks() -> None:
    held, tasks = plant(40, seed=4)
    rule = (DEFAULT.ngram_words, DEFAULT.ngram_share, DEFAULT.boilerplate)
    found = decontaminate(held, tasks, *rule)
    surely = ("exact", "re-typeset", "2 % of words edited", "5 % of words edited", "inside a longer text")
    assert all(found["found"][kind] == 1.0 for kind in (*surely, "sentences reordered"))
    assert found["found"]["own"] <= 0.1 and found["found"]["retold"] >= 0.8
    near = near_duplicates(held, tasks, DEFAULT.similarity)["found"]
    assert near["exact"] == near["re-typeset"] == near["2 % of words edited"] == 1.0 and near["own"] == 0.0


def test_the_page_shows_the_results_that_are_kept() -> None:
    result = json.loads(RESULTS.read_text())
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == tables(result)
    default = (DEFAULT.ngram_words, DEFAULT.ngram_share, DEFAULT.boilerplate)
    assert tuple(result["defaults"]["rule"]) == default and default in RULES
    assert result["defaults"]["similarity"] == DEFAULT.similarity
