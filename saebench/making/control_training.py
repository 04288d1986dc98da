"""Control SAEs that have to be trained: with frozen directions, on shuffled activations, on random models.

One of the model's own zoo is taken where it is as sparse as the SAE; else one is trained on the spot with the SAE's
own architecture and size, within the run's budget, once: it is kept in the cache.
"""

import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.catalogue.controls import CONTROLS
from saebench.catalogue.registry import families, specs_of
from saebench.catalogue.spec import SAESpec
from saebench.making.like import Like
from saebench.making.training import Member, train_member
from saebench.record.budget import BUDGETS, CONTEXT
from saebench.record.score import Unscored
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE
from saebench.subject.activations import own_positions
from saebench.subject.cache import Cache, Inputs, Tensors
from saebench.subject.corpora import Corpus, WorldTexts
from saebench.subject.random_weights import shuffled_rows, training_seed
from saebench.subject.subject import Subject

MOST_WORK = 2e11
"""Samples times weights of the decoder, on a CPU: some minutes."""
MOST_WORK_GPU = 1e14
NEAR = 0.25
"""By how much the zoo's control may differ in L0 from the SAE."""
DOCUMENTS = 256
"""Texts that are read at a time."""
VERSION = 1


def find_in_zoo(kind: str, like: Like, hook: str, model: str) -> SAESpec | None:
    """The zoo's control of a kind (what it was trained on, or how its decoder was held) that is nearest in L0."""
    specs = controls_of(kind, hook, model)
    apart = [abs(float(spec.facts.get("l0") or 0) / max(like.l0, 1e-9) - 1) for spec in specs]
    # Features of what was trained on shuffled activations are compared one by one, whatever its sparsity; nor is any
    # control trained for a control.
    anyway = CONTROLS[kind].shuffled or like.sae.spec.control
    near = [(gap, spec.name, spec) for gap, spec in zip(apart, specs, strict=True) if anyway or gap <= NEAR]
    return min(near, key=lambda found: found[:2])[2] if near else None


def controls_of(kind: str, hook: str, model: str) -> list[SAESpec]:
    """The controls of a kind that the packaged zoos have at a hook of a model."""
    return [s for s in _controls() if s.model == model and s.hook == hook and kind in _kinds(s)]


@cache
def _controls() -> list[SAESpec]:
    """SAEs of the packaged zoos that were made to be controls."""
    zoos = [family.name for family in families() if family.table.get("controls")]
    return [spec for zoo in zoos for spec in specs_of(zoo) if spec.control]


def _kinds(spec: SAESpec) -> set[Any]:
    return {spec.facts.get("trained_on"), spec.facts.get("decoder")}


def trained_control(
    kind: str, like: Like, subject: Subject, hook: str, budget: str, store: Cache, texts: Corpus
) -> LoadedSAE:
    """A control SAE of one kind for the model `subject`, which is the random one where the kind says so.

    It is trained on texts like those that are scored, and after them.

    Raises Unscored where the budget does not pay for training one, or the architecture is not one that can be trained.
    """
    spec = find_in_zoo(kind, like, hook, subject.name)
    if spec is not None:
        return load_sae(spec, like.sae.device)
    if like.sae.spec.control:
        raise Unscored("no control is trained for an SAE that is itself a control")
    if like.sae.spec.loader == "architecture":
        raise Unscored("no control is trained for an SAE of --sae-arch, so that all architectures have the same ones")
    member = _member(kind, like)
    _check_affordable(member, like, budget)
    key: Inputs = {
        "what": "control SAE", "version": VERSION, "model": subject.digest, "hook": hook, "budget": budget, "kind": kind,
        "architecture": member.architecture, "d_sae": member.d_sae, "l0": member.l0, "inside": _inside(like, subject),
    }  # fmt: skip
    if not isinstance(texts, WorldTexts):
        key["texts"] = texts.name
    inside = _inside(like, subject)
    make = partial(_trained, member, kind, subject, hook, texts, inside, BUDGETS[budget].control_samples)
    weights = store.get(key, make, random=False)
    spec = like.sae.spec
    made = replace(spec, name=f"{spec.name}~{kind}", d_sae=member.d_sae, control=True, origin=spec)
    return loaded_from(made, weights, like.sae.device)


def _inside(like: Like, subject: Subject) -> int:
    # The world's documents are not much longer than what is scored of them.
    return min(like.sae.spec.context_size or CONTEXT, subject.n_ctx, CONTEXT)


def _member(kind: str, like: Like) -> Member:
    spec = like.sae.spec
    architecture = str(spec.facts.get("training_architecture") or spec.architecture)
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise Unscored(f"controls are trained with the SAE's own architecture, of which it should say one of {known}")
    return Member(
        kind, architecture, max(1, round(like.l0)), like.d_sae, training_seed(kind), decoder=CONTROLS[kind].decoder
    )


def _check_affordable(member: Member, like: Like, budget: str) -> None:
    samples = BUDGETS[budget].control_samples
    if not samples:
        raise Unscored(f"no {member.name} SAE is trained at --sae-budget {budget}")
    work, most = samples * member.d_sae * like.x.shape[1], MOST_WORK_GPU if "cuda" in like.sae.device else MOST_WORK
    if work > most:
        raise Unscored(
            f"training a {member.name} SAE of this size takes {work / most:.2g} times what --sae-budget {budget} allows"
            f" on {like.sae.device}"
        )


def _trained(
    member: Member, kind: str, subject: Subject, hook: str, texts: Corpus, inside: int, samples: int
) -> Tensors:
    rows = training_rows(subject, hook, texts, inside, samples)
    sae = train_member(member, shuffled_rows(rows, member.seed) if CONTROLS[kind].shuffled else rows, samples)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in saved_weights(sae).items()}


def saved_weights(sae: Any) -> Tensors:
    """Weights as sae-lens saves them for inference, beside its configuration."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        config = (Path(folder) / "cfg.json").read_bytes()
        weights: Tensors = load_file(Path(folder) / "sae_weights.safetensors")
    return {**weights, "cfg.json": torch.frombuffer(bytearray(config), dtype=torch.uint8)}


def loaded_from(spec: SAESpec, weights: Tensors, device: str) -> LoadedSAE:
    """The SAE of `saved_weights`, read as files of sae-lens are; the spec says what else there is to know."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cfg.json").write_bytes(weights["cfg.json"].numpy().tobytes())
        save_file({n: t for n, t in weights.items() if n != "cfg.json"}, Path(folder) / "sae_weights.safetensors")
        as_file = replace(
            spec, loader="files", format="sae_lens", location=folder, repo=None, release=None, digest=None
        )
        return load_sae(as_file, device)


def training_rows(
    subject: Subject, hook: str, texts: Corpus, inside: int, rows: int, least: int | None = None
) -> Tensor:
    """Activations (row, d) of texts that no score is measured on, each read from its beginning, BOS left out.

    Raises Unscored where there are too few texts for the `least` that will do, which is all of them if it is not given.
    """
    found, skip = list[Tensor](), texts.reserved
    while (have := sum(map(len, found))) < rows:
        try:
            found.append(_rows_of(subject, hook, texts.others(DOCUMENTS, inside, after=skip)))
        except Unscored:
            if have < (rows if least is None else least):
                raise
            break
        skip += DOCUMENTS
    return torch.cat(found)[:rows]


def _rows_of(subject: Subject, hook: str, texts: Corpus) -> Tensor:
    try:
        read = texts.rows(subject.tokenizer)
    except ValueError as error:
        raise Unscored(f"there are too few texts to train on: {error}") from error
    own = own_positions(read.length, read.tokens.shape[1])
    parts = subject.batch.over(
        len(own), lambda at: subject.residual(read.tokens[at], hook).cpu()[:, 1:][own[at][:, 1:]]
    )  # fmt: skip
    return torch.cat(parts)
