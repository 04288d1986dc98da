"""Whatever a file, a name or the hub says: one sentence, no code is run, nothing hangs, fills memory or strays."""

from collections.abc import Callable, Iterator
from pathlib import Path

import hostile
import pytest
import torch
from hostile import (
    limited,
)
from hostile_cases import Told, check_sentence
from hub import Hub, redirect, serve

from saebench.record.score import Unscored

torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What is slow, or takes memory, when it is first imported."""
    import sae_lens
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    assert sae_lens.SAE and transformers.AutoTokenizer and TransformerBridge  # noqa: PT018


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, nobody's token, caches and a working folder of its own."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "hf")
        yield served


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Told:
    """Does what has to fail, and gives the sentence that a user reads; it has to have one of these parts in it."""

    def run(action: Callable[[], object], *parts: str, seconds: float = hostile.SECONDS) -> str:
        with pytest.raises((ValueError, OSError, Unscored)) as caught, limited(seconds):
            action()
        sentence = str(caught.value)
        request.node.user_properties.append(("told", sentence))
        check_sentence(sentence)
        assert not [part for part in parts if part not in sentence], sentence
        return sentence

    return run
