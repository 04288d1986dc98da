"""An SAE on documents: the activations that it reads, and its one pass over them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.evidence.trace import Encoded, Rebuilt, Trace
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations
    from saebench.subject.subject import Subject


@dataclass
class Documents:
    """Each is made when it is first asked for; what a pass could not do is remembered as well."""

    models: Models
    shelf: Shelf

    def activations(self, sae: "LoadedSAE") -> "Activations":
        """Of the SAE's own model, at its hook."""
        return self.models.activations(self.models.subject(sae.spec), sae.spec)

    def trace(self, sae: "LoadedSAE") -> "Trace":
        """One pass of the SAE over the corpus."""
        from saebench.evidence.trace import trace

        return self.shelf.sae.get((sae.digest, "trace"), lambda: trace(sae, self.activations(sae)), random=False)

    def rebuilt(self, sae: "LoadedSAE") -> "Rebuilt":
        """What the SAE makes of activations: a part of its pass, where there is a model to pass through."""
        toy = is_toy(self.models.name(sae.spec))
        return self.rebuilt_in(sae, self.models.subject(sae.spec)) if toy else self.trace(sae)

    def encoded_in(self, sae: "LoadedSAE", subject: "Subject") -> "Encoded":
        """What the latents of a control do there, without a pass of the model."""
        from saebench.evidence.trace import encode

        key = ("encoded", sae.digest, subject.digest, sae.spec.context_size)
        make = lambda: encode(sae, self.models.activations(subject, sae.spec))  # noqa: E731
        return self.shelf.of(sae).get(key, make, random=False)

    def rebuilt_in(self, sae: "LoadedSAE", subject: "Subject") -> "Rebuilt":
        """What a control makes of activations, without a pass of the model."""
        from saebench.evidence.trace import rebuild

        key = ("rebuilt", sae.digest, subject.digest, sae.spec.context_size)
        make = lambda: rebuild(sae, self.models.activations(subject, sae.spec))  # noqa: E731
        return self.shelf.of(sae).get(key, make, random=False)

    def trace_in(self, sae: "LoadedSAE", subject: "Subject") -> "Trace":
        """The same as `trace` for a control or a twin, also in a model with random weights."""
        from saebench.evidence.trace import trace

        key = ("trace", sae.digest, subject.digest, sae.spec.context_size)
        make = lambda: trace(sae, self.models.activations(subject, sae.spec))  # noqa: E731
        return self.shelf.of(sae).get(key, make, random=False)
