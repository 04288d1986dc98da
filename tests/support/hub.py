"""A loopback stand-in for the Hugging Face hub, which the client libraries talk to as they are."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Content = bytes | Path
BLOCK = 1 << 20
LARGEST_TEXT = 10 << 20
"""Bytes of a file above which it is stored as LFS though it is text, as the hub demands."""
DATE = "2026-01-01T00:00:00.000Z"
RESOLVE = re.compile(r"/(?P<repo>(?:datasets/)?.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?"
)


@dataclass(frozen=True)
class File:
    """A file of a commit with what the hub tells of it."""

    content: Content
    size: int
    sha256: str
    oid: str
    """Git's id of what git stores: the content or, for LFS, the pointer to it."""
    pointer: int | None
    """Bytes of the LFS pointer, where there is one."""

    @property
    def etag(self) -> str:
        return self.oid if self.pointer is None else self.sha256

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from start to end, a path's block by block."""
        if isinstance(self.content, bytes):
            yield self.content[start:end]
            return
        with self.content.open("rb") as file:
            file.seek(start)
            while start < end and (block := file.read(min(BLOCK, end - start))):
                yield block
                start += len(block)

    def as_entry(self, path: str) -> dict[str, Any]:
        """The file in answers of tree and paths-info."""
        entry = {"type": "file", "path": path, "size": self.size, "oid": self.oid}
        if self.pointer is not None:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": self.pointer}
        return entry

    def as_sibling(self, path: str, *, blobs: bool) -> dict[str, Any]:
        """The file in a repository's description."""
        if not blobs:
            return {"rfilename": path}
        sibling = {"rfilename": path, "size": self.size, "blobId": self.oid}
        if self.pointer is not None:
            sibling["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": self.pointer}
        return sibling


def file_of(content: Content) -> File:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    found = File(content, size, "", "", None)
    digest = hashlib.sha256()
    for block in found.blocks(0, size):
        digest.update(block)
    sha256 = digest.hexdigest()
    # Git's own test of whether a file is binary.
    if size <= LARGEST_TEXT and b"\0" not in b"".join(found.blocks(0, min(size, 8000))):
        return File(content, size, sha256, blob_id(b"".join(found.blocks(0, size))), None)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return File(content, size, sha256, blob_id(pointer), len(pointer))


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(eq=False)
class Refusal(Exception):
    """An answer that is an error."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Hub:
    """Repositories by name, a data set's with "datasets/" before it, what was asked for, and what goes wrong."""

    url: str
    repos: dict[str, dict[str, Content]] = field(default_factory=dict)
    """Newest files of each repository; `add` changes them."""
    log: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""
    ranges: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range header of every request for a part of a file."""
    gated: set[str] = field(default_factory=set)
    """Repositories whose files are refused without a token; what files they have is public, as on the real hub."""
    cut: dict[str, int] = field(default_factory=dict)
    """Files of which the next longer answer ends after so many bytes."""
    corrupt: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    """Files whose body is changed, though not its length, nor what is told of it."""
    _history: dict[str, dict[str, dict[str, File]]] = field(default_factory=dict)
    """Files of each commit of each repository, newest last."""
    _lock: Lock = field(default_factory=Lock)

    def add(self, repo: str, files: Mapping[str, Content]) -> str:
        """Make a commit in which the repository has just these files; its id depends on them and on the one before."""
        commits = self._history.setdefault(repo, {})
        found = {path: file_of(files[path]) for path in sorted(files)}
        parent = next(reversed(commits), "")
        listing = parent + "".join(f"\n{path} {file.sha256}" for path, file in found.items())
        commit = hashlib.sha1(listing.encode()).hexdigest()
        commits[commit] = found
        self.repos[repo] = dict(files)
        return commit

    def commit(self, repo: str, revision: str) -> tuple[str, dict[str, File]]:
        """The commit that a branch or a commit's id names, and its files."""
        commits = self._history.get(repo)
        if not commits:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        name = next(reversed(commits)) if revision == "main" else revision
        if name not in commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return name, commits[name]

    def check_gate(self, repo: str, token: str | None) -> None:
        if repo not in self.gated or token:
            return
        kind, name = ("dataset", repo.removeprefix("datasets/")) if repo.startswith("datasets/") else ("model", repo)
        message = (
            f"Access to {kind} {name} is restricted. You must have access to it and be authenticated to access it. "
            "Please log in."
        )
        realm = 'Bearer realm="Authentication required", charset="UTF-8"'
        raise Refusal(401, "GatedRepo", message, {"WWW-Authenticate": realm})

    def take_cut(self, path: str, length: int) -> int:
        """How many bytes of an answer of this length are sent."""
        with self._lock:
            return self.cut.pop(path) if self.cut.get(path, length) < length else length

    def description(self, repo: str, commit: str, files: Mapping[str, File], *, blobs: bool) -> dict[str, Any]:
        name = repo.removeprefix("datasets/")
        return {
            "_id": commit[:24], "id": name, "modelId": name, "author": name.split("/")[0], "sha": commit,
            "lastModified": DATE, "createdAt": DATE, "private": False, "disabled": False,
            "gated": "manual" if repo in self.gated else False, "downloads": 0, "likes": 0, "tags": [],
            "siblings": [file.as_sibling(path, blobs=blobs) for path, file in files.items()],
        }  # fmt: skip


def entries(files: Mapping[str, File], commit: str, *, expand: bool) -> dict[str, dict[str, Any]]:
    """All files and folders of a commit by path."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    found = {path: {"type": "directory", "path": path, "size": 0, "oid": blob_id(path.encode())} for path in folders}
    found |= {path: file.as_entry(path) for path, file in files.items()}
    if expand:
        change = {"id": commit, "title": "Upload files", "date": DATE}
        found = {path: entry | {"lastCommit": change} for path, entry in found.items()}
    return dict(sorted(found.items()))


def under(found: Mapping[str, dict[str, Any]], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The entries in a folder, "" for the outermost, with those in its folders if wanted."""
    if folder and found.get(folder, {}).get("type") != "directory":
        raise Refusal(404, "EntryNotFound", f"{folder} does not exist")
    start = f"{folder}/" if folder else ""
    inside = {path.removeprefix(start): entry for path, entry in found.items() if path.startswith(start)}
    return [entry for path, entry in inside.items() if recursive or "/" not in path]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Who streams a file may hang up in the middle of it.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, address = self.server.hub, urlsplit(self.path)
        hub.log.append((self.command, self.path))
        try:
            if found := API.fullmatch(address.path):
                self.answer_api(found, {name: values[-1] for name, values in parse_qs(address.query).items()})
            elif found := RESOLVE.fullmatch(address.path):
                self.answer_file(found["repo"], unquote(found["revision"]), unquote(found["path"]))
            else:
                raise Refusal(404, "EntryNotFound", f"no such page: {address.path}")
        except Refusal as refusal:
            self.refuse(refusal)

    do_HEAD = do_POST = do_GET

    def answer_api(self, asked: re.Match[str], query: Mapping[str, str]) -> None:
        hub = self.server.hub
        repo = asked["repo"] if asked["kind"] == "models" else f"datasets/{asked['repo']}"
        sent = self.sent()
        commit, files = hub.commit(repo, unquote(asked["revision"] or "main"))
        wanted = {name: query.get(name, "").lower() in ("1", "true") for name in ("blobs", "recursive", "expand")}
        if asked["what"] == "tree":
            every = entries(files, commit, expand=wanted["expand"])
            self.send_json(under(every, unquote(asked["path"] or ""), recursive=wanted["recursive"]))
        elif asked["what"] == "paths-info":
            every = entries(files, commit, expand=sent.get("expand", ["false"])[0].lower() == "true")
            self.send_json([every[path] for path in sent.get("paths", []) if path in every])
        else:
            self.send_json(hub.description(repo, commit, files, blobs=wanted["blobs"]))

    def sent(self) -> dict[str, list[str]]:
        """The form in the request's body; it has to be read, whatever the answer is."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if "json" not in self.headers.get("Content-Type", ""):
            return parse_qs(body)
        return {name: value if isinstance(value, list) else [str(value)] for name, value in json.loads(body).items()}

    def answer_file(self, repo: str, revision: str, path: str) -> None:
        hub = self.server.hub
        hub.commit(repo, "main")
        hub.check_gate(repo, self.headers.get("Authorization"))
        commit, files = hub.commit(repo, revision)
        told = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path not in files:
            raise Refusal(404, "EntryNotFound", "Entry not found", told)
        file = files[path]
        told["ETag"] = f'"{file.etag}"'
        if file.pointer is not None:
            told |= {"X-Linked-Etag": told["ETag"], "X-Linked-Size": str(file.size)}
        part = self.part(file.size) if self.command == "GET" else None
        start, end = part or (0, file.size)
        if part:
            told["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        self.send_head(206 if part else 200, end - start, "application/octet-stream", told)
        if self.command != "HEAD":
            self.send_body(path, file, start, end)

    def part(self, size: int) -> tuple[int, int] | None:
        """Start and end of the bytes that are asked for, if not all are."""
        header = self.headers.get("Range", "")
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
        if not found or found[0] == "bytes=-":
            return None
        self.server.hub.ranges.append((self.path, header))
        first, last = found[1], found[2]
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= end:
            raise Refusal(416, "RangeNotSatisfiable", "no such bytes", {"Content-Range": f"bytes */{size}"})
        return start, end

    def send_body(self, path: str, file: File, start: int, end: int) -> None:
        hub = self.server.hub
        if change := hub.corrupt.get(path):
            changed = change(b"".join(file.blocks(0, file.size)))
            assert len(changed) == file.size, f"{path}: what corrupts it changes its length"
            file = File(changed, file.size, file.sha256, file.oid, file.pointer)
        for block in file.blocks(start, start + hub.take_cut(path, end - start)):
            self.wfile.write(block)

    def send_json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_head(200, len(body), "application/json", {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, refusal: Refusal) -> None:
        body = json.dumps({"error": refusal.message}).encode()
        headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message, **refusal.headers}
        self.send_head(refusal.status, len(body), "application/json", headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, length: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        # A connection that stayed open would be answered after the hub is gone.
        for name, value in {"Content-Type": kind, "Content-Length": length, "Connection": "close", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()


@contextmanager
def serve() -> Iterator[Hub]:
    """An empty hub, for as long as the context lasts."""
    server = Server(("127.0.0.1", 0), Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def redirect(set_attribute: Callable[[object, str, object], None], hub: Hub, cache_folder: Path) -> None:
    """Point the libraries of this process at the hub, with monkeypatch.setattr or its like."""
    # transformer-lens imports datasets anyway; were it imported later, it would read the real hub's address.
    import datasets
    from huggingface_hub import constants, hf_api
    from transformers.utils import hub as in_transformers

    home = cache_folder / "datasets"
    in_hub = {
        "ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache_folder / "hub"), "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_TOKEN_PATH": str(cache_folder / "token"),
    }  # fmt: skip
    in_datasets = {
        "HF_ENDPOINT": hub.url, "HUB_DATASETS_URL": hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}",
        "HF_DATASETS_CACHE": home, "DOWNLOADED_DATASETS_PATH": home / "downloads",
        "EXTRACTED_DATASETS_PATH": home / "downloads" / "extracted", "HF_HUB_OFFLINE": False,
        "HF_DATASETS_OFFLINE": False, "HF_UPDATE_DOWNLOAD_COUNTS": False,
        # It would look for a host called "datasets-server." and the hub's address.
        "USE_PARQUET_EXPORT": False,
    }  # fmt: skip
    for module, values in ((constants, in_hub), (datasets.config, in_datasets)):
        for name, value in values.items():
            set_attribute(module, name, value)
    # The functions of huggingface_hub are methods of this one object, which read the address when it was made.
    set_attribute(hf_api.api, "endpoint", hub.url)
    # So does the one that transformers makes when it first needs it.
    set_attribute(in_transformers, "_hf_api", None)


def environment(hub: Hub, cache_folder: Path) -> dict[str, str]:
    """What does the same in a new process; it shares the cache with a redirected one."""
    off = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_UPDATE_DOWNLOAD_COUNTS")
    return {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(cache_folder), "HF_HUB_CACHE": str(cache_folder / "hub"),
        "HF_DATASETS_CACHE": str(cache_folder / "datasets"), "HF_TOKEN": "", "HF_TOKEN_PATH": str(cache_folder / "token"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **dict.fromkeys(off, "0"),
    }  # fmt: skip


@contextmanager
def empty_hub(folder: Path, monkeypatch: Any) -> Iterator[Hub]:
    """An empty hub to which this process is redirected, with empty caches below a folder."""
    monkeypatch.setenv("SAEBENCH_CACHE", str(folder / "saebench"))
    with serve() as served:
        redirect(monkeypatch.setattr, served, folder / "hf")
        yield served
