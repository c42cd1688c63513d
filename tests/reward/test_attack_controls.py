"""Each attack works where nothing stops it: what could never succeed would prove nothing about the judge."""

import re
import signal
from pathlib import Path

import pytest

from tests.reward.cage import ADDRESS_SPACE, Order, Outcome, run_in_cage
from tests.reward.corpora import ATTACKS, CANARY, EXPECTED, OUTPUT_MIB, Attack
from tests.reward.unprivileged import python_for_anybody

CHECKED_IN_ITS_OWN_PROCESS = f"expected = {EXPECTED!r}\n"
"""The naive checker: the expected output lies in the process that runs the program."""
CALLED_AND_COMPARED = """
import pickle
if __name__ == "__main__":
    if pickle.loads(pickle.dumps(Solution().add(3, 4))) == 7:
        print("PWNED")
"""
"""The naive checker of functions: what they return comes from another process by pickle, and `==` decides."""


def order_of(attack: Attack) -> Order:
    code = (
        attack.tamed_code + CALLED_AND_COMPARED
        if attack.is_function
        else CHECKED_IN_ITS_OWN_PROCESS + attack.tamed_code
    )
    awaited = tuple(control.removeprefix("leaves ") for control in attack.controls if control.startswith("leaves "))
    if "lasts" in attack.controls:
        return Order(attack.name, code, cpu_seconds=1, awaited=awaited)
    return Order(attack.name, code, awaited=awaited)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    python = python_for_anybody()
    if python is None:
        pytest.skip("there is no Python that an unprivileged user can run")
    try:
        run_in_cage([Order("nothing", "")], python, {})
    except OSError as error:
        pytest.skip(f"no disposable place can be made here: {error}")
    return run_in_cage([order_of(a) for a in ATTACKS if a.why_no_control is None], python, {CANARY: "secret"})


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_works_without_isolation(attack: Attack, request: pytest.FixtureRequest) -> None:
    if attack.why_no_control is not None:
        pytest.skip(attack.why_no_control)
    for path, value in attack.needs:
        if Path(path).exists() and (said := Path(path).read_text().strip()) != value:
            pytest.skip(f"this kernel does not let anybody do it: {path} is {said!r}, not {value!r}")
    outcome = request.getfixturevalue("outcomes")[attack.name]
    for control in attack.controls:
        assert is_seen(control, outcome), (control, outcome)


def is_seen(control: str, outcome: Outcome) -> bool:
    """True where the outcome shows the effect that a header names."""
    effect, _, what = control.partition(" ")
    if effect == "prints":
        return re.search(what, outcome.output) is not None
    if effect == "floods":
        size = outcome.output_bytes if what == "stdout" else outcome.error_bytes
        return size >= OUTPUT_MIB << 20
    if effect == "leaves":
        return any(Path(name).match(what) for name in outcome.left)
    if effect == "ends":
        return outcome.status == what
    if control == "fills memory":
        return outcome.memory > 0.7 * ADDRESS_SPACE
    if effect == "lasts":
        return outcome.status in (signal.SIGXCPU.name, signal.SIGKILL.name) and outcome.cpu_seconds > 0.5
    assert control == "kills its parent", f"{control!r} is no effect that tests/reward/corpora.py knows"
    return outcome.status is None
