"""What a sweep will do, before it does any of it: which SAEs are there already, which jobs the others make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saebench.catalogue.spec import SAESpec
from saebench.record.durations import Durations, in_words
from saebench.record.naming import shown_model
from saebench.record.wording import DASH
from saebench.sweep.asked import Asked, fingerprint
from saebench.sweep.costs import seconds_of
from saebench.sweep.held import Held
from saebench.sweep.ledger import Ledger
from saebench.sweep.planning import Job, Wanted, place_of, planned

MOST = 40
"""Jobs that are listed."""


@dataclass(frozen=True)
class Left:
    """Which SAEs are to be measured, and which are not."""

    wanted: list[Wanted]
    there: list[str]
    """SAEs of which everything is measured already."""
    fingerprints: Mapping[str, str | None]


@dataclass(frozen=True)
class Plan:
    """Jobs for some workers."""

    jobs: list[Job]
    workers: int
    left: Left

    @property
    def seconds(self) -> float:
        """How long it should take."""
        return makespan([job.seconds for job in self.jobs], self.workers)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last job ends, each of which goes to the worker that is free first, in their order."""
    free = [0.0] * max(1, min(workers, len(seconds)))
    for each in seconds:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += each
    return max(free)


def left(asked: Asked, specs: Sequence[SAESpec], tests: Mapping[str, list[str]], held: Held, ledger: Ledger) -> Left:
    """Compare what is asked for with what there is."""
    key, budget, before = asked.key(), asked.option("budget") or "quick", Durations()
    fingerprints = {spec.name: fingerprint(key, spec) for spec in specs}
    there = {name for name, own in fingerprints.items() if ledger.done(name, own, held.scores)}
    seconds = {model: seconds_of(names, budget, model, held.seconds, before) for model, names in tests.items()}
    places = {spec.name: place_of(spec) for spec in specs if spec.name not in there}
    wanted = [Wanted(name, model, hook, seconds.get(model, 0.0)) for name, (model, hook) in places.items()]
    return Left(wanted, sorted(there), fingerprints)


def plan(found: Left, workers: int, prefix: str) -> Plan:
    """Names of jobs begin with the prefix."""
    return Plan(planned(found.wanted, workers, prefix) if found.wanted else [], workers, found)


def told(found: Plan, lacking: Sequence[str]) -> list[str]:
    """How many of what, what is downloaded, and how long it should take."""
    saes, there = len(found.left.wanted), len(found.left.there)
    if not saes:
        return [f"nothing to do: {there} SAEs are there already"]
    hooks = len({(job.model, job.hook) for job in found.jobs})
    already = f"; {there} SAEs are there already" if there else ""
    fetched = f"to be downloaded, where a machine lacks it: {'; '.join(lacking)}" if lacking else "nothing to download"
    return [
        f"SAEs: {saes}, hooks: {hooks}, jobs: {len(found.jobs)} on {found.workers} workers{already}",
        fetched,
        f"about {in_words(found.seconds)}",
    ]


def rows(jobs: Sequence[Job]) -> list[list[str]]:
    """A table's rows, for each of the first jobs."""
    return [
        [job.name, shown_model(job.model) or DASH, job.hook or DASH, str(len(job.saes)), in_words(job.seconds)]
        for job in jobs[:MOST]
    ]
