"""Seeds are hashes of what they are for."""

from xcoder_core.seeds import derive_seed


def test_no_two_uses_share_a_seed() -> None:
    uses = [
        (run, stage, f"p{n}", sample)
        for run in (0, 1)
        for stage in ("sft", "grpo")
        for n in range(50)
        for sample in range(8)
    ]
    assert len({derive_seed(*use) for use in uses}) == len(uses)


def test_a_number_and_its_text_are_different_uses() -> None:
    assert derive_seed(1, "a") != derive_seed("1", "a")
    assert derive_seed("ab", "c") != derive_seed("a", "bc")


def test_seeds_fit_what_takes_them_and_stay_the_same_over_releases() -> None:
    assert all(0 <= derive_seed(n) < 2**63 for n in range(100))
    assert derive_seed(7, "grpo", "p", 3) == derive_seed(7, "grpo", "p", 3)
