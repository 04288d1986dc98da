"""Texts that the language model never saw, and SAEs that did."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.run.documents import Documents
from saebench.run.game import Game
from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.game.rungs import Rung
    from saebench.metrics.dataset_shift import Firing
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.corpora import WorldTexts

WITH, WITHOUT = "world_and_telegrams", "world"
"""What SAEs of the embedded model say that they were trained on: with the genre that the model never saw, and without."""


@dataclass
class Genres:
    """SAEs that differ in nothing but whether their data had a genre, or in their seed."""

    models: Models
    documents: Documents
    of_features: Game
    shelf: Shelf

    def firings(self, sae: "LoadedSAE") -> "tuple[Firing, list[Firing], list[Firing]]":
        """Of the SAE, of those of another seed that never saw the genre, and of all seeds that never saw it."""
        twins = self._twins(sae.spec)
        other_seed = [spec for spec in twins if spec.facts.get("seed") != sae.spec.facts.get("seed")]
        own, *seeds = (self._firing(one) for one in (sae, *map(self._load, twins)))
        names = [spec.name for spec in other_seed]
        return own, [firing for spec, firing in zip(twins, seeds, strict=True) if spec.name in names], seeds

    def _twins(self, spec: "SAESpec") -> "list[SAESpec]":
        from saebench.catalogue.registry import specs_of

        if spec.facts.get("trained_on") != WITH:
            raise Unscored("its training texts had no genre that the model never saw, as far as it says")
        same = ("training_architecture", "aimed_l0", "tokens_seen")
        return [
            twin for twin in specs_of(ORGANISM)
            if twin.facts.get("trained_on") == WITHOUT and twin.facts.get("decoder", "free") == "free"
            and twin.d_sae == spec.d_sae and all(twin.facts.get(fact) == spec.facts.get(fact) for fact in same)
        ]  # fmt: skip

    def _load(self, spec: "SAESpec") -> "LoadedSAE":
        from saebench.saes.loaders import load_sae

        return load_sae(spec, self.models.device())

    def _firing(self, sae: "LoadedSAE") -> "Firing":
        from saebench.metrics.dataset_shift import Firing

        return self.shelf.of(sae).get(("firing", sae.digest), partial(self._read, sae, Firing))

    def _read(self, sae: "LoadedSAE", make: "type[Firing]") -> "Firing":
        from saebench.saes.sparsity import stacked, to_sparse

        subject, hook, corpus = self.models.subject(sae.spec), self.models.hook(sae.spec), self._world(sae.spec)
        tokens = corpus.held_out_genre(sae.spec.context_size or corpus.context, subject.tokenizer)
        parts = subject.batch.over(len(tokens), lambda at: subject.residual(tokens[at], hook)[:, 1:].flatten(0, 1))
        encoded = self.documents.encoded_in(sae, subject)
        elsewhere = encoded.fired.double().numpy() / len(encoded.tokens)
        return make(stacked([to_sparse(sae.encode(x)) for x in parts]), elsewhere)

    def _world(self, spec: "SAESpec") -> "WorldTexts":
        """The embedded model's own texts, whose genres are known."""
        from saebench.subject.corpora import WorldTexts

        corpus = self.models.corpus(spec)
        if not isinstance(corpus, WorldTexts):
            raise Unscored(f"the genres of {corpus.name} are not known")
        return corpus

    def game(self, sae: "LoadedSAE") -> "Rung":
        """Latents of genres that the model was trained on, against those that exist only because of the other one."""
        from saebench.evidence.game.lineup import data_rung
        from saebench.metrics.dataset_shift import missing

        own, without, _ = self.firings(sae)
        gone = np.mean([missing(own, other) for other in without], axis=0) > 0.5
        known, rate = self._trained_genres(sae)
        # Each is as frequent as it is in its own genre.
        rate = np.maximum(rate, own.rate * own.specific)
        return data_rung(*self.of_features.own(sae, own.latents), known, gone & own.specific, rate)

    def _trained_genres(self, sae: "LoadedSAE") -> "tuple[NDArray[np.bool_], NDArray[np.float64]]":
        """(latent,) whether it is specific to a genre that the model was trained on, and its largest rate in one."""
        from saebench.metrics.dataset_shift import Firing

        trace, corpus = self.documents.trace(sae), self._world(sae.spec)
        if trace.latents is None:
            raise Unscored("the latents are too dense to be kept")
        genres = np.repeat(np.array(corpus.genres()), trace.inside - 1)
        on = trace.latents != 0
        found, rate = np.zeros(trace.latents.shape[1], dtype=bool), np.zeros(trace.latents.shape[1])
        for genre in dict.fromkeys(genres.tolist()):
            inside = genres == genre
            elsewhere = np.asarray(on[~inside].mean(axis=0)).ravel()
            firing = Firing(trace.latents[inside], elsewhere)
            found, rate = found | firing.specific, np.maximum(rate, firing.rate)
        return found, rate
