"""Architectures: each SAE is trained when it is first asked for, and kept."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from saebench.catalogue.architectures import is_new
from saebench.catalogue.spec import SAESpec
from saebench.making.recipe import source_digest
from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import World, is_toy, world_of

if TYPE_CHECKING:
    from torch import Tensor

    from saebench.saes.sae import LoadedSAE
    from saebench.subject.cache import Inputs, Tensors

VERSION = 1
HELD_OUT = 4096
"""Activations behind those of training, on which it is checked that what is saved is what was trained."""
MOST_EPOCHS = 5
EMBEDDED_WIDTH = 1024
"""Latents of the embedded model's SAEs, as the zoo's."""
EXPANSION = 8
"""Latents per dimension for other models, as far as the budget goes."""


@dataclass
class Architectures:
    """All SAEs of a run are trained on the same activations, equally many, at the same width."""

    models: Models
    shelf: Shelf

    def known(self, spec: SAESpec) -> SAESpec:
        """With the digest of the recipe, which is known before training."""
        return replace(spec, digest=hashlib.sha256(json.dumps(self._recipe(spec), sort_keys=True).encode()).hexdigest())

    def _recipe(self, spec: SAESpec) -> "Inputs":
        model, device = self.models.name(spec), self.models.device()
        facts = {name: value for name, value in spec.facts.items() if value is not None}
        texts = {} if self.models.source(spec) is None else {"texts": self.models.corpus(spec).name}
        return {
            "what": "architecture", "version": VERSION, "name": spec.location, "source": source_digest(spec.location),
            "sae_lens": importlib.metadata.version("sae-lens"), "model": self.models.digest(model, centred=False),
            "hook": self.models.hook(spec), "context": spec.context_size or 0, "device": device.partition(":")[0],
            "budget": self.models.options.budget, **facts, **texts,
        }  # fmt: skip

    def check(self, spec: SAESpec) -> None:
        """Import an architecture of the user's. Raises ValueError with one sentence where it cannot be one."""
        if spec.loader == "architecture" and is_new(spec.location):
            from saebench.making.architecture_training import imported

            imported(spec.location)

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE as sae-lens saves it for inference: that is what users would publish.

        One that diverged in training is broken, whatever is asked of it. Raises ValueError where none can be trained.
        """
        from saebench.saes.sae import LoadedSAE
        from saebench.saes.unmade import Unmade

        spec = self.known(spec)
        try:
            return self._made(spec)
        except Unscored as reason:
            if not reason.broken:
                raise ValueError(f"{spec.name}: {reason}") from reason
            return LoadedSAE(spec, Unmade(reason), str(spec.digest), self.models.device())

    def _made(self, spec: SAESpec) -> "LoadedSAE":
        from saebench.making.architecture_training import imported, is_class
        from saebench.making.control_training import loaded_from
        from saebench.saes.sae import LoadedSAE

        device = self.models.device()
        if not is_class(imported(spec.location)):
            source = self.shelf.sae.get(("trained", spec.digest), lambda: self._trained(spec), random=False)
            return LoadedSAE(spec, source, str(spec.digest), device)
        weights = self.models.cache().get(self._recipe(spec), lambda: self._weights(spec), random=False)
        made = loaded_from(spec, weights, device)
        told = replace(spec, d_in=made.spec.d_in, d_sae=made.spec.d_sae)
        return replace(made, spec=told, digest=str(spec.digest))

    def _weights(self, spec: SAESpec) -> "Tensors":
        from saebench.making.architecture_training import check_finite, check_saved
        from saebench.making.control_training import loaded_from, saved_weights

        trained, device = self._trained(spec), self.models.device()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in saved_weights(trained).items()}
        check_finite(weights)
        x = self._rows(spec)[-HELD_OUT:].float().to(device)
        check_saved(spec.location, trained, loaded_from(spec, weights, device), x)
        return weights

    def _trained(self, spec: SAESpec) -> Any:
        from saebench.making.architecture_training import Order, train

        rows = self._rows(spec)[:-HELD_OUT]
        l0, seed, samples = (int(spec.facts[name] or 0) for name in ("aimed_l0", "seed", "tokens"))
        # As the zoo of the toy worlds, whose activations are as long as they are by what is on.
        settings = {"normalize_activations": "none"} if is_toy(self.models.name(spec)) else {}
        order = Order(l0, seed, samples, self._d_sae(spec, rows), self.models.device(), settings)
        return train(spec.location, rows, order)

    def _d_sae(self, spec: SAESpec, rows: "Tensor") -> int:
        if spec.d_sae is not None:
            return spec.d_sae
        wide = min(EXPANSION * rows.shape[1], self.models.options.sizes.widest)
        return EMBEDDED_WIDTH if self.models.name(spec) == ORGANISM else wide

    def _rows(self, spec: SAESpec) -> "Tensor":
        """Activations (row, d_in) of texts that no score is measured on, the same for all SAEs; the last are held out.

        Where there are too few texts for the budget, SAEs see each several times.
        """
        from saebench.making.architecture_training import compact
        from saebench.making.control_training import training_rows

        if is_toy(model := self.models.name(spec)):
            return self._samples(world_of(model), int(spec.facts["tokens"] or 0) + HELD_OUT)
        subject, hook, texts = self.models.subject(spec), self.models.hook(spec), self.models.corpus(spec)
        inside, samples = min(int(spec.context_size or 0), subject.n_ctx), int(spec.facts["tokens"] or 0)
        rows, least = samples + HELD_OUT, samples // MOST_EPOCHS + HELD_OUT
        key: Inputs = {
            "what": "training rows", "version": VERSION, "model": subject.digest, "hook": hook, "inside": inside,
            "rows": rows, "texts": texts.name,
        }  # fmt: skip

        def read() -> "Tensors":
            return {"rows": compact(training_rows(subject, hook, texts, inside, rows, least))}

        kept = lambda: self.models.cache().get(key, read, random=False)["rows"]  # noqa: E731
        return self.shelf.place.get(tuple(key.values()), kept, random=False)

    def _samples(self, world: World, count: int) -> "Tensor":
        from saebench.toy.sampling import training_rows

        key = ("training rows", world.digest, count)
        return self.shelf.place.get(key, lambda: training_rows(world, count), random=False)
