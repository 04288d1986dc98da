"""The zoo of the real model: what it holds, how it is read, and that what is shipped is what its report says."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saebench.catalogue.architectures import ARCHITECTURES
from saebench.catalogue.registry import resolve
from saebench.making.training import Data
from saebench.record.places import fixtures_dir
from saebench.subject.corpora import RESERVED
from saebench.subject.subject import Subject, load_subject
from saebench.zoo import harvest as harvesting
from saebench.zoo import smollm2
from saebench.zoo.organism import ZOO as ORGANISM
from saebench.zoo.windows import cut

SHIPPED = sorted(path.name for path in (fixtures_dir() / "smollm2" / "saes").iterdir())
MOST = 80e6
"""Bytes of weights in the repository."""
CONTROLS = ("random-model", "random-blocks", "frozen", "shuffled-rows")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    report: dict[str, Any] = json.loads((fixtures_dir() / "smollm2" / "report.json").read_text())
    return report


@pytest.fixture(scope="module")
def subject() -> Subject:
    return load_subject()


def test_every_architecture_is_there_and_shipped() -> None:
    assert {f"{architecture}-32" for architecture in ARCHITECTURES} <= set(SHIPPED)
    assert set(SHIPPED) <= {member.name for member in smollm2.MEMBERS}
    assert len({member.name for member in smollm2.MEMBERS}) == len(smollm2.MEMBERS)


def test_what_is_committed_is_small_enough() -> None:
    kept = [line[1:] for line in Path(".gitignore").read_text().splitlines() if line.startswith("!fixtures/smollm2")]
    assert kept
    sizes = [file.stat().st_size for folder in kept for file in Path(folder).iterdir()]
    assert 0 < sum(sizes) <= MOST


@pytest.mark.parametrize("name", SHIPPED)
def test_an_sae_is_what_the_report_says(found: dict[str, Any], name: str) -> None:
    measured, config = found["saes"][name], resolve(f"smollm2/{name}")[0]
    assert config.hook == smollm2.ZOO.hook
    assert config.context_size == smollm2.ZOO.context
    assert config.control == name.endswith(CONTROLS)
    stated = json.loads((fixtures_dir() / "smollm2" / "saes" / name / "cfg.json").read_text())["metadata"]
    for key in ("l0", "fvu", "alive", "loss_recovered"):
        assert stated.get(key) == measured.get(key)
    assert stated["tokens_seen"] == smollm2.ZOO.samples >= 4_000_000


@pytest.mark.parametrize("member", smollm2.MEMBERS, ids=lambda member: member.name)
def test_the_good_ones_are_good(found: dict[str, Any], member: Any) -> None:
    measured = found["saes"][member.name]
    assert measured["alive"] >= 0.9
    assert measured["l0"] == pytest.approx(member.l0, rel=0.05)
    if member.name.endswith(CONTROLS):
        assert measured["fvu"] > 0.2 > found["saes"]["batchtopk-32"]["fvu"]
        return
    assert measured["loss_recovered"] >= 0.95


def test_nothing_is_trained_on_what_scores_are_measured_on(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{number} " * 400 for number in range(RESERVED + 3)]
    monkeypatch.setattr(smollm2, "source_of", lambda name: type("Source", (), {"texts": lambda self: texts})())
    seen = next(smollm2.windows(subject, "texts"))
    assert seen.shape[1] == smollm2.ZOO.context
    assert torch.equal(seen, cut(subject, texts[RESERVED:], smollm2.ZOO.context))


# Reading activations


class Interrupted(Exception):
    pass


def small(stop: int | None = None) -> Any:
    def windows(subject: Subject, data: Data) -> Iterator[Tensor]:
        yield from islice(ORGANISM.windows(subject, data), stop)
        raise Interrupted

    return replace(ORGANISM, rows=40_000, windows=windows)


def test_what_is_interrupted_goes_on_where_it_stopped(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvesting, "SAID_EVERY", 1)
    whole = harvesting.harvest(small(), "world", subject, tmp_path / "whole")
    with pytest.raises(Interrupted):
        harvesting.harvest(small(1), "world", subject, tmp_path / "parts")
    read = list[int]()
    residual = Subject.residual
    monkeypatch.setattr(Subject, "residual", lambda self, *args: read.append(1) or residual(self, *args))
    again = harvesting.harvest(small(), "world", subject, tmp_path / "parts")
    assert torch.equal(again, whole)
    first = len(read)
    harvesting.harvest(small(), "world", subject, tmp_path / "other")
    assert len(read) - first == first + 1
    assert not list((tmp_path / "parts").glob("*.progress"))


def test_rows_are_read_once(subject: Subject, tmp_path: Path) -> None:
    first = harvesting.harvest(small(), "world", subject, tmp_path)
    assert torch.equal(harvesting.harvest(small(0), "world", subject, tmp_path), first)


def test_shuffled_rows_are_those_of_the_model_itself(subject: Subject, tmp_path: Path) -> None:
    own = harvesting.harvest(small(), "world", subject, tmp_path)
    shuffled = harvesting.harvest(small(), "shuffled_rows", subject, tmp_path)
    assert torch.equal(shuffled.sort(dim=0).values, own.sort(dim=0).values)
    assert not torch.equal(shuffled, own)
