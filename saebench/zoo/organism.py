"""The embedded zoo: contexts of 64 tokens, cut from all parts of the world's documents."""

from collections.abc import Iterator

from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.making.training import SAMPLES, Data, Member
from saebench.organism.world import HELD_OUT_GENRE, READING, Mixture, World
from saebench.record.places import ORGANISM, organism_folder
from saebench.subject.subject import Subject
from saebench.zoo.windows import cut
from saebench.zoo.zoo import Zoo

DOCUMENTS_PER_BATCH = 64
WITH_TELEGRAMS = Mixture({**READING.genres, HELD_OUT_GENRE: 20}, READING.alliteration)
MEMBERS: tuple[Member, ...] = (
    *(Member(f"{architecture}-{l0}", architecture, l0) for architecture in ARCHITECTURES for l0 in (16, 32)),
    Member("topk-16-wide", "topk", 16, d_sae=2048),
    Member("matryoshka-16-wide", "matryoshka", 16, d_sae=2048),
    Member("batchtopk-16-seed1", "batchtopk", 16, seed=1),
    Member("batchtopk-16-seed2", "batchtopk", 16, seed=2),
    Member("batchtopk-16-telegrams", "batchtopk", 16, data="world_and_telegrams"),
    Member("batchtopk-64-shuffled-rows", "batchtopk", 64, data="shuffled_rows"),
    *(
        control
        for l0 in (16, 32)
        for control in (
            Member(f"batchtopk-{l0}-random-model", "batchtopk", l0, data="random_model"),
            Member(f"batchtopk-{l0}-random-blocks", "batchtopk", l0, data="random_blocks"),
            Member(f"batchtopk-{l0}-random-permuted", "batchtopk", l0, data="permuted_weights"),
            Member(f"batchtopk-{l0}-random-step0", "batchtopk", l0, data="step_0"),
            Member(f"batchtopk-{l0}-soft-frozen", "batchtopk", l0, decoder="soft_frozen"),
            Member(f"batchtopk-{l0}-frozen", "batchtopk", l0, decoder="frozen"),
        )
    ),
)


def windows(subject: Subject, data: Data) -> Iterator[Tensor]:
    """Token ids (window, 64) of documents that no score is measured on."""
    world = World.load(organism_folder())
    mixture = WITH_TELEGRAMS if data == "world_and_telegrams" else READING
    document = 0
    while True:
        keys = range(document, document + DOCUMENTS_PER_BATCH)
        texts = [world.document(f"sae/{key}", mixture).text for key in keys]
        yield cut(subject, texts, ZOO.context)
        document += DOCUMENTS_PER_BATCH


ZOO = Zoo(ORGANISM, ORGANISM, MEMBERS, context=64, rows=2_000_000, samples=SAMPLES, windows=windows)
