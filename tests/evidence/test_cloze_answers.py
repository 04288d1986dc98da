"""Answers with something spliced in are those of the plain model with it spliced in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.evidence.cloze import Answered, Prepared, answered, answers, prepare
from saebench.metrics import downstream
from saebench.organism.cloze import questions
from saebench.organism.world import World
from saebench.record.places import organism_folder
from saebench.record.score import Unscored
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE
from saebench.subject.cache import Cache
from saebench.subject.corpora import token_ids
from saebench.subject.posed import Marks, Posed, pose
from saebench.subject.subject import Subject, load_subject

torch.set_num_threads(1)
HOOK = "blocks.1.hook_resid_post"
COUNT = 24


@pytest.fixture(scope="module")
def model() -> Subject:
    return load_subject()


@pytest.fixture(scope="module")
def posed(model: Subject) -> Posed:
    count = lambda text: len(token_ids(model.tokenizer, [text])[0])  # noqa: E731
    asked = questions(World.load(organism_folder()), 32, 64, COUNT, count)
    return pose("world", asked, model.tokenizer, model.n_ctx)


@pytest.fixture(scope="module")
def prepared(model: Subject, posed: Posed, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(model, HOOK, None, posed, Cache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def trained() -> LoadedSAE:
    return load_sae(resolve("organism/topk-16")[0], "cpu")


@dataclass
class Made:
    """An SAE whose reconstruction is a function of what it reads."""

    make: Callable[[Tensor], Tensor]

    def encode(self, x: Tensor) -> Tensor:
        return self.make(x)

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def made(sae: LoadedSAE, make: Callable[[Tensor], Tensor]) -> LoadedSAE:
    return replace(sae, source=Made(make), digest=f"digest of {make}")


def same(one: Marks, other: Marks) -> bool:
    return bool((one.right == other.right).all()) and one.log_p == pytest.approx(other.log_p, abs=1e-4)


def by_hand(model: Subject, posed: Posed, put: Callable[[Tensor], Tensor] | None) -> list[bool]:
    """Each question in a whole pass of its own, with `put` at every position but the first."""
    found = []
    for question in posed.questions:
        ids = torch.tensor(token_ids(model.tokenizer, [question.passage]))
        options = [token_ids(model.tokenizer, [f" {option}"], bos=False)[0][0] for option in question.options]
        if put is None:
            logits = model.bridge.original_model(ids).logits[0, -1]
        else:
            x = model.residual(ids, HOOK)
            x = torch.cat([x[:, :1], put(x[0, 1:])[None]], dim=1)
            logits = model.logits(ids, HOOK, x)[0, -1]
        found.append(int(logits[options].argmax()) == 0)
    return found


def test_the_clean_model_answers_as_plain_transformers_does(model: Subject, posed: Posed, prepared: Prepared) -> None:
    expected = by_hand(model, posed, None)
    assert prepared.clean.right.tolist() == expected
    assert np.mean(expected) > 0.5


def test_the_sae_and_the_ablation_answer_as_whole_passes_do(
    model: Subject, posed: Posed, prepared: Prepared, trained: LoadedSAE
) -> None:
    found = answered(trained, prepared)
    assert found.sae.right.tolist() == by_hand(model, posed, lambda x: trained.decode(trained.encode(x), x))
    assert found.ablated.right.tolist() == by_hand(model, posed, lambda x: prepared.mean.expand_as(x))


def test_the_mean_is_that_of_all_positions_but_the_first(model: Subject, posed: Posed, prepared: Prepared) -> None:
    rows = [model.residual(row[None, :n], HOOK)[0, 1:] for row, n in zip(posed.tokens, posed.length, strict=True)]
    torch.testing.assert_close(prepared.mean, torch.cat(rows).mean(0), rtol=1e-4, atol=1e-4)
    covariance = torch.cov(torch.cat(rows).T.double()).float()
    torch.testing.assert_close(prepared.root @ prepared.root.T, covariance, rtol=1e-3, atol=1e-3)


def test_an_sae_with_its_error_added_back_keeps_exactly_all(prepared: Prepared, trained: LoadedSAE) -> None:
    with_error = made(
        trained, lambda x: trained.decode(trained.encode(x), x) + (x - trained.decode(trained.encode(x), x))
    )
    found = answered(with_error, prepared)
    assert same(found.sae, prepared.clean)
    assert downstream.accuracy_kept(found).value == 1.0
    assert downstream.log_p_kept(found).value == pytest.approx(1.0, abs=1e-4)


def test_an_sae_that_says_the_mean_keeps_nothing(prepared: Prepared, trained: LoadedSAE) -> None:
    found = answered(made(trained, lambda x: prepared.mean.expand_as(x)), prepared)
    assert same(found.sae, prepared.ablated)
    assert downstream.accuracy_kept(found).value == 0.0


def test_more_damage_keeps_less(prepared: Prepared, trained: LoadedSAE) -> None:
    def kept(share: float) -> float:
        found = answered(made(trained, lambda x: (1 - share) * x + share * prepared.mean), prepared)
        return downstream.log_p_kept(found).value

    found = [kept(share) for share in (0.0, 0.7, 0.9, 1.0)]
    assert found == sorted(found, reverse=True)


def test_nothing_depends_on_the_batch(prepared: Prepared, trained: LoadedSAE, monkeypatch: pytest.MonkeyPatch) -> None:
    found = answered(trained, prepared)
    monkeypatch.setattr(prepared.activations.subject.batch, "size", 5)
    other = answered(trained, prepared)
    for name in ("sae", "noisy"):
        assert same(getattr(found, name), getattr(other, name)), name


def test_noise_is_as_large_as_the_error(
    prepared: Prepared, trained: LoadedSAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = []
    monkeypatch.setattr(
        "saebench.evidence.cloze.answers",
        lambda prepared, made: put.append(made(slice(0, 2), 20)) or Marks(np.zeros(0, bool), np.zeros(0)),
    )
    answered(trained, prepared)
    (spliced, noisy), x = put, prepared.activations.target[:2, :20]
    torch.testing.assert_close((noisy - x)[:, 1:].norm(dim=-1), (spliced - x)[:, 1:].norm(dim=-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: x * torch.inf, "NaN or infinite"),
        (lambda x: x[:, :5], "decode returns 5 dimensions for activations of 192"),
        (lambda x: x.sign() * 1e38, "so large that the model overflows"),
    ],
)
def test_an_sae_that_misbehaves_is_unscored(
    prepared: Prepared, trained: LoadedSAE, make: Callable[[Tensor], Tensor], said: str
) -> None:
    with pytest.raises(Unscored, match=said) as raised:
        answered(made(trained, make), prepared)
    assert raised.value.broken


def test_an_sae_of_another_width_is_unscored(prepared: Prepared, trained: LoadedSAE) -> None:
    with pytest.raises(Unscored, match="the SAE reads 7 dimensions, organism has 192"):
        answered(replace(trained, spec=replace(trained.spec, d_in=7)), prepared)


def test_at_a_hook_within_a_block_answers_are_the_same(model: Subject, posed: Posed, tmp_path: Path) -> None:
    """What is put back as it was changes nothing, wherever it is read."""
    for hook, out in (("blocks.1.hook_mlp_out", None), ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out")):
        found = prepare(model, hook, out, posed, Cache(tmp_path))
        clean = answers(found, lambda rows, end, x=found.activations.target: x[rows, :end])
        assert same(clean, found.clean)
        assert clean.right.mean() > 0.5


def test_answers_say_what_they_are_about(prepared: Prepared, trained: LoadedSAE) -> None:
    found: Answered = answered(trained, prepared)
    assert sorted({*found.kind.tolist()}) == ["fact", "recalled"]
    assert len({*found.text.tolist()}) == COUNT
    assert ((found.chance > 0.05) & (found.chance <= 0.25)).all()
    assert ((found.passage > 32) & (found.passage <= 64)).all()
