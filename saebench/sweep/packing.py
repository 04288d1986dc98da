"""A scores file with its items as bytes, for machines that share no folder."""

import io
import tarfile
from pathlib import Path

from saebench.record.store import Store


def pack(scores: Path) -> bytes:
    """The file and its items; nothing where there is no file."""
    held = io.BytesIO()
    if not scores.is_file():
        return b""
    with tarfile.open(fileobj=held, mode="w") as tar:
        for path in [scores, *sorted(Store(scores).items_dir.glob("*.npz"))]:
            tar.add(path, arcname=str(path.relative_to(scores.parent)))
    return held.getvalue()


def unpack(packed: bytes, scores: Path) -> None:
    """Put them where they belong. Raises ValueError where something else was packed."""
    if not packed:
        return
    items = Store(scores).items_dir
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar.getmembers():
            path = scores.parent / member.name
            if not (member.isfile() and (member.name == scores.name or path.parent == items)):
                raise ValueError(f"{scores}: a worker sent {member.name!r}, which is no scores file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((tar.extractfile(member) or io.BytesIO()).read())
