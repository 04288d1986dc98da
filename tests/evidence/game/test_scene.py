"""Prompts, clouds and known concepts of the embedded model: what all SAEs at a hook are asked about."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.evidence.game import known, scene
from saebench.evidence.game.answers import POSITIVE
from saebench.evidence.game.fakes import Cloud
from saebench.evidence.game.lineup import positive_controls
from saebench.evidence.game.rungs import Features
from saebench.evidence.game.scene import Scene, make_scene, unembedding
from saebench.evidence.words.vocabulary import token_texts
from saebench.record.budget import BUDGETS, Budget, Size
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run import models as served
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.subject.activations import Activations

torch.set_num_threads(1)
HOOK = "blocks.1.hook_resid_post"
SHORTEST, CONTEXT, D = 9, 64, 192
SMALL = Size(16, 4, 12)


@pytest.fixture(scope="module", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(served, "CONTEXT", 96)
        activations()
        yield


@cache
def run() -> Run:
    return Run([resolve("organism/topk-16")[0]], Store(Path("unused.jsonl")), Options("smoke", device="cpu"))


@cache
def activations() -> Activations:
    spec = replace(run().specs[0], hook=HOOK)
    return run().models.activations(run().models.subject(spec), spec)


@cache
def small() -> Scene:
    return make_scene(activations(), CONTEXT, SMALL)


def at(hook: str) -> Scene:
    """A scene at another hook, without the losses that no scene needs."""
    subject, tokens = activations().subject, activations().tokens
    residual = subject.residual(tokens, hook).flatten(2)
    return make_scene(replace(activations(), hook=hook, residual=residual), CONTEXT, SMALL)


# Prompts


@pytest.mark.parametrize("inside", [SHORTEST, 20, CONTEXT, 10_000])
def test_prompts_are_beginnings_of_documents_that_end_inside_the_context(inside: int) -> None:
    made = make_scene(activations(), inside, SMALL)
    documents = activations().tokens
    begins = [{tuple(row[:length].tolist()) for row in documents} for length in range(documents.shape[1] + 1)]
    assert len(made.ask.prompts) == SMALL.more_prompts
    assert all(SHORTEST <= len(ids) <= min(inside, documents.shape[1]) for ids in made.ask.prompts)
    assert all(tuple(ids) in begins[len(ids)] for ids in made.ask.prompts)
    assert made.token.tolist() == [ids[-1] for ids in made.ask.prompts]


def test_prompts_have_many_lengths_up_to_the_end_of_the_context() -> None:
    made = make_scene(activations(), 12, Size(16, 4, 200))
    assert {len(ids) for ids in made.ask.prompts} == {9, 10, 11, 12}


def test_what_is_moved_is_the_activation_of_the_last_token() -> None:
    documents = [tuple(row.tolist()) for row in activations().tokens]
    for x, ids in zip(small().ask.x, small().ask.prompts, strict=True):
        row = next(i for i, document in enumerate(documents) if document[: len(ids)] == tuple(ids))
        assert torch.allclose(x, activations().residual[row, len(ids) - 1], atol=1e-4)


def test_no_two_prompts_are_the_same() -> None:
    for inside in (SHORTEST, CONTEXT):
        made = make_scene(activations(), inside, SMALL)
        assert len({tuple(ids) for ids in made.ask.prompts}) == SMALL.more_prompts


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_every_prompt_has_a_document_of_its_own_at_every_budget(budget: Budget) -> None:
    assert budget.game.prompts <= budget.game.more_prompts <= budget.documents


def test_all_features_are_asked_about_at_the_first_of_the_prompts() -> None:
    assert small().ask_all.prompts == small().ask.prompts[: SMALL.prompts]
    assert small().ask_all.x.equal(small().ask.x[: SMALL.prompts])
    assert len(small().token) == SMALL.more_prompts


def test_the_same_scene_is_made_every_time() -> None:
    torch.manual_seed(5)
    rng = np.random.get_state()
    again = make_scene(activations(), CONTEXT, SMALL)
    assert again.ask.prompts == small().ask.prompts
    assert again.ask.x.equal(small().ask.x)
    for pool in ("isotropic", "real_mixtures", "mixtures"):
        assert getattr(again, pool).directions.equal(getattr(small(), pool).directions)
    assert torch.initial_seed() == 5
    assert np.array_equal(np.random.get_state()[1], rng[1])


@pytest.mark.parametrize("inside", [1, SHORTEST - 1])
def test_a_context_that_is_too_short_is_unscored_and_says_how_short(inside: int) -> None:
    with pytest.raises(Unscored, match="do not fit into a context") as unscored:
        make_scene(activations(), inside, SMALL)
    needed, there = map(int, re.findall(r"\d+", unscored.value.reason))
    assert needed > there == inside  # What does not fit is longer.


# Clouds


def marked() -> tuple[Activations, Tensor]:
    """Activations whose first number says which token they are of: document times thousand plus position."""
    documents, positions, _ = activations().residual.shape
    number = 1000 * torch.arange(documents)[:, None] + torch.arange(positions)
    residual = activations().residual.clone()
    residual[:, :, 0] = number.float()
    return replace(activations(), residual=residual), number


@pytest.mark.parametrize("tokens", [20_000, 400, 150])
@pytest.mark.parametrize("inside", [CONTEXT, CONTEXT + 1, 10_000])
def test_fakes_and_traits_are_of_different_tokens(inside: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "TOKENS", tokens)
    marks, number = marked()
    made = make_scene(marks, inside, SMALL)
    drawn, matched = (each.x[:, 0].long() for each in (made.cloud, made.traits.cloud))
    assert min(len(drawn), len(matched)) >= min(tokens, 400) // 3
    assert max(len(drawn), len(matched)) <= tokens
    assert not set(drawn.tolist()) & set(matched.tolist())
    for each in (drawn, matched):
        assert len(set(each.tolist())) == len(each)
        assert 1 <= int((each % 1000).min())
        assert int((each % 1000).max()) < min(inside, number.shape[1])
        assert len(set((each // 1000).tolist())) == len(number)
    assert made.cloud_token.equal(activations().tokens[drawn // 1000, drawn % 1000])


@pytest.mark.parametrize("tokens", [20_000, 210])
@pytest.mark.parametrize("inside", [CONTEXT, CONTEXT + 1])
def test_fakes_and_traits_are_of_the_same_positions(inside: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations differ by position; 210 of 1008 tokens are every sixth one, as 20,000 of 96,768 are at `full`."""
    monkeypatch.setattr(scene, "TOKENS", tokens)
    made = make_scene(marked()[0], inside, SMALL)
    drawn, matched = (set((each.x[:, 0].long() % 1000).tolist()) for each in (made.cloud, made.traits.cloud))
    assert len(drawn & matched) > len(drawn | matched) / 2


# The unembedding


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "neox", "gemma2"])
def test_the_gram_matrix_gives_the_effect_on_centred_logits(architecture: str) -> None:
    model, direction = models.shared(architecture), torch.randn(models.WIDTH, generator=scene.generator("test"))
    weight = model.bridge.original_model.get_output_embeddings().weight.detach()
    moved = (weight @ direction).double()
    gram = unembedding(model, "blocks.1.hook_resid_post", models.WIDTH)
    assert float(direction @ gram @ direction) == pytest.approx(float((moved - moved.mean()).square().sum()), rel=1e-4)


def test_it_is_nothing_at_a_hook_of_another_width() -> None:
    assert unembedding(models.shared("gpt2"), "blocks.1.hook_resid_post", 7).equal(torch.zeros(7, 7))
    made = at("blocks.1.mlp.hook_post")
    width = made.ask.x.shape[1]
    assert width != D
    assert made.traits.unembedding.equal(torch.zeros(width, width))


def test_it_is_nothing_at_a_hook_that_does_not_write_to_the_residual_stream_as_is() -> None:
    """What the heads pass on goes through another matrix first, although it is as wide."""
    made = at("blocks.1.attn.hook_z")
    assert made.ask.x.shape[1] == D
    assert not made.traits.unembedding.any()


# Known concepts


@cache
def texts() -> list[str]:
    return token_texts(activations().subject.tokenizer)


def tokens_of(letter: str) -> Tensor:
    """(token,) ids of words with a first letter, in either case."""
    return torch.tensor([i for i, text in enumerate(texts()) if re.fullmatch(f"(?i) {letter}[a-z]*", text)])


def on(cloud_token: Tensor, x: Tensor | None = None, token: Tensor | None = None) -> Scene:
    """The scene with other tokens in the cloud and at the ends of prompts."""
    noise = torch.randn(len(cloud_token), D, generator=scene.generator("noise"))
    last = small().token if token is None else token
    cloud = Cloud(noise if x is None else x)
    return replace(small(), cloud=cloud, cloud_token=cloud_token, cloud_following=cloud_token, token=last)


@cache
def planted(letter: str) -> tuple[Scene, Tensor, Tensor]:
    """Every token of the vocabulary eight times, and a direction in all activations at one letter."""
    everywhere = torch.arange(len(texts())).repeat(8)
    has = torch.isin(everywhere, tokens_of(letter))
    direction = torch.nn.functional.normalize(torch.randn(D, generator=scene.generator(letter)), dim=0)
    noise = torch.randn(len(everywhere), D, generator=scene.generator("noise"))
    others = [i for i in range(2000) if not has[i]]
    token = torch.tensor([int(tokens_of(letter)[0]), others[0], int(tokens_of(letter)[1]), others[1], *others[2:10]])
    return on(everywhere, noise + 8 * has[:, None] * direction, token), direction, has


@cache
def means(letter: str) -> known.Known:
    return known.differences_of_means(planted(letter)[0])


@pytest.mark.parametrize("letter", ["s", "b"])
def test_the_direction_of_a_planted_concept_is_found(letter: str) -> None:
    _, direction, has = planted(letter)
    found = means(letter)
    cosine = torch.nn.functional.cosine_similarity(found.directions, direction, dim=1)
    best = int(cosine.argmax())
    assert float(cosine[best]) > 0.95
    # A hit leaves the direction where it is: the mean of all other tokens does not contain it.
    assert float(found.directions[best] @ direction) == pytest.approx(8, abs=0.4)
    assert found.rate[best] == pytest.approx(float(has.double().mean()))
    assert found.active[:, best].tolist() == [True, False, True, False]


def test_other_letters_are_found_too_and_every_concept_has_its_own_prompts() -> None:
    found = means("s")
    assert len(found.directions) == len(found.rate) == found.active.shape[1] > 20
    assert found.active.shape[0] == SMALL.prompts
    assert ((found.rate > 0) & (found.rate < 1)).all()


def test_no_two_concepts_are_the_same_tokens() -> None:
    """Two names of one concept, as a country and its language may be, would count as two findings."""
    directions = torch.nn.functional.normalize(means("s").directions, dim=1)
    again = (directions @ directions.T).triu(1) > 1 - 1e-5
    assert int(again.sum()) == 0


@pytest.mark.parametrize(("there", "others", "kept"), [(30, 500, True), (29, 500, False), (500, 29, False)])
def test_concepts_with_too_few_tokens_are_left_out(there: int, others: int, kept: bool) -> None:
    """Also those that nearly every token has: a mean of the others is needed as well."""
    word = int(tokens_of("b")[0])
    found = known.differences_of_means(on(torch.tensor([word] * there + [texts().index(",")] * others)))
    assert bool(len(found.directions)) is kept


def test_a_concept_is_not_asked_about_where_it_is_present() -> None:
    made, found = planted("s")[0], means("s")
    features = Features(made.ask_all, made.traits, found.directions, found.rate, found.active)
    rows = np.flatnonzero(found.active.any(axis=0))[:5]
    kl = features.curves(rows).kl
    assert found.active[:, rows].any()
    assert np.array_equal(np.isnan(kl).all(axis=2), found.active[:, rows])
    assert np.array_equal(np.isnan(kl).any(axis=2), found.active[:, rows])


# What token is there, and what comes next


@cache
def planted_token(next_: bool) -> tuple[Scene, Tensor]:
    """Three tokens in turn at random, and a direction in all activations at, or before, the first of them."""
    where = torch.randint(3, (3000,), generator=scene.generator("tokens")) + 7
    direction = torch.nn.functional.normalize(torch.randn(D, generator=scene.generator("token")), dim=0)
    noise = torch.randn(3000, D, generator=scene.generator("noise"))
    where[:100] = -1 if next_ else 11
    cloud = Cloud(noise + 8 * (where == 7)[:, None] * direction)
    elsewhere, last = torch.full_like(where, 5), torch.tensor([7, 8, -1] * 4)
    made = replace(small(), cloud=cloud, cloud_token=where, cloud_following=elsewhere, token=last, following=last * 0)
    if next_:
        made = replace(made, cloud_token=elsewhere, cloud_following=where, token=last * 0, following=last)
    return made, direction


@pytest.mark.parametrize(("find", "next_"), [(known.token_means, False), (known.next_token_means, True)])
def test_the_direction_of_a_token_is_found_where_it_stands_and_where_it_follows(find: Any, next_: bool) -> None:
    made, direction = planted_token(next_)
    found = find(made)
    cosine = torch.nn.functional.cosine_similarity(found.directions, direction, dim=1)
    best = int(cosine.argmax())
    assert float(cosine[best]) > 0.9
    assert float(found.directions[best] @ direction) == pytest.approx(8, abs=0.5)
    where = made.cloud_following if next_ else made.cloud_token
    assert found.rate[best] == pytest.approx(float((where == 7).double().mean()))
    assert found.active[:, best].tolist() == [token == 7 for token in ([7, 8, -1] * 4)[: SMALL.prompts]]
    # Where a document ends nothing follows, and that is no token.
    assert len(found.directions) == (3 if next_ else 4)


def test_tokens_that_are_there_too_seldom_have_no_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = planted_token(False)
    monkeypatch.setattr(known, "FEWEST_TIMES", 101)
    assert len(known.token_means(made).directions) == 3
    monkeypatch.setattr(known, "FEWEST_TIMES", 2500)
    assert len(known.token_means(made).directions) == 0


def test_what_follows_is_the_next_token_of_the_same_document() -> None:
    own = activations()
    _, here = own.inside(12)
    following = own.following(12)
    assert len(following) == len(here)
    at = 0
    for row, length in zip(own.tokens.tolist(), own.length.tolist(), strict=True):
        for position in range(1, min(12, length)):
            assert int(following[at]) == (row[position + 1] if position + 1 < length else -1)
            at += 1
    assert at == len(here)


# Token embeddings


def test_token_embeddings_are_of_the_most_frequent_tokens_and_not_asked_about_at_them() -> None:
    found, counts = known.token_embeddings(small()), torch.bincount(small().cloud_token, minlength=len(texts()))
    weight = activations().subject.bridge.original_model.get_input_embeddings().weight.detach()
    wanted = weight - weight.mean(dim=0)
    cosine = torch.nn.functional.normalize(found.directions, dim=1) @ torch.nn.functional.normalize(wanted, dim=1).T
    tokens = cosine.argmax(dim=1)
    assert torch.allclose(found.directions, wanted[tokens], atol=1e-6)
    assert len(set(tokens.tolist())) == len(tokens) == min(int((counts > 0).sum()), known.MOST_TOKENS)
    assert found.rate.tolist() == pytest.approx((counts[tokens] / len(small().cloud_token)).tolist())
    assert (np.diff(found.rate) <= 0).all()
    assert found.active.tolist() == (small().token[: SMALL.prompts, None] == tokens).tolist()


def test_only_so_many_embeddings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = known.token_embeddings(small())
    monkeypatch.setattr(known, "MOST_TOKENS", 20)
    few = known.token_embeddings(small())
    assert few.directions.equal(everything.directions[:20])
    assert few.active.shape == (SMALL.prompts, 20)


# Both, as rungs


@cache
def controls() -> Any:
    return positive_controls(small())


def test_known_directions_are_asked_about_or_unscored_with_a_reason() -> None:
    assert tuple(controls()) == POSITIVE
    for rung in controls().values():
        reason = rung.reason if isinstance(rung, Unscored) else None
        assert reason is None or re.search(r"\d+ (are|of each are) needed", reason)
    assert not isinstance(controls()["token_embeddings"], Unscored)


def test_at_a_hook_of_another_width_embeddings_have_no_rung_and_concepts_do_not_mind() -> None:
    found = positive_controls(at("blocks.1.mlp.hook_post"))
    assert isinstance(found["token_embeddings"], Unscored)
    assert type(found["difference_of_means"]) is type(controls()["difference_of_means"])
