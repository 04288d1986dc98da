"""Repositories of the Hugging Face hub: what the local cache holds, and downloads that are checked and pinned.

Whether the hub can be reached is found out first: its client retries for half a minute where it cannot.
"""

import glob
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from saebench.record.naming import one_sentence
from saebench.record.places import cache_dir

PATIENCE = 1.2
"""Seconds that the hub has for its first answer."""
CHUNK = 1 << 22
Kind = Literal["model", "dataset"]


class Unreachable(OSError):
    """The hub does not answer, or may not be asked."""


@dataclass(frozen=True)
class Repo:
    """A repository at a revision: a branch, a tag, or a commit of 40 hexadecimal digits."""

    name: str
    revision: str = "main"
    kind: Kind = "model"

    def __post_init__(self) -> None:
        named = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.name, re.ASCII)
        if not (named and _inside(self.name) and _inside(self.revision)):
            raise ValueError(f"{self.name!r} at {self.revision!r} is no repository of the hub")

    def __str__(self) -> str:
        at = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.name}{at}"

    def local(self, file: str) -> Path | None:
        """A file in the local cache; nothing is asked for over the network."""
        from huggingface_hub import try_to_load_from_cache

        if not _inside(file):
            raise ValueError(f"{file!r} is no file of a repository")
        found = try_to_load_from_cache(self.name, file, revision=self.revision, repo_type=self.kind)
        return Path(found) if isinstance(found, str) else None

    def commit(self) -> str:
        """Commit at which it was fetched; empty where it was not."""
        if re.fullmatch("[0-9a-f]{40}", self.revision):
            return self.revision
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.name, repo_type=self.kind)
        reference = folder / "refs" / self.revision
        return reference.read_text().strip() if reference.is_file() else ""


def _inside(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    return bool(re.fullmatch(r"[^\0\n\\]+", path)) and not path.startswith("/") and ".." not in path.split("/")


@dataclass(frozen=True)
class Wanted:
    """Files of a repository that are to be fetched, with what it takes."""

    repo: Repo
    files: tuple[str, ...]
    size: int
    """Bytes that are not in the cache yet."""
    commit: str


def offline() -> bool:
    """Whether the user has forbidden to ask the hub, by `HF_HUB_OFFLINE=1`."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def check_reachable() -> None:
    """Raise Unreachable with the reason, in less than three seconds."""
    from huggingface_hub import constants

    if offline():
        raise Unreachable("HF_HUB_OFFLINE is set")
    found: list[Exception | None] = []
    # In a thread: looking up a name may hang longer than any timeout of the client.
    asking = threading.Thread(target=lambda: found.append(_asked(constants.ENDPOINT)), daemon=True)
    asking.start()
    asking.join(PATIENCE + 0.1)
    if not found:
        raise Unreachable(f"{constants.ENDPOINT} does not answer")
    if found[0] is not None:
        raise Unreachable(f"{constants.ENDPOINT} cannot be reached")


def _asked(url: str) -> Exception | None:
    from huggingface_hub import get_session

    try:
        get_session().head(url, timeout=PATIENCE)
    except Exception as error:  # whatever the network stack raises
        return error
    return None


@one_sentence
def plan(repo: Repo, patterns: Sequence[str]) -> Wanted:
    """What fetching the files of a repository that match would take.

    Raises OSError with one sentence if the repository, its revision or the permission is missing.
    """
    from huggingface_hub import HfApi

    with _sentences(repo):
        info = HfApi().repo_info(repo.name, repo_type=repo.kind, revision=repo.revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    if stray := [file for file in sizes if not _inside(file)]:
        raise OSError(f"{repo} lists a file {stray[0]!r:.80}, which would lie outside of the cache")
    files = sorted(file for file in sizes if any(_matches(file, pattern) for pattern in patterns))
    return Wanted(repo, tuple(files), sum(sizes[file] for file in files if repo.local(file) is None), str(info.sha))


def _matches(file: str, pattern: str) -> bool:
    """A pattern without folders is of files at the top."""
    return fnmatchcase(file, pattern) and file.count("/") == pattern.count("/")


@one_sentence
def fetch(wanted: Wanted) -> None:
    """Download the files that are not in the cache, and check what came; a file that broke off is begun anew.

    Raises OSError with one sentence if the disk is full or a file is not what its checksum says.
    """
    from huggingface_hub import constants, snapshot_download

    repo, folder = wanted.repo, Path(constants.HF_HUB_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.size > (free := shutil.disk_usage(folder).free):
        raise OSError(f"{repo}: needs {gigabytes(wanted.size)}, and {folder} has {gigabytes(free)} left")
    with _sentences(repo):
        snapshot_download(
            repo.name, repo_type=repo.kind, revision=repo.revision, max_workers=4,
            allow_patterns=[glob.escape(file) for file in wanted.files],
        )  # fmt: skip
    for file in wanted.files:
        if drop_damaged(repo, file):
            raise OSError(f"{repo}: {file} arrived damaged, and was removed from the cache; fetch it again")


def drop_damaged(repo: Repo, file: str) -> bool:
    """Remove a file from the cache if it does not hash to the name of its blob; whether it did not."""
    path = repo.local(file)
    if path is None or intact(path):
        return False
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
    return True


def intact(path: Path) -> bool:
    """Whether a file of the hub's cache hashes to the name of its blob: its sha256, or git's sha1 if it is small.

    Where the cache holds no links, there is no such name, and nothing is found out. What was found intact is not
    hashed again until it is written to.
    """
    blob, stat = path.resolve(), path.stat()
    hashes = {64: hashlib.sha256, 40: lambda: _git(stat.st_size)}
    if len(blob.name) not in hashes:
        return True
    seal, now = cache_dir() / "intact" / blob.name, f"{stat.st_size} {stat.st_mtime_ns}"
    if seal.is_file() and seal.read_text() == now:
        return True
    if hash_of(path, hashes[len(blob.name)]()) != blob.name:
        return False
    seal.parent.mkdir(parents=True, exist_ok=True)
    seal.write_text(now)
    return True


def _git(size: int) -> Any:
    return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)


def hash_of(path: Path, sha: Any) -> str:
    """A file's digest by an algorithm of `hashlib`, read a piece at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
    return str(sha.hexdigest())


@contextmanager
def _sentences(repo: Repo) -> Iterator[None]:
    """One sentence instead of what the client says in several."""
    from huggingface_hub import errors

    url = f"https://huggingface.co/{'datasets/' if repo.kind == 'dataset' else ''}{repo.name}"
    try:
        yield
    except errors.GatedRepoError:
        raise OSError(
            f"{repo.name} is gated: accept its terms at {url}, then `hf auth login` or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise OSError(f"{repo.name} has no revision {repo.revision!r}") from None
    except errors.RepositoryNotFoundError:
        raise OSError(
            f"{repo.name}: no such {repo.kind} on the hub, or it is private and HF_TOKEN is not set"
        ) from None
    except errors.HFValidationError as error:
        raise OSError(f"{repo.name!r}: {one_line(error)}") from None
    except OSError as error:
        raise OSError(f"{repo}: {os.strerror(error.errno) if error.errno else one_line(error)}") from None
    except Exception as error:  # the client's transport has errors of its own
        raise OSError(f"{repo}: {type(error).__name__}: {one_line(error)}") from None


def one_line(error: object) -> str:
    """A message in one line, in a length that fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] if lines else type(error).__name__


def gigabytes(size: float) -> str:
    """`5.2 GB`, `302 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 0) / 1e6:.{0 if size >= 1e7 else 1}f} MB"
