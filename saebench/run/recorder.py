"""How an estimate becomes a score: what identifies the measurement, what explains it, and the line in the scores file."""

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saebench.catalogue.spec import SAESpec
from saebench.hub.needs import revisions
from saebench.record.properties import Property
from saebench.record.provenance import environment
from saebench.record.score import Estimate, Score, Unscored, identity
from saebench.stats.statistics import repetition

if TYPE_CHECKING:
    from saebench.run.run import Run
    from saebench.saes.sae import LoadedSAE


@dataclass(frozen=True)
class Asked:
    """What a test measures, and of which SAE."""

    property: Property
    spec: SAESpec
    params: dict[str, str | int | float | bool | None]
    """What the test is parametrized with beside the SAE, by name."""
    concepts: str | None
    """The concept set at whose words it is measured; None for documents."""


@dataclass
class Recorder:
    """Finds the scores of earlier runs, and appends new ones."""

    run: "Run"

    def found(self, asked: Asked) -> Score | None:
        """The stored score of this very measurement, if there is one, and it is certain that it is of this SAE."""
        found = self.run.stored.get(identity(**self.identifying(asked))) if self.run.stored else None
        return None if found is None or self.run.unresumable(asked.spec) else found

    def record(self, asked: Asked, outcome: Estimate | Unscored, seconds: float) -> Score:
        """Make the score and append it to the scores file at once."""
        prop, estimate = asked.property, outcome if isinstance(outcome, Estimate) else None
        score = Score(
            **self.identifying(asked), **_outcome(prop, outcome), **self._about_sae(asked.spec), **environment(),
            better=prop.better, unit=prop.unit, seconds=round(seconds, 3), device=self.run.resolved_device(),
        )  # fmt: skip
        return self.run.store.append(score, estimate.items if estimate and estimate.items else None)

    def identifying(self, asked: Asked) -> dict[str, Any]:
        """All that a score depends on: see `score.identity`."""
        run, prop, spec = self.run, asked.property, self.run.known(asked.spec)
        texts = run.corpus(spec) if asked.concepts is None else run.words.plan(spec, asked.concepts)
        return {
            "property": prop.name, "version": prop.version,
            "params": {**asked.params, **({"machine": _machine()} if prop.machine else {})},
            "sae_digest": spec.digest, "hook": run.hook(spec), "reading": spec.reading(),
            "model_digest": run.model_digest(run.model_name(spec), centred=spec.centred), "corpus": texts.name,
            "seed": repetition(),
        }  # fmt: skip

    def _about_sae(self, spec: SAESpec) -> dict[str, Any]:
        """Its name, hook and model, and the L0 and FVU measured in this run, whatever order the tests came in."""
        sae = self.run.sae(spec)
        measured = self.run.shelf.sae.get((sae.digest, "l0 and fvu"), lambda: self._l0_and_fvu(sae), random=False)
        names = {"sae": spec.name, "model": self.run.model_name(sae.spec)}
        subject = self.run.subject(sae.spec)
        run_with = {"dtype": subject.dtype, "batch_size": subject.batch.size}
        pinned = revisions(self.run.own(spec), names["model"], self.run.source(sae.spec))
        about = {"control": spec.control, "architecture": _architecture(sae.spec), "budget": self.run.budget}
        return {**names, **about, **measured, **run_with, "revisions": pinned}

    def _l0_and_fvu(self, sae: "LoadedSAE") -> dict[str, float | int | None]:
        from saebench.metrics import reconstruction

        try:
            trace = self.run.trace(sae)
            found = {"l0": reconstruction.l0(trace).value, "fvu": reconstruction.fvu(trace).value}
        except Unscored:
            return {"d_sae": sae.spec.d_sae}
        return {**found, "d_sae": len(trace.fired)}


def _machine() -> str:
    """Processor and number of threads, which timings hold for."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def _architecture(spec: SAESpec) -> str | None:
    """The one it was trained as, which is not always the one that it is used as."""
    trained_as = spec.facts.get("training_architecture")
    return str(trained_as) if trained_as else spec.architecture


def _outcome(prop: Property, outcome: Estimate | Unscored) -> dict[str, Any]:
    if isinstance(outcome, Unscored):
        return {
            "unscored_reason": outcome.reason,
            "broken": outcome.broken,
            "floor": prop.floor,
            "ceiling": prop.ceiling,
        }
    return {
        "value": outcome.value, "ci_low": outcome.ci_low, "ci_high": outcome.ci_high, "n": outcome.n,
        "n_unit": outcome.n_unit, "controls": outcome.controls,
        "floor": prop.floor if outcome.floor is None else outcome.floor,
        "ceiling": prop.ceiling if outcome.ceiling is None else outcome.ceiling,
    }  # fmt: skip
