"""Labelled texts: what a user's file may hold, and what is said of one that holds something else."""

import csv
import io
import json
from pathlib import Path

import pytest

from saebench.hub import label_files
from saebench.hub.label_files import by_question
from saebench.hub.labels import WORLD, FileLabels, labels_of


def written(folder: Path, rows: list[dict[str, object]], name: str = "mine.csv") -> Path:
    path = folder / name
    if name.endswith(".jsonl"):
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    return path


def rows(
    count: int = 60, labels: tuple[object, ...] = ("no", "yes"), text: str = "text", label: str = "label"
) -> list[dict[str, object]]:
    return [{text: f"a text, number {i}", label: labels[i % len(labels)]} for i in range(count)]


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl"])
@pytest.mark.parametrize(("text", "label"), [("text", "label"), ("prompt", "target")])
def test_a_file_of_two_labels_is_one_set(tmp_path: Path, name: str, text: str, label: str) -> None:
    (found,) = labels_of(str(written(tmp_path, rows(text=text, label=label), name))).sets(50)
    assert (found.name, len(found.texts), sum(found.positive)) == ("mine", 50, 25)
    assert all(int(said.rpartition(" ")[2]) % 2 == own for said, own in zip(found.texts, found.positive, strict=True))


def test_more_labels_are_told_apart_one_by_one(tmp_path: Path) -> None:
    found = labels_of(str(written(tmp_path, rows(200, ("a", "b", "c"))))).sets(100)
    assert [one.name for one in found] == ["mine: a", "mine: b", "mine: c"]
    assert by_question([one.name for one in found]) == [tuple(one.name for one in found)]
    assert all(sum(one.positive) == len(one.texts) / 2 for one in found)


def test_of_a_million_texts_a_part_is_kept_and_the_same_one_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_files, "MOST", 100)
    path = written(tmp_path, rows(5000))
    (found,), (again,) = (FileLabels(path).all for _ in range(2))
    assert len(found.texts) == 100
    assert found == again
    assert found.first(40).texts == found.texts[:40]


WRONG: dict[str, tuple[list[dict[str, object]], str]] = {
    "no column of texts": (rows(text="sentence"), "no column prompt or text among sentence, label"),
    "no column of labels": (rows(label="class"), "no column target or label among text, class"),
    "one class": (rows(labels=("yes",)), "all 60 texts have the label 'yes', and two classes are needed"),
    "three texts": (rows(3), "1 texts of the label 'yes', where 24 of each are needed"),
    "a missing label": ([*rows(), {"text": "one more", "label": ""}], "row 61: its label is missing"),
    "a label that is NaN": ([*rows(), {"text": "one more", "label": "NaN"}], "row 61: its label is missing"),
    "an empty text": ([*rows(), {"text": " ", "label": "yes"}], "row 61: its text is no text"),
    "numbers and no classes": (rows(labels=tuple(range(60))), "60 different labels, where at most 32 classes"),
    "nothing": ([], "it holds no text"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path: Path, what: str) -> None:
    found, said = WRONG[what]
    path = written(tmp_path, found)
    with pytest.raises(ValueError, match=said) as raised:
        labels_of(str(path)).sets(100)
    assert str(raised.value).startswith(f"--sae-labels {path}")
    assert "\n" not in str(raised.value)


def test_a_label_of_json_that_is_no_number_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, [*rows(), {"text": "one more", "label": float("nan")}], "mine.jsonl")
    with pytest.raises(ValueError, match="row 61: its label is missing"):
        labels_of(str(path)).sets(100)
    path.write_text("[1, 2]\n")
    with pytest.raises(ValueError, match="line 1: expected an object"):
        labels_of(str(path)).sets(100)


def test_names_are_known_or_refused(tmp_path: Path) -> None:
    assert labels_of(WORLD).name.startswith(WORLD)
    with pytest.raises(ValueError, match=r"expected a \.csv or \.jsonl file, or one of .*sae-probes.* Did you mean"):
        labels_of("sae-probe")
    with pytest.raises(ValueError, match="no such file"):
        labels_of(str(tmp_path / "absent.csv"))


def test_the_worlds_sets_are_balanced_nested_and_of_no_text_twice() -> None:
    small, large = ({one.name: one for one in labels_of(WORLD).sets(each)} for each in (40, 120))
    assert len(small) > 40
    for name, one in small.items():
        assert one.texts == large[name].texts[: len(one.texts)]
        assert len(set(large[name].texts)) == len(large[name].texts)
        assert 2 * sum(one.positive) == len(one.positive)
        if one.other:
            assert sum(a == b for a, b in zip(one.positive, one.other, strict=True)) * 2 == len(one.texts)
