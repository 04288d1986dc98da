"""The game: the prompts of a place, the SAE's features there, and what the model answers about them and made-up ones."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from saebench.catalogue.spec import check_one_place
from saebench.record.score import Unscored
from saebench.run.control_saes import ControlSAEs
from saebench.run.documents import Documents
from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.dictionary import Dictionary
    from saebench.evidence.game.scene import Scene
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject


@dataclass
class Game:
    """Everything is made when it is first asked for; what depends on the model alone, once for all SAEs."""

    models: Models
    documents: Documents
    control_saes: ControlSAEs
    shelf: Shelf

    def lineup(self, sae: "LoadedSAE") -> "Lineup":
        check_one_place(sae.spec)
        return self.shelf.sae.get((sae.digest, "lineup"), lambda: self._lineup(sae))

    def _lineup(self, sae: "LoadedSAE") -> "Lineup":
        from saebench.evidence.game.lineup import make_lineup

        scene, own = self.own(sae)
        others = {
            "shuffled_sae": partial(self._dictionary, sae, "shuffled_rows"),
            "soft_frozen_sae": partial(self._dictionary, sae, "soft_frozen"),
        }
        random = partial(self._random_scene, sae, "random_model")
        return make_lineup(scene, own, others, random, self.positive(sae))

    def rungs(self, sae: "LoadedSAE", control: str) -> "Rungs":
        """Those among which a control of the game is; no line-up is made for one that no SAE has a part in."""
        from saebench.evidence.game.answers import POSITIVE

        return self.positive(sae) if control in POSITIVE else self.lineup(sae).controls

    def own(self, sae: "LoadedSAE", *more: "csr_array") -> "tuple[Scene, Dictionary]":
        """The prompts at which an SAE's features are asked about, and the features, which may fire in `more` latents."""
        from saebench.evidence.game.dictionary import read_dictionary

        scene = self._scene(sae, self.models.subject(sae.spec))
        return scene, read_dictionary(sae, scene, self.documents.trace(sae), *more)

    def _scene(self, sae: "LoadedSAE", subject: "Subject") -> "Scene":
        from saebench.evidence.game.scene import make_scene

        inside = sae.spec.context_size or self.models.corpus(sae.spec).context
        subject.check_hook(self.models.hook(sae.spec))  # a toy world has none: nothing can be asked there
        activations = self.models.activations(subject, sae.spec)
        key = ("scene", subject.digest, activations.hook, inside)
        return self.shelf.place.get(key, lambda: make_scene(activations, inside, self.models.options.sizes.game))

    def _random_scene(self, sae: "LoadedSAE", kind: str) -> "Scene":
        return self._scene(sae, self.models.random(sae.spec, kind))

    def positive(self, sae: "LoadedSAE") -> "Rungs":
        """Directions of what is known to be in the texts, at the prompts: whatever the SAE makes of them."""
        from saebench.evidence.game.lineup import positive_controls

        scene = self._scene(sae, self.models.subject(sae.spec))
        key = ("positive", scene.subject.digest, scene.ask.hook, sae.spec.context_size)
        return self.shelf.place.get(key, lambda: positive_controls(scene))

    def _dictionary(self, sae: "LoadedSAE", kind: str) -> "Dictionary":
        from saebench.evidence.game.dictionary import read_dictionary

        subject = self.models.subject(sae.spec)
        scene, other = self._scene(sae, subject), self.control_saes.trained(sae, kind, subject)
        if other.digest == sae.digest:
            raise Unscored("the SAE is itself this control")
        key = ("dictionary", other.digest, scene.subject.digest, scene.ask.hook, sae.spec.context_size)
        return self.shelf.of(other).get(
            key, lambda: read_dictionary(other, scene, self.documents.encoded_in(other, subject))
        )
