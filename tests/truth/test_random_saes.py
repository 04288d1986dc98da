"""On the organism itself, SAEs that were never trained have no score of absorption, however sparse they are."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import planted
import pytest
import torch

from saebench.catalogue.registry import resolve
from saebench.evidence.words.detectors import find_detectors
from saebench.evidence.words.probes import Probe
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import Study, make_study
from saebench.metrics import absorption
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

SCORES = (
    absorption.suppression_ratio, absorption.full_rate, absorption.fraction_0_6_0, absorption.fraction_0_3_2,
    absorption.recall_hole,
)  # fmt: skip
D = 192


@pytest.fixture(scope="module", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        letters()


@cache
def letters() -> tuple[Readings, Probe]:
    spec = resolve("organism/standard-16")[0]
    words = Run([spec], Store(Path("unused.jsonl")), Options("smoke")).words
    return words.readings(spec, "letters"), words.probe(spec, "letters")


def random_sae(l0: float | None, seed: int, latents: int = 1024) -> SimpleNamespace:
    """Random unit directions around the mean of the words, scaled to reconstruct as well as they can."""
    x = letters()[0].x.flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(latents, D, generator=generator), dim=1)
    read = (x - x.mean(0)) @ directions.T
    threshold = 0.0 if l0 is None else torch.quantile(read[::9].flatten(), 1 - l0 / latents)
    written = read.where(read > threshold, torch.zeros(())) @ directions
    gain = ((x - x.mean(0)) * written).sum() / written.square().sum()

    def encode(y: torch.Tensor) -> torch.Tensor:
        before = (y - x.mean(0)) @ directions.T
        return before.where(before > threshold, torch.zeros(()))

    return planted.fake(encode, lambda latents: gain * latents @ directions + x.mean(0))


def untrained_sae() -> object:
    """As sae-lens initialises one."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig

    torch.manual_seed(0)
    return TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D, d_sae=1024, k=16))


def study_of(source: object) -> Study:
    return make_study(planted.loaded(source, d_in=D), *letters())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("l0", [None, 16, 64, 160])
def test_random_saes_are_unscored(l0: float | None, seed: int) -> None:
    study = study_of(random_sae(l0, seed))
    detectors = find_detectors(study)
    for score in SCORES:
        with pytest.raises(Unscored, match=r"no.* better|fewer than 3"):
            score(study, detectors)


def test_an_untrained_sae_is_unscored() -> None:
    study = study_of(untrained_sae())
    detectors = find_detectors(study)
    for score in SCORES:
        with pytest.raises(Unscored):
            score(study, detectors)


def test_a_trained_sae_is_scored() -> None:
    from saebench.saes.loaders import load_sae

    study = make_study(load_sae(resolve("organism/standard-16")[0], "cpu"), *letters())
    assert absorption.full_rate(study, find_detectors(study)).n >= 3
