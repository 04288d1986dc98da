"""Cloze tasks: a user's file is checked line by line, and a task of the hub is kept at its commit."""

import json
from pathlib import Path
from typing import Any

import pytest

from saebench.hub import texts
from saebench.hub.cloze import ClozeFile, HubCloze, cloze_source
from saebench.hub.cloze_sets import SETS, childrens_book, final_word
from saebench.hub.needs import ensure, of_cloze
from saebench.record.questions import Question

GOOD = {"passage": "Ann has a dog. Ann has a ", "options": ["dog", "cat"], "answer": "dog"}


def file(folder: Path, *lines: Any) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD, "", {"passage": "The dog saw another", "answer": "dog"})
    source = cloze_source(str(path))
    assert source.questions() == [
        Question("Ann has a dog. Ann has a", "dog", ("cat",)), Question("The dog saw another", "dog"),
    ]  # fmt: skip
    (tmp_path / "other.jsonl").write_bytes(path.read_bytes())
    assert ClozeFile(tmp_path / "other.jsonl").name == source.name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({key: GOOD[key] for key in ("options", "answer")}, "it has no 'passage'"),
        ({key: GOOD[key] for key in ("passage", "options")}, "it has no 'answer'"),
        ({**GOOD, "answer": "dogs"}, "the answer 'dogs' is none of the options. Did you mean 'dog'?"),
        ({**GOOD, "anwser": "dog"}, "unknown key 'anwser'. Did you mean 'answer'?"),
        ({**GOOD, "passage": "  "}, "passage is '  ', and should be a text that is not empty"),
        ({**GOOD, "answer": ""}, "answer is '', and should be"),
        ({**GOOD, "passage": float("nan")}, "passage is NaN, and should be"),
        ({**GOOD, "answer": 3}, "answer is 3, and should be"),
        ({**GOOD, "options": ["dog", None]}, "options is None, and should be"),
        ({**GOOD, "options": "dog"}, "options are 'dog', and should be a list of 2 to 100 texts"),
        ({**GOOD, "options": ["dog"]}, "should be a list of 2 to 100 texts"),
        ({**GOOD, "options": [str(i) for i in range(101)]}, "should be a list of 2 to 100 texts"),
        ({**GOOD, "options": ["dog", "cat", "dog "]}, "the option 'dog' stands there twice"),
        ({**GOOD, "passage": "\ud800x"}, "passage has half of a character"),
        (GOOD, "the same question stands in line 1"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "expected an object with passage, options, answer"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_one_sentence(tmp_path: Path, line: Any, said: str) -> None:
    path = file(tmp_path, GOOD, line)
    with pytest.raises(ValueError, match=r"^--sae-cloze ") as raised:
        of_cloze(cloze_source(str(path)))
    assert f"{path}, line 2: " in str(raised.value)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.jsonl", "--sae-cloze nowhere.jsonl: no such file"),
        ("lambda", "expected a .jsonl file or one of lambada, cbt-named, cbt-common. Did you mean 'lambada'?"),
        ("", "expected a .jsonl file"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, said: str) -> None:
    with pytest.raises(ValueError, match="--sae-cloze") as raised:
        cloze_source(name)
    assert said in str(raised.value)


@pytest.mark.parametrize(("content", "said"), [("", "it holds no question"), ("\n \n", "it holds no question")])
def test_an_empty_file_is_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cloze_source(str(file(tmp_path, content))).questions()


def test_a_file_that_is_no_utf_8_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfeabc")
    with pytest.raises(ValueError, match=r"^--sae-cloze .*not UTF-8"):
        cloze_source(str(tmp_path / "a.jsonl")).questions()


def test_rows_of_the_published_tasks_are_questions() -> None:
    assert final_word({"text": 'He gave the ball to Tom. "Thank you," said Tom'}) == Question(
        'He gave the ball to Tom. "Thank you," said', "Tom"
    )
    assert final_word({"text": "Word"}) is None
    row = {
        "sentences": ["A dog ran .", "It saw a cat ."], "question": "Then the XXXXX ran home .", "answer": "cat",
        "options": ["cat", "dog", "dog", "ran"],
    }  # fmt: skip
    assert childrens_book(row) == Question("A dog ran . It saw a cat . Then the", "cat", ("dog", "ran"))
    assert childrens_book({**row, "answer": "cow"}) is None
    assert childrens_book({**row, "question": "no blank"}) is None


def test_a_task_of_the_hub_ends_in_one_sentence_where_it_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        OSError, match=r"HF_HUB_OFFLINE is set.*the questions lambada of EleutherAI/lambada_openai"
    ) as raised:
        ensure(of_cloze(cloze_source("lambada")), print)
    assert "\n" not in str(raised.value)
    with pytest.raises(
        OSError, match=r"^the questions lambada of .* are not in the cache: saebench fetch --sae-cloze lambada$"
    ):
        cloze_source("lambada").questions()


class Rows(list[dict[str, str]]):
    def take(self, count: int) -> "Rows":
        return Rows(self[:count])


def test_a_task_of_the_hub_is_kept_at_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path))
    asked: list[Any] = []

    def load(*arguments: Any, **options: Any) -> Rows:
        asked.append((arguments, options))
        return Rows([{"text": "Tom saw Tom"}, {"text": "x"}])

    monkeypatch.setattr("datasets.load_dataset", load)
    source = HubCloze("lambada", SETS["lambada"])
    source.keep("c" * 40)
    assert asked == [
        (("EleutherAI/lambada_openai", "default"), {"split": "test", "streaming": True, "revision": "c" * 40})
    ]
    assert source.name == f"lambada@{'c' * 12}/test"
    assert source.questions() == [Question("Tom saw", "Tom", (), "lambada")]
    assert of_cloze(source)[0].lacking() == []
    (kept,) = (tmp_path / "texts").glob("cloze-*.json")
    kept.write_text(kept.read_text().replace("Tom", "Tim"))
    texts.read_kept.cache_clear()  # as a new process finds it
    assert not source.here
