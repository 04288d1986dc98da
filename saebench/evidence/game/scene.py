"""A language model at some prompts, and what made-up directions are drawn from: shared by all SAEs at a hook."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.evidence.game import fakes
from saebench.evidence.game.fakes import Cloud
from saebench.evidence.game.likeness import Traits
from saebench.evidence.game.perturb import Perturber
from saebench.evidence.game.rungs import Pool
from saebench.record.budget import Size
from saebench.record.score import Unscored
from saebench.stats.statistics import seed_of
from saebench.subject.activations import Activations
from saebench.subject.subject import Subject

EARLIEST = 8
"""Position of the shortest prompt's last token: after it, the model has something to go on."""
TOKENS = 20_000
"""Activations that the cloud is made of, at most, and as many others by which traits are measured."""
WRITES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out")
"""Hooks whose activation is, or is added to, the residual stream."""
POOL = 40_000
"""Fakes of a kind, among which the ones most like each feature are found."""


@dataclass(frozen=True)
class Scene:
    """Everything about a model that does not depend on an SAE."""

    subject: Subject
    size: Size
    ask: Perturber
    """At `more_prompts` prompts."""
    ask_all: Perturber
    """At the first `prompts` of them."""
    token: Int[Tensor, " prompt"]
    """Id of each prompt's last token."""
    following: Int[Tensor, " prompt"]
    """Id of the token that came after it; -1 where the document ends."""
    cloud: Cloud
    """What fakes are drawn from."""
    traits: Traits
    """By which they are matched, measured on other tokens."""
    cloud_token: Int[Tensor, " token"]
    """Ids of the tokens that the cloud was taken at."""
    cloud_following: Int[Tensor, " token"]
    """Ids of those that came next, likewise."""

    @cached_property
    def mixtures(self) -> Pool:
        return Pool("covariance_mixture", fakes.covariance_mixture(self.cloud, POOL, generator("covariance_mixture")))

    @cached_property
    def real_mixtures(self) -> Pool:
        return Pool("real_mixture", fakes.real_mixture(self.cloud, POOL, generator("real_mixture")))

    @cached_property
    def tempered(self) -> Pool:
        return Pool("tempered_mixture", fakes.tempered_mixture(self.cloud, POOL, generator("tempered_mixture")))

    @cached_property
    def isotropic(self) -> Pool:
        return Pool("isotropic", fakes.isotropic(self.cloud, POOL, generator("isotropic")))


def generator(purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(f"scene.{purpose}"))


def make_scene(activations: Activations, inside: int, size: Size) -> Scene:
    """Choose prompts that end inside the SAE's training context, and describe the activations there."""
    subject, hook = activations.subject, activations.hook
    inside = min(inside, activations.tokens.shape[1])
    if inside <= EARLIEST:
        raise Unscored(f"prompts of at least {EARLIEST + 1} tokens do not fit into a context of {inside}")
    rng = np.random.default_rng(seed_of("scene.prompts"))
    long = np.flatnonzero(activations.length.numpy() > EARLIEST)
    if not len(long):
        raise Unscored(f"no document has more than {EARLIEST} tokens to end a prompt in")
    documents = long[np.arange(size.more_prompts) * len(long) // size.more_prompts]
    ends = activations.length[torch.from_numpy(documents)].numpy().clip(max=inside)
    last = rng.integers(EARLIEST, ends)
    ids = [activations.tokens[d, : p + 1].tolist() for d, p in zip(documents, last, strict=True)]
    (x, tokens), following = activations.inside(inside), activations.following(inside)
    # Fakes that are drawn from the tokens on which their variance is measured would seem to have more of it.
    order, half = torch.randperm(len(x), generator=generator("tokens")), min(len(x) // 2, TOKENS)
    rows, others = order[:half], order[half : 2 * half]
    cloud, traits = Cloud(x[rows]), Traits(Cloud(x[others]), unembedding(subject, hook, x.shape[1]))
    try:
        ask = Perturber(subject, hook, ids)
    except ValueError as error:  # an architecture that cannot be asked: other suites may well be scored
        raise Unscored(str(error)) from error
    after = [
        int(activations.tokens[d, p + 1]) if p + 1 < activations.length[d] else -1
        for d, p in zip(documents, last, strict=True)
    ]
    return Scene(
        subject, size, ask, ask.some(range(size.prompts)), torch.tensor([i[-1] for i in ids]), torch.tensor(after), cloud,
        traits, tokens[rows], following[rows],
    )  # fmt: skip


def unembedding(subject: Subject, hook: str, d: int) -> Float[Tensor, "{d} {d}"]:
    """(d, d) Gram matrix of the centred unembedding; zeros at hooks that do not write to the residual stream as is."""
    weight = subject.bridge.W_U.detach().float().cpu()
    if weight.shape[0] != d or not hook.endswith(WRITES):
        return torch.zeros(d, d)
    centred = weight - weight.mean(dim=1, keepdim=True)
    return centred @ centred.T  # type: ignore[no-any-return]
