"""Which questions are asked of which SAE, and what is said where there are none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saebench.catalogue.registry import resolve
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

torch.set_num_threads(1)
SAE = "organism/topk-16"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))


def run(sae: str = SAE, **options: str | int) -> Run:
    return Run(resolve(sae), Store(Path("unused.jsonl")), Options("smoke", device="cpu", **options))  # type: ignore[arg-type]


def test_lengths_are_those_of_the_training_context() -> None:
    one = run()
    spec = one.specs[0]
    assert [one.cloze.lengths(spec, name) for name in ("inside", "beyond", "far")] == [(32, 64), (64, 128), (128, 256)]
    unknown = replace(spec, context_size=None)
    assert one.cloze.lengths(unknown, "inside") == (128, 256)
    with pytest.raises(Unscored, match="the context that the SAE was trained on is unknown"):
        one.cloze.prepared(unknown, "beyond")


def test_where_less_is_read_longer_passages_are_unscored() -> None:
    one = run(context=128)
    with pytest.raises(Unscored, match="up to 256 tokens there, and 128 are read: --sae-context 256 reads more"):
        one.cloze.prepared(one.specs[0], "far")
    wide = replace(one.specs[0], context_size=128)
    with pytest.raises(Unscored, match="up to 256 tokens there, and 128 are read"):
        one.cloze.prepared(wide, "beyond")
    with pytest.raises(Unscored, match="512 tokens there, and 256 are read: the model has no more"):
        run().cloze.prepared(wide, "far")


def test_what_moves_scores_is_in_the_name_of_what_is_read(tmp_path: Path) -> None:
    spec = run().specs[0]
    texts = tmp_path / "texts.txt"
    texts.write_text("some text")
    (tmp_path / "mine.jsonl").write_text(json.dumps({"passage": "a", "answer": "b"}))
    names = [
        run().cloze.name(spec), run().cloze.name(spec, "beyond"), run().cloze.name(replace(spec, context_size=32)),
        run(texts=str(texts)).cloze.name(spec), run(cloze=str(tmp_path / "mine.jsonl")).cloze.name(spec),
        Run([spec], Store(Path("unused.jsonl")), Options("quick")).cloze.name(spec),
        run().cloze.name(replace(spec, prepend_bos=False)),
    ]  # fmt: skip
    assert len({*names}) == len(names)


def test_a_toy_has_nothing_to_be_asked() -> None:
    toy = run("toy/flat/topk-2-192")
    with pytest.raises(Unscored, match="is no language model"):
        toy.cloze.prepared(toy.specs[0], "inside")
    assert toy.cloze.name(toy.specs[0]) == "no questions"


def test_questions_of_a_file_are_sorted_into_lengths(tmp_path: Path) -> None:
    short, long = "The dog was happy and sad.", "The dog was happy. " * 30
    lines = [
        {"passage": f"{text} {i}", "answer": "dog", "options": ["dog", "cat"]}
        for text in (short, long, 4 * long)
        for i in range(3)
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    one = run(cloze=str(tmp_path / "mine.jsonl"))
    inside, far = (one.cloze.prepared(one.specs[0], name).posed for name in ("inside", "far"))
    assert (len(inside.questions), len(far.questions), inside.refused) == (3, 3, 3)
    assert inside.passage.max() < 64 < 128 < far.passage.min()
    with pytest.raises(Unscored, match="there are no such questions; 3 are longer than the model's context of 256"):
        one.cloze.prepared(one.specs[0], "beyond")


def test_a_file_is_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"passage": "a", "answer": "b", "option": []}')
    one = run(cloze=str(tmp_path / "mine.jsonl"))
    with pytest.raises(ValueError, match=r"--sae-cloze .*line 1: unknown key 'option'. Did you mean 'options'"):
        one.preparation.prepare(print)


def test_texts_of_a_file_are_asked_about(tmp_path: Path) -> None:
    names, things = "Ann Bob Cleo Dan Eve Finn", "lantern harbour violin glacier meadow parrot"
    whole = f"They met {names.replace(' ', ', ')} and saw {things.replace(' ', ', ')} there. " + (
        "Then the lantern was near Bob and the harbour. Later they saw Dan with the violin. " * 10
    )
    (tmp_path / "texts.txt").write_text("\n\n".join([f"{i} {whole}" for i in range(3)] + ["Then the was near."] * 80))
    one = run(texts=str(tmp_path / "texts.txt"), context=256)
    found = one.cloze.prepared(one.specs[0], "far").posed
    assert {question.kind for question in found.questions} == {"named", "common", "final"}
    assert found.passage.min() > 128
