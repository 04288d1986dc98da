"""In which numbers a model is run, and how its contexts begin."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from subject_cases import CONCEPTS, subject, words

from saebench.evidence.words.concepts import Plan
from saebench.evidence.words.readings import prompts
from saebench.evidence.words.vocabulary import WordFilter
from saebench.hub.texts import FileSource
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.subject import room
from saebench.subject import subject as subjects
from saebench.subject.corpora import Texts
from saebench.subject.subject import load_subject

torch.set_num_threads(1)


def with_memory(monkeypatch: pytest.MonkeyPatch, *, of_device: float, free: float) -> None:
    monkeypatch.setattr(room, "all_memory", lambda device: of_device)
    monkeypatch.setattr(room, "free_memory", lambda device: free)


def weight_of(folder: Path) -> int:
    """Bytes of the model in float32, by counting its parameters."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return 4 * sum(file.get_tensor(name).numel() for name in file.keys())


def run_on(folder: Path, **options: Any) -> Run:
    return Run([], Store(folder / "s.jsonl"), Options("smoke", device="cpu", model=str(folder), **options))


@pytest.mark.parametrize("free", [0.0, 0.5, 1.0, 100.0])
def test_the_numbers_are_those_that_fit_into_the_device_whatever_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: float
) -> None:
    size = weight_of(folder)
    for has, expected in ((2, "float32"), (1, "bfloat16"), (0.5, "bfloat16")):
        with_memory(monkeypatch, of_device=has * size, free=free * size)
        assert run_on(folder).models.dtype(str(folder)) == expected


def test_numbers_that_are_asked_for_are_those_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (0.5, 100):
        with_memory(monkeypatch, of_device=has * weight_of(folder), free=0)
        assert run_on(folder, dtype="bfloat16").models.dtype(str(folder)) == "bfloat16"
        assert run_on(folder, dtype="float32").models.dtype(str(folder)) == "float32"


@pytest.mark.parametrize(("dtype", "factor", "advice"), [
    ("float32", 1.0, ": close what fills it, or choose --sae-dtype bfloat16$"), ("bfloat16", 0.5, "cpu$"),
])  # fmt: skip
def test_a_model_for_which_there_is_no_room_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, factor: float, advice: str
) -> None:
    size = weight_of(folder)
    with_memory(monkeypatch, of_device=100 * size, free=factor * size)
    with pytest.raises(
        ValueError, match=rf"takes [\d.]+ MB in {dtype}, and [\d.]+ MB are free on .*{advice}"
    ) as raised:
        load_subject(str(folder), dtype=dtype)
    assert "\n" not in str(raised.value)
    with_memory(monkeypatch, of_device=100 * size, free=1.4 * factor * size)
    load_subject(str(folder), dtype=dtype)


def test_a_model_in_bfloat16_is_run_and_named_as_such(folder: Path) -> None:
    whole, half = load_subject(str(folder)), load_subject(str(folder), dtype="bfloat16")
    assert (whole.dtype, half.dtype) == ("float32", "bfloat16")
    assert {p.dtype for p in half.bridge.original_model.parameters()} == {torch.bfloat16}
    assert whole.digest != half.digest
    hook, ids = "blocks.1.hook_resid_post", torch.randint(1, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    x, y = whole.residual(ids, hook), half.residual(ids, hook)
    assert y.dtype == torch.float32
    assert 1e-5 < ((x - y).norm() / x.norm()) < 0.05
    same = half.logits(ids, hook, y)
    torch.testing.assert_close(same.float(), half.logits(ids).float(), rtol=1e-2, atol=1e-2)


def test_digests_tell_everything_that_activations_depend_on(folder: Path) -> None:
    ways = [{"centred": centred, "dtype": dtype} for dtype in ("float32", "bfloat16") for centred in (False, True)]
    found = [subjects.subject_digest(str(folder), **way) for way in ways]
    assert len(set(found)) == 4
    assert [load_subject(str(folder), **way).digest for way in ways] == found
    changed = load_subject(str(folder), change=copy.deepcopy, changed="redrawn", dtype="bfloat16")
    assert changed.digest not in found


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_local_model_with_another_file_has_another_digest(folder: Path, file: str) -> None:
    """Also with another BOS, which stands in tokenizer_config.json: every context begins with it."""
    from saebench.hub.models import model_digest

    before = model_digest(str(folder))
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    assert model_digest(str(folder)) != before


def without(tokenizer: Any, *names: str) -> Any:
    other = copy.deepcopy(tokenizer)
    for name in names:
        setattr(other, name, None)
    return other


def qwen_like() -> Any:
    tokenizer = models.byte_level(models.spaced(words()), additional_special_tokens=["<|end|>"])
    tokenizer.eos_token = "<|end|>"
    return without(tokenizer, "bos_token")


def test_contexts_begin_with_bos_or_else_with_eos(source: FileSource) -> None:
    known = models.byte_level(models.spaced(models.WORDS))
    for tokenizer, first in ((known, known.bos_token_id), (qwen_like(), qwen_like().eos_token_id)):
        rows = Texts(source, 2, 32).rows(tokenizer)
        assert first is not None
        assert rows.tokens[:, 0].tolist() == [first, first]
        assert (rows.tokens[:, 1] != first).all()


def test_contexts_of_a_model_with_neither_are_texts_as_they_are(source: FileSource) -> None:
    """Its training contexts began with any token too; what comes first counts in no score."""
    tokenizer = without(qwen_like(), "eos_token")
    rows = Texts(source, 2, 32).rows(tokenizer)
    assert [ids[:n] for ids, n in zip(rows.tokens.tolist(), rows.length.tolist(), strict=True)] == sorted(
        (tokenizer(text, add_special_tokens=False)["input_ids"] for text in source.texts()), key=len, reverse=True
    )
    assert rows.tokens.equal(Texts(source, 2, 32, bos=False).rows(tokenizer).tokens)


def test_prompts_of_words_begin_as_contexts_do() -> None:
    """Else the first token of a prompt is what all others attend to, and words are read in another regime than texts."""
    tokenizer = qwen_like()
    model = replace(subject("gpt2"), tokenizer=tokenizer)
    concepts = replace(CONCEPTS, template="The word{word} has the first letter: {concept}")
    _, ids = prompts(model, Plan(concepts, WordFilter(), 2, 4))
    assert {row[0] for row in ids} == {tokenizer.eos_token_id}
