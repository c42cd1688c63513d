"""Every demand on the judge, measured: which harnesses, how often, and what the figure is.

Harnesses that are compared are measured in turns, and of each the best round counts: other load on the machine only
ever adds. What a row needs and this run lacks (LiveCodeBench's checker) leaves its figure empty, never guessed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from benchmarks.judge.process import HarnessProcess, Measurement, sum_of
from benchmarks.judge.workloads import (
    WAYS_TO_HANG,
    Program,
    function_program,
    hanging_mix,
    printing_programs,
    realistic_programs,
    tiny_program,
)

JUDGE = "judge"
BARE = "bare python per test"
LIVECODEBENCH = "LiveCodeBench"
IN_RUNNER = "LiveCodeBench in its own runner"
ALONE = "the programs alone"
ALONE_IN_A_FUNCTION = "the programs alone, in a function"
ALL_CORES = "all cores"
PRINTING = "printing to the cap"

RUNNER_IMPORTS = ["torch", "datasets"]
HANGING_SECONDS = 2.0
"""Ten times what the slowest program needs: LiveCodeBench's limit is wall time, and other load must not decide."""
PRINTED_COPIES = 10
"""What memory "bounded by workers x output cap" may come to, in multiples of it: the bytes once, a text of up to
four bytes per character twice, since it is stripped, and what decoding needs meanwhile."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `weight` scales the number of tiny programs, `every` thins the realistic ones.

    `hanging` has mixes by name, each with the ways in which its hanging programs hang.
    """

    rounds: int
    heavy_rounds: int
    weight: float
    every: int
    printing_per_worker: int
    output_mib: int
    hanging: dict[str, list[str]]

    def with_rounds(self, rounds: int) -> "Plan":
        """Heavy workloads get about half as many."""
        return replace(self, rounds=rounds, heavy_rounds=(rounds + 1) // 2)


FULL = Plan(
    rounds=5,
    heavy_rounds=3,
    weight=1.0,
    every=1,
    printing_per_worker=4,
    output_mib=16,
    hanging={"10 % hang in four ways": list(WAYS_TO_HANG), "10 % hang by slowness": ["slow"]},
)
QUICK = Plan(
    rounds=1,
    heavy_rounds=1,
    weight=0.02,
    every=9,
    printing_per_worker=1,
    output_mib=1,
    hanging={"10 % hang by slowness": ["slow"]},
)


@dataclass(frozen=True, slots=True)
class Row:
    """A demand and what was measured. `least` is the least that is accepted; None stands for what was not measured.

    `in_runner` is the figure against LiveCodeBench's checker in a process like that of its own programs.
    """

    name: str
    unit: str
    target: float
    least: float
    at_least: bool
    figure: float | None
    in_runner: float | None

    @property
    def met(self) -> str:
        """One of "yes", "barely" (no less than the least that is accepted), "no" and "not measured"."""
        if self.figure is None:
            return "not measured"
        for answer, bound in (("yes", self.target), ("barely", self.least)):
            if self.figure >= bound if self.at_least else self.figure <= bound:
                return answer
        return "no"


Costs = dict[str, list[Measurement]]
"""By harness, one measurement per round."""
Harnesses = dict[str, tuple[str, int, dict[str, Any]]]
"""By the name that is shown: the harness, how often it runs the programs in a round, and its options."""


@dataclass(slots=True)
class Results:
    """The rows, and the costs by workload."""

    rows: list[Row] = field(default_factory=list)
    costs: dict[str, Costs] = field(default_factory=dict)

    def at_least(
        self,
        name: str,
        unit: str,
        target: float,
        figure: float | None,
        in_runner: float | None = None,
        least: float | None = None,
    ) -> None:
        self.rows.append(Row(name, unit, target, target if least is None else least, True, figure, in_runner))

    def at_most(
        self, name: str, unit: str, target: float, figure: float | None, in_runner: float | None = None
    ) -> None:
        self.rows.append(Row(name, unit, target, target, False, figure, in_runner))


def measure_all(plan: Plan, checkout: str | None, tier: str, say: Callable[[str], None]) -> Results:
    """Every row in order. `checkout` is LiveCodeBench's, or None."""
    cores = len(os.sched_getaffinity(0))
    results = Results()
    say("tiny programs")
    measure_tiny(results, plan, checkout, tier)
    say("function problems")
    measure_functions(results, plan, checkout)
    say("realistic programs")
    realistic = realistic_programs(plan.every)
    measure_realistic(results, plan, checkout, realistic)
    say("hanging programs among them")
    measure_hanging(results, plan, checkout, realistic, cores)
    say("all cores")
    measure_scaling(results, plan, cores)
    say("memory")
    measure_memory(results, plan, cores)
    return results


def measure_tiny(results: Results, plan: Plan, checkout: str | None, tier: str) -> None:
    """A fresh process per test, against what else starts one, against LiveCodeBench, and against no isolation."""
    isolated, open_ = f"judge, tier {tier}, one worker", "judge, tier none, one worker"
    harnesses: Harnesses = {
        JUDGE: ("judge", 120, {"workers": 1}),
        BARE: ("bare", 8, {}),
        "subprocess per test": ("subprocess_per_test", 4, {}),
        **livecodebench(checkout, 25),
        isolated: ("judge_in_tier", 120, {"tier": tier}),
        open_: ("judge_in_tier", 120, {"tier": "none"}),
    }
    costs = results.costs["tiny"] = in_turns(harnesses, [tiny_program()], plan)
    judge = best_cpu(costs, JUDGE)
    name = "tiny, a process per test: against bare python"
    results.at_least(name, "×", 7, ratio(best_cpu(costs, BARE), judge), least=6)
    name = "tiny, a process per test: against LiveCodeBench"
    results.at_least(
        name, "×", 4.5, ratio(best_cpu(costs, LIVECODEBENCH), judge), ratio(best_cpu(costs, IN_RUNNER), judge), least=4
    )
    results.at_most("cost of isolation", "%", 10, percent(excess(best_cpu(costs, isolated), best_cpu(costs, open_))))


def measure_functions(results: Results, plan: Plan, checkout: str | None) -> None:
    """All tests of a function problem in one child."""
    harnesses: Harnesses = {
        JUDGE: ("judge", 250, {"workers": 1, "share_process": True}),
        "judge, process per test": ("judge", 80, {"workers": 1}),
        **livecodebench(checkout, 40),
    }
    costs = results.costs["functions"] = in_turns(harnesses, [function_program()], plan)
    judge = best_cpu(costs, JUDGE)
    name = "functions, one process: against LiveCodeBench"
    results.at_least(
        name, "×", 15, ratio(best_cpu(costs, LIVECODEBENCH), judge), ratio(best_cpu(costs, IN_RUNNER), judge)
    )


def measure_realistic(results: Results, plan: Plan, checkout: str | None, programs: list[Program]) -> None:
    """What judging costs beyond the programs' own CPU time: a small difference of two large numbers.

    Every program is therefore run by all harnesses before the next one is, and the median over rounds counts. The
    programs' own time is that of executing them in a warm interpreter.
    LiveCodeBench makes each program the body of a function, which runs faster than a module; its cost beyond the
    program in that form is a figure of its own.
    """
    harnesses: Harnesses = {
        ALONE: ("bodies", 1, {}),
        JUDGE: ("judge", 1, {"workers": 1}),
        BARE: ("bare", 1, {}),
        **livecodebench(checkout, 1),
    }
    if checkout is not None:
        harnesses[ALONE_IN_A_FUNCTION] = ("bodies", 1, {"checkout": checkout})
    costs = results.costs["realistic"] = program_by_program(harnesses, programs, plan.heavy_rounds)
    judge, theirs = beyond(costs, JUDGE, ALONE), beyond(costs, LIVECODEBENCH, ALONE)
    name = "realistic: cost beyond the programs' own, of LiveCodeBench's"
    results.at_most(
        name, "%", 100 / 3, percent(ratio(judge, theirs)), percent(ratio(judge, beyond(costs, IN_RUNNER, ALONE)))
    )
    results.at_most(
        "the same, beyond the programs as each runs them",
        "%",
        100 / 3,
        percent(ratio(judge, beyond(costs, LIVECODEBENCH, ALONE_IN_A_FUNCTION))),
        percent(ratio(judge, beyond(costs, IN_RUNNER, ALONE_IN_A_FUNCTION))),
    )


def measure_hanging(results: Results, plan: Plan, checkout: str | None, realistic: list[Program], cores: int) -> None:
    """Wall time on all cores where one program in ten hangs; each harness stops at a program's first failure."""
    harnesses: Harnesses = {JUDGE: ("judge", 1, {"workers": cores, "stop_at_first_failure": True})}
    if checkout is not None:
        harnesses[LIVECODEBENCH] = ("livecodebench_pool", 1, {"checkout": checkout, "processes": cores})
    for name, ways in plan.hanging.items():
        mix = hanging_mix(realistic, ways, HANGING_SECONDS)
        costs = results.costs[name] = in_turns(harnesses, mix, plan, plan.heavy_rounds)
        figure = ratio(best_wall(costs, LIVECODEBENCH), best_wall(costs, JUDGE))
        results.at_least(f"{name}: wall time, against LiveCodeBench", "×", 2, figure)


def measure_scaling(results: Results, plan: Plan, cores: int) -> None:
    """Programs per second on all cores against one, and what the supervisor needs meanwhile."""
    harnesses: Harnesses = {
        "1 worker": ("judge", 150, {"workers": 1}),
        ALL_CORES: ("judge", 150 * cores, {"workers": cores}),
    }
    costs = results.costs["scaling"] = in_turns(harnesses, [tiny_program()], plan)
    gain = ratio(best_wall(costs, "1 worker"), best_wall(costs, ALL_CORES))
    results.at_least(f"efficiency from 1 to {cores} cores", "%", 90, percent(ratio(gain, cores)))
    full = min(costs[ALL_CORES], key=lambda measurement: measurement.wall)
    results.at_most("supervisor at full load, of one core", "%", 10, percent(full.own_cpu / full.wall))


def measure_memory(results: Results, plan: Plan, cores: int) -> None:
    """How far the supervisor grows while programs print to the cap, in multiples of workers x output cap."""
    costs: Costs = {}
    for name, program in printing_programs(plan.output_mib << 20).items():
        process = HarnessProcess("judge", [tiny_program(), program], workers=cores, output_mib=plan.output_mib)
        try:
            costs[name] = [process.measure(plan.printing_per_worker * cores, only=1)]
        finally:
            process.close()
    results.costs[PRINTING] = costs
    worst = max(cost.growth_mib for [cost] in costs.values())
    results.at_most(
        "memory while programs print, in workers × cap", "×", PRINTED_COPIES, worst / (cores * plan.output_mib)
    )


def livecodebench(checkout: str | None, times: int) -> Harnesses:
    """Its checker on one program after another, in a lean process and in one like its own; nothing without it."""
    if checkout is None:
        return {}
    return {
        LIVECODEBENCH: ("livecodebench", times, {"checkout": checkout}),
        IN_RUNNER: ("livecodebench", times, {"checkout": checkout, "imports": RUNNER_IMPORTS}),
    }


def in_turns(harnesses: Harnesses, programs: list[Program], plan: Plan, rounds: int | None = None) -> Costs:
    """In each round every harness runs all programs as often as it says."""
    costs: Costs = {name: [] for name in harnesses}
    with harness_processes(harnesses, programs) as processes:
        for _ in range(rounds or plan.rounds):
            for name, (_, times, _) in harnesses.items():
                costs[name].append(processes[name].measure(max(1, round(times * plan.weight))))
    return costs


def program_by_program(harnesses: Harnesses, programs: list[Program], rounds: int) -> Costs:
    """In each round every program is run by every harness once; a measurement is the sum over programs."""
    costs: Costs = {name: [] for name in harnesses}
    with harness_processes(harnesses, programs) as processes:
        for _ in range(rounds):
            parts: Costs = {name: [] for name in harnesses}
            for index in range(len(programs)):
                for name in harnesses:
                    parts[name].append(processes[name].measure(only=index))
            for name in harnesses:
                costs[name].append(sum_of(parts[name]))
    return costs


@contextmanager
def harness_processes(harnesses: Harnesses, programs: list[Program]) -> Iterator[dict[str, HarnessProcess]]:
    """Every harness in its own process, all of them ended at the end."""
    with ExitStack() as stack:
        processes = {}
        for name, (harness, _, options) in harnesses.items():
            processes[name] = HarnessProcess(harness, programs, **options)
            stack.callback(processes[name].close)
        yield processes


def best_cpu(costs: Costs, name: str) -> float | None:
    """CPU seconds per program in the best round."""
    return min((cost.cpu / cost.programs for cost in costs.get(name, [])), default=None)


def best_wall(costs: Costs, name: str) -> float | None:
    """Wall seconds per program in the best round."""
    return min((cost.wall / cost.programs for cost in costs.get(name, [])), default=None)


def beyond(costs: Costs, name: str, alone: str) -> float | None:
    """CPU seconds per program beyond those of the programs alone, the median over rounds."""
    if name not in costs or alone not in costs:
        return None
    pairs = zip(costs[name], costs[alone], strict=True)
    return median((cost.cpu - (body.tests_cpu or 0.0)) / cost.programs for cost, body in pairs)


def ratio(dividend: float | None, divisor: float | None) -> float | None:
    return None if dividend is None or divisor is None else dividend / divisor


def excess(dividend: float | None, divisor: float | None) -> float | None:
    quotient = ratio(dividend, divisor)
    return None if quotient is None else quotient - 1


def percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
