"""Scores as a tidy frame that others read."""

import csv
import json
from pathlib import Path

import pytest
from factories import make_score
from pyarrow import parquet

from saebench.cli import main
from saebench.commands.frame import LEFT
from saebench.record.store import Store


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    store = Store(tmp_path / "scores.jsonl")
    store.append(make_score(property="a.x", value=0.25, params={"k": 5, "of": "w"}, sae="zoo/a"))
    store.append(make_score(property="a.y", unscored='too "few", really', sae="zoo/b"))
    return store.path


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_every_format_has_the_same_rows(scores: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"t.{ending}"
    assert main(["table", str(scores), "--to", str(target)]) == 0
    if ending == "csv":
        rows = [{k: v or None for k, v in row.items()} for row in csv.DictReader(target.open(newline=""))]
    elif ending == "json":
        rows = json.loads(target.read_text())
    else:
        rows = parquet.read_table(target).to_pylist()
    assert [tuple(row) for row in rows] == [LEFT, LEFT]
    assert float(rows[0]["value"]) == 0.25
    assert [row["params"] or None for row in rows] == ["k=5, of=w", None]
    assert [row["unscored_reason"] for row in rows] == [None, 'too "few", really']
    assert rows[1]["value"] is None


def test_without_a_name_it_is_printed(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(scores)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("property,params,sae,")
    assert main(["table", str(scores), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["sae"] == "zoo/a"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--format", "parquet"], "name a file with --to"), (["nowhere.jsonl"], "no such file of scores")],
)
def test_what_cannot_be_written_is_one_sentence(
    scores: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    given = arguments if arguments[0] == "nowhere.jsonl" else [str(scores), *arguments]
    assert main(["table", *given]) == 4
    assert told in capsys.readouterr().err
