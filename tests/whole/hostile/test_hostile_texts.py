"""Files and data sets of texts that are none."""

from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from hostile import (
    Code,
    limited,
)
from hostile_cases import Told, ids, kept
from hub import Hub

from saebench.catalogue.registry import resolve
from saebench.hub.texts import source_of
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.subject.corpora import Texts

torch.set_num_threads(1)

PARQUET = "data/train-00000-of-00001.parquet"


@ids({
    "no data": {"README.md": b"#"}, "another split": {"test.jsonl": b'{"text": "a"}\n'}, "numbers": {"train.jsonl": b'{"text": 5}\n'},
    "other columns": {"train.jsonl": b'{"a": "x"}\n'}, "column with a bad name": {"train.jsonl": b'{"a\\n\\u001b[31mb": "x"}\n'},
    "broken JSON": {"train.jsonl": b'{"text": 5}\n{"te'}, "broken Parquet": {PARQUET: b"\0junk" * 100},
    "unknown kind of file": {"train.xyz": b"\0"},
})  # fmt: skip
def test_data_set(hub: Hub, told: Told, case: dict[str, bytes]) -> None:
    hub.add("datasets/a/texts", case)
    told(lambda: kept("a/texts"), "a/texts", seconds=10)


@pytest.mark.parametrize("name", ["texts.py", "train.pkl"])
def test_code_in_a_data_set_is_not_run(hub: Hub, told: Told, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    content = hostile.script(mark) if name.endswith(".py") else hostile.raw_pickle(Code(mark))
    hub.add("datasets/a/texts", {name: content})
    told(lambda: kept("a/texts"), "a/texts", seconds=10)
    assert not mark.exists()


CORPORA: dict[str, tuple[str, bytes | None]] = {
    "binary": ("x.txt", bytes(range(256))),
    "Latin 1": ("x.txt", "é".encode("latin1")),
    "UTF-16": ("x.txt", "a snake".encode("utf-16")),
    "empty": ("x.txt", b""),
    "blank": ("x.txt", b"\n\n \n"),
    "folder": ("x.txt", None),
    "folder of lines": ("x.jsonl", None),
    "empty lines": ("x.jsonl", b"\n\n"),
    **{f"line {line[:9]!r}": ("x.jsonl", line) for line in (b"[1]", b'"x"', b"5", b"null", b"NaN", b"{", b"{}", b'{"text": 5}', b'{"text": ["a"]}', b'{"text": ""}')},
    "binary lines": ("x.jsonl", bytes(range(256))),
    "nested": ("x.jsonl", b'{"a":' * 100_000),
    "5000 digits": ("x.jsonl", b'{"text": ' + b"9" * 5000 + b"}"),
    "half a character": ("x.jsonl", b'{"text": "\\ud800 a snake is a reptile"}'),
    "bad name": ("a\nb\x1b[31m.txt", b""),
}  # fmt: skip


@ids(CORPORA)
def test_file_of_texts(tmp_path: Path, told: Told, case: tuple[str, bytes | None]) -> None:
    """It is looked at before anything heavy is loaded."""
    name, content = case
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    run = Run(resolve("organism/topk-16"), Store(tmp_path / "s.jsonl"), Options(texts=str(tmp_path / name)))
    told(lambda: run.preparation.prepare(print), "--sae-corpus")


@pytest.mark.parametrize("name", [
    "a\nb", "a\x1b[31mb", "a" * 10_000, "a" * 10_000 + ".txt", "a\0b.txt", "a\ud800.txt", "../b", "a/b@../../c", "a/b@c\n", "a/b/c",
    "~nosuchuser/x.txt", "nope.txt", "x.csv", "/dev/zero", "/etc/passwd", "<b>/c",
])  # fmt: skip
def test_name_of_texts(tmp_path: Path, told: Told, name: str) -> None:
    run = Run(resolve("organism/topk-16"), Store(tmp_path / "s.jsonl"), Options(texts=name))
    told(lambda: run.preparation.prepare(print))


class Careful:
    """The organism's tokenizer, which does not take what would cost it minutes and gigabytes."""

    bos_token_id = 0
    eos_token_id = None

    def __init__(self) -> None:
        import transformers

        from saebench.hub.models import model_folder

        self.own = transformers.AutoTokenizer.from_pretrained(model_folder("organism"), local_files_only=True)

    def __call__(self, texts: list[str], **options: Any) -> Any:
        assert max(map(len, texts)) < 1_000_000, "more than a context can hold is split into tokens"
        return self.own(texts, **options)


@pytest.mark.parametrize("text", [b"the snake is a reptile of the house ", b"a", bytes(range(97, 123))])
def test_one_line_of_50_megabytes(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text * (50_000_000 // len(text)))
    source = source_of(str(path))
    assert source is not None
    tokenizer = Careful()
    with limited(3):
        rows = Texts(source, 16, 256).rows(tokenizer)
    assert rows.tokens.shape == (1, 256)
