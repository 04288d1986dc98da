"""An SAE of the model with random weights, on that model: what there is to find without anything having been learned."""

from dataclasses import replace
from typing import TYPE_CHECKING

from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject

KIND = "random_model"


def of_random_model(models: Models, shelf: Shelf, sae: "LoadedSAE") -> "tuple[LoadedSAE, Subject] | None":
    """The first SAE of it that a family of this model has, the same for all SAEs of a hook; None where there is none."""
    from saebench.making.control_training import controls_of
    from saebench.saes.loaders import load_sae

    found = controls_of(KIND, models.hook(sae.spec), models.name(sae.spec))
    if not found:
        return None
    make = lambda: load_sae(found[0], models.device())  # noqa: E731
    control = shelf.place.get(("control of the hook", found[0].digest), make, random=False)
    same = replace(control.spec, context_size=sae.spec.context_size, centred=sae.spec.centred)
    return replace(control, spec=same), models.random(sae.spec, KIND)
