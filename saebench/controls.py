"""Degraded models that every finding is compared with."""

import copy

import torch

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


def shuffled_rows(activations: torch.Tensor, seed: int) -> torch.Tensor:
    """Activations (token, d) with every column permuted on its own: marginals stay, everything joint is gone."""
    generator = torch.Generator().manual_seed(seed)
    columns = [column[torch.randperm(len(column), generator=generator)] for column in activations.T]
    return torch.stack(columns, dim=1)
