"""Special tokens that a model knows: those that its own files speak of, and that its embedding has a row for."""

from pathlib import Path
from typing import Any

from saebench.record.json_files import read_json

NAMES = ("bos_token", "eos_token", "pad_token")


def forget_unknown(tokenizer: Any, folder: Path, rows: int) -> None:
    """Unset special tokens that the model was not trained with; `rows` are those of its embedding.

    Where a tokenizer lacks one, transformers makes up what is usual in tokenizers of its class. The id lies behind the
    vocabulary: beyond the embedding, or in a row that only fills it up to a round number, which no training moved.
    """
    told = _told(folder)
    for name in NAMES:
        token, number = getattr(tokenizer, name), getattr(tokenizer, f"{name}_id")
        if token is not None and (number is None or number >= rows or (told is not None and token not in told)):
            setattr(tokenizer, name, None)


def _told(folder: Path) -> set[str] | None:
    """Tokens that the files of a tokenizer speak of; None where they are of a kind that no token is added to."""
    from tokenizers import Tokenizer

    if not (path := folder / "tokenizer.json").is_file():
        return None
    config = folder / "tokenizer_config.json"
    added = read_json(config).get("added_tokens_decoder", {}) if config.is_file() else {}
    return {*Tokenizer.from_file(str(path)).get_vocab(), *(token["content"] for token in added.values())}
