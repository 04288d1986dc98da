"""Texts are what their names say, and where documents are of many lengths, only their own tokens count."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hub_repos
import numpy as np
import planted
import pytest
import torch
from hub import Hub, redirect, serve
from torch import Tensor

from saebench.evidence.game.scene import EARLIEST, make_scene
from saebench.evidence.trace import Trace
from saebench.hub import texts
from saebench.hub.hub import Repo
from saebench.hub.needs import ensure, of_corpus
from saebench.hub.texts import FileSource, HubSource, source_of
from saebench.making import control_training
from saebench.making.control_training import training_rows
from saebench.metrics import context_length, marginal_structure, reconstruction, throughput
from saebench.metrics.marginal_structure import Control
from saebench.record.budget import Size
from saebench.record.score import Estimate, Unscored
from saebench.subject import corpora
from saebench.subject.activations import Activations, compute_activations
from saebench.subject.corpora import Rows, Texts, WorldTexts
from saebench.subject.subject import Subject

torch.set_num_threads(1)
NO_CACHE: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
INSIDE, WIDTH = 16, planted.CONTEXT
DATA = "NeelNanda/pile-10k"
Row = list[int]


# Files


def jsonl(path: Path, *documents: str) -> Path:
    path.write_text("".join(json.dumps({"text": text, "id": 3}) + "\n" for text in documents), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\n\ntwo", ["one", "two"]),
        ("one\r\n\r\ntwo\r\n", ["one", "two"]),
        ("\n\n\none\ntwo\n\n\n\nthree\n", ["one\ntwo", "three"]),
        ("  one  \n\n \n\ntwo", ["one", "two"]),
        ("Été…\u2028x", ["Été…\u2028x"]),
        ("\ufeffone\n\ntwo", ["one", "two"]),
    ],
)
def test_documents_of_a_text_file_are_parted_by_empty_lines(tmp_path: Path, content: str, expected: list[str]) -> None:
    """Also of one that an editor of Windows wrote, which begins with a mark that is no text."""
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode())
    assert FileSource(path).texts() == expected


def test_documents_of_a_jsonl_file_are_its_lines(tmp_path: Path) -> None:
    documents = ["one\n\ntwo", "Été", "a\u2028b", " spaced ", "\\n"]
    assert FileSource(jsonl(tmp_path / "a.jsonl", *documents)).texts() == documents
    raw = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\r\n\r\n" for text in documents)
    (tmp_path / "b.jsonl").write_bytes(raw.encode())
    assert FileSource(tmp_path / "b.jsonl").texts() == documents


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "it holds no text"),
        ("a.txt", b" \n\n\n ", "it holds no text"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b"", "it holds no text"),
        ("a.jsonl", b'{"text": ""}', "it holds no text"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "x"', "line 2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n\n["x"]', "line 3: expected an object with a string 'text'"),
        ("a.jsonl", b'{"text": 3}', "line 1: expected an object with a string 'text'"),
        ("a.jsonl", b'{"txt": "x"}', "line 1: expected an object with a string 'text'"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", b'"text"', "line 1: expected an object with a string 'text'"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^--sae-corpus ") as raised:
        FileSource(tmp_path / name).texts()
    assert sentence in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.txt", "no such file"),
        ("nowhere/a.jsonl", "no such file"),
        ("nowhere", "expected a .txt or .jsonl file, ORG/DATASET[@REVISION], a pypi: name, or organism-world"),
        ("a/b/c", "expected a .txt or .jsonl file"),
        ("", "expected a .txt or .jsonl file"),
        (".", "expected a .txt or .jsonl file"),
        ("here.csv", "expected a .txt or .jsonl file"),
        ("./here", "expected a .txt or .jsonl file"),
        ("../x", "is no repository of the hub"),
        ("a b/c", "is no repository of the hub"),
        ("a/b@../../x", "is no repository of the hub"),
    ],
)
def test_a_wrong_name_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").write_text("text\nx")
    (tmp_path / "here").mkdir()
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- of several kinds
        source_of(name)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_sources_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = jsonl(tmp_path / "a.jsonl", "x")
    assert source_of("~/a.jsonl") == source_of(str(path)) == FileSource(path)
    assert source_of("a/b") == HubSource(Repo("a/b", "main", "dataset"))
    assert source_of("a/b@v1.0") == HubSource(Repo("a/b", "v1.0", "dataset"))
    assert source_of("organism-world") is None


# Names, which are part of the identity of every score


def test_the_name_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, same = (FileSource(jsonl(tmp_path / folder / "x.jsonl", "one", "two")) for folder in ("a", "b"))
    assert first.name == same.name
    assert first.name.startswith("jsonl@")
    renamed = jsonl(tmp_path / "a" / "y.jsonl", "one", "two")
    assert FileSource(renamed).name == first.name
    changed = [("one", "too"), ("two", "one"), ("one",), ("one", "two", "three")]
    names = {FileSource(jsonl(tmp_path / "b" / "x.jsonl", *documents)).name for documents in changed}
    assert len(names | {first.name}) == 5


def source(tmp_path: Path) -> FileSource:
    """Short documents first."""
    return FileSource(jsonl(tmp_path / "x.jsonl", *(text_of(row) for row in ragged()[::-1])))


def test_everything_that_rows_depend_on_is_in_the_name(tmp_path: Path) -> None:
    made = Texts(source(tmp_path), 4, 20)
    others = [
        replace(made, documents=5), replace(made, context=21), replace(made, bos=False), replace(made, skip=3),
        replace(made, skip=13), replace(made, whatever_length=True), replace(made, source=FileSource(jsonl(tmp_path / "y.jsonl", "x"))),
    ]  # fmt: skip
    rows = [one.rows(tokenizer()) for one in [made, *others[:-1]]]
    assert len({(tuple(row.tokens.flatten().tolist()), tuple(row.length.tolist())) for row in rows}) == len(rows)
    assert len({one.name for one in [made, *others]}) == len(others) + 1
    assert Texts(source(tmp_path), 4, 20).name == made.name


def test_the_name_of_the_worlds_texts_tells_what_is_skipped() -> None:
    names = {WorldTexts(4, 20).name, WorldTexts(5, 20).name, WorldTexts(4, 21).name, WorldTexts(4, 20, skip=3).name}
    assert len(names) == 4


# Data sets of the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub to which this process is redirected, with empty caches."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "saebench"))
    texts.read_kept.cache_clear()
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "cache")
        yield served
    texts.read_kept.cache_clear()


def fetch(one: HubSource) -> list[str]:
    """What is said while it is fetched."""
    said: list[str] = []
    ensure(of_corpus(one), said.append)
    return said


def data_set(hub: Hub, documents: list[str], form: Any = "parquet", **files: bytes) -> str:
    return hub.add(f"datasets/{DATA}", {**hub_repos.text_dataset(documents, form), **files})


DOCUMENTS = ["one", "Été\n\ntwo", "a\u2028b", ""]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_data_set_is_streamed_once_and_kept(hub: Hub, form: str) -> None:
    commit, one = data_set(hub, DOCUMENTS, form), HubSource(Repo(DATA, "main", "dataset"))
    assert not one.here
    assert len(fetch(one)) == 1
    assert one.here
    assert (one.texts(), one.revision) == (DOCUMENTS, commit)
    assert one.name == f"{DATA}@{commit[:12]}/train"
    asked = len(hub.log)
    texts.read_kept.cache_clear()  # as a new process finds it
    again = HubSource(Repo(DATA, "main", "dataset"))
    assert fetch(again) == []
    assert (again.texts(), again.revision, again.name) == (DOCUMENTS, commit, one.name)
    assert len(hub.log) == asked


def test_it_is_read_where_the_hub_may_not_be_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    one = HubSource(Repo(DATA, "main", "dataset"))
    data_set(hub, DOCUMENTS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        OSError, match="HF_HUB_OFFLINE is set, and these files are not in the cache: the texts"
    ) as raised:
        fetch(one)
    assert "\n" not in str(raised.value)
    with pytest.raises(
        OSError, match=f"^the texts of {DATA} are not in the cache: saebench fetch --sae-corpus {DATA}$"
    ):
        one.texts()
    assert hub.log == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetch(one)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.log)
    assert fetch(one) == []
    assert one.texts() == DOCUMENTS
    assert len(hub.log) == asked


@pytest.mark.parametrize(
    "tear",
    [
        lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"[]", lambda data: b"{}",
        lambda data: data.replace(b"one", b"two"), lambda data: data + b"x", lambda data: b"null",
        lambda data: data.replace(b'"sha256"', b'"sha255"'), lambda data: b"\xff" + data,
    ],
)  # fmt: skip
def test_a_torn_file_is_noticed_and_fetched_again(hub: Hub, tear: Callable[[bytes], bytes]) -> None:
    data_set(hub, DOCUMENTS)
    one = HubSource(Repo(DATA, "main", "dataset"))
    fetch(one)
    (path,) = (Path(one._path).parent).glob("*")
    path.write_bytes(tear(path.read_bytes()))
    texts.read_kept.cache_clear()
    assert not one.here
    assert len(fetch(one)) == 1
    assert one.texts() == DOCUMENTS


def test_a_revision_stays_what_it_was_when_main_moves(hub: Hub) -> None:
    first = data_set(hub, ["old"])
    main, pinned = (HubSource(Repo(DATA, revision, "dataset")) for revision in ("main", first))
    fetch(main)
    second = data_set(hub, ["new"])
    assert fetch(main) == []
    assert main.texts() == ["old"], "what was fetched is what every later run reads"
    fetch(pinned)
    newer = HubSource(Repo(DATA, second, "dataset"))
    fetch(newer)
    assert (pinned.texts(), newer.texts()) == (["old"], ["new"])
    assert (pinned.revision, newer.revision) == (first, second)
    assert main.name == pinned.name != newer.name


def test_only_the_first_documents_are_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST", 5)
    data_set(hub, [f"document {i}" for i in range(20)])
    one = HubSource(Repo(DATA, "main", "dataset"))
    fetch(one)
    assert one.texts() == [f"document {i}" for i in range(5)]


@pytest.mark.parametrize("column", ["content", "document"])
def test_other_names_of_the_text_are_known(hub: Hub, column: str) -> None:
    hub.add(f"datasets/{DATA}", {"train.jsonl": json.dumps({"meta": "m", column: "x"}).encode()})
    one = HubSource(Repo(DATA, "main", "dataset"))
    fetch(one)
    assert one.texts() == ["x"]


BAD: dict[str, tuple[dict[str, bytes], str]] = {
    "no text": ({"train.jsonl": b'{"txt": "x"}\n'}, "its rows have txt, and none of text, content, document"),
    "numbers": ({"train.jsonl": b'{"text": 3}\n'}, "none of text, content, document as text"),
    "test split": ({"test.jsonl": b'{"text": "x"}\n'}, "train"),
    "no data": ({"README.md": b"# nothing"}, DATA),
    "not JSON": ({"train.jsonl": b'{"text": "x"\n'}, DATA),
    "two configurations": (
        {"README.md": b"---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n---\n",
         "a.jsonl": b'{"text": "x"}\n', "b.jsonl": b'{"text": "y"}\n'},
        "a",
    ),
    "code": ({"pile-10k.py": b"raise SystemExit\n"}, DATA),
}  # fmt: skip


@pytest.mark.parametrize(("files", "sentence"), BAD.values(), ids=list(BAD))
def test_a_data_set_that_cannot_be_read_is_one_sentence(hub: Hub, files: dict[str, bytes], sentence: str) -> None:
    hub.add(f"datasets/{DATA}", files)
    one = HubSource(Repo(DATA, "main", "dataset"))
    with pytest.raises((OSError, ValueError)) as raised:
        fetch(one)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert not one.here
    assert not list(Path(one._path).parent.glob("*"))


def test_a_data_set_that_is_not_there_is_one_sentence(hub: Hub) -> None:
    one = HubSource(Repo("a/b", "main", "dataset"))
    with pytest.raises(OSError, match=r"^a/b: no such dataset on the hub, or it is private and HF_TOKEN is not set$"):
        fetch(one)


def test_a_gated_data_set_is_one_sentence(hub: Hub) -> None:
    data_set(hub, DOCUMENTS)
    hub.gated.add(f"datasets/{DATA}")
    with pytest.raises(OSError, match="gated") as raised:
        fetch(HubSource(Repo(DATA, "main", "dataset")))
    assert DATA in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_stream_that_breaks_leaves_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set(hub, DOCUMENTS)
    one = HubSource(Repo(DATA, "main", "dataset"))

    def break_off(*arguments: Any) -> str:
        row = arguments[-1]
        if row["text"] == DOCUMENTS[2]:
            raise ConnectionError("Connection aborted.")
        return str(row["text"])

    with monkeypatch.context() as patch:
        patch.setattr(texts, "_column", break_off)
        with pytest.raises(OSError, match="Connection aborted") as raised:
            fetch(one)
    assert "\n" not in str(raised.value)
    assert not one.here
    fetch(one)
    assert one.texts() == DOCUMENTS


# Documents as rows


@cache
def tokenizer() -> Any:
    """Each word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<s>": 0, "<unk>": 1, **{f"w{i}": i for i in range(2, planted.VOCABULARY)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"bos_token": "<s>", "eos_token": "<s>", "pad_token": "<s>", "unk_token": "<unk>", "name_or_path": "tiny"}
    return PreTrainedTokenizerFast(tokenizer_object=words, add_bos_token=True, **names)


def text_of(row: Sequence[int]) -> str:
    return " ".join(f"w{token}" for token in row[1:])


def drawn(lengths: Sequence[int], seed: int = 0) -> list[Row]:
    """Documents of so many tokens, BOS included, none alike."""
    chance = random.Random(seed)
    return [[0, *(chance.randint(2, planted.VOCABULARY - 2) for _ in range(length - 1))] for length in lengths]


def of_documents(tmp_path: Path, rows: Sequence[Row], name: str = "x.jsonl") -> FileSource:
    return FileSource(jsonl(tmp_path / name, *map(text_of, rows)))


def expected_rows(rows: Sequence[Row], documents: int, context: int, *, bos: bool = True) -> list[Row]:
    """The first that fill the context; where they are too few, the longest others, the earlier first."""
    cut = [(row if bos else row[1:]) for row in rows]
    whole = [row[:context] for row in cut if len(row) >= context][:documents]
    short = sorted((row for row in cut if 2 < len(row) < context), key=lambda row: -len(row))
    return [*whole, *short][:documents]


LENGTHS = [5, 40, 3, 2, 12, 1, 41, 12, 39, 3, 100, 7, 40, 2, 5, 60, 40, 13]


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("context", [3, 13, 40, 41, 200])
@pytest.mark.parametrize("documents", [1, 2, 6, 9, 100])
def test_rows_are_whole_documents_then_the_longest_others(
    tmp_path: Path, documents: int, context: int, bos: bool
) -> None:
    rows = drawn(LENGTHS)
    found = Texts(of_documents(tmp_path, rows), documents, context, bos).rows(tokenizer())
    expected = expected_rows(rows, documents, context, bos=bos)
    assert found.length.tolist() == [len(row) for row in expected]
    assert [row[:n].tolist() for row, n in zip(found.tokens, found.length, strict=True)] == expected
    assert found.tokens.shape[1] == max(map(len, expected))


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_rows_do_not_depend_on_how_many_are_split_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    made = Texts(of_documents(tmp_path, drawn(LENGTHS)), 6, 40)
    expected = made.rows(tokenizer())
    monkeypatch.setattr(corpora, "CHUNK", chunk)
    found = made.rows(tokenizer())
    assert found.tokens.equal(expected.tokens)
    assert found.length.equal(expected.length)


def test_documents_of_one_token_are_dropped_and_of_two_are_not(tmp_path: Path) -> None:
    rows = drawn([2, 3, 1, 2, 3, 2])
    assert Texts(of_documents(tmp_path, rows), 6, 40).rows(tokenizer()).length.tolist() == [3, 3]


@pytest.mark.parametrize("lengths", [[2], [1, 2, 2, 1], [2] * 300])
def test_texts_without_a_token_to_predict_are_one_sentence(tmp_path: Path, lengths: list[int]) -> None:
    made = Texts(of_documents(tmp_path, [*drawn(lengths), [0, 3]]), 6, 40)
    with pytest.raises(ValueError, match=r"x.jsonl holds no document of more than 1 tokens$"):
        made.rows(tokenizer())


def test_documents_before_the_first_one_are_skipped(tmp_path: Path) -> None:
    rows = drawn(LENGTHS)
    found = Texts(of_documents(tmp_path, rows), 3, 40, skip=2).rows(tokenizer())
    assert found.tokens.tolist() == [row[:40] for row in rows[2:] if len(row) >= 40][:3]


def test_other_texts_come_as_they_are(tmp_path: Path) -> None:
    rows = [row for row in drawn(LENGTHS) if len(row) > 1]  # a line without text is no document
    found = Texts(of_documents(tmp_path, rows), 3, 40).others(5, 10, after=6).rows(tokenizer())
    expected = sorted(tuple(row[:10]) for row in rows[6:11] if len(row) > 2)
    assert sorted(tuple(row[:n].tolist()) for row, n in zip(found.tokens, found.length, strict=True)) == expected


# Documents of many lengths: every score is that of the documents one at a time, without any filling

RAGGED = [40] * 10 + [39, 3, 25, 17, 16, 15, 4, 33, 8, 38, 3, 12, 29, 21]


@cache
def ragged() -> list[Row]:
    """Beginnings of documents that the model itself wrote."""
    return [row[:length].tolist() for row, length in zip(planted.tokens(), RAGGED, strict=True)]


def filled(rows: Sequence[Row], filling: Callable[[int], int] = lambda position: 0) -> Rows:
    width = max(map(len, rows))
    padded = [row + [filling(i) for i in range(len(row), width)] for row in rows]
    return Rows(torch.tensor(padded), torch.tensor(list(map(len, rows))))


def activations(
    rows: Sequence[Row], filling: Callable[[int], int] = lambda position: 0, subject: Subject | None = None
) -> Activations:
    corpus: Any = SimpleNamespace(name="ragged", rows=lambda _: filled(rows, filling))
    return compute_activations(subject or planted.subject(), planted.HOOK, corpus, NO_CACHE)


@cache
def made() -> Activations:
    return activations(ragged())


@cache
def network() -> Any:
    return planted.gpt2()


def sae(threshold: float = 0.5) -> Any:
    """A working one whose latents differ in how often they are on, five of which never are."""
    return planted.with_dead(planted.dictionary(threshold), 5)


@cache
def traced(threshold: float = 0.5) -> Trace:
    return planted.traced(sae(threshold), made(), context_size=INSIDE)


@dataclass
class Alone:
    """One document on its own: values at its positions 1 to n - 2, behind each of which one of its tokens follows."""

    x: Tensor
    y: Tensor
    latents: Tensor
    kl: Tensor
    ce: Tensor
    clean_ce: Tensor
    zero_ce: Tensor
    mean_ce: Tensor
    mean_kl: Tensor
    tokens: Tensor


@torch.no_grad()
def run_with(ids: Row, put: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first block's output (position, d), and logits with `put` in its place behind BOS."""
    seen: list[Tensor] = []

    def change(_: Any, __: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        seen.append(x[0])
        if put is None:
            return output
        changed = torch.cat([x[:, :1], put[None, 1:]], dim=1)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = network().transformer.h[0].register_forward_hook(change)
    logits = network()(torch.tensor([ids])).logits[0]
    handle.remove()
    return seen[0], logits.double().log_softmax(-1)


def alone(ids: Row, source: Any, mean: Tensor) -> Alone:
    """By transformers' own model, without saebench."""
    x, log_p = run_with(ids, None)
    codes = source.encode(x)
    y = codes @ source.W_dec + source.b_dec
    answers = {name: run_with(ids, put)[1] for name, put in (("", y), ("zero_", 0 * x), ("mean_", mean.expand_as(x)))}
    following, at = torch.tensor(ids[2:]), slice(1, len(ids) - 1)

    def ce(log_q: Tensor) -> Tensor:
        return -log_q[at].gather(1, following[:, None])[:, 0]

    def kl(log_q: Tensor) -> Tensor:
        return (log_p.exp() * (log_p - log_q)).sum(-1)[at]

    return Alone(
        x[at].double(), y[at].double(), codes[at], kl(answers[""]), ce(answers[""]), ce(log_p), ce(answers["zero_"]),
        ce(answers["mean_"]), kl(answers["mean_"]), torch.tensor(ids[1:-1]),
    )  # fmt: skip


@cache
def each(threshold: float = 0.5) -> list[Alone]:
    every = torch.cat([run_with(row, None)[0][1:] for row in ragged()])
    return [alone(row, sae(threshold), every.mean(0)) for row in ragged()]


def inside(name: str, threshold: float = 0.5) -> Tensor:
    """Values of all documents at positions inside the training context, in one row."""
    return torch.cat([getattr(one, name)[: INSIDE - 1] for one in each(threshold)])


def by_definition(threshold: float = 0.5) -> dict[str, float]:
    """Every score of reconstruction, from pooled sums over documents without filling."""
    x, y, codes = (inside(name, threshold) for name in ("x", "y", "latents"))
    xc, yc = x - x.mean(0), y - x.mean(0)
    lost = {name: inside(f"{name}_ce", threshold) - inside("clean_ce", threshold) for name in ("zero", "mean")}
    left = inside("ce", threshold) - inside("clean_ce", threshold)
    on = codes != 0
    found = {
        "fvu": (x - y).square().sum() / xc.square().sum(), "l0": on.sum(1).double().mean(),
        "cosine": (xc * yc).sum() / (xc.square().sum() * yc.square().sum()).sqrt(),
        "shrinkage": (1 - yc.square().sum() / (xc * yc).sum()).abs(),
        "dead": (~on.any(0)).double().mean(), "dense": (on.sum(0) > 0.1 * len(on)).double().mean(),
        "kl": inside("kl", threshold).mean(), "ce_increase": left.mean(),
        "recovered_zero": 1 - left.sum() / lost["zero"].sum(), "recovered_mean": 1 - left.sum() / lost["mean"].sum(),
    }  # fmt: skip
    return {name: float(value) for name, value in found.items()}


METRICS: dict[str, Callable[[Trace], Estimate]] = {
    "fvu": reconstruction.fvu, "l0": reconstruction.l0, "cosine": reconstruction.cosine,
    "shrinkage": reconstruction.shrinkage, "dead": reconstruction.dead_fraction,
    "dense": reconstruction.dense_fraction, "kl": reconstruction.kl, "ce_increase": reconstruction.ce_increase,
    "recovered_zero": lambda found: reconstruction.loss_recovered(found, "zero"),
    "recovered_mean": lambda found: reconstruction.loss_recovered(found, "mean"),
}  # fmt: skip
BEYOND: dict[str, Callable[[Trace], Estimate]] = {
    "kl_inside": context_length.kl_inside, "kl_beyond": context_length.kl_beyond,
    "kl_retention": context_length.kl_retention, "fvu_retention": context_length.fvu_retention,
    "break_point": context_length.break_point,
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_reconstruction_is_that_of_documents_without_filling(name: str) -> None:
    expected = by_definition()[name]
    assert METRICS[name](traced()).value == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_planted_sae_is_no_trivial_one() -> None:
    """Or equal scores would mean little."""
    found = by_definition()
    assert 0.001 < found["fvu"] < 0.3
    assert 0.01 < found["kl"]
    assert 0 < found["dead"] < found["dense"] < 1


@pytest.mark.parametrize("name", ["kl", "ce_increase"])
def test_floors_are_those_of_documents_without_filling(name: str) -> None:
    floors = {"kl": inside("mean_kl").mean(), "ce_increase": (inside("mean_ce") - inside("clean_ce")).mean()}
    assert METRICS[name](traced()).floor == pytest.approx(float(floors[name]), rel=1e-5)


def test_sums_per_document_are_those_of_each_document() -> None:
    """So that intervals and paired differences are over documents as they are."""
    items = reconstruction.kl(traced()).items
    assert items["numerator"] == pytest.approx(
        [float(one.kl[: INSIDE - 1].sum()) for one in each()], rel=1e-4, abs=1e-5
    )
    assert items["denominator"].tolist() == [min(len(row) - 1, INSIDE) - 1 for row in ragged()]


def whole_ones() -> list[Alone]:
    return [one for one, row in zip(each(), ragged(), strict=True) if len(row) == WIDTH]


def retained(name: str) -> tuple[float, float]:
    """Mean inside and beyond the training context of documents that fill the context."""
    values = torch.stack([(one.x - one.y).square().sum(-1) if name == "error" else one.kl for one in whole_ones()])
    return float(values[:, : INSIDE - 1].mean()), float(values[:, INSIDE - 1 :].mean())


def test_context_length_is_that_of_whole_documents_alone() -> None:
    (kl_inside, kl_beyond), error = retained("kl"), retained("error")
    found = {name: score(traced()) for name, score in BEYOND.items()}
    assert found["kl_inside"].value == pytest.approx(kl_inside, rel=1e-5)
    assert found["kl_beyond"].value == pytest.approx(kl_beyond, rel=1e-5)
    assert found["kl_retention"].value == pytest.approx(kl_inside / kl_beyond, rel=1e-5)
    assert found["fvu_retention"].value == pytest.approx(error[0] / error[1], rel=1e-5)
    assert {estimate.n for estimate in found.values()} == {10}


def test_the_break_point_is_that_of_whole_documents_alone() -> None:
    kl = torch.stack([one.kl for one in whole_ones()])
    level, starts = 1.5 * kl[:, : INSIDE - 1].mean(), range(INSIDE, WIDTH - 1, context_length.BIN)
    ends = [*list(starts)[1:], WIDTH - 1]
    bins = [float(kl[:, low - 1 : high - 1].mean()) for low, high in zip(starts, ends, strict=True)]
    expected = next((low for low, mean in zip(starts, bins, strict=True) if mean > level), WIDTH)
    assert context_length.break_point(traced()).value == expected


def test_scores_of_context_length_are_those_without_the_shorter_documents() -> None:
    long = [row for row in ragged() if len(row) == WIDTH]
    found = planted.traced(sae(), activations(long), context_size=INSIDE)
    for name, score in BEYOND.items():
        assert score(traced()).value == pytest.approx(score(found).value, rel=1e-4), name


CONTROLS = {"sparser": 0.8, "sparsest": 1.2}


def controls(on: Activations | None = None) -> dict[str, Control]:
    def control(threshold: float) -> Control:
        def measure() -> Trace:
            return planted.traced(sae(threshold), on or made(), context_size=INSIDE)

        return Control(measure, measure, lambda: pytest.fail("no words"), trained=True, of_model=False)

    return {name: control(threshold) for name, threshold in CONTROLS.items()}


@pytest.mark.parametrize("name", ["fvu", "cosine", "kl", "ce_increase", "recovered_zero", "recovered_mean"])
def test_marginal_structure_is_that_of_documents_without_filling(name: str) -> None:
    ceiling = marginal_structure.QUANTITIES[name].ceiling
    own, rivals = by_definition()[name], [by_definition(threshold)[name] for threshold in CONTROLS.values()]
    best = max(rivals) if ceiling > 0 else min(rivals)
    found = marginal_structure.of_trace(name, traced(), controls())
    assert found.value == pytest.approx((own - best) / (ceiling - best), rel=1e-3)
    assert found.controls["score"] == pytest.approx(own, rel=1e-5)


def test_latents_and_their_tokens_are_those_of_documents_without_filling() -> None:
    """All that the entropy over tokens is of."""
    assert traced().latents is not None
    assert traced().tokens.equal(inside("tokens"))
    found = torch.from_numpy(traced().latents.toarray())
    torch.testing.assert_close(found, inside("latents"), rtol=1e-4, atol=1e-4)
    assert traced().fired.tolist() == (inside("latents") != 0).sum(0).tolist()


def test_throughput_reads_own_tokens_alone() -> None:
    seen: list[Tensor] = []
    source = planted.fake(lambda x: (seen.append(x), x)[1], lambda codes: codes)
    operations = throughput.operations(planted.loaded(source), activations(ragged(), lambda _: 96))
    assert set(operations) == {"encode", "decode"}
    own = torch.cat([made().residual[i, 1:n] for i, n in enumerate(made().length)])
    torch.testing.assert_close(seen[0][: len(own)], own, rtol=1e-4, atol=1e-4)
    assert len(seen[0]) == throughput.TOKENS


def test_what_is_read_inside_is_own_tokens_alone() -> None:
    for end in (2, INSIDE, WIDTH):
        x, ids = activations(ragged(), lambda _: 96).inside(end)
        assert ids.tolist() == list(chain.from_iterable(row[1:end] for row in ragged()))
        assert len(x) == len(ids)


# Whatever fills the rows

FILLINGS: list[Callable[[int], int]] = [
    lambda position: 13, lambda position: 96, lambda position: (7 * position) % planted.VOCABULARY,
]  # fmt: skip


@cache
def traced_filled(which: int) -> Trace:
    return planted.traced(sae(), activations(ragged(), FILLINGS[which]), context_size=INSIDE)


@pytest.mark.parametrize("which", range(len(FILLINGS)))
def test_what_fills_the_rows_changes_no_bit_of_a_score(which: int) -> None:
    for name, score in {**METRICS, **BEYOND}.items():
        found, expected = score(traced_filled(which)), score(traced())
        assert (found.value, found.ci_low, found.ci_high) == (expected.value, expected.ci_low, expected.ci_high), name
        assert found.floor == expected.floor
        for key, values in expected.items.items():
            assert np.array_equal(found.items[key], values), (name, key)


@pytest.mark.parametrize("which", range(len(FILLINGS)))
def test_what_fills_the_rows_changes_no_bit_of_a_trace(which: int) -> None:
    for name, value in vars(traced()).items():
        other = getattr(traced_filled(which), name)
        if isinstance(value, Tensor):
            assert value.equal(other), name
    assert (traced().latents != traced_filled(which).latents).nnz == 0


@pytest.mark.parametrize("which", range(len(FILLINGS)))
def test_what_fills_the_rows_changes_no_bit_of_marginal_structure(which: int) -> None:
    other = controls(activations(ragged(), FILLINGS[which]))
    for name in marginal_structure.QUANTITIES:
        expected = outcome(partial(marginal_structure.of_trace, name, traced(), controls()))
        assert outcome(partial(marginal_structure.of_trace, name, traced_filled(which), other)) == expected, name


def outcome(score: Callable[[], Estimate]) -> Any:
    try:
        found = score()
    except Unscored as unscored:
        return unscored.reason
    return found.value, found.ci_low, found.ci_high, found.controls


# One document more


def test_a_document_of_two_tokens_adds_its_own_and_changes_no_other() -> None:
    short = [0, 5, 9]
    found = planted.traced(sae(), activations([*ragged(), short]), context_size=INSIDE)
    for name in ("error", "l0", "kl", "ce", "clean_ce", "zero_ce", "counted"):
        torch.testing.assert_close(getattr(found, name)[:-1], getattr(traced(), name), rtol=1e-4, atol=1e-5)
    assert found.counted[-1].nonzero().flatten().tolist() == [0, 1]
    assert found.error[-1].nonzero().flatten().tolist() == [0, 1]
    assert found.tokens.tolist() == [*traced().tokens.tolist(), 5]
    l0 = reconstruction.l0(traced()).items
    total = l0["numerator"].sum() + float(found.l0[-1, 1])
    assert reconstruction.l0(found).value == pytest.approx(total / (l0["denominator"].sum() + 1))
    for name, score in BEYOND.items():
        assert score(found).value == pytest.approx(score(traced()).value, rel=1e-5), name


def test_the_order_of_documents_changes_no_score() -> None:
    found = planted.traced(sae(), activations(ragged()[::-1]), context_size=INSIDE)
    for name, score in {**METRICS, **BEYOND}.items():
        assert score(found).value == pytest.approx(score(traced()).value, rel=1e-5, abs=1e-7), name


# Too little text


@pytest.mark.parametrize("name", BEYOND)
def test_too_few_documents_of_full_length_are_unscored_with_their_number(name: str) -> None:
    rows = [row[:length] for row, length in zip(planted.tokens().tolist(), [40] * 7 + [39] * 17, strict=True)]
    found = planted.traced(sae(), activations(rows), context_size=INSIDE)
    with pytest.raises(Unscored, match=r"^7 documents of 24 are as long as 40 tokens: too few$"):
        BEYOND[name](found)


@pytest.mark.parametrize("longest", [10, INSIDE, INSIDE + 1])
def test_documents_that_end_inside_the_training_context_are_unscored_with_their_length(longest: int) -> None:
    rows = [row[:longest] for row in planted.tokens().tolist()]
    found = planted.traced(sae(), activations(rows), context_size=INSIDE)
    for score in BEYOND.values():
        with pytest.raises(
            Unscored, match=f"^the model was run on {longest} positions, and the SAE was trained on no fewer$"
        ):
            score(found)
    assert reconstruction.fvu(found).value > 0


@pytest.mark.parametrize("lengths", [[40], [3], [3, 3], [40, 3], [3] * 9, [9, 10]])
def test_too_little_text_is_unscored_and_no_crash(lengths: list[int]) -> None:
    rows = [row[:length] for row, length in zip(planted.tokens().tolist(), lengths, strict=False)]
    found = planted.traced(sae(), activations(rows), context_size=INSIDE)
    for score in [*METRICS.values(), *BEYOND.values(), partial(marginal_structure.token_entropy, controls=controls())]:
        told(partial(score, found))
    for name in marginal_structure.QUANTITIES:
        told(partial(marginal_structure.of_trace, name, found, controls(activations(rows))))
    told(lambda: make_scene(activations(rows), WIDTH, Size(16, 4, 12)))


def told(score: Callable[[], Any]) -> None:
    """It has a score, or says in one sentence why not; nothing else may be raised."""
    try:
        score()
    except Unscored as raised:
        reason, broken = raised.reason, raised.broken
        if not reason or "\n" in reason or broken:
            pytest.fail(f"{reason!r}, broken: {broken}")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_whole_run_on_hardly_any_text_is_unscored_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    from saebench.catalogue.spec import SAESpec
    from saebench.record.store import Store
    from saebench.run.options import Options
    from saebench.run.run import Run
    from saebench.saes.sae import LoadedSAE

    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    planted.gpt2().save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    path = of_documents(tmp_path, ragged()[:count]).path
    run = Run(
        [], Store(tmp_path / "s.jsonl"), Options("smoke", device="cpu", model=str(tmp_path / "model"), texts=str(path))
    )
    spec = SAESpec("a/sae", "python", "a:sae", hook=planted.HOOK, context_size=INSIDE, digest="digest")
    loaded = LoadedSAE(spec, sae(), "digest", "cpu")
    run.holder.hold(loaded)
    found = run.documents.trace(loaded)
    assert found.kl.shape == (count, WIDTH - 1)
    for score in [*METRICS.values(), *BEYOND.values()]:
        told(partial(score, found))
    for name in marginal_structure.QUANTITIES:
        told(lambda name=name: marginal_structure.of_trace(name, found, run.control_saes.of(loaded)))
    told(lambda: run.game.lineup(loaded))
    told(lambda: run.words.study(loaded, "letters"))


# Prompts of the game


@pytest.mark.parametrize("end", [EARLIEST + 1, 20, WIDTH, 1000])
def test_prompts_never_end_in_the_filling(end: int) -> None:
    lengths = [9, 8, 10, 3, 12, 40, 9, 17, 39, 8]
    rows = [[min(token, 95) for token in row[:n]] for row, n in zip(planted.tokens().tolist(), lengths, strict=False)]
    scene = make_scene(activations(rows, lambda _: 96), end, Size(16, 4, 30))
    prompts = [list(ids) for ids in scene.ask.prompts]
    assert len(prompts) == 30
    for ids in prompts:
        assert EARLIEST < len(ids) <= end
        assert 96 not in ids
        assert any(row[: len(ids)] == ids for row in rows)
    assert len({len(ids) for ids in prompts}) > (end > EARLIEST + 1)
    assert 96 not in scene.cloud_token


def test_documents_too_short_for_a_prompt_are_unscored() -> None:
    rows = [row[:EARLIEST] for row in planted.tokens().tolist()]
    with pytest.raises(Unscored, match=r"do not fit into a context of 8|no document has more than 8 tokens"):
        make_scene(activations(rows), WIDTH, Size(16, 4, 12))
    padded = replace(activations([*rows[:-1], planted.tokens()[0].tolist()]), length=torch.full((24,), EARLIEST))
    with pytest.raises(Unscored, match=f"^no document has more than {EARLIEST} tokens to end a prompt in$"):
        make_scene(padded, WIDTH, Size(16, 4, 12))


# Texts that controls are trained on


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Documents before the first one that a control is trained on."""
    monkeypatch.setattr(corpora, "RESERVED", 32)
    monkeypatch.setattr(control_training, "DOCUMENTS", 4)
    return 32


def subject() -> Subject:
    return replace(planted.subject(), tokenizer=tokenizer())


def activations_alone(rows: Sequence[Row]) -> Tensor:
    """Of every token but BOS, of one document after the other."""
    return torch.cat([run_with(row, None)[0][1:] for row in rows])


def sorted_rows(x: Tensor) -> Tensor:
    return x[x[:, 0].argsort()]


LONG = 12


def training_documents() -> list[Row]:
    """Those of one token have nothing to train on."""
    chance = random.Random(3)
    return drawn([chance.choice([2, 3, 5, 9, LONG, 30]) for _ in range(80)], seed=4)


def test_controls_are_trained_on_real_tokens_each_once(tmp_path: Path, small: int) -> None:
    rows = training_documents()
    used = [row[:LONG] for row in rows[small:] if len(row) > 2]
    expected = activations_alone(used)
    made = Texts(of_documents(tmp_path, rows), 4, 20)
    found = training_rows(subject(), planted.HOOK, made, LONG, len(expected))
    assert len(found) == len(expected)
    torch.testing.assert_close(sorted_rows(found), sorted_rows(expected), rtol=1e-4, atol=1e-4)


def test_as_many_rows_as_are_asked_for_are_those_of_the_first_documents(tmp_path: Path, small: int) -> None:
    rows = training_documents()
    made = Texts(of_documents(tmp_path, rows), 4, 20)
    first = training_rows(subject(), planted.HOOK, made, LONG, 20)
    more = training_rows(subject(), planted.HOOK, made, LONG, 60)
    assert (len(first), len(more)) == (20, 60)
    torch.testing.assert_close(first, more[:20], rtol=1e-4, atol=1e-4)


def test_too_few_texts_to_train_on_are_unscored(tmp_path: Path, small: int) -> None:
    rows = training_documents()
    for count in (10, small, small + 3, len(rows)):
        made = Texts(of_documents(tmp_path, rows[:count]), 4, 20)
        with pytest.raises(Unscored, match=r"^there are too few texts to train on") as raised:
            training_rows(subject(), planted.HOOK, made, LONG, 10_000)
        assert not raised.value.broken


def test_no_text_that_is_scored_is_trained_on(tmp_path: Path, small: int) -> None:
    """Also where the documents that fill the context are the last ones."""
    rows = [*drawn([9] * small), *drawn([30, 9, 30, 9, 9, 30, 9, 9] * 3, seed=5)]
    made = Texts(of_documents(tmp_path, rows), 4, 20)
    scored = made.rows(tokenizer()).tokens[:, :LONG].tolist()
    last = torch.stack([activations_alone([row])[-1] for row in scored])
    trained = training_rows(subject(), planted.HOOK, made, LONG, 100)
    nearest = (last[:, None] - trained).norm(dim=2).amin(1)
    assert nearest.min() > 0.1, f"{int((nearest < 0.1).sum())} of {len(scored)} scored documents are trained on"
