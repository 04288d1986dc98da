"""SAEs that have no features score nothing, one that has some is scored, and nothing else about an SAE counts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted_networks as planted
import pytest
import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.evidence.game import games, scene
from saebench.evidence.game import lineup as lining
from saebench.evidence.game.answers import Lineup
from saebench.evidence.game.dictionary import DENSEST, FEWEST_ACTIVE, Dictionary, read_dictionary
from saebench.evidence.game.lineup import PARTS, Tried, active_parts, doubles, error, features_of, make_lineup
from saebench.evidence.game.scene import Scene
from saebench.making.controls import control_sae
from saebench.metrics import distinguishability as metric
from saebench.record.budget import BUDGETS, Size
from saebench.record.score import Estimate, Unscored
from saebench.record.store import Store
from saebench.run import control_saes, models
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)
REAL, RANDOM_MODEL = "organism/topk-16", "organism/batchtopk-16-random-model"
D, LATENTS = 192, 1024
SMALLER = (
    (models, "CONTEXT", 96), (control_saes, "SAMPLE", 1024), (scene, "POOL", 10_000), (lining, "PER_PROMPT", 500),
    (lining, "ERRORS", 4), (games, "GAMES", 2000), (games, "RESAMPLES", 400),
)  # fmt: skip
HEADLINES = (metric.auc, metric.accuracy)
OTHERS = (metric.sensitivity_log_ratio, metric.noise_suppression_gap)
RECONSTRUCTIONS = (metric.error_pathology_ratio, metric.plateau_gap)


@pytest.fixture(scope="module", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        # Less is asked about less, so that it takes seconds.
        for module, name, value in SMALLER:
            patch.setattr(module, name, value)
        patch.setitem(BUDGETS, "smoke", replace(BUDGETS["smoke"], game=Size(16, 3, 9)))
        run().documents.activations(real())
        yield


def fresh_run() -> Run:
    return Run([resolve(REAL)[0]], Store(Path("unused.jsonl")), Options("smoke", device="cpu"))


run = cache(fresh_run)


@cache
def loaded(name: str) -> LoadedSAE:
    from saebench.saes.loaders import load_sae

    return load_sae(resolve(name)[0], "cpu")


def real() -> LoadedSAE:
    return loaded(REAL)


def made(name: str, encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> LoadedSAE:
    """An SAE that is read where the real one is."""
    spec = replace(real().spec, name=f"made/{name}", d_sae=None, digest=None)
    return LoadedSAE(spec, SimpleNamespace(encode=encode, decode=decode), f"digest of {name}", "cpu")


def weights() -> Tensor:
    return torch.randn(LATENTS, D, generator=torch.Generator().manual_seed(0))


@cache
def nothing(name: str) -> LoadedSAE:
    """An SAE without a feature of the model."""
    if name == "random model":
        return loaded(RANDOM_MODEL)
    if name == "random":
        return control_sae("random_l0", run().control_saes.like(real()))
    always: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "dead": (lambda x: torch.zeros(len(x), LATENTS), lambda latents: latents @ weights()),
        "dense": (lambda x: (x @ weights().T).abs() + 1, lambda latents: latents @ weights() / LATENTS),
        "identity": (lambda x: x, lambda latents: latents),
        "nan": (real().encode, lambda latents: real().decode(latents) * float("nan")),
        "nan latents": (lambda x: real().encode(x) * float("nan"), real().decode),
    }
    return made(name, *always[name])


@cache
def lineup(name: str) -> Lineup:
    return assured(run().game.lineup(real() if name == "real" else nothing(name)))


def assured(of: Lineup) -> Lineup:
    """The same where the model tells something known: so few prompts and features cannot show it of this one."""
    told = {planted.POSITIVE[0]: planted.rung("thresholded", "covariance_mixture")}
    return replace(of, controls={**dict(of.controls), **told})


def dictionary(sae: LoadedSAE | None = None) -> tuple[Scene, Dictionary]:
    return run().game.own(sae or real())


def outcome(score: Callable[[], Estimate]) -> tuple[float, ...] | str:
    """What a score is, or why there is none."""
    try:
        found = score()
    except Unscored as unscored:
        return unscored.reason
    return found.value, found.ci_low, found.ci_high, float(found.n)


def outcomes(of: Lineup) -> dict[str, tuple[float, ...] | str]:
    found = {each.__name__: outcome(lambda each=each: each(of)) for each in (*HEADLINES, *OTHERS, *RECONSTRUCTIONS)}
    for rungs in (of.rungs, of.controls):
        found |= {name: outcome(lambda name=name, rungs=rungs: metric.rung_auc(rungs, name)) for name in rungs}
    return found


# SAEs without features


@pytest.mark.parametrize("name", ["random", "random model"])
def test_directions_of_nothing_are_at_chance_or_unscored_on_every_strict_rung(name: str) -> None:
    found = outcomes(lineup(name))
    assert set(lineup(name).rungs) == {*metric.LADDER, *metric.ACTIVE}
    assert set(lineup(name).controls) == set(metric.CONTROLS)
    for rung in metric.STRICT:
        score = found[rung]
        assert isinstance(score, str) or score[1] <= 0.5 <= score[2]
    for headline in ("auc", "accuracy"):
        score = found[headline]
        assert isinstance(score, str) or score[1] <= 0.5
    for gap in ("sensitivity_log_ratio", "noise_suppression_gap"):
        score = found[gap]
        assert isinstance(score, str) or score[1] <= 0 <= score[2]
    reasons = [score for score in found.values() if isinstance(score, str)]
    assert all(len(reason) > 20 and "nan" not in reason for reason in reasons)


@pytest.mark.parametrize("name", ["random", "random model"])
@pytest.mark.parametrize("score", RECONSTRUCTIONS)
def test_what_reconstructs_nothing_has_no_score_of_its_reconstruction(
    name: str, score: Callable[[Lineup], Estimate]
) -> None:
    with pytest.raises(Unscored, match="it reconstructs nothing"):
        score(lineup(name))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dead", r"^0 latents are active on 5 tokens"),
        ("dense", r"^0 latents .*(at most|more than|dense|half|50%)"),
        ("identity", r"^0 latents .*(at most|more than|dense|half|50%)"),
        ("nan", r"decode returned .* NaN or infinite"),
        ("nan latents", r"encode returned .* NaN or infinite"),
    ],
)
def test_an_sae_without_live_latents_has_no_lineup_and_the_reason_is_true(name: str, reason: str) -> None:
    """Latents that are always active are active on five tokens: it is something else that they lack."""
    for _ in range(2):
        with pytest.raises(Unscored, match=reason) as unscored:
            run().game.lineup(nothing(name))
        assert unscored.value.broken is name.startswith("nan")
        assert "\n" not in unscored.value.reason


# One that has some


def test_a_real_sae_is_scored() -> None:
    found = outcomes(lineup("real"))
    for name in (
        "auc",
        "accuracy",
        *metric.STRICT[:2],
        "whitened_decomposition",
        "error_pathology_ratio",
        "plateau_gap",
    ):
        value, low, high, n = found[name]
        assert isinstance(value, float)
        assert low <= value <= high
        assert n > 0
    assert lineup("real").fvu < 0.2


def test_its_errors_are_those_of_its_reconstruction_put_in_the_place_of_the_activation() -> None:
    scene, own = dictionary()
    x = scene.ask.x
    rebuilt = real().decode(real().encode(x))
    assert lineup("real").fvu == pytest.approx(float((rebuilt - x).square().sum() / (x - x.mean(0)).square().sum()))
    for prompt in (0, len(x) - 1):
        kl = scene.ask(prompt, rebuilt[prompt][None]).kl
        assert lineup("real").error_kl[prompt] == pytest.approx(float(kl), rel=1e-3)
    assert own.latents.equal(real().encode(x))


# What must not count


def rewired(name: str, order: Tensor, factor: Tensor) -> LoadedSAE:
    """The real SAE with its latents in another order, and with extra dead ones at -1, each times a factor."""

    def encode(x: Tensor) -> Tensor:
        latents = torch.cat([real().encode(x), torch.zeros(len(x), 1)], dim=1)
        return latents[:, order] * factor

    def decode(latents: Tensor) -> Tensor:
        back = torch.zeros(len(latents), LATENTS + 1)
        return real().decode(back.index_add(1, order % (LATENTS + 1), latents / factor)[:, :LATENTS])

    return made(name, encode, decode)


@pytest.mark.parametrize("name", ["scaled", "permuted", "with dead"])
def test_scale_and_order_of_latents_and_dead_ones_do_not_change_what_is_said_of_each(name: str) -> None:
    """Which features are drawn may differ."""
    generator = torch.Generator().manual_seed(1)
    order = {
        "scaled": torch.arange(LATENTS),
        "permuted": torch.randperm(LATENTS, generator=generator),
        "with dead": torch.cat([torch.arange(LATENTS), torch.full((100,), -1)]),
    }[name]
    # Powers of two, from an eighth to eight.
    factor = 2.0 ** (torch.arange(LATENTS) % 7 - 3) if name == "scaled" else torch.ones(len(order))
    (scene, own), (other_scene, other) = dictionary(), dictionary(rewired(name, order, factor))
    at = {latent: row for row, latent in enumerate(order.tolist())}
    assert other_scene is scene
    assert sorted(order[other.live].tolist()) == sorted(own.live.tolist())
    if name != "scaled":  # by which directions differ by rounding
        assert order[other.live].tolist() == own.live.tolist()
    latents = own.live[:6].tolist()
    rows = [at[latent] for latent in latents]
    assert own.rate[latents].tolist() == other.rate[rows].tolist()
    assert torch.allclose(own.directions[latents], other.directions[rows], atol=1e-5)
    places = [[np.flatnonzero(each.live == i)[0] for i in ids] for each, ids in ((own, latents), (other, rows))]
    sides = [features_of(each, scene) for each in (own, other)]
    curves = [side.curves(np.array(place)) for side, place in zip(sides, places, strict=True)]
    assert np.array_equal(np.isnan(curves[0].kl), np.isnan(curves[1].kl))
    assert np.allclose(curves[0].kl, curves[1].kl, rtol=1e-3, atol=1e-6, equal_nan=True)
    assert np.allclose(sides[0].level[0], sides[1].level[0])
    assert np.allclose(sides[0].scale, sides[1].scale, rtol=1e-4)
    added = [each.latents[:, ids] * each.norms[ids] for each, ids in ((own, latents), (other, rows))]
    assert torch.allclose(added[0], added[1], rtol=1e-4)
    assert torch.allclose(error(own, scene), error(other, scene), atol=1e-3)


def test_other_saes_before_it_and_a_warm_cache_change_nothing() -> None:
    """The first run measured other SAEs, some of them broken, before or after; the second one only this one."""
    for name in ("identity", "nan"):
        with pytest.raises(Unscored):
            run().game.lineup(nothing(name))
    lineup("random")
    wanted = outcomes(lineup("real"))
    torch.manual_seed(7)
    found = outcomes(assured(fresh_run().game.lineup(real())))
    assert found == wanted


# What a dictionary is


def test_live_latents_are_neither_dead_nor_dense_and_have_a_direction() -> None:
    rate = np.array([0.0, 0.1, DENSEST, DENSEST + 0.01, 1.0, 0.2])
    directions = torch.eye(6)
    directions[5] = 0
    own = Dictionary(real(), directions, directions.norm(dim=1), rate, torch.zeros(3, 6))
    assert sorted(own.live.tolist()) == [1, 2]
    assert own.dead.tolist() == [0]


def test_firing_rates_are_shares_of_the_tokens_that_were_counted() -> None:
    _, own = dictionary()
    trace = run().documents.trace(real())
    share = trace.fired.double().numpy() / len(trace.tokens)
    seen = trace.fired.numpy() >= FEWEST_ACTIVE
    assert np.allclose(own.rate[seen], share[seen])
    assert set(own.live.tolist()) <= set(np.flatnonzero(seen).tolist())


def test_a_latent_that_is_always_active_has_a_rate_of_one_in_whatever_context() -> None:
    """The last position of the corpus is not counted, so that nothing may be divided by it."""
    whole = replace(nothing("dense"), spec=replace(nothing("dense").spec, context_size=None), digest="dense, whole")
    assert dictionary(whole)[1].rate.tolist() == [1.0] * LATENTS


def test_dead_latents_are_never_active() -> None:
    _, own = dictionary()
    x = run().documents.activations(real()).residual[:, 1:64].flatten(0, 1)
    assert not real().encode(x)[:, own.dead].any()


# Parts


def test_active_parts_sum_up_to_what_their_latents_add_to_the_reconstruction() -> None:
    scene, own = dictionary()
    parts = active_parts(scene, own)
    places = [int((scene.ask.x == x).all(dim=1).nonzero()[0, 0]) for x in parts.respond.x]
    assert parts.ids.shape == (len(places), PARTS) == parts.parts.shape[:2]
    for part, ids, place in zip(parts.parts, parts.ids, places, strict=True):
        latents = torch.zeros(2, LATENTS)
        latents[0, ids] = own.latents[place, ids]
        added = real().decode(latents)
        assert torch.allclose(part.sum(dim=0), added[0] - added[1], atol=1e-3)
        assert len(set(ids.tolist())) == PARTS
        assert set(ids.tolist()) <= set(own.live.tolist())
        assert (own.latents[place, ids] > 0).all()


# Doubles


def contributed(own: Dictionary, latents: Tensor) -> Tensor:
    """(prompt,) sum of the norms of what latents add to the reconstruction."""
    return (latents.abs() * own.norms).sum(dim=1)


def test_doubles_contribute_as_much_as_the_live_latents_that_they_stand_for() -> None:
    _, own = dictionary()
    live = torch.zeros(LATENTS)
    live[own.live] = 1
    swapped = doubles(own)
    assert torch.allclose(contributed(own, swapped * live), contributed(own, own.latents * live), rtol=1e-4)
    assert not swapped[:, own.dead].any()
    assert (swapped >= 0).all()


def test_no_latent_is_its_own_double() -> None:
    """One latent at a time: also those of the smallest and largest firing rates have another one."""
    _, own = dictionary()
    for latent in own.live[np.argsort(own.rate[own.live], kind="stable")][[0, 1, 2, 3, -4, -3, -2, -1]].tolist():
        latents = torch.zeros(1, LATENTS)
        latents[0, latent] = 2.0
        swapped = doubles(replace(own, latents=latents))
        assert float(swapped[0, latent]) == 0
        assert int((swapped != 0).sum()) == 1


def test_what_is_made_of_doubles_contributes_as_much_as_the_activation() -> None:
    """Without latents that are dense or rare it would lack their part, and be stable or not for that reason."""
    _, own = dictionary()
    assert torch.allclose(contributed(own, doubles(own)), contributed(own, own.latents), rtol=1e-4)


# Rungs that cannot be built


def test_a_control_that_is_missing_or_has_no_latents_takes_no_other_rung_down() -> None:
    scene, own = dictionary()
    empty = read_dictionary(nothing("dead"), scene, run().documents.trace(nothing("dead")))

    def missing() -> Any:
        raise Unscored("there is none")

    others = {"shuffled_sae": missing, "soft_frozen_sae": lambda: empty}
    found = assured(make_lineup(scene, own, others, missing, {"token_embeddings": Unscored("not asked")}))
    for rungs, name, reason in (
        (found.rungs, "shuffled_sae", "there is none"),
        (found.rungs, "soft_frozen_sae", "and 0 fakes, and 15 of each are needed"),
        (found.controls, "random_model", "there is none"),
        (found.controls, "token_embeddings", "not asked"),
    ):
        with pytest.raises(Unscored, match=reason):
            metric.rung_auc(rungs, name)
    mine, wanted = outcomes(found), outcomes(lineup("real"))
    gone = {"shuffled_sae", "soft_frozen_sae", "random_model", "token_embeddings"}
    assert all(mine[name] == wanted[name] for name in set(mine) - gone - {"auc", "accuracy"})
    assert isinstance(mine["auc"], tuple)


def test_rungs_are_built_when_they_are_read_and_not_when_they_are_looked_for() -> None:
    built: list[str] = []

    def build(name: str) -> Any:
        built.append(name)
        raise Unscored(f"no {name}")

    rungs = Tried({name: partial(build, name) for name in ("a", "b")})
    assert "a" in rungs
    assert "c" not in rungs
    assert (list(rungs), len(rungs), built) == (["a", "b"], 2, [])
    assert rungs["b"] is rungs["b"]
    assert built == ["b"]


def test_without_a_pass_of_the_model_the_latents_are_the_same() -> None:
    """Of a control, the game asks for no more."""
    for sae in (real(), nothing("dead"), nothing("dense"), nothing("random")):
        whole, own = run().documents.trace(sae), run().documents.encoded_in(sae, run().models.subject(real().spec))
        assert own.fired.equal(whole.fired)
        assert own.tokens.equal(whole.tokens)
        assert (own.latents is None) == (whole.latents is None)
        assert own.latents is None or (own.latents != whole.latents).nnz == 0
