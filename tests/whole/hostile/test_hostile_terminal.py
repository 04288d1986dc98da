"""What a person sees of all that: one sentence, exit code 4."""

from pathlib import Path

import hostile
import pytest
import torch
from hostile import (
    Code,
    arrays,
    written,
)
from hostile_cases import full, module, suite, tiny, with_attribute

from saebench.subject.cache import Cache

torch.set_num_threads(1)

SUITE = """
import pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(trace, record):
    record(reconstruction.fvu(trace))

@pytest.mark.score("distinguishability.auc", 1, "higher", "AUC")
def test_auc(lineup, record):
    record(lineup.auc)
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.Pytester:
    (pytester.path / "suites").mkdir()
    (pytester.path / "suites" / "test_small.py").write_text(SUITE)
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "hostile-cache"))
    monkeypatch.syspath_prepend(pytester.path)
    return pytester


def seen(project: pytest.Pytester, *arguments: str, code: int = 4) -> str:
    """What a user sees of a run that ends with this exit code."""
    options = ["suites", "--sae-scores", "s.jsonl", "--sae-budget", "smoke", "-p", "saebench.plugin", "-k", "fvu"]
    done = project.runpytest_inprocess(*options, *arguments)
    text = done.stdout.str() + done.stderr.str()
    assert done.ret == code, text[-2000:]
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert all(line.isprintable() for line in text.replace("\r", "").replace("\t", " ").split("\n"))
    return text


def test_terminal_family(project: pytest.Pytester) -> None:
    Path("evil.toml").write_text('"a\\n\\u001b[31mb" = 5')
    assert "evil.toml: unknown key" in seen(project, "--sae", "./evil.toml")
    Path("evil.toml").write_text(suite("values = { a = 5 }"))
    assert "evil.toml" in seen(project, "--sae", "./evil.toml")


def test_terminal_names(project: pytest.Pytester) -> None:
    assert "no such SAE" in seen(project, "--sae", "a\n\x1b[31mb")
    assert "nosuchuser" in seen(project, "--sae", "~nosuchuser/x")
    assert "nosuchuser" in seen(project, "--sae-list=~nosuchuser/x")


def test_terminal_weights(project: pytest.Pytester) -> None:
    Path("x.safetensors").write_bytes(hostile.saved(arrays())[:-5])
    assert "x.safetensors is damaged" in seen(project, "--sae", "./x.safetensors")
    Path("y.pt").write_bytes(hostile.checkpoint({**arrays(), "more": Code(Path("ran").absolute())}))
    assert "holds code or objects" in seen(project, "--sae", "./y.pt")
    assert not Path("ran").exists()


def test_terminal_texts(project: pytest.Pytester) -> None:
    Path("x.txt").write_bytes(bytes(range(256)))
    text = seen(project, "--sae", "organism/topk-16", "--sae-corpus", "x.txt")
    assert "--sae-corpus x.txt: not UTF-8" in text
    assert "test_fvu[" not in text, "the run had begun"


def test_terminal_model(project: pytest.Pytester) -> None:
    written(Path("model"), {"config.json": tiny()["config.json"]})
    text = seen(project, "--sae", "organism/topk-16", "--sae-model", "model")
    assert "the model model is no folder of a language model" in text


@pytest.mark.parametrize(("name", "value"), [("context_size", "'64'"), ("hook", "'a\\n\\x1b[31mb'"), ("hook", "5")])
def test_terminal_object(project: pytest.Pytester, name: str, value: str) -> None:
    assert name in seen(project, "--sae", with_attribute(name, value))


def test_terminal_reason(project: pytest.Pytester) -> None:
    code = "class make(SAE):\n    hook = 'blocks.1.hook_resid_post'\n    def encode(self, x): raise RuntimeError('a\\x1b[31m b\\nc')"
    assert "raised RuntimeError: a" in seen(project, "--sae", module(code), code=1)


def test_terminal_scores_on_a_full_disk(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.record.store.write_through", full)
    assert "No space left on device" in seen(project, "--sae", "organism/topk-16")


def test_terminal_activations_on_a_full_disk(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Cache, "_write", full)
    assert "No space left on device" in seen(project, "--sae", "organism/topk-16")
