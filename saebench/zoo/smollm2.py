"""The zoo of a real model: SmolLM2-135M-Instruct on essays, reviews, news, posts, abstracts and tickets."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.catalogue.families import read_family
from saebench.hub.texts import source_of
from saebench.making.training import Data, Member
from saebench.record.places import fixtures_dir
from saebench.subject.corpora import RESERVED
from saebench.subject.subject import Subject
from saebench.zoo.windows import cut
from saebench.zoo.zoo import Zoo

FAMILY = "smollm2"
DOCUMENTS_PER_BATCH = 64
EXAMINED = 160
"""Documents that the SAEs of the zoo are measured on, of those that none was trained on: enough for 50,000 tokens."""
WIDTH, L0 = 4096, 32
FIRST = ("topk", "batchtopk", "matryoshka", "standard", "jumprelu", "gated")
"""The order in which they are trained, so that what is asked for most is there first."""
member = partial(Member, d_sae=WIDTH, data="texts")
ALIVE = {"jumprelu": (("pre_act_loss_coefficient", 3.0),)}
"""With sae-lens's loss on latents that never fire as weak as the organism's, 59% of JumpReLU's die; so, 4%."""
MEMBERS: tuple[Member, ...] = (
    *(member(f"{name}-{L0}", name, L0, settings=ALIVE.get(name, ())) for name in FIRST),
    member(f"batchtopk-{L0}-random-model", "batchtopk", L0, data="random_model"),
    member(f"batchtopk-{L0}-random-blocks", "batchtopk", L0, data="random_blocks"),
    member(f"batchtopk-{L0}-frozen", "batchtopk", L0, decoder="frozen"),
    member(f"batchtopk-{L0}-soft-frozen", "batchtopk", L0, decoder="soft_frozen"),
    *(member(f"topk-{l0}", "topk", l0) for l0 in (16, 64)),
    *(member(f"batchtopk-{L0}-seed{seed}", "batchtopk", L0, seed=seed) for seed in (1, 2)),
    *(
        member(f"{architecture}-{L0}-{name}", architecture, L0, d_sae=width)
        for name, width in (("1k", 1024), ("12k", 12_288))
        for architecture in ("batchtopk", "matryoshka")
    ),
    member(f"batchtopk-{L0}-shuffled-rows", "batchtopk", L0, data="shuffled_rows"),
)
assert set(FIRST) == set(ARCHITECTURES)


@cache
def facts() -> dict[str, Any]:
    """What the family's file says."""
    return dict(read_family(fixtures_dir() / f"{FAMILY}.toml").table)


def windows(subject: Subject, data: Data) -> Iterator[Tensor]:
    """Token ids (window, 128) of the documents that no score is measured on; after the last one the first comes again."""
    source = source_of(facts()["corpus"])
    assert source is not None
    texts = source.texts()[RESERVED:]
    while True:
        for start in range(0, len(texts), DOCUMENTS_PER_BATCH):
            yield cut(subject, texts[start : start + DOCUMENTS_PER_BATCH], ZOO.context)


def held_out(subject: Subject) -> Tensor:
    """Token ids (window, 128) of documents that scores are measured on, as many as `quality` asks for."""
    source = source_of(facts()["corpus"])
    assert source is not None
    windows = cut(subject, source.texts()[:EXAMINED], ZOO.context)
    return windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))]


ZOO = Zoo(FAMILY, facts()["model"], MEMBERS, context=128, rows=5_000_000, samples=8_000_000, windows=windows)
