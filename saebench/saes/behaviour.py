"""What an SAE makes of fixed inputs: part of its identity wherever its weights live, and whether it is a function at all.

Scores are of a function from one activation to its latents. Code that is random, or whose answer about an activation
depends on what else is in the batch, is none: its score would be that of one moment, or of how much memory there was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE

SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Of a dimension: activations of language models lie in between."""
ROWS = 8
"""Of each scale."""
NUMBERS = 8
"""Random projections of a table: a change of any part moves all of them."""
GRID = 2.0**-10
"""To which they are rounded, relative to their size: another machine adds up in another order, and is off by 2^-23."""
EXACT, ROUGH = 1e-4, 2e-2
"""How far two rows may be apart, relative to one of them, in single and in half precision."""
HALF = (torch.float16, torch.bfloat16)
CHANGED = 0.1
"""Share of rows that may be further apart in other company, where rounding turns latents near a threshold on or off."""
RANDOM = "{} gave two different answers to the same input: it is random, or remembers what it was asked, and has no one score"
BATCHED = (
    "what {} makes of one row depends on the others in the batch, as BatchTopK's does without its threshold: scores would"
    " depend on how many contexts run per pass"
)


@dataclass(frozen=True)
class Behaviour:
    fingerprint: str
    refused: str = ""
    """Why it cannot be scored."""
    unknown: str = ""
    """Why it could not be seen."""
    d_sae: int | None = None


def behaviour(sae: LoadedSAE, d_in: int) -> Behaviour:
    """Of an SAE that reads `d_in` dimensions; always in one thread, so that it does not depend on their number."""
    with _one_thread():
        try:
            x = inputs(d_in).to(sae.device)
            latents, refused = _repeated(sae, "encode", x)
            made, unsteady = _repeated(sae, "decode", latents)
            refused = refused or unsteady
            tables = [] if refused else [latents, sae.decode(latents, x), sae.decode(_dense(latents))]
        except Unscored as reason:
            return Behaviour("", unknown=str(reason))
    scale = torch.tensor(SCALES).repeat_interleave(ROWS)[:, None]
    shapes = f"{latents.shape[1]} {made.shape[1]}"
    sketches = [_sketch(table.double().cpu() / scale[: len(table)]) for table in tables]
    return Behaviour(f"{shapes} {sketches}", refused=refused, d_sae=latents.shape[1])


def inputs(d_in: int) -> Tensor:
    """Rows of several scales around a mean, with directions along which they vary more: as activations are."""
    draw = torch.Generator().manual_seed(0)
    mean, wide = torch.randn(d_in, generator=draw), torch.randn(16, d_in, generator=draw)
    count = len(SCALES) * ROWS
    rows = torch.randn(count, d_in, generator=draw) + torch.randn(count, 16, generator=draw) @ wide / 4 + mean
    return rows * torch.tensor(SCALES).repeat_interleave(ROWS)[:, None]


def _repeated(sae: LoadedSAE, what: str, given: Tensor) -> tuple[Tensor, str]:
    """The answer, and why it is none: asked again with other random numbers, and in other company."""
    first, again = sae.asked(what, given, seed=1), sae.asked(what, given, seed=2)
    parts = torch.cat([sae.asked(what, part) for part in given.tensor_split([len(given) // 2])])
    last = sae.asked(what, given)
    limit = ROUGH if first.dtype in HALF else EXACT
    if _apart(first, again, limit) or _apart(first, last, limit):
        return first, RANDOM.format(what)
    return first, BATCHED.format(what) if _apart(first, parts, ROUGH) > CHANGED else ""


def _apart(one: Tensor, other: Tensor, limit: float) -> float:
    """Share of rows that differ by more than that."""
    if one.shape != other.shape:
        return 1.0
    gap, size = (one - other).float().norm(dim=1), one.float().norm(dim=1)
    return float((gap > limit * size).float().mean())


def _dense(latents: Tensor) -> Tensor:
    """Rows in which every latent is on, also those that are off at all inputs."""
    draw = torch.Generator().manual_seed(1)
    size = float(latents.float().abs().mean()) or 1.0
    return (size * torch.rand(2, latents.shape[1], generator=draw)).to(latents)


def _sketch(table: Tensor) -> list[int]:
    """Random projections, on a grid of whole numbers whose step is a power of two."""
    draw = torch.Generator().manual_seed(2)
    rows, columns = (torch.randn(NUMBERS, n, generator=draw).double().sign() for n in table.shape)
    found = ((rows @ table) * columns).sum(1)
    size = float(table.square().sum().sqrt())
    step = GRID * 2.0 ** (torch.tensor(size).log2().floor().item() if size else 0)
    return [round(value / step) for value in found.tolist()]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
