"""Names that steer a terminal or a page, or stray out of their folder."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_sae_folder, make_score
from hostile import (
    HOSTILE,
    UNSHOWABLE,
    limited,
)
from hostile_cases import REPO, Told, family, named

from saebench.boards.leaderboard import render
from saebench.catalogue.registry import resolve
from saebench.cli import main
from saebench.record.store import Store
from saebench.run.run import Run

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "pattern",
    [
        "{}",
        "./{}",
        "saelens:{}/x",
        "saelens:gpt2-small-res-jb/{}",
        "hf:a/{}",
        "hf:a/b/{}",
        "hf:a/b@{}",
        "organism~{}",
        "os:{}",
        "organism/{}*",
    ],
)
@pytest.mark.parametrize("name", HOSTILE)
def test_pattern(tmp_path: Path, told: Told, pattern: str, name: str) -> None:
    family(tmp_path, f"[sae.a]{REPO}", "organism.toml")
    told(lambda: named(pattern.format(HOSTILE[name]), tmp_path / "family"))


@pytest.mark.parametrize("pattern", [
    "hf:../x", "hf:a/../b", "hf:a/b/../../c", "hf:a/b/..", "hf:a/b@../../c", "hf:a/b@a/../c", "hf:a", "hf:", "saelens:../x/y",
    "saelens:gpt2-small-res-jb/../x", "saelens:gpt2-small-res-jb/*@../c", "~nosuchuser/x", "../../../nope", "organism/../x",
    "/dev/null", "/dev/zero", "/", "", "[", "organism~nope", "organism/topk-16~random~pca",
])  # fmt: skip
def test_pattern_that_strays(told: Told, tmp_path: Path, pattern: str) -> None:
    told(lambda: Run(named(pattern), Store(tmp_path / "s.jsonl")).holder.sae(resolve(pattern)[0]))


@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "code"])
def test_folder_with_a_bad_name_that_holds_nothing_good(tmp_path: Path, told: Told, name: str) -> None:
    folder = make_sae_folder(tmp_path / HOSTILE[name].replace("/", "_"))
    (folder / "cfg.json").write_text("{")
    told(lambda: resolve(str(folder)))
    told(lambda: resolve(str(tmp_path / "*")))


@pytest.mark.parametrize("command", ["ls", "show"])
@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "separator"])
def test_folder_with_a_bad_name_is_shown_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    main([command, str(make_sae_folder(tmp_path / HOSTILE[name].replace("/", "_")))])
    check_shown(capsys.readouterr())


@pytest.mark.parametrize("command", ["ls", "show"])
@pytest.mark.parametrize("key", ["l0", "model_name", "hook_name", "notes", "a key\n\x1b[31m"])
@pytest.mark.parametrize("name", UNSHOWABLE)
def test_metadata_is_shown_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, key: str, name: str
) -> None:
    main([command, str(make_sae_folder(tmp_path / "mine", **{key: HOSTILE[name]}))])
    check_shown(capsys.readouterr())


def check_shown(captured: Any) -> None:
    for line in (captured.out + captured.err).split("\n"):
        assert line.isprintable(), repr(line)


FIELDS = ("sae", "model", "hook", "corpus", "unit", "n_unit", "commit", "created", "unscored", "property")


@pytest.mark.parametrize("field", [*FIELDS, "title", "command"])
@pytest.mark.parametrize("name", HOSTILE)
def test_leaderboard(field: str, name: str) -> None:
    text = HOSTILE[name]
    told = {"title": text} if field == "title" else {"title": "t"}
    told["command"] = f"pytest suites/ --sae {shlex.quote(text if field == 'command' else 'f')}"
    scores = [make_score(**({field: f"a.{text}" if field == "property" else text} if field in FIELDS else {}))]
    with limited():
        page = render([*scores, make_score(sae="f/b"), make_score(sae="f/c", unscored="no reason")], **told)
    assert all(line.isprintable() for line in page.split("\n")), "what steers a terminal"
    outside = re.sub(r"</?(details|summary)>", "", page.replace(told["command"], ""))
    assert "<" not in outside
    assert "](javascript" not in outside.replace("\\](", "")
    assert all(line.startswith(("#", "|", "-", "*", "(", "`", "Value", "pytest", "")) for line in page.split("\n"))
    page.encode()


def test_boards_are_written_where_they_belong(tmp_path: Path) -> None:
    names = [f"f/{HOSTILE[name]}" for name in HOSTILE if name not in ("half", "long")] + ["f/../../../evil", "../evil"]
    for number, name in enumerate(names):
        store = Store(tmp_path / "in" / f"{number}.jsonl")
        columns = {f"angle{end}": [1.0, 2.0] for end in ("", ":feature", ":feature:low", ":feature:high")}
        store.append(make_score(sae=name, property="distinguishability.angle"), columns)
        assert main(["publish", str(store.path), "--to", str(tmp_path / "out" / "boards")]) == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out", "work", "cache", "hf"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["boards"]
