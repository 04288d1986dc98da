"""How an estimate becomes a score: what identifies the measurement, what explains it, and the line in the scores file."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saebench.catalogue.spec import SAESpec
from saebench.hub.needs import revisions
from saebench.record.facts import beside
from saebench.record.properties import Property
from saebench.record.provenance import environment
from saebench.record.score import Estimate, Score, Unscored, identity
from saebench.record.store import Store
from saebench.run.documents import Documents
from saebench.run.holder import Holder
from saebench.run.models import Models
from saebench.run.provision import Provision
from saebench.stats.statistics import repetition
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE


@dataclass(frozen=True)
class Asked:
    """What a test measures, and of which SAE."""

    property: Property
    spec: SAESpec
    params: dict[str, str | int | float | bool | None]
    """What the test is parametrized with beside the SAE, by name."""
    evidence: tuple[str, ...] = ()
    """Names of the evidence that the test asks for."""


@dataclass
class Recorder:
    """Finds the scores of earlier runs, and appends new ones."""

    models: Models
    documents: Documents
    provision: Provision
    holder: Holder
    store: Store
    stored: Mapping[str, Score] = field(default_factory=dict)
    """Scores by identity that earlier runs left in the scores file."""

    def found(self, asked: Asked) -> Score | None:
        """The stored score of this very measurement, if there is one, and it is certain that it is of this SAE."""
        found = self.stored.get(identity(**self.identifying(asked))) if self.stored else None
        return None if found is None or self.holder.unresumable(asked.spec) else found

    def record(self, asked: Asked, outcome: Estimate | Unscored, seconds: float) -> Score:
        """Make the score and append it to the scores file at once."""
        prop, estimate = asked.property, outcome if isinstance(outcome, Estimate) else None
        score = Score(
            **self.identifying(asked), **_outcome(prop, outcome), **self._about_sae(asked), **environment(),
            better=prop.better, unit=prop.unit, seconds=round(seconds, 3), device=self.models.device(),
        )  # fmt: skip
        return self.store.append(score, estimate.items if estimate and estimate.items else None)

    def identifying(self, asked: Asked) -> dict[str, Any]:
        """All that a score depends on: see `score.identity`."""
        prop, spec = asked.property, self.holder.known(asked.spec)
        return {
            "property": prop.name, "version": prop.version,
            "params": {**asked.params, **({"machine": _machine()} if prop.machine else {})},
            "sae_digest": spec.digest, "reading": spec.reading(), "seed": repetition(),
            "corpus": self.provision.reads(asked.evidence, spec, asked.params) or self.models.corpus(spec).name,
            **(self._place(spec) if self.provision.of_model(asked.evidence) else {"hook": "", "model_digest": ""}),
        }  # fmt: skip

    def _place(self, spec: SAESpec) -> dict[str, str]:
        models = self.models
        return {"hook": models.hook(spec), "model_digest": models.digest(models.name(spec), centred=spec.centred)}

    def _about_sae(self, asked: Asked) -> dict[str, Any]:
        """Its name, hook and model, and the L0 and FVU measured in this run, whatever order the tests came in."""
        spec, sae = asked.spec, self.holder.sae(asked.spec)
        about = {
            "sae": spec.name, "control": spec.control, "architecture": _architecture(sae.spec),
            "budget": self.models.options.budget, "d_sae": sae.spec.d_sae, "facts": beside(sae.spec),
        }  # fmt: skip
        if not self.provision.of_model(asked.evidence):
            return {**about, "model": ""}
        measured = self.holder.shelf.sae.get((sae.digest, "l0 and fvu"), lambda: self._l0_and_fvu(sae), random=False)
        if is_toy(model := self.models.name(sae.spec)):
            return {**about, "model": model, **measured}
        subject = self.models.subject(sae.spec)
        run_with = {"dtype": subject.dtype, "batch_size": subject.batch.size}
        pinned = revisions(spec.own, model, self.models.source(sae.spec))
        return {**about, "model": model, **measured, **run_with, "revisions": pinned}

    def _l0_and_fvu(self, sae: "LoadedSAE") -> dict[str, float | int | None]:
        from saebench.metrics import reconstruction

        try:
            trace = self.documents.rebuilt(sae)
            found = {"l0": reconstruction.l0(trace).value, "fvu": reconstruction.fvu(trace).value}
        except Unscored:
            return {}
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
