from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from saebench.judges.prompts import Prompt, explanation_in
from saebench.judges.transcripts import Transcripts


def prompt(text: str, most: int = 5) -> Prompt:
    return Prompt("", text, "", most, explanation_in)


def test_another_run_and_another_worker_read_what_was_kept(tmp_path: Path) -> None:
    one, other = Transcripts("judge", tmp_path), Transcripts("judge", tmp_path)
    one.add(prompt("a"), "yes", 1, 1)
    other.refresh()
    assert other.known(prompt("a")) == "yes"
    other.add(prompt("b"), "no", 1, 1)
    one.refresh()
    assert one.known(prompt("b")) == "no"
    assert Transcripts("another judge", tmp_path).path != one.path
    assert one.known(prompt("a", most=6)) is None


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    one = Transcripts("judge", tmp_path)
    one.add(prompt("a"), "yes", 1, 1)
    with one.path.open("ab") as file:
        file.write(b'{"key": "half')
    other = Transcripts("judge", tmp_path)
    other.refresh()
    other.add(prompt("b"), "no", 1, 1)
    third = Transcripts("judge", tmp_path)
    third.refresh()
    assert (third.known(prompt("a")), third.known(prompt("b"))) == ("yes", "no")


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b"nonsense", b"\xff", b'{"key": 3, "judge": "", "system": "", "user": "", "answer": ""}']
)
def test_lines_of_strangers_are_left_out(line: bytes, tmp_path: Path) -> None:
    one = Transcripts("judge", tmp_path)
    tmp_path.joinpath(one.path.name).write_bytes(line + b"\n")
    one.refresh()
    assert one.known(prompt("a")) is None


def test_fresh_answers_are_those_of_this_run(tmp_path: Path) -> None:
    Transcripts("judge", tmp_path).add(prompt("a"), "old", 1, 1)
    fresh = Transcripts("judge", tmp_path, fresh=True)
    fresh.refresh()
    assert fresh.known(prompt("a")) is None
    fresh.add(prompt("a"), "new", 1, 1)
    fresh.refresh()
    assert fresh.known(prompt("a")) == "new"


def test_several_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: Transcripts("judge", tmp_path).add(prompt(str(at)), "x" * 5000, 1, 1), range(24)))
    found = Transcripts("judge", tmp_path)
    found.refresh()
    assert all(found.known(prompt(str(at))) for at in range(24))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    with pytest.raises(OSError, match="answers of the judge cannot be kept in"):
        Transcripts("judge", tmp_path / "file" / "folder").add(prompt("a"), "yes", 1, 1)
