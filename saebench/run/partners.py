"""Another SAE to hold an SAE's latents against: of its family and place, with another seed or width."""

import math
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Unscored
from saebench.run.documents import Documents
from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from saebench.evidence.stitching import Stitched
    from saebench.evidence.unit_rows import UnitRows
    from saebench.saes.sae import LoadedSAE

SAME = ("model", "hook", "hook_out", "d_in", "centred", "prepend_bos")
"""What partners have in common, beside the family."""
SCALING = ("layer_norm", "constant_norm_rescale")
"""Normalisations by which a latent writes more at some tokens than at others."""


@dataclass
class Partners:
    """A partner is one of the SAEs that lie here, and the same one whatever else is scored."""

    models: Models
    documents: Documents
    shelf: Shelf

    def name(self, spec: SAESpec) -> str:
        """Name and content of an SAE's partner; without one, that there is none."""
        found = self.of(spec)
        return "no partner" if found is None else f"{found.name} {(found.digest or '')[:12]}".strip()

    def of(self, spec: SAESpec) -> SAESpec | None:
        """The partner: rather of the same training data, then of the same width and another seed, then near in width."""
        own = spec.own
        return self.shelf.sae.get(("partner", own.name), lambda: _found(own), random=False)

    def stitched(self, sae: "LoadedSAE", unit: "UnitRows") -> "Stitched":
        """The SAE's latents beside its partner. Raises Unscored where it has none that lies here."""
        from saebench.evidence.stitching import stitch
        from saebench.saes.loaders import load_sae

        spec = self.of(sae.spec)
        if spec is None:
            raise Unscored(
                "no other SAE of its family lies here that has its hook and architecture, and another seed or width"
            )
        if sae.spec.normalisation in SCALING:
            raise Unscored(f"what a latent writes depends on the norm of the activation ({sae.spec.normalisation})")
        rebuilt = self.documents.rebuilt(sae)
        partner = load_sae(spec, self.models.device())
        return stitch(unit, rebuilt, partner, self.documents.activations(sae), rebuilt.inside)


def _found(own: SAESpec) -> SAESpec | None:
    from saebench.catalogue.registry import specs_of

    family = [] if own.repo else specs_of(own.name.partition("/")[0])
    found = [other for other in family if not other.control and _alike(own, other) and _differ(own, other)]
    return min(found, key=lambda other: _apart(own, other), default=None)


def _architecture(spec: SAESpec) -> object:
    return spec.facts.get("training_architecture") or spec.architecture


def _alike(own: SAESpec, other: SAESpec) -> bool:
    """Of one place and architecture, and as sparse where both say how sparse they were to be."""
    aims = [spec.facts.get("aimed_l0") for spec in (own, other)]
    return (
        all(getattr(own, name) == getattr(other, name) for name in SAME)
        and _architecture(own) == _architecture(other)
        and (None in aims or aims[0] == aims[1])
    )


def _differ(own: SAESpec, other: SAESpec) -> bool:
    """Whether it was trained with another seed, in another width, or on other data, as far as both say."""
    return own.digest != other.digest and (own.d_sae != other.d_sae or any(_facts_differ(own, other)))


def _facts_differ(own: SAESpec, other: SAESpec) -> tuple[bool, bool]:
    """Data, and seed."""
    data, seed = (own.facts.get(fact) != other.facts.get(fact) for fact in ("trained_on", "seed"))
    return data, seed


def _apart(own: SAESpec, other: SAESpec) -> tuple[bool, float, bool, float, str]:
    """Of what is equal in all that files say, as tied decoders are not among, names that are most alike come first."""
    data, seed = _facts_differ(own, other)
    alike = SequenceMatcher(None, own.name, other.name).ratio()
    return data, abs(math.log((own.d_sae or 1) / (other.d_sae or 1))), not seed, -alike, other.name
