"""The SAE zoo: what it holds, and how one member is trained with sae-lens's `SAETrainer`."""

from typing import TYPE_CHECKING

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.making.training import Member

if TYPE_CHECKING:
    pass


ZOO: tuple[Member, ...] = (
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
