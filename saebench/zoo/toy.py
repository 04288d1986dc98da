"""The zoo of the toy worlds: each architecture, tied and not, around the true L0, narrower and wider than the truth."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.making.training import PURSUIT, TIED, Member, train_member
from saebench.record.places import fixtures_dir
from saebench.record.provenance import provenance
from saebench.subject.random_weights import shuffled_rows
from saebench.toy.sampling import training_rows
from saebench.toy.worlds import HOOK, PREFIX, World, worlds
from saebench.zoo.training import save

ROWS, SAMPLES = 500_000, 1_000_000
FEWER = (*ARCHITECTURES, f"{TIED}topk", PURSUIT)
ALL = (*ARCHITECTURES, *(TIED + name for name in ARCHITECTURES), PURSUIT)
Recipe = tuple[World, Member]


def recipes() -> list[Recipe]:
    """Every SAE, world by world; names say the architecture, the L0 that it aims at, the width, and the seed behind 0."""
    known = worlds()
    return [(known[name], member) for name in known for member in _members(name)]


def _members(world: str) -> Iterator[Member]:
    if world == "absorption":
        for name in ALL:
            for width in (40, 120):
                yield from (_member(name, l0, width) for l0 in (6, 12, 24))
                yield _member(name, 12, width, seed=1)
        yield from _controls(12, 120)
    if world == "tree":
        # As many features as this take a minute and a half each: at the true L0, half as wide as the truth.
        yield from (_member(name, 12, 1024) for name in FEWER)
        yield from _controls(12, 1024)
    if world == "composed":
        for name in FEWER:
            yield from (_member(name, l0, 60) for l0 in (2, 3, 5))
            yield _member(name, 3, 20)
        yield from _controls(3, 60)
    if world == "flat":
        yield from (_member(name, 2, 192) for name in FEWER)
    if world in ("position", "positionless"):
        yield from (_member(name, 4, 192) for name in FEWER)


def _member(name: str, l0: int, width: int, *, seed: int = 0) -> Member:
    settings: dict[str, float | str] = {"normalize_activations": "none"}
    if name == PURSUIT:
        settings |= {"max_iterations": l0}
    full = f"{name}-{l0}-{width}" + (f"-seed{seed}" if seed else "")
    return Member(full, name, l0, width, seed, "toy", settings=tuple(settings.items()))


def _controls(l0: int, width: int) -> Iterator[Member]:
    """SAEs that learned nothing, or nothing of directions."""
    settings = (("normalize_activations", "none"),)
    yield Member(f"batchtopk-{l0}-{width}-frozen", "batchtopk", l0, width, 0, "toy", "frozen", settings)
    yield Member(f"batchtopk-{l0}-{width}-soft-frozen", "batchtopk", l0, width, 0, "toy", "soft_frozen", settings)
    yield Member(f"batchtopk-{l0}-{width}-shuffled-rows", "batchtopk", l0, width, 0, "shuffled_rows", settings=settings)


def build_toy() -> None:
    """Train whatever is missing, two at a time on two cores."""
    begun, missing = time.time(), [recipe for recipe in recipes() if not (_folder(recipe) / "cfg.json").exists()]
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with multiprocessing.get_context("spawn").Pool(os.cpu_count() or 2) as pool:
        for number, told in enumerate(pool.imap_unordered(_train, missing), 1):
            print(f"toy: {number}/{len(missing)} {told}", flush=True)
    print(f"toy: {len(missing)} SAEs in {(time.time() - begun) / 60:.0f} minutes", flush=True)


def _folder(recipe: Recipe) -> Path:
    world, member = recipe
    return fixtures_dir() / "toy" / "saes" / world.name / member.name


def _train(recipe: Recipe) -> str:
    torch.set_num_threads(1)
    (world, member), begun = recipe, time.time()
    rows = _rows(world)
    sae = train_member(member, shuffled_rows(rows, member.seed) if member.data == "shuffled_rows" else rows, SAMPLES)
    facts = {
        "model_name": PREFIX + world.name, "hook_name": HOOK, "prepend_bos": False, "trained_on": member.data,
        "training_architecture": member.architecture, "tokens_seen": SAMPLES, "seed": member.seed,
        "aimed_l0": member.l0, "decoder": member.decoder, "commit": provenance()[0],
        # As behind BOS: the first half of the positions.
        "context_size": world.positions // 2 + 1 if world.positions > 1 else None,
    }  # fmt: skip
    save(sae, _folder(recipe), facts)
    return f"{world.name}/{member.name}: {time.time() - begun:.0f} s"


@lru_cache(maxsize=1)
def _rows(world: World) -> Tensor:
    return training_rows(world, ROWS)
