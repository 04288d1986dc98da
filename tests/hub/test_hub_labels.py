"""SAEBench's labelled data sets, as a stand-in for the hub has them: what is kept of their rows, and what is said where none are."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import Hub, redirect, serve

from saebench.hub import texts
from saebench.hub.hub_labels import HubLabels
from saebench.hub.label_tables import BEGINS, Table, Texts, table_of
from saebench.hub.labels import labels_of
from saebench.hub.needs import ensure, of_labels

PROFESSIONS = range(28)
CATEGORIES = range(34)
LANGUAGES = {"en-fr": "en", "fr-it": "fr", "de-en": "de", "es-fr": "es", "nl-pt": "nl"}
ENDINGS = {".c": 7, ".py": 7, ".html": 7, ".java": 7, ".php": 7, ".rs": 7}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "own"))
    texts.read_kept.cache_clear()
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "cache")
        yield served


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def published(hub: Hub, each: int = 30) -> None:
    """The five repositories with columns of the published names, and texts that say what they are."""
    bios = [
        {"hard_text": f"bio {i} of {p} and {g}", "profession": p, "gender": g}
        for i in range(each)
        for p in PROFESSIONS
        for g in (0, 1)
    ]
    hub.add("datasets/LabHC/bias_in_bios", {"train.jsonl": lines(bios)})
    reviews = [
        {"text": f"review {i} of {c} and {r}", "category": c, "rating": r}
        for i in range(each)
        for c in CATEGORIES
        for r in (1.0, 5.0)
    ]
    hub.add("datasets/canrager/amazon_reviews_mcauley_1and5", {"train.jsonl": lines(reviews)})
    news = [{"text": f"news {i} of {label}", "label": label} for i in range(each) for label in range(4)]
    hub.add("datasets/fancyzhx/ag_news", {"train.jsonl": lines(news)})
    listed = "".join(f"- config_name: {pair}\n  data_files: {pair}/train.jsonl\n" for pair in LANGUAGES)
    parliament = {
        f"{pair}/train.jsonl": lines(
            [{"translation": {one: f"{one} {i}" for one in pair.split("-")}} for i in range(each)]
        )
        for pair in LANGUAGES
    }
    hub.add("datasets/Helsinki-NLP/europarl", {"README.md": f"---\nconfigs:\n{listed}---\n".encode(), **parliament})
    buffer = io.BytesIO()
    code = [
        (f"a/b{i}{end}", "/* licence */ ".ljust(150, "x") + f"{end} {i}".ljust(600, "."))
        for i in range(each)
        for end in ENDINGS
    ]
    code += [(f"short{i}.c", "x" * 200) for i in range(3)]
    pq.write_table(pa.table({"path": [path for path, _ in code], "content": [text for _, text in code]}), buffer)
    hub.add(
        "datasets/codeparrot/github-code",
        {"data/train-00000-of-00001.parquet": buffer.getvalue(), "github-code.py": b"raise SystemExit('ran')"},
    )


def test_saebenchs_data_sets_are_kept_as_sets_of_texts(hub: Hub) -> None:
    published(hub)
    labels = labels_of("saebench")
    said = list[str]()
    ensure(of_labels(labels), said.append)
    assert "the texts LabHC/bias_in_bios" in said[0]
    found = {one.name: one for one in labels.sets(1000)}
    assert len([name for name, one in found.items() if not one.apart]) == 15 + 5 + 1 + 4 + 5 + 5
    assert len([name for name, one in found.items() if one.other]) == 8
    assert sorted(map(len, labels.groups(list(found)))) == [4, 5, 5, 5, 5, 5, 5]
    nurse = found["bias_in_bios_2: nurse"]
    told = [(text.split()[3], text.split()[5]) for text in nurse.texts]
    assert [profession == "13" for profession, _ in told] == list(nurse.positive)
    assert {profession for profession, _ in told} <= {"11", "13", "14", "18", "19"}
    assert sum(gender == "1" for (_, gender), own in zip(told, nurse.positive, strict=True) if own) == 30
    pair = found["professor or nurse x gender"]
    assert [text.split()[3] == "21" for text in pair.texts] == list(pair.positive)
    assert [text.split()[5] == "1" for text in pair.texts] == list(pair.other)
    assert {
        text.split()[0]
        for text, own in zip(found["europarl: nl"].texts, found["europarl: nl"].positive, strict=True)
        if own
    } == {"nl"}
    python = found["github_code: Python"]
    assert {text.split()[0] for text, own in zip(python.texts, python.positive, strict=True) if own} == {".py"}
    assert max(map(len, python.texts)) == BEGINS
    assert labels.mean is None
    # The next run finds them, and so does one without the hub.
    again = labels_of("saebench")
    hub.log.clear()
    ensure(of_labels(again), said.append)
    assert not hub.log
    assert again.name == labels.name
    assert len(said) == 1


def test_what_is_kept_is_part_of_the_name(hub: Hub, tmp_path: Path) -> None:
    names = []
    for each in (30, 31):
        published(hub, each)
        labels = labels_of("saebench")
        ensure(of_labels(labels), lambda _: None)
        names.append(labels.name)
        for path in (tmp_path / "own" / "labels").glob("*.json"):
            path.unlink()
        texts.read_kept.cache_clear()
    assert names[0] != names[1]
    assert all(name.startswith("saebench/labels@") for name in names)


def test_a_data_set_of_other_columns_or_of_too_few_texts_is_one_sentence(hub: Hub) -> None:
    published(hub)
    labels = labels_of("saebench")
    hub.add("datasets/fancyzhx/ag_news", {"train.jsonl": lines([{"text": "a", "labels": 1}])})
    with pytest.raises(
        OSError,
        match=r"^--sae-labels saebench: fancyzhx/ag_news: .*its rows have text, labels, and no label\. Did you mean 'labels'",
    ):
        ensure(of_labels(labels), print)
    hub.add("datasets/fancyzhx/ag_news", {"train.jsonl": lines([{"text": f"a{i}", "label": 1} for i in range(9)])})
    with pytest.raises(OSError, match=r"has 0 texts of 'World', where 24 are needed") as raised:
        ensure(of_labels(labels), print)
    assert "\n" not in str(raised.value)


def test_without_the_hub_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    labels = labels_of("saebench")
    with pytest.raises(OSError, match=r"^HF_HUB_OFFLINE is set.*the texts LabHC/bias_in_bios \(its labelled texts\)"):
        ensure(of_labels(labels), print)
    with pytest.raises(
        OSError,
        match=r"^the labelled texts of LabHC/bias_in_bios are not in the cache: saebench fetch --sae-labels saebench$",
    ):
        labels.name  # noqa: B018


def test_rows_are_read_until_every_class_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.hub.label_tables.EACH", 60)
    filled = Texts(Table("t", "a/b", ("text",), "label", {"x": "0", "y": "1"}, balanced="half"))
    for i in range(1000):
        if filled.full(""):
            break
        filled.take({"text": f"text {i}", "label": i % 2, "half": i % 4 // 2}, "")
    assert i == 120
    (found,) = filled.sets()
    assert len(found.texts) == 120


def test_a_key_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[tables\.t\] has an unknown key 'lable'\. Did you mean 'label'"):
        table_of("t", {"repo": "a/b", "text": ["text"], "lable": "x"})
    assert isinstance(labels_of("saebench"), HubLabels)
