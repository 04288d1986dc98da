"""A trained control is the zoo's where that is alike, else one made on the spot, once, of texts that no score reads."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import models
import planted
import pytest
import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.making import control_training
from saebench.making.control_training import find_in_zoo, trained_control, training_rows
from saebench.making.like import Like
from saebench.making.training import BATCH
from saebench.record.budget import BUDGETS, CONTEXT
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.subject import corpora
from saebench.subject.cache import Cache
from saebench.subject.corpora import REFERENCE_DOCUMENTS, WorldTexts
from saebench.subject.random_weights import MODELS
from saebench.subject.subject import Subject

torch.set_num_threads(1)
TEXTS = WorldTexts(8, 256)
HOOK = "blocks.1.hook_resid_post"
ORGANISM = "organism"
SHUFFLED = "shuffled_rows"
KINDS = ("frozen", "soft_frozen", *MODELS)
INSIDE, D_SAE = 20, 24


def like(l0: float = 3.0, d_sae: int = D_SAE, **facts: Any) -> Like:
    known = {"architecture": "batchtopk", "context_size": INSIDE, "hook": HOOK} | facts
    return Like(planted.loaded(planted.dictionary(), **known), torch.zeros(4, models.WIDTH), d_sae, l0)


# The zoo


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l0", [16.0, 32.0])
def test_the_zoo_has_every_kind_at_both_sparsities(kind: str, l0: float) -> None:
    spec = find_in_zoo(kind, like(l0), HOOK, ORGANISM)
    assert spec is not None
    assert spec.control
    assert kind in (spec.facts.get("trained_on"), spec.facts.get("decoder"))
    assert float(spec.facts["l0"] or 0) == pytest.approx(l0, rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_in_sparsity_is_taken_if_it_is_within_a_quarter(kind: str) -> None:
    for l0 in (1.0, 5.0, 10.0, 13.5, 18.0, 21.0, 27.0, 36.0, 45.0, 64.0, 500.0):
        spec = find_in_zoo(kind, like(l0), HOOK, ORGANISM)
        known = {n: float(find_in_zoo(kind, like(n), HOOK, ORGANISM).facts["l0"]) for n in (16.0, 32.0)}  # type: ignore
        near = {abs(value / l0 - 1): value for value in known.values() if abs(value / l0 - 1) <= 0.25}
        assert (spec is None) == (not near)
        if spec is not None:
            assert spec.facts["l0"] == near[min(near)]


def test_held_decoders_are_not_mixed_up() -> None:
    frozen, soft = (find_in_zoo(kind, like(16.0), HOOK, ORGANISM) for kind in ("frozen", "soft_frozen"))
    assert frozen is not None
    assert soft is not None
    assert (frozen.name, soft.name) == ("organism/batchtopk-16-frozen", "organism/batchtopk-16-soft-frozen")


@pytest.mark.parametrize("l0", [0.0, 2.0, 16.0, 64.0, 1000.0])
def test_what_was_trained_on_shuffled_activations_is_taken_whatever_its_sparsity(l0: float) -> None:
    spec = find_in_zoo(SHUFFLED, like(l0), HOOK, ORGANISM)
    assert spec is not None
    assert spec.facts["trained_on"] == SHUFFLED


@pytest.mark.parametrize("kind", [*KINDS, SHUFFLED])
def test_other_hooks_and_models_have_no_zoo(kind: str) -> None:
    assert find_in_zoo(kind, like(16.0), "blocks.0.hook_resid_post", ORGANISM) is None
    assert find_in_zoo(kind, like(16.0), HOOK, "gpt2") is None


def test_no_real_sae_is_a_control() -> None:
    """Those that were trained on the world and hold nothing are no control of any kind."""
    for kind in (*KINDS, SHUFFLED):
        for l0 in (16.0, 32.0):
            spec = find_in_zoo(kind, like(l0), HOOK, ORGANISM)
            assert spec is not None
            assert spec.facts.get("trained_on") != "world" or spec.facts.get("decoder") in ("frozen", "soft_frozen")


@pytest.mark.parametrize("l0", [0.0, -0.0])
def test_an_sae_that_is_never_active_has_no_control_in_the_zoo(l0: float) -> None:
    assert find_in_zoo("frozen", like(l0), HOOK, ORGANISM) is None


def test_a_control_of_the_zoo_is_loaded_and_not_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(control_training, "train_member", forbidden)
    subject = replace(tiny(), name=ORGANISM)
    made = trained_control("frozen", like(16.0, model=ORGANISM), subject, HOOK, "smoke", Cache(tmp_path), TEXTS)
    assert made.spec.name == "organism/batchtopk-16-frozen"
    assert made.spec.control


def test_the_zoo_is_of_the_model_that_is_run_whatever_the_sae_says(tmp_path: Path) -> None:
    """`--sae-model` may put an SAE of the organism on another model, whose control the organism's is not."""
    asked = like(16.0, model=ORGANISM)
    with pytest.raises(Unscored):
        trained_control("frozen", asked, tiny(), HOOK, "smoke", Cache(tmp_path), TEXTS)


# Where there is none


def forbidden(*anything: Any) -> Any:
    raise AssertionError("nothing should be trained here")


@cache
def tiny() -> Subject:
    return models.shared("gpt2")


def refused(asked: Like, budget: str, folder: Path, kind: str = "frozen") -> str:
    with pytest.raises(Unscored) as caught:
        trained_control(kind, asked, tiny(), HOOK, budget, Cache(folder), TEXTS)
    assert not caught.value.broken
    assert not any(folder.glob("*.safetensors"))
    return caught.value.reason


def is_sentence(text: str) -> bool:
    return "\n" not in text and not text.endswith(".") and text[0].islower() and 20 < len(text) < 200


@pytest.mark.parametrize("architecture", [None, "crosscoder", "", "BatchTopK"])
def test_an_unknown_architecture_cannot_be_trained(architecture: str | None, tmp_path: Path) -> None:
    reason = refused(like(architecture=architecture), "full", tmp_path)
    assert is_sentence(reason)
    assert "architecture" in reason
    assert all(name in reason for name in ARCHITECTURES)


@pytest.mark.parametrize("kind", [*KINDS, SHUFFLED])
def test_nothing_is_trained_for_smoke(kind: str, tmp_path: Path) -> None:
    reason = refused(like(), "smoke", tmp_path, kind)
    assert is_sentence(reason)
    assert kind in reason
    assert "--sae-budget smoke" in reason


@pytest.mark.parametrize("d_sae", [40_000, 100_000, 1_000_000])
def test_an_sae_that_is_too_large_is_not_trained(d_sae: int, tmp_path: Path) -> None:
    """The sentence says by how much, which is never once: 1.28, 3.2 and 32 times."""
    reason = refused(like(d_sae=d_sae), "quick", tmp_path)
    assert is_sentence(reason)
    assert "--sae-budget quick" in reason
    found = re.search(r"takes ([\d.]+) times", reason)
    assert found is not None
    assert float(found[1]) == pytest.approx(BUDGETS["quick"].control_samples * d_sae * models.WIDTH / 2e11, rel=0.1)


def test_a_gpu_may_do_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_training, "_trained", forbidden)
    asked = like(d_sae=100_000)
    there = replace(asked, sae=replace(asked.sae, device="cuda:0"))
    with pytest.raises(AssertionError, match="nothing should be trained"):
        trained_control("frozen", there, tiny(), HOOK, "quick", Cache(tmp_path), TEXTS)


def test_larger_budgets_train_longer() -> None:
    samples = [budget.control_samples for budget in BUDGETS.values()]
    assert samples == sorted(samples)
    assert all(number == 0 or number > 100 * BATCH for number in samples)
    assert max(samples) > 0


# Training on the spot


def letters(documents: int, skip: int = 0) -> list[str]:
    """Documents of random letters, every one its own."""
    found = []
    for i in range(skip, skip + documents):
        draws = torch.randint(0, 26, (2 * INSIDE,), generator=torch.Generator().manual_seed(i)).tolist()
        found.append("".join(chr(97 + n) for n in draws))
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Few samples of texts that need no world; the list holds the name of every SAE that is trained."""
    trained, train = list[str](), control_training.train_member

    def counted(member: Any, activations: Tensor, samples: int) -> Any:
        trained.append(member.name)
        assert activations.shape == (samples, models.WIDTH)
        with torch.random.fork_rng(devices=[]):
            return train(member, activations, samples)

    monkeypatch.setitem(BUDGETS, "quick", replace(BUDGETS["quick"], control_samples=80 * BATCH))
    monkeypatch.setattr(control_training, "training_rows", fewer_rows)
    monkeypatch.setattr(corpora, "held_out_texts", letters)
    monkeypatch.setattr(control_training, "train_member", counted)
    return trained


def fewer_rows(subject: Subject, hook: str, texts: Any, inside: int, rows: int) -> Tensor:
    return read_once(hook, inside).repeat(-(-rows // (2 * BATCH)), 1)[:rows]


@cache
def read_once(hook: str, inside: int) -> Tensor:
    return training_rows(tiny(), hook, TEXTS, inside, 2 * BATCH)


def made_in(folder: Path, kind: str = "frozen", asked: Like | None = None, subject: Subject | None = None) -> LoadedSAE:
    return trained_control(kind, asked or like(), subject or tiny(), HOOK, "quick", Cache(folder), TEXTS)


def weights(sae: LoadedSAE) -> dict[str, Tensor]:
    return dict(sae.source.state_dict())


def test_a_control_is_trained_once_and_read_back_as_it_was(small: list[str], tmp_path: Path) -> None:
    first, again = made_in(tmp_path), made_in(tmp_path)
    assert small == ["frozen"]
    assert weights(first).keys() == weights(again).keys()
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(first).items())
    assert first.digest == again.digest
    assert first.spec.name == again.spec.name == "planted/sae~frozen"


def test_a_control_that_is_trained_anew_is_the_same(small: list[str], tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = made_in(tmp_path / "one")
    torch.manual_seed(2)
    again = made_in(tmp_path / "other")
    assert small == ["frozen", "frozen"]
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(first).items())
    assert first.digest == again.digest


def test_a_control_is_of_its_saes_size_and_hook_and_never_ranked(small: list[str], tmp_path: Path) -> None:
    made = made_in(tmp_path, asked=like(d_sae=40))
    assert made.spec.control
    assert (made.spec.hook, made.spec.context_size, made.spec.d_sae) == (HOOK, INSIDE, 40)
    x = torch.randn(30, models.WIDTH, generator=torch.Generator().manual_seed(0))
    assert made.encode(x).shape == (30, 40)
    assert made.decode(made.encode(x)).shape == (30, models.WIDTH)


def test_kinds_have_weights_of_their_own(small: list[str], tmp_path: Path) -> None:
    kinds = ["frozen", "soft_frozen", SHUFFLED, "random_model"]
    made = [made_in(tmp_path, kind) for kind in kinds]
    assert small == kinds
    assert len({sae.digest for sae in made}) == len(kinds)
    directions = [sae.directions(D_SAE)[0] for sae in made]
    for i, one in enumerate(directions):
        assert all(float((one * other).sum(1).abs().mean()) < 0.9 for other in directions[i + 1 :])


@pytest.mark.parametrize(
    "other",
    [
        lambda: {"asked": like(l0=5.0)},
        lambda: {"asked": like(d_sae=30)},
        lambda: {"asked": like(architecture="topk")},
        lambda: {"asked": like(context_size=10)},
        lambda: {"subject": replace(tiny(), digest="of another model")},
    ],
    ids=["sparsity", "width", "architecture", "context", "model"],
)
def test_whatever_a_control_depends_on_makes_another(
    other: Callable[[], dict[str, Any]], small: list[str], tmp_path: Path
) -> None:
    made_in(tmp_path)
    made_in(tmp_path, **other())
    assert len(small) == 2


def test_saes_that_are_alike_share_a_control(small: list[str], tmp_path: Path) -> None:
    made_in(tmp_path)
    made = made_in(tmp_path, asked=like(l0=3.2, name="another/sae"))
    assert len(small) == 1
    assert made.spec.name == "another/sae~frozen"


@pytest.mark.parametrize("architecture", ["standard", "topk", "matryoshka"])
def test_a_control_has_its_saes_architecture(architecture: str, small: list[str], tmp_path: Path) -> None:
    made = made_in(tmp_path, "soft_frozen", like(architecture=architecture, d_sae=32))
    x = training_rows(tiny(), HOOK, TEXTS, INSIDE, 100)
    assert torch.isfinite(made.decode(made.encode(x))).all()
    if architecture == "topk":
        assert int((made.encode(x) != 0).sum(1).max()) <= 3


def test_the_architecture_that_an_sae_was_trained_with_counts(small: list[str], tmp_path: Path) -> None:
    """Batch-top-k SAEs are saved as JumpReLU ones."""
    made_in(tmp_path, asked=like(architecture="jumprelu", facts={"training_architecture": "batchtopk"}))
    made_in(tmp_path)
    assert len(small) == 1


# What it is trained on


def test_training_texts_are_none_of_those_that_are_scored() -> None:
    read = max(*(budget.documents for budget in BUDGETS.values()), REFERENCE_DOCUMENTS)
    assert read <= TEXTS.reserved


def test_training_rows_are_of_texts_after_those_that_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()

    def remembered(documents: int, skip: int = 0) -> list[str]:
        asked.extend(range(skip, skip + documents))
        return letters(documents, skip)

    monkeypatch.setattr(corpora, "held_out_texts", remembered)
    rows = training_rows(tiny(), HOOK, TEXTS, INSIDE, 6000)
    assert rows.shape == (6000, models.WIDTH)
    assert rows.dtype == torch.float32
    assert len(asked) == len(set(asked))
    assert min(asked) >= max(*(budget.documents for budget in BUDGETS.values()), REFERENCE_DOCUMENTS)


def test_training_rows_are_activations_in_order_without_bos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "held_out_texts", letters)
    rows = training_rows(tiny(), HOOK, TEXTS, INSIDE, 2 * (INSIDE - 1))
    ids = [tiny().tokenizer(text, add_special_tokens=False)["input_ids"] for text in letters(2, 2048)]
    tokens = torch.tensor([[tiny().tokenizer.bos_token_id, *row][:INSIDE] for row in ids])
    assert torch.allclose(rows, tiny().residual(tokens, HOOK)[:, 1:].flatten(0, 1), atol=1e-4)


@pytest.mark.parametrize("context_size", [None, 1024])
def test_texts_are_no_longer_than_those_that_are_scored(
    context_size: int | None, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The world's shortest documents have little more than the tokens that are scored: no control may need more."""
    lengths = list[int]()

    def remembered(subject: Subject, hook: str, texts: Any, inside: int, rows: int) -> Tensor:
        lengths.append(inside)
        return fewer_rows(tiny(), hook, texts, INSIDE, rows)

    class Long:
        """Reads as many tokens as GPT-2."""

        name, digest, n_ctx = "long", "digest of long", 1024

    monkeypatch.setattr(control_training, "training_rows", remembered)
    subject: Any = Long()
    made_in(tmp_path, asked=like(context_size=context_size), subject=subject)
    assert lengths[0] <= CONTEXT
