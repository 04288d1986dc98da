"""`--sae-arch` names to SAESpecs: architectures that are trained in the run; nothing heavy is imported."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from saebench.catalogue.registry import PYTHON, check_module
from saebench.catalogue.spec import SAESpec
from saebench.record.budget import BUDGETS
from saebench.record.naming import nearest, one_sentence
from saebench.record.places import ORGANISM
from saebench.toy.worlds import HOOK, PREFIX

ARCHITECTURES = ("standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka")
"""Those of the zoo, with which others are compared."""
L0S, REFERENCE_L0S = (8, 16, 32), (6, 14, 27, 40)
"""Sparsities that a new architecture is trained at, and those of the zoo's: around them, and near its controls'."""
SEEDS = (0, 1)
CONTEXTS = {ORGANISM: 64}
"""Tokens per context in training, as the zoo's."""
CONTEXT = 128
"""The same for other models, so that scores are also measured beyond it."""


TOY = "toy"
"""Behind a name's `@`: the exam."""


@dataclass(frozen=True)
class Exam:
    """One world of the exam: about as many latents as it has features half as many again, around the true L0."""

    world: str
    d_sae: int
    l0s: tuple[int, ...]
    reference_l0s: tuple[int, ...]


EXAMS = (Exam("absorption", 120, (6, 12, 24), (5, 10, 20, 30)), Exam("composed", 60, (2, 3, 5), (1, 2, 4, 8)))


@one_sentence
def resolve(names: Iterable[str], model: str | None, hook: str | None, budget: str) -> list[SAESpec]:
    """The SAEs that `--sae-arch` stands for: every architecture at every sparsity, from every seed.

    A name is one of the zoo's architectures or `package.module:attribute`; with `@HOOK` behind it, it reads there and
    not at `hook`, the model's own; with `@toy`, it takes the exam on toy worlds. Raises ValueError with one sentence where it can be neither.
    """
    return [spec for name in dict.fromkeys(names) for spec in _of(name, model or ORGANISM, hook, budget)]


def trained_as(sae: str) -> str:
    """The architecture that an SAE of this name was trained as by `--sae-arch`; empty for any other SAE."""
    found = re.fullmatch(rf"(.+?)(?<=@{TOY})/[^/]+/l0-\d+/seed-\d+", sae) or re.fullmatch(r"(.+)/l0-\d+/seed-\d+", sae)
    return found[1] if found else ""


def is_new(name: str) -> bool:
    """Whether it is an architecture of the user's own."""
    return name.partition("@")[0] not in ARCHITECTURES


def _of(name: str, model: str, hook: str | None, budget: str) -> list[SAESpec]:
    location, _, own = name.partition("@")
    _check(name, location)
    if own == TOY:
        return list(_examined(name, location, budget))
    if not (own or hook):
        said = f"which hook of {model} it reads: --sae-arch {location}@blocks.8.hook_resid_post"
        raise ValueError(f"--sae-arch {name} does not say {said}")
    return [
        SAESpec(
            f"{name}/l0-{l0}/seed-{seed}", "architecture", location, hook=own or hook,
            context_size=CONTEXTS.get(model, CONTEXT), architecture=_short(location),
            facts={"aimed_l0": l0, "seed": seed, "tokens": BUDGETS[budget].architecture_samples},
        )
        for l0 in (REFERENCE_L0S if location in ARCHITECTURES else L0S)
        for seed in SEEDS
    ]  # fmt: skip


def _examined(name: str, location: str, budget: str) -> Iterator[SAESpec]:
    for exam in EXAMS:
        for l0 in exam.reference_l0s if location in ARCHITECTURES else exam.l0s:
            for seed in SEEDS:
                facts = {"aimed_l0": l0, "seed": seed, "tokens": BUDGETS[budget].architecture_samples}
                yield SAESpec(
                    f"{name}/{exam.world}/l0-{l0}/seed-{seed}", "architecture", location, model=PREFIX + exam.world,
                    hook=HOOK, d_sae=exam.d_sae, architecture=_short(location), facts={**facts},
                )  # fmt: skip


def _short(location: str) -> str:
    return location.rpartition(":")[2].rpartition(".")[2]


def _check(name: str, location: str) -> None:
    if location in ARCHITECTURES:
        return
    if not PYTHON.fullmatch(location):
        known = f"{', '.join(ARCHITECTURES)}, or package.module:TrainingSAE of your own"
        raise ValueError(f"--sae-arch {name}: no such architecture.{nearest(location, ARCHITECTURES)} Known: {known}")
    check_module(f"--sae-arch {name}", location)
