"""The same SAE written otherwise scores the same: all properties of all suites, against what does not change an SAE.

Where a property does change, `PROPERTIES` and `CASES` say how and why. Whoever adds a property adds it there.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saebench import controls, lineup, run, scene, word_run
from saebench.metrics import absorption
from saebench.metrics.distinguishability import POSITIVE
from saebench.registry import resolve
from saebench.run import Run
from saebench.sae import LoadedSAE
from saebench.score import Estimate, Unscored
from saebench.store import Store

torch.set_num_threads(1)
REAL = "organism/batchtopk-16-telegrams"
"""Its data had a genre that the model never saw, so that every property has a value."""
SMALLER = (
    (scene.SIZES, "smoke", scene.Size(16, 3, 6)), (word_run.BUDGETS, "smoke", (2, 1400)), (run.BUDGETS, "smoke", 10),
    (vars(run), "CONTEXT", 128), (vars(scene), "POOL", 10_000), (vars(lineup), "PER_PROMPT", 500), (vars(lineup), "ERRORS", 2),
    (vars(controls), "MODELS", {"random_model": controls.MODELS["random_model"]}),
    # Among so few words no latent is clearly better than random directions.
    (vars(absorption), "check_better_than_random", lambda study, detectors: None),
)  # fmt: skip
DEAD = 50
Outcome = Estimate | str


@dataclass(frozen=True)
class Rewritten:
    """An SAE whose latents are another's, by `index`, times a `gain`, and written back `share` times as strongly."""

    own: LoadedSAE
    index: Tensor
    gain: Tensor
    share: float = 1.0
    dead: int = 0
    """Latents behind them that are never active."""

    def encode(self, x: Tensor) -> Tensor:
        latents = self.own.encode(x)[..., self.index] * self.gain
        return torch.nn.functional.pad(latents, (0, self.dead))

    def decode(self, latents: Tensor) -> Tensor:
        alive, dead = latents.split([len(self.index), self.dead], dim=-1)
        written = self.share * alive / self.gain
        own = written.new_zeros(len(latents), int(self.index.max()) + 1).index_add(1, self.index, written)
        return self.own.decode(own.float()) + (dead @ self._rows(latents)).float()

    def _rows(self, latents: Tensor) -> Tensor:
        draw = torch.Generator().manual_seed(1)
        return torch.randn(self.dead, self.own.source.W_dec.shape[1], generator=draw).to(latents)


def rewritten(own: LoadedSAE, kind: str) -> Rewritten:
    n, draw = len(own.source.W_dec), torch.Generator().manual_seed(0)
    every, one = torch.arange(n), torch.ones(n)
    random = torch.rand(n, generator=draw)
    made = {
        "itself": Rewritten(own, every, one),
        "negated": Rewritten(own, every, -one),
        "some negated": Rewritten(own, every, torch.where(random < 0.5, -one, one)),
        # In double precision, so that what is multiplied and divided by a number is what it was.
        "scaled": Rewritten(own, every, 3 * one.double()),
        "each scaled": Rewritten(own, every, 0.2 + 5 * random.double()),
        "permuted": Rewritten(own, torch.randperm(n, generator=draw), one),
        "duplicated": Rewritten(own, every.repeat(2), one.repeat(2), share=0.5),
        "dead added": Rewritten(own, every, one, dead=DEAD),
        "batched": Rewritten(own, every, one),
    }
    return made[kind]


KINDS = (
    "negated", "some negated", "scaled", "each scaled", "permuted", "duplicated", "dead added", "batched",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One score: a suite's test with its parameters."""

    property: str
    test: Callable[..., None]
    params: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return "-".join([self.property, *(str(value) for _, value in self.params)])


def cases_of(test: Callable[..., None]) -> Iterator[Case]:
    marks = {mark.name: mark for mark in getattr(test, "pytestmark", ())}
    if "score" in marks:
        name, values = marks["parametrize"].args if "parametrize" in marks else ("", [None])
        for value in values:
            yield Case(marks["score"].args[0], test, ((name, value),) if name else ())


@cache
def cases() -> tuple[Case, ...]:
    folder = Path(__file__).parent.parent / "suites"
    modules = [importlib.import_module(f"suites.{path.stem}") for path in sorted(folder.glob("test_*.py"))]
    tests = [test for module in modules for test in vars(module).values() if inspect.isfunction(test)]
    return tuple(case for test in tests for case in cases_of(test))


@pytest.fixture(scope="module", autouse=True)
def less(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """So little is asked that it takes seconds; models and what is read of them are computed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for table, name, value in SMALLER:
            patch.setitem(table, name, value)  # type: ignore[arg-type]
        yield


@cache
def whole_run() -> Run:
    return Run(resolve(REAL), Store(Path("unused.jsonl")), "smoke", device="cpu")


@cache
def real() -> LoadedSAE:
    from saebench.loaders import load_sae

    return load_sae(resolve(REAL)[0], "cpu")


@dataclass
class Evidence:
    """What suites ask for by name, of one SAE."""

    run: Run
    sae: LoadedSAE

    def get(self, name: str, concepts: str) -> Any:
        words, of = self.run.words, self.run
        make: dict[str, Callable[[], Any]] = {
            "sae": lambda: self.sae,
            "concepts": lambda: concepts,
            "activations": lambda: of.activations(self.sae),
            "trace": lambda: of.trace(self.sae),
            "probed": lambda: words.probed(self.sae.spec, concepts),
            "study": lambda: words.study(self.sae, concepts),
            "detectors": lambda: words.detectors(self.sae, concepts),
            "speller": lambda: words.speller(self.sae.spec, concepts),
            "lineup": lambda: of.controls.lineup(self.sae),
            "positive_controls": lambda: of.controls.positive(self.sae),
            "controls": lambda: of.controls.controls(self.sae),
            "firings": lambda: of.dataset.firings(self.sae),
            "dataset_game": lambda: of.dataset.game(self.sae),
            "timings": lambda: lambda *_: ([1.0] * 3, [1.0] * 3),
        }
        return make[name]()


@cache
def outcomes(kind: str) -> dict[str, Outcome]:
    """Of every case, what an SAE scores that is written in one of `KINDS`, or why it is not scored."""
    whole = whole_run()
    whole.shelf.sae.clear()
    whole._sae = replace(real(), source=rewritten(real(), kind), digest=f"digest of {kind}")
    with pytest.MonkeyPatch.context() as patch:
        if kind == "batched":
            patch.setattr(whole.subject(whole._sae.spec).batch, "size", 5)
            patch.setattr("saebench.study.BATCH", 333)
        return {case.name: outcome(case, Evidence(whole, whole._sae)) for case in cases()}


def outcome(case: Case, evidence: Evidence) -> Outcome:
    found: list[Estimate] = []
    given = {"record": found.append, **dict(case.params)}
    concepts = given.get("concepts", "letters")
    names = [name for name in inspect.signature(case.test).parameters if name not in given]
    try:
        case.test(**given, **{name: evidence.get(name, concepts) for name in names})
    except Unscored as unscored:
        return unscored.reason
    return found[0]


def numbers(outcome: Outcome) -> list[float]:
    return [] if isinstance(outcome, str) else [outcome.value, outcome.ci_low, outcome.ci_high, outcome.n]


def same(own: Outcome, other: Outcome, rel: float = 1e-6) -> bool:
    if isinstance(own, str) or isinstance(other, str):
        return own == other
    return numbers(other) == pytest.approx(numbers(own), rel=rel, abs=1e-9)


def within(own: Outcome, other: Outcome) -> bool:
    """In the interval, or both unscored."""
    if isinstance(own, str) or isinstance(other, str):
        return type(own) is type(other)
    return own.ci_low <= other.value <= own.ci_high


def same_value(own: Outcome, other: Outcome, rel: float = 1e-6) -> bool:
    """With ends that differ by little."""
    if isinstance(own, str) or isinstance(other, str):
        return own == other
    ends = np.subtract(numbers(other), numbers(own))[1:3]
    near = np.abs(ends) <= 0.1 * (own.ci_high - own.ci_low)
    return other.value == pytest.approx(own.value, rel=rel) and bool(near.all())


close = partial(same_value, rel=1e-3)


def twice_as_many(own: Outcome, other: Outcome) -> bool:
    return (
        isinstance(own, Estimate) and isinstance(other, Estimate) and (own.value, 2 * own.n) == (other.value, other.n)
    )


def times(low: float, high: float) -> Callable[[Outcome, Outcome], bool]:
    def holds(own: Outcome, other: Outcome) -> bool:
        assert isinstance(own, Estimate)
        assert isinstance(other, Estimate)
        return low * own.value <= other.value <= high * own.value

    return holds


def of_more(more: int) -> Callable[[Outcome, Outcome], bool]:
    """As many latents of some more, and so many further ones."""

    def holds(own: Outcome, other: Outcome) -> bool:
        assert isinstance(own, Estimate)
        assert isinstance(other, Estimate)
        return other.value * other.n == pytest.approx(own.value * own.n + more)

    return holds


def anything(own: Outcome, other: Outcome) -> bool:
    return True


Change = tuple[Callable[[Outcome, Outcome], bool], str]
"""How a score may differ, and why it does."""
Changes = dict[str, Change]
NOTHING: Changes = {}
LATENTS: Changes = {
    "duplicated": (twice_as_many, "each latent counts twice, and its share is as certain as of twice as many")
}
TWIN = "of two latents that are alike one is chosen, and the other is active in its place"
ABSORBED: Changes = {"duplicated": (anything, TWIN)}
GAME: Changes = {
    "scaled": (close, "directions are read off the decoder, and differ in the last bit"),
    "each scaled": (close, "directions are read off the decoder, and differ in the last bit"),
    "permuted": (same_value, "features are drawn anew for the interval by their index"),
    "duplicated": (anything, "other features come first, and a prompt has the same part twice"),
}  # fmt: skip
BY_ORDER: Changes = dict.fromkeys(("scaled", "each scaled"), (within, "pairs of features are drawn in an order that hangs on the last bit of a direction"))  # fmt: skip
UNSEEN = "a latent that is never active has no side, and is asked about along its row as it is written"
SHUFFLED: Changes = {
    "some negated": (same_value, "of a control with a shuffled decoder: " + UNSEEN),
    "each scaled": (same_value, "a control's latents write along one another's rows, with the scales of those"),
    "permuted": (same_value, "a control's decoder is shuffled by index"),
    "duplicated": (anything, "it has twice the latents on, which controls then have as well"),
    "dead added": (same_value, "a control's decoder is shuffled with the rows of dead latents"),
}  # fmt: skip
AT_WORDS: Changes = {
    "duplicated": (within, "random directions are as many as latents"),
    "dead added": (within, "random directions are as many as latents"),
}
SECONDS: Changes = dict.fromkeys(KINDS, (anything, "seconds of a machine"))
MEMORY: Changes = dict.fromkeys(KINDS, (anything, "what its own code allocates, of bare products of its own shape"))

PROPERTIES: dict[str, Changes] = {
    **dict.fromkeys(
        ("reconstruction.fvu", "reconstruction.cosine", "reconstruction.shrinkage", "reconstruction.kl",
         "reconstruction.ce_increase", "reconstruction.recovered_zero", "reconstruction.recovered_mean"), NOTHING,
    ),
    "reconstruction.l0": {"duplicated": (times(2, 2), "each latent counts twice")},
    "reconstruction.dead": LATENTS | {"dead added": (of_more(DEAD), "it is what is counted")},
    "reconstruction.dense": LATENTS | {"dead added": (of_more(0), "it is a share of all latents")},
    **dict.fromkeys(
        ("context_length.kl_inside", "context_length.kl_beyond", "context_length.kl_retention",
         "context_length.fvu_retention", "context_length.break_point"), NOTHING,
    ),
    **dict.fromkeys(
        ("first_letter.precision", "first_letter.recall", "first_letter.f1", "first_letter.split_precision",
         "first_letter.split_recall", "first_letter.split_f1", "first_letter.probe_f1", "first_letter.f1_gap",
         "first_letter.split_count"), NOTHING,
    ),
    "first_letter.k_sparse_f1": {"duplicated": (within, TWIN)},
    "first_letter.ablation_share": {"duplicated": (times(0.3, 0.7), "one of two latents that are alike is removed")},
    **dict.fromkeys(
        ("absorption.suppression_ratio", "absorption.full_rate_0_6_0", "absorption.fraction_0_6_0",
         "absorption.fraction_0_3_2", "absorption.causal_rate", "absorption.recall_hole"), ABSORBED,
    ),
    **dict.fromkeys(
        ("distinguishability.auc", "distinguishability.accuracy", "distinguishability.angle",
         "distinguishability.rung_auc", "distinguishability.control_auc", "distinguishability.sensitivity_log_ratio",
         "distinguishability.noise_suppression_gap", "distinguishability.plateau_gap",
         "distinguishability.dataset_auc"), GAME,
    ),
    "distinguishability.error_pathology_ratio": {kind: GAME[kind] for kind in ("scaled", "each scaled")},
    "distinguishability.dataset_features": LATENTS | {"permuted": GAME["permuted"]},
    **dict.fromkeys(
        ("marginal_structure.fvu", "marginal_structure.cosine", "marginal_structure.kl",
         "marginal_structure.ce_increase", "marginal_structure.recovered_zero", "marginal_structure.recovered_mean",
         "marginal_structure.kl_retention", "marginal_structure.fvu_retention"), SHUFFLED,
    ),
    "marginal_structure.first_letter_f1": AT_WORDS,
    "marginal_structure.k_sparse_f1": AT_WORDS,
    "marginal_structure.token_entropy": {"duplicated": (within, "its latents are twice as many draws")},
    "throughput.encode": SECONDS, "throughput.decode": SECONDS, "throughput.memory": MEMORY,
}  # fmt: skip
NO_SAE = [f"distinguishability.control_auc-{name}" for name in POSITIVE]
DEAD_LATENTS = "distinguishability.control_auc-dead_latents"
CASES: dict[str, Changes] = {
    **dict.fromkeys(NO_SAE, NOTHING),
    "distinguishability.rung_auc-sum_of_two": GAME | BY_ORDER,
    DEAD_LATENTS: {
        **GAME, "some negated": (within, UNSEEN), "permuted": (within, "dead latents are taken by their index"),
        "dead added": (within, "some of them are among those that are asked about"),
    },
}  # fmt: skip
"""Scores that change otherwise than their property's others."""


def test_every_property_says_what_it_may_depend_on() -> None:
    assert set(PROPERTIES) == {case.property for case in cases()}
    assert set(CASES) <= {case.name for case in cases()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_an_sae_that_is_written_otherwise_scores_the_same(case: Case, kind: str) -> None:
    holds, _ = CASES.get(case.name, PROPERTIES[case.property]).get(kind, (same, ""))
    own, other = (outcomes(each)[case.name] for each in ("itself", kind))
    assert holds(own, other), (numbers(own) or own, numbers(other) or other)


def test_most_properties_have_a_value_here() -> None:
    scored = [found for found in outcomes("itself").values() if isinstance(found, Estimate)]
    assert len(scored) > 0.75 * len(cases())


class Silent:
    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 64)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.new_zeros(len(latents), 192)


class Dense(Silent):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x), 64)


class Broken(Silent):
    def encode(self, x: Tensor) -> Tensor:
        raise ValueError("not at words")


@pytest.mark.parametrize("bad", [Silent, Dense, Broken])
def test_what_no_sae_has_a_part_in_is_scored_whatever_the_sae_is(bad: type[Silent]) -> None:
    whole, expected = whole_run(), outcomes("itself")
    whole.shelf.sae.clear()
    whole._sae = replace(real(), source=bad(), digest=f"digest of {bad.__name__}")
    wanted = ("first_letter.probe_f1", *NO_SAE)
    found = {case.name: outcome(case, Evidence(whole, whole._sae)) for case in cases() if case.name in wanted}
    assert all(same(expected[name], found[name]) for name in wanted), found
    assert isinstance(expected["first_letter.probe_f1"], Estimate)
