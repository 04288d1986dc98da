"""Ten lines about a machine."""

from pathlib import Path

import pytest

from saebench.cli import main


def told(capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, str]:
    assert main(["doctor", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) <= 12
    return {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}


def test_what_is_installed_and_that_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys)
    assert found["packages"].startswith("torch 2.")
    assert "cpu, " in found["device"]
    assert found["asked for"] == "organism: 30 SAEs"
    assert found["to be downloaded"] == "nothing"
    assert "no limit" in found["cache"]


def test_a_limit_of_the_cache_is_shown_or_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE_LIMIT", "1.5 TB")
    assert "at most 1500 GB of tensors" in told(capsys)["cache"]
    monkeypatch.setenv("SAEBENCH_CACHE_LIMIT", "much")
    assert main(["doctor"]) == 4
    assert capsys.readouterr().err.endswith(
        "SAEBENCH_CACHE_LIMIT is 'much': expected a size such as 500MB, 200GB or 2TB\n"
    )


def test_what_would_be_downloaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "new"))
    found = told(capsys, "smollm2/topk-32")
    assert "not there yet" in found["cache"]
    assert found["here"] == "nothing of it"
    assert found["to be downloaded"].startswith("the model SmolLM2-135M-Instruct")


def test_an_unknown_name_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "organsim"]) == 4
    assert "Did you mean 'organism'?" in capsys.readouterr().err
