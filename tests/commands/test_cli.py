"""The commands, as a user calls them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import make_sae_folder, make_score
from paths import ROOT

from saebench.cli import main
from saebench.record.store import Store


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs" / "zoo.jsonl")
    items = {"position": [16.0, 80.0], "kl": [0.1, 0.5], "context_size": [64]}
    for name, value in (("organism/topk-k16", 0.292), ("organism/topk-k4", 0.412)):
        store.append(make_score(sae=name, value=value), {"x": [value]})
        store.append(make_score(sae=name, property="context_length.kl_retention", better="higher"), items)
    store.append(make_score(sae="organism/topk-k4", property="x.y", unscored="too few letters"))
    return store.path


def test_ls_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ls", str(make_sae_folder(tmp_path / "mine"))]) == 0
    header, _, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "model", "hook", "width", "l0", "size", "cached"]
    assert line.split() == ["local/mine", "tiny", "blocks.2", "8", "16.100", "0.0", "MB", "local"]


def test_bad_name_is_one_sentence_and_exit_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "organsim"]) == 4
    error = capsys.readouterr().err
    assert error.startswith("saebench: --sae organsim: no such SAE. Did you mean 'organism'?")
    assert error.count("\n") == 1


def test_show_an_sae_of_the_scores_file(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "organism/topk-k4", "--scores", str(scores)]) == 0
    out = capsys.readouterr().out
    assert "0.412 ±0.038" in out
    assert "unscored: 1 of 3" in out
    assert "too few letters" in out
    assert "topk-k16" not in out


def test_show_facts_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(make_sae_folder(tmp_path / "mine", seed_of_training=7))]) == 0
    out = capsys.readouterr().out
    assert "seed_of_training         7" in out
    assert "digest" in out


def test_show_unknown_names_the_nearest_of_the_file(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "organism/topc-k4", "--scores", str(scores)]) == 4
    assert "Did you mean 'organism/topk-k4'?" in capsys.readouterr().err
    assert main(["show", "organism", "--scores", "nowhere.jsonl"]) == 4


def test_compare_two_rows(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", f"{scores}:organism/topk-k16", f"{scores}:organism/topk-k4"]) == 0
    out = capsys.readouterr().out
    assert "0.292  0.412  +0.120 [0.066, 0.174]" in out
    assert re.search(r"^A is organism/topk-k16( at L0 [0-9.]+)?, B is organism/topk-k4", out)
    assert "worse" in out
    assert "the same within noise" in out
    assert "Only in B: 1. Only in A: 0." in out
    assert "unpaired" in out


def test_compare_shows_b_minus_a_where_higher_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("a", 0.3), ("b", 0.8)):
        Store(tmp_path / f"{name}.jsonl").append(make_score(value=value, better="higher"))
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\+0\.500 \[0\.446, 0\.554\] +— +better", out)
    assert "Better and worse hold at 5% for all 1 comparisons together (Holm)." in out


def test_compare_tells_chance_from_difference_and_pairs_what_has_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (Store(tmp_path / f"{name}.jsonl") for name in "ab")
    for i in range(20):
        a.append(make_score(property=f"p.x{i}", value=0.5, half=0.1))
        b.append(make_score(property=f"p.x{i}", value=0.66 if i == 0 else 0.5, half=0.1))
    items = {"contribution": np.arange(40.0)}
    a.append(make_score(property="p.y", value=0.5, n_unit="document"), items)
    b.append(
        make_score(property="p.y", value=0.6, n_unit="document"),
        {"contribution": np.arange(40.0) + 0.1 + 0.01 * (np.arange(40) % 2)},
    )
    assert main(["compare", str(a.path), str(b.path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"p\.x0 .* worse, perhaps by chance", out)
    assert re.search(r"p\.y .* 40 documents +worse\n", out)


def test_compare_names_saes_where_there_are_several_and_why_nothing_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (Store(tmp_path / f"{name}.jsonl") for name in "ab")
    for sae in ("s1", "s2"):
        a.append(make_score(sae=sae))
        b.append(make_score(sae=sae))
        for name in ("p.x", "p.y"):
            a.append(make_score(sae=sae, property=name))
            b.append(make_score(sae=sae, property=name, value=None, unscored_reason="too few letters"))
    assert main(["compare", str(a.path), str(b.path)]) == 0
    out = capsys.readouterr().out
    assert "A is" not in out
    assert re.search(r"suppression_ratio\[s1\] ", out)
    assert out.count("unscored: too few letters") == 1
    assert "\n  p.x[s1], p.y[s1], p.x[s2], p.y[s2]\n" in out


def test_compare_without_common_ground_is_an_error(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Store(scores.with_name("other.jsonl"))
    other.append(make_score(property="z.z"))
    assert main(["compare", str(scores), str(other.path)]) == 4
    assert main(["compare", str(scores), "nowhere.jsonl"]) == 4
    assert "nowhere.jsonl: no such file of scores" in capsys.readouterr().err


def test_publish_then_check_then_edit(scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = tmp_path / "leaderboards"
    assert main(["publish", "--check", str(scores)]) == 1
    assert not board.exists()
    assert main(["publish", str(scores)]) == 0
    assert {p.name for p in board.iterdir()} == {"zoo.jsonl", "zoo.items", "zoo.md", "zoo.html", "zoo.pictures"}
    assert main(["publish", "--check"]) == main(["publish", "--check", str(scores)]) == 0
    text = (board / "zoo.md").read_text()
    command = "pytest suites/ --sae organism/topk-k4 --sae organism/topk-k16 --sae-scores .saebench/zoo.jsonl"
    assert f"```\n{command}\n```" in text
    assert "(zoo.pictures/kl_by_position.svg)" in text
    capsys.readouterr()
    (board / "zoo.md").write_text(text.replace("0.412", "0.012"))
    assert main(["publish", "--check"]) == 1
    assert capsys.readouterr().out == "leaderboards/zoo.md differs from its scores: run saebench publish\n"
    assert "0.012" in (board / "zoo.md").read_text()
    assert main(["publish"]) == 0
    assert (board / "zoo.md").read_text() == text


def test_check_notices_new_scores_and_pages_without_data(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["publish", str(scores)])
    board = Store("leaderboards/zoo.jsonl")
    board.path.write_text(make_score(sae="organism/new").to_line() + "\n")
    assert main(["publish", "--check"]) == 1
    out = capsys.readouterr().out
    assert "zoo.md differs from its scores" in out
    assert "zoo.pictures/kl_by_position.svg has no data behind it" in out
    assert main(["publish"]) == 0
    assert not Path("leaderboards/zoo.pictures/kl_by_position.svg").exists()


def test_command_of_other_saes_is_spelled_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs" / "mine.jsonl")
    for name in ("pkg.mod:make", "organism/a b"):
        store.append(make_score(sae=name))
    assert main(["publish", str(store.path), "--to", str(tmp_path / "out")]) == 0
    command = "pytest suites/ --sae 'organism/a b' --sae pkg.mod:make --sae-scores .saebench/mine.jsonl"
    assert command in (tmp_path / "out" / "mine.md").read_text()


def test_publish_of_nothing_is_not_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "--check", "--to", str(tmp_path)]) == 4
    assert "holds no scores" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "absent.jsonl")]) == 4


def test_python_m_and_no_torch(scores: Path) -> None:
    repository = ROOT
    command = [sys.executable, "-m", "saebench", "--help"]
    assert b"publish" in subprocess.run(command, capture_output=True, check=True, cwd=repository).stdout
    code = (
        "import sys; from saebench.cli import main\n"
        f"assert main(['compare', {str(scores)!r}, {str(scores)!r}]) == 0\n"
        f"assert main(['publish', {str(scores)!r}, '--to', {str(scores.parent / 'out')!r}]) == 0\n"
        "sys.exit(1 if {'torch', 'sae_lens', 'transformers', 'pytest'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=repository).returncode == 0


def test_help_is_one_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= 24
    for command in ("ls", "fetch", "show", "compare", "merge", "verify", "publish", "export"):
        assert f"    {command} " in out
