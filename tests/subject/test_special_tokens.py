"""A token that the model was not trained with is never fed to it, whoever made it up, in texts and before words alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import models
import pytest
import torch

from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.readings import prompts, read_words
from saebench.evidence.words.vocabulary import WordFilter
from saebench.hub.texts import FileSource
from saebench.subject.activations import compute_activations
from saebench.subject.corpora import Texts
from saebench.subject.prefix import remember
from saebench.subject.subject import Subject, load_subject

NO_CACHE: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
HOOK = "blocks.1.hook_resid_post"
WORDS = [f"{first}{middle}{last}" for first in "abcdef" for middle in "aeio" for last in "lmnrstv"]
LETTERS = ConceptSet("letters", "The{word} has the first letter: {concept}", {})
SPECIAL = ("bos_token", "eos_token", "pad_token")
LINES = ["snake cat dog bird goat hare", "fox newt owl goat hare mole"]
EXACT, PADDED = 0, 64
"""Rows of the embedding beyond the vocabulary."""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    def make(config: dict[str, Any], rows: int = EXACT, *added: str) -> Path:
        """A folder with a tiny model; `config` is what its tokenizer says of special tokens, `added` go to its vocabulary."""
        from transformers import GPT2Config, GPT2LMHeadModel

        tokenizer = models.byte_level(models.spaced(WORDS))
        tokenizer.add_special_tokens({"additional_special_tokens": list(added)})
        tokenizer.save_pretrained(tmp_path)
        path = tmp_path / "tokenizer_config.json"
        kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in SPECIAL}
        kept.pop("extra_special_tokens", None)
        path.write_text(json.dumps({**kept, **config}))
        torch.manual_seed(0)
        sizes = {"n_layer": 2, "n_embd": models.WIDTH, "n_head": 2, "n_positions": 160, "initializer_range": 0.3}
        GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer) + rows, **sizes)).save_pretrained(tmp_path)
        return tmp_path

    return make


@pytest.fixture
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n\n".join(LINES))
    return Texts(FileSource(path), 2, 16)


def raw_ids(folder: Path, text: str) -> list[int]:
    """As the file itself splits a text, whatever is made up when it is loaded."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[no-any-return]


def by_hand(folder: Path, ids: list[int]) -> torch.Tensor:
    """The first block's output (position, d), by transformers alone."""
    from transformers import GPT2LMHeadModel

    with torch.no_grad():
        model = GPT2LMHeadModel.from_pretrained(folder).eval()
        found = model.transformer.h[0](
            model.transformer.wte.weight[ids][None] + model.transformer.wpe.weight[: len(ids)]
        )
    return (found[0] if isinstance(found, tuple) else found).reshape(len(ids), -1)  # type: ignore[no-any-return]


UNKNOWN = {
    "neither": {},
    "made up by the class": {"tokenizer_class": "GPT2Tokenizer"},
    "only named": {"bos_token": "<new>", "eos_token": "<other>", "pad_token": "<fill>"},
}


@pytest.mark.parametrize("rows", [EXACT, PADDED], ids=["beyond the embedding", "in a padded row"])
@pytest.mark.parametrize("config", UNKNOWN.values(), ids=UNKNOWN)
def test_a_model_without_bos_is_read_without_one(
    config: dict[str, Any], rows: int, made: Callable[..., Path], texts: Texts
) -> None:
    folder = made(config, rows)
    subject = load_subject(str(folder))
    found = compute_activations(subject, "blocks.0.hook_resid_post", texts, NO_CACHE)
    for ids, residual, line in zip(found.tokens, found.residual, LINES, strict=True):
        assert ids.tolist() == raw_ids(folder, line)[:16]
        torch.testing.assert_close(residual, by_hand(folder, ids.tolist()), rtol=1e-4, atol=1e-4)
    check_words(subject, folder)


def check_words(subject: Subject, folder: Path) -> None:
    """Prompts begin as texts do, and words are those of the vocabulary."""
    plan = Plan(LETTERS, WordFilter(case="lower", shortest=3), 2, 4)
    words, prefixes = prompts(subject, plan)
    for ids in prefixes:
        assert ids == raw_ids(folder, subject.tokenizer.decode(ids))
    assert {word.text for word in words} <= set(models.spaced(WORDS))
    assert torch.isfinite(read_words(subject, HOOK, plan, NO_CACHE).x).all()


@pytest.mark.parametrize("rows", [EXACT, PADDED])
@pytest.mark.parametrize(
    ("config", "first"),
    [
        ({"bos_token": "<s>"}, "<s>"),
        ({"bos_token": "<|end|>", "eos_token": "<s>"}, "<|end|>"),
        ({"eos_token": "<|end|>"}, "<|end|>"),
        ({"bos_token": "<new>", "eos_token": "<|end|>"}, "<|end|>"),
        ({"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>"}, "<s>"),
    ],
)
def test_a_special_token_of_the_files_begins_contexts(
    config: dict[str, Any], first: str, rows: int, made: Callable[..., Path], texts: Texts
) -> None:
    """Also one that was added to the vocabulary, as Qwen's, whose embedding is padded too."""
    subject = load_subject(str(made(config, rows, "<|end|>")))
    number = subject.tokenizer.convert_tokens_to_ids(first)
    assert texts.rows(subject.tokenizer).tokens[:, 0].tolist() == [number] * 2
    assert {ids[0] for ids in prompts(subject, Plan(LETTERS, WordFilter(shortest=3), 2, 4))[1]} == {number}


def test_a_special_token_of_the_files_that_has_no_row_is_not_fed(made: Callable[..., Path], texts: Texts) -> None:
    """As after `add_special_tokens` without `resize_token_embeddings`."""
    folder = made({"bos_token": "<|end|>"}, -1, "<|end|>")
    subject = load_subject(str(folder))
    assert texts.rows(subject.tokenizer).tokens[0].tolist() == raw_ids(folder, LINES[0])[:16]
    check_words(subject, folder)


def test_a_token_of_a_text_that_has_no_row_is_one_sentence(made: Callable[..., Path], texts: Texts) -> None:
    """Words that have none are not read."""
    folder = made({"bos_token": "<s>"}, -60)
    subject, late = load_subject(str(folder)), FileSource(folder / "late.txt")
    late.path.write_text(" ".join(WORDS[-9:]))
    with pytest.raises(ValueError, match=rf"^{folder} embeds \d+ tokens, and its tokenizer gives a text the id \d+$"):
        compute_activations(subject, HOOK, replace(texts, source=late), NO_CACHE)
    with pytest.raises(ValueError, match="gives a text the id"):
        remember(subject, torch.tensor([[0, subject.n_vocab]]))
    words, _ = prompts(subject, Plan(LETTERS, WordFilter(shortest=3), 2, 4))
    assert words
    assert max(word.token for word in words) < subject.n_vocab


@pytest.mark.parametrize("config", UNKNOWN.values(), ids=UNKNOWN)
def test_the_tokenizer_is_that_of_the_files(config: dict[str, Any], made: Callable[..., Path]) -> None:
    """transformer-lens gives one that lacks a special token one of its own."""
    tokenizer = load_subject(str(made(config))).tokenizer
    assert [getattr(tokenizer, name) for name in SPECIAL] == [None] * 3
