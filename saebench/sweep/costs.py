"""How long an SAE may take: by its scores in the joined file, else by what this machine measured before."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from saebench.record.durations import Durations

DEFAULT = 4.0
"""Seconds of a test that was never measured."""


def seconds_of(
    tests: Sequence[str],
    budget: str,
    model: str,
    measured: Mapping[tuple[str, str, str], list[float]],
    before: Durations,
) -> float:
    """Seconds that an SAE's tests, named by their properties, take together."""

    def one(name: str) -> float:
        if here := measured.get((name, budget, model)):
            return fmean(here)
        seconds, unknown = before.expected([name], budget, model)
        return DEFAULT if unknown else seconds

    return sum(map(one, tests))
