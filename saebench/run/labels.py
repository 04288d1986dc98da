"""Labelled texts at the hook of an SAE: which there are, how a model reads them, and what the SAE makes of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.catalogue.spec import check_one_place
from saebench.hub.labels import DEFAULT, WORLD, labels_of
from saebench.hub.needs import of_labels
from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.run.control_saes import RANDOM, ControlSAEs
from saebench.run.models import Models
from saebench.run.random_model import of_random_model
from saebench.run.shelf import Shelf
from saebench.stats.statistics import fixed_seed_of
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.labels.perturbing import Perturbed
    from saebench.evidence.labels.probing import Labelled
    from saebench.evidence.labels.readings import Plan, Pooling, Readings
    from saebench.hub.labels import Labels
    from saebench.hub.needs import Made, Need
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject

MOST_TWICE, SECOND_READING = 20_000, 600
"""Texts that are read in the random model as well, whatever the budget; texts of a set, from which on it reads all."""


@dataclass
class LabelledTexts:
    """Texts are read once for all SAEs of a hook."""

    models: Models
    control_saes: ControlSAEs
    shelf: Shelf

    def source(self, spec: "SAESpec") -> "Labels":
        """What `--sae-labels` says; else the embedded world's own texts for its model, and real ones for any other."""
        if is_toy(model := self.models.name(spec)):
            raise Unscored("a toy world has samples, and no texts that could be labelled")
        name = self.models.options.labels or (WORLD if model == ORGANISM else DEFAULT)
        return self.shelf.model.get(("labels", name), lambda: labels_of(name), random=False)

    def needs(self, spec: "SAESpec") -> "list[Need | Made]":
        """The files that labelled texts are read from."""
        return [] if is_toy(self.models.name(spec)) else of_labels(self.source(spec))

    def name(self, spec: "SAESpec", pooling: str) -> str:
        """Stands for which texts are read, and how. Raises Unscored where they are not on this machine."""
        source, sizes = self.source(spec), self.models.options.sizes
        try:
            return f"{source.name}/{sizes.labelled}x{sizes.label_sets or 'all'}/{pooling}"
        except OSError as error:
            raise Unscored(str(error)) from None

    def plan(self, spec: "SAESpec", pooling: "Pooling") -> "Plan":
        """The sets of the budget: of a part of them, those that a draw by their names puts first."""
        from saebench.evidence.labels.readings import Plan

        source, sizes, name = self.source(spec), self.models.options.sizes, self.name(spec, pooling)
        key = ("labelled sets", source.name, sizes.labelled)
        sets = self.shelf.model.get(key, lambda: source.sets(sizes.labelled), random=False)
        read = [one for one in sets if pooling == "last" or source.mean is None or one.name in source.mean]
        asked = [one.name for one in read if not one.apart]
        kept = sorted(asked, key=lambda name: fixed_seed_of(f"labels.sets.{name}"))[: sizes.label_sets]
        transfer = tuple((a, b) for a, b in source.transfer.items() if a in kept and pooling == "last")
        mistaken = [one.name for one in read if one.other][: sizes.label_sets]
        wanted = {*kept, *(b for _, b in transfer), *mistaken}
        return Plan(
            name, tuple(one for one in sets if one.name in wanted), pooling, transfer, tuple(source.groups(kept))
        )

    def readings(self, spec: "SAESpec", pooling: "Pooling", subject: "Subject | None" = None) -> "Readings":
        """Of the SAE's model, or another that is read at the same hook."""
        from saebench.evidence.labels.readings import read_texts

        model, hook = subject or self.models.subject(spec), self.models.hook(spec)
        key = ("labelled", model.digest, hook, self.name(spec, pooling))
        make = lambda: read_texts(model, hook, self.plan(spec, pooling), self.models.cache())  # noqa: E731
        return self.shelf.place.get(key, make)

    def labelled(self, sae: "LoadedSAE", pooling: "Pooling") -> "Labelled":
        """The SAE's latents at the texts; random directions that are as many and as sparse; and an SAE of the random model."""
        from saebench.evidence.labels.labelled import labelled

        readings = self.readings(sae.spec, pooling)
        key = (sae.digest, "labelled", pooling)
        return self.shelf.sae.get(
            key, lambda: labelled(sae, readings, self._random(sae), self._of_random_model(sae, pooling))
        )

    def _of_random_model(self, sae: "LoadedSAE", pooling: "Pooling") -> "Labelled | None":
        """Read at the last token alone, and where that does not take much of a small budget."""
        from saebench.evidence.labels.labelled import labelled

        if pooling != "last":
            return None
        many = sum(len(one.texts) for one in self.plan(sae.spec, pooling).sets) > MOST_TWICE
        if many and self.models.options.sizes.labelled < SECOND_READING:
            return None
        if (found := of_random_model(self.models, self.shelf, sae)) is None:
            return None
        control, model = found
        readings = self.readings(sae.spec, pooling, model)
        key = ("labelled", control.digest, readings.plan.name)
        return self.shelf.place.get(key, lambda: labelled(control, readings))

    def perturbed(self, sae: "LoadedSAE", pooling: "Pooling") -> "Perturbed":
        """The same, with what each latent writes."""
        from saebench.evidence.labels.perturbing import perturbed

        check_one_place(sae.spec)
        key = (sae.digest, "perturbed", pooling)
        return self.shelf.sae.get(key, lambda: perturbed(sae, self.labelled(sae, pooling)))

    def _random(self, sae: "LoadedSAE") -> "LoadedSAE | None":
        try:
            return self.control_saes.made(sae, RANDOM)
        except Unscored:  # of a transcoder there is none
            return None
