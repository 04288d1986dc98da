"""What is read off an SAE on documents, or on the samples of a toy world; and its controls."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.control_saes import ControlSAEs
from saebench.run.documents import Documents
from saebench.run.genres import Genres
from saebench.run.models import Models
from saebench.run.samples import Samples

if TYPE_CHECKING:
    from saebench.evidence.known import Known
    from saebench.evidence.trace import Rebuilt, Trace
    from saebench.evidence.written import Neighbours, Written
    from saebench.metrics.dataset_shift import Firing
    from saebench.metrics.marginal_structure import Control
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations


def documents_read(spec: SAESpec, models: Models) -> str:
    """Name of the documents that an SAE is read on."""
    return models.corpus(spec).name


@provides("activations", reads=documents_read)
def activations(sae: "LoadedSAE", documents: Documents) -> "Activations":
    """The language model's activations at the SAE's hook; computed once for all SAEs."""
    return documents.activations(sae)


@provides("trace", reads=documents_read)
def trace(sae: "LoadedSAE", documents: Documents) -> "Trace":
    """One pass of the SAE over the corpus, spliced into the model; computed once for all properties."""
    return documents.trace(sae)


@provides("rebuilt", reads=documents_read)
def rebuilt(sae: "LoadedSAE", documents: Documents) -> "Rebuilt":
    """What the SAE makes of activations, whatever the model would say of it; of a toy world as well."""
    return documents.rebuilt(sae)


@provides("written", reads=documents_read)
def written(sae: "LoadedSAE", rebuilt: "Rebuilt") -> "Written":
    """Norms of what the SAE's latents write, and how near to each other latents write."""
    from saebench.evidence.written import written

    return written(sae, rebuilt)


@provides("read", reads=documents_read)
def read(sae: "LoadedSAE", rebuilt: "Rebuilt") -> "Neighbours":
    """How near to each other the SAE's latents read, by its encoder's weights."""
    from saebench.evidence.written import read

    return read(sae, rebuilt)


@provides("known", reads=documents_read)
def known(sae: "LoadedSAE", samples: Samples) -> "Known":
    """The SAE's latents on samples of a toy world, beside the features that are on there."""
    return samples.known(sae)


@provides("controls")
def controls(sae: "LoadedSAE", control_saes: ControlSAEs) -> "dict[str, Control]":
    """SAEs that learned nothing of the model, to be measured as the SAE is, on what the SAE is measured on."""
    return control_saes.of(sae)


@provides("firings", reads=documents_read)
def firings(sae: "LoadedSAE", genres: Genres) -> "tuple[Firing, list[Firing], list[Firing]]":
    """Latents on texts that the model never saw: of an SAE that saw them, of other seeds that did not, of all seeds."""
    return genres.firings(sae)
