"""Language models without what training put into them: matrices redrawn or shuffled, and the order of activations."""

import copy
import random
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from saebench.subject.subject import Subject, load_subject

EMBEDDINGS = ("wte", "wpe", "embed", "lm_head")
"""How their names begin: also `embed_in`, `embed_tokens`, `embed_out`."""


def rerandomised(model: torch.nn.Module, *, keep_embeddings: bool, seed: int) -> torch.nn.Module:
    """A copy in which every matrix is Gaussian noise with its own mean and variance (Heap et al., arXiv 2501.17727).

    Vectors, that is biases and layer norms, are redrawn likewise. `keep_embeddings` leaves the embeddings and the
    unembedding as they are trained.
    """
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if keep_embeddings and any(part.startswith(EMBEDDINGS) for part in name.split(".")):
                continue
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            weight.copy_(weight.mean() + noise * weight.std(unbiased=False))
    return other


def permuted_weights(model: torch.nn.Module, *, seed: int) -> torch.nn.Module:
    """A copy in which the entries of every parameter are shuffled: their distribution stays exactly as it is."""
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return other


def step_0(model: torch.nn.Module, *, seed: int) -> torch.nn.Module:
    """A transformers model of the same configuration as it is before any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(model)(model.config).eval()


MODELS: dict[str, Callable[..., torch.nn.Module]] = {
    "random_model": partial(rerandomised, keep_embeddings=False),
    "random_blocks": partial(rerandomised, keep_embeddings=True),
    "permuted_weights": permuted_weights,
    "step_0": step_0,
}
"""Models without what training put into them, by name: `change(model, seed=…)`."""


def control_model(
    name: str, control: str, device: str = "cpu", *, centred: bool = False, dtype: str = "float32"
) -> Subject:
    """The language model `name`, changed into one of `MODELS`; always the same one."""
    change = partial(MODELS[control], seed=training_seed(control))
    return load_subject(name, device, change, control, centred=centred, dtype=dtype)


def training_seed(purpose: str) -> int:
    """Seed of a control that SAEs were trained for, derived from what it is for."""
    return random.Random(purpose).getrandbits(31)


def shuffled_rows(activations: Tensor, seed: int) -> Tensor:
    """Activations (token, d) with every column permuted on its own: marginals stay, everything joint is gone."""
    generator = torch.Generator().manual_seed(seed)
    columns = [column[torch.randperm(len(column), generator=generator)] for column in activations.T]
    return torch.stack(columns, dim=1)
