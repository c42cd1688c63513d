"""Seeds: each is a hash of what it is for, so no two uses share one and order changes nothing."""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) from the run's seed and the names of a use, such as (7, "grpo", problem_id, sample)."""
    named = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big") >> 1
