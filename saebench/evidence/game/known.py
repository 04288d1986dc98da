"""Directions of what is known to be in a text: the positive controls of the game."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from saebench.evidence.game.scene import Scene
from saebench.evidence.words.vocabulary import token_texts
from saebench.organism.truth import letter_of, vocabulary_truth
from saebench.organism.world import World
from saebench.record.places import ORGANISM, organism_folder
from saebench.record.score import Unscored

FEWEST_TOKENS = 30
"""Tokens of a concept that a mean is taken of."""
FEWEST_TIMES = 10
"""Occurrences of a single token that a mean is taken of."""
MOST_TOKENS = 400
"""Tokens, the most frequent first, whose directions the model surely knows."""


@dataclass(frozen=True)
class Known:
    """Directions with a meaning, and where it is present."""

    directions: Float[Tensor, "concept d"]
    rate: Float[np.ndarray, " concept"]
    """Share of tokens that have it."""
    active: Bool[np.ndarray, "prompt concept"]


def differences_of_means(scene: Scene) -> Known:
    """Mean activation at tokens of a concept minus that at all others.

    Concepts are first letters of words, and the taxonomy and attributes of the embedded model's world where it is the
    subject.
    """
    member = _membership(scene)
    at = torch.from_numpy(member[scene.cloud_token.numpy()]).float()
    count = at.sum(dim=0)
    kept = ((count >= FEWEST_TOKENS) & (len(at) - count >= FEWEST_TOKENS)).nonzero()[:, 0]
    return _differences(scene, at[:, kept], member[scene.token.numpy()][:, kept.numpy()])


def token_means(scene: Scene) -> Known:
    """Mean activation at a token minus that at all others, of the most frequent tokens: the model knows what it reads."""
    return _of_tokens(scene, scene.cloud_token, scene.token)


def next_token_means(scene: Scene) -> Known:
    """Mean activation before a token minus that before all others: what comes next is what the model computes."""
    return _of_tokens(scene, scene.cloud_following, scene.following)


def _of_tokens(scene: Scene, there: Int[Tensor, " token"], at_prompts: Int[Tensor, " prompt"]) -> Known:
    times = torch.bincount(there[there >= 0])
    tokens = times.argsort(descending=True, stable=True)[:MOST_TOKENS]
    tokens = tokens[(times[tokens] >= FEWEST_TIMES) & (len(there) - times[tokens] >= FEWEST_TIMES)]
    return _differences(scene, (there[:, None] == tokens).float(), (at_prompts[:, None] == tokens).numpy())


def _differences(scene: Scene, at: Float[Tensor, "token concept"], active: Bool[np.ndarray, "prompt concept"]) -> Known:
    """Mean activation where a concept is there minus that where it is not; `at` is 1 at its tokens."""
    count, total, x = at.sum(dim=0)[:, None], scene.cloud.x.sum(dim=0), scene.cloud.x
    directions = at.T @ x / count - (total - at.T @ x) / (len(x) - count)
    return Known(directions, at.mean(dim=0).double().numpy(), active[: scene.size.prompts])


def _membership(scene: Scene) -> NDArray[np.bool_]:
    """(token id, concept) what each token is an instance of."""
    tokenizer = scene.subject.tokenizer
    labels = [{f"letter {letter}"} if (letter := letter_of(text)) else set() for text in token_texts(tokenizer)]
    if scene.subject.name == ORGANISM:
        truths = vocabulary_truth(World.load(organism_folder()).lexicon, tokenizer)
        for own, truth in zip(labels, truths, strict=True):
            own |= {f"kind {node}" for node in truth.path} | {f"{k} {v}" for k, v in truth.attributes.items()}
    names = sorted(set().union(*labels))
    member = np.zeros((len(labels), len(names)), dtype=bool)
    column = {name: i for i, name in enumerate(names)}
    rows = [(row, column[name]) for row, own in enumerate(labels) for name in own]
    member[tuple(np.array(rows, dtype=np.intp).reshape(-1, 2).T)] = True
    # A country and its language are one concept. To find columns that are alike, NumPy's unique would sort them.
    first = dict(reversed([(column.tobytes(), i) for i, column in enumerate(member.T)]))
    return member[:, sorted(first.values())]


def token_embeddings(scene: Scene) -> Known:
    """Embeddings, minus their mean, of the tokens that are most frequent where the cloud was taken."""
    weight = scene.subject.bridge.W_E.detach().float().cpu()
    if weight.shape[1] != scene.cloud.x.shape[1]:
        raise Unscored(f"embeddings have {weight.shape[1]} dimensions, the hook {scene.cloud.x.shape[1]}")
    counts = torch.bincount(scene.cloud_token, minlength=len(weight))[: len(weight)]
    tokens = counts.argsort(descending=True, stable=True)[:MOST_TOKENS]
    tokens = tokens[counts[tokens] > 0]
    rate = (counts[tokens].double() / counts.sum()).numpy()
    active = (scene.token[: scene.size.prompts, None] == tokens).numpy()
    return Known(weight[tokens] - weight.mean(dim=0), rate, active)
