"""What judges were asked and what they answered, one line each: an answer that is here is not asked for again."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from saebench.judges.prompts import Prompt
from saebench.record.atomic import locked, write_through
from saebench.record.places import cache_dir


@dataclass(frozen=True)
class Answer:
    """A line of a file of transcripts."""

    key: str
    judge: str
    system: str
    user: str
    answer: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass
class Transcripts:
    """Of one judge: lines are appended whole, by several workers in turn; a torn one is left out."""

    judge: str
    folder: Path = field(default_factory=lambda: cache_dir() / "judges")
    fresh: bool = False
    """Ignore what earlier runs left."""
    _known: dict[str, Answer] = field(default_factory=dict)
    _read: int | None = None
    """Bytes of the file that are known."""

    @property
    def path(self) -> Path:
        return self.folder / f"{hashlib.sha256(self.judge.encode()).hexdigest()[:24]}.jsonl"

    def key(self, prompt: Prompt) -> str:
        asked = [self.judge, prompt.system, prompt.user, prompt.most, prompt.target]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]

    def known(self, prompt: Prompt) -> str | None:
        """The answer that is there already."""
        found = self._known.get(self.key(prompt))
        return None if found is None else found.answer

    def refresh(self) -> None:
        """Read what was appended since, by whomever."""
        if not self.path.is_file():
            return
        if self._read is None and self.fresh:
            self._read = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(self._read or 0)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read = (self._read or 0) + len(whole)
        for answer in filter(None, map(_parsed, whole.splitlines())):
            self._known[answer.key] = answer

    def add(self, prompt: Prompt, answer: str, tokens_in: int, tokens_out: int) -> None:
        """Keep an answer at once. Raises OSError with one sentence where it cannot be written."""
        kept = Answer(
            self.key(prompt), self.judge, prompt.system, prompt.user + prompt.target, answer, tokens_in, tokens_out
        )
        self._known[kept.key] = kept
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(FileLock(f"{self.path}.lock")), self.path.open("ab") as file:
                torn = file.tell() > 0 and not _ends_well(self.path)
                write_through(file, b"\n" * torn + json.dumps(asdict(kept)).encode() + b"\n")
        except OSError as error:
            raise OSError(f"answers of the judge cannot be kept in {self.folder}: {error.strerror}") from None


def _ends_well(path: Path) -> bool:
    """Whether the last line is whole: a run may have been killed while it wrote."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _parsed(line: bytes) -> Answer | None:
    try:
        found = Answer(**json.loads(line))
    except (ValueError, TypeError):
        return None
    texts = (found.key, found.judge, found.system, found.user, found.answer)
    return found if all(isinstance(text, str) for text in texts) else None
