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
class Plan:
    """Jobs for some workers, and what is left out."""

    jobs: list[Job]
    workers: int
    fingerprints: Mapping[str, str | None]
    there: list[str]
    """SAEs of which everything is measured already."""

    @property
    def saes(self) -> list[str]:
        return [sae for job in self.jobs for sae in job.saes]

    def seconds(self) -> float:
        """How long it should take: each job goes to the worker that is free first."""
        return makespan([job.seconds for job in self.jobs], self.workers)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last job ends, each of which goes to the worker that is free first, in their order."""
    free = [0.0] * max(1, min(workers, len(seconds)))
    for each in seconds:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += each
    return max(free)


def plan(
    asked: Asked,
    specs: Sequence[SAESpec],
    tests: Mapping[str, list[str]],
    held: Held,
    ledger: Ledger,
    workers: int,
    prefix: str,
) -> Plan:
    key, budget, before = asked.key(), asked.option("budget") or "quick", Durations()
    fingerprints = {spec.name: fingerprint(key, spec) for spec in specs}
    there = [name for name, own in fingerprints.items() if ledger.done(name, own, held.scores)]
    left = [spec for spec in specs if spec.name not in set(there)]
    per_model = {model: seconds_of(names, budget, model, held.seconds, before) for model, names in tests.items()}
    wanted = [Wanted(spec.name, *place_of(spec), per_model.get(place_of(spec)[0], 0.0)) for spec in left]
    return Plan(planned(wanted, workers, prefix) if wanted else [], workers, fingerprints, there)


def told(found: Plan, lacking: Sequence[str]) -> list[str]:
    """How many of what, what is downloaded, and how long it should take."""
    hooks = {(job.model, job.hook) for job in found.jobs}
    there = f"; {len(found.there)} SAEs are there already" if found.there else ""
    lines = [f"{len(found.saes)} SAEs at {len(hooks)} hooks, {len(found.jobs)} jobs on {found.workers} workers{there}"]
    if not found.jobs:
        return [f"nothing to do: {len(found.there)} SAEs are there already"]
    lines += (
        [f"to be downloaded, where a machine lacks them: {'; '.join(lacking)}"]
        if lacking
        else ["nothing to be downloaded"]
    )
    return [*lines, f"about {in_words(found.seconds())}"]


def rows(jobs: Sequence[Job]) -> list[list[str]]:
    """A table's rows, for each job."""
    return [
        [job.name, shown_model(job.model) or DASH, job.hook or DASH, str(len(job.saes)), in_words(job.seconds)]
        for job in jobs[:MOST]
    ]
