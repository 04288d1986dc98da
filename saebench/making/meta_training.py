"""How meta-SAEs are trained: batch top-k with a linear encoder, several at once.

sae-lens trains the same; with its trainer a step takes 15 ms for the 1,024 rows of one of the organism's SAEs, ten times
what the arithmetic takes, and six meta-SAEs are trained for each SAE. Here they are trained side by side, and gradients
go to the few meta-latents that are on. Rows are few: meta-latents begin as rows, so that none is dead of haste.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.evidence.meta_sae import MetaSAE

K = 4
"""Meta-latents per row, on average over a batch."""
BATCH = 64
LR, DECAY = 3e-3, 0.5
"""Learning rate, and the share of steps at the end over which it falls to 0."""


@dataclass(frozen=True)
class Task:
    """What one meta-SAE is trained on, and what its batches and its beginning are drawn by."""

    rows: Float[Tensor, "row d"]
    seed: int


def train_together(tasks: list[Task], width: int, steps: int) -> list[MetaSAE]:
    """Meta-SAEs of one width, trained on the CPU side by side; none of them depends on the others."""
    draws = [torch.Generator().manual_seed(task.seed) for task in tasks]
    begin = [
        task.rows[torch.randperm(len(task.rows), generator=draw)[:width]]
        for task, draw in zip(tasks, draws, strict=True)
    ]
    bias = torch.stack([task.rows.mean(0) for task in tasks])
    start = torch.nn.functional.normalize(torch.stack(begin) - bias[:, None], dim=2)
    encoder, decoder, bias = (each.clone().requires_grad_() for each in (start, start, bias))
    optimizer = torch.optim.Adam([encoder, decoder, bias], lr=LR, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (steps - step) / (DECAY * steps)))
    for _ in range(steps):
        x = torch.stack([_batch(task.rows, draw) for task, draw in zip(tasks, draws, strict=True)])
        loss = _error(x - bias[:, None], encoder, decoder)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            decoder.copy_(torch.nn.functional.normalize(decoder, dim=2))
    weights = zip(encoder.detach(), decoder.detach(), bias.detach(), strict=True)
    return [MetaSAE(*each, K) for each in weights]


def _batch(rows: Tensor, draw: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (BATCH,), generator=draw)]


def _error(x: Float[Tensor, "task row d"], encoder: Tensor, decoder: Tensor) -> Tensor:
    """Sum over tasks of the mean squared error (task, row, d), by the entries that are on."""
    task, row, meta = _on(x, encoder)
    read = (x[task, row] * encoder[task, meta]).sum(1).clamp(min=0)
    made = torch.zeros_like(x).index_put((task, row), read[:, None] * decoder[task, meta], accumulate=True)
    return (x - made).square().sum(2).mean(1).sum()


@torch.no_grad()
def _on(x: Tensor, encoder: Tensor) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"], Int[Tensor, " entry"]]:
    """Task, row and meta-latent of the `K` largest readings per row, wherever in the batch they are."""
    read = x @ encoder.transpose(1, 2)
    tasks, rows, width = read.shape
    at = read.flatten(1).topk(min(K, width) * rows, dim=1, sorted=False).indices.flatten()
    task = torch.arange(tasks).repeat_interleave(min(K, width) * rows)
    return task, at // width, at % width
