"""What a run needs is fetched once, whole and pinned; where that cannot be, one sentence says so at once."""

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn

import hub_repos as repos
import preloaded  # noqa: F401
import pytest
import torch
from hub import Hub, environment, redirect, serve
from paths import ROOT
from safetensors.torch import load, save

from saebench.catalogue.folders import digest_of_files
from saebench.catalogue.registry import resolve, resolve_all
from saebench.cli import main
from saebench.hub import hub as hubs
from saebench.hub import models, needs, texts
from saebench.hub.files import digested, here
from saebench.hub.hub import Repo, gigabytes
from saebench.hub.models import missing_of_model, model_folder, revision_of_model
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.subject import subject

torch.set_num_threads(1)
MODEL, OTHER, GPT2 = "google/gemma-2-2b", "google/gemma-2-9b", "openai-community/gpt2"
SAES, DATA = "me/saes", "NeelNanda/pile-10k"
WIDTH, LAYERS, LATENTS = 32, 3, 64
HOOK = "blocks.1.hook_resid_post"
PATIENCE = 3.0
"""Seconds after which a user should know that there is no network."""
FAMILY = f"""
model = "{MODEL}"
corpus = "{DATA}"
hook = "{HOOK}"
context_size = 64
[sae.a]
repo = "{SAES}"
format = "params_npz"
location = "a"
[sae.b]
repo = "{SAES}"
format = "params_npz"
location = "b"
"""
WIDE = f'model = "{MODEL}"\nhook = "{HOOK}"\n[sae.wide]\nrepo = "{SAES}"\nformat = "params_npz"\nlocation = "wide"\n'
LATE = f'model = "{MODEL}"\nhook = "blocks.7.hook_resid_post"\n[sae.late]\nrepo = "{SAES}"\nformat = "params_npz"\nlocation = "a"\n'
PYTHON = """
class Identity:
    context_size = 64
    def encode(self, x): return x
    def decode(self, latents): return latents

class OfHub(Identity):
    hook, model = "blocks.1.hook_resid_post", "gemma-2-2b"
"""


# What the hub has


@cache
def model(seed: int = 0) -> repos.Files:
    return repos.gemma2_model(WIDTH, LAYERS, heads=2, head_dim=12, seed=seed, positions=128)


@cache
def wider() -> repos.Files:
    return repos.gemma2_model(48, LAYERS, heads=2, head_dim=12, positions=128)


@cache
def gpt2() -> repos.Files:
    """Of the same width, with another tokenizer."""
    return repos.gpt2_model(WIDTH, LAYERS, heads=2)


@cache
def sae(seed: int = 0, width: int = WIDTH) -> bytes:
    return repos.gemma_scope_npz(width, LATENTS, seed, l0=8)


def saes(seed: int = 0) -> repos.Files:
    return {"a/params.npz": sae(seed), "b/params.npz": sae(seed + 10), "wide/params.npz": sae(0, 48), "README.md": b"#"}


@cache
def documents() -> tuple[str, ...]:
    return tuple(repos.documents(40))


@pytest.fixture(autouse=True)
def no_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    """What single suites read has tests of its own: test_hub_labels, test_wheel_labels, test_entity_files."""
    monkeypatch.setattr(Run, "needs_of_suites", property(lambda self: {}, lambda self, value: None), raising=False)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub with all of it, to which this process is redirected; its cache and the working folder are empty."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "saebench"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(FAMILY)
    forget()
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "cache")
        served.add(MODEL, model())
        served.add(SAES, saes())
        served.add(f"datasets/{DATA}", repos.text_dataset(list(documents())))
        yield served
    forget()


def forget() -> None:
    """What a new process would not know."""
    for known in (models._digest, texts.read_kept):
        known.cache_clear()


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def fetch(*arguments: str) -> int:
    forget()
    return main(["fetch", *arguments])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, but for progress bars: one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("saebench: ")]
    assert len(lines) == 1
    return lines[0]


def files_got(hub: Hub, since: int = 0) -> list[str]:
    """Paths of files whose content was asked for."""
    return [
        path.split("/resolve/")[1].partition("/")[2]
        for method, path in hub.log[since:]
        if method == "GET" and "/resolve/" in path
    ]


def in_cache(tmp_path: Path) -> list[Path]:
    """Files under their final names."""
    return [path for path in (tmp_path / "cache" / "hub").rglob("*") if "snapshots" in path.parts and not path.is_dir()]


# No network


class Portal(BaseHTTPRequestHandler):
    """Answers whatever is asked with one page."""

    status = 200

    def do_GET(self) -> None:
        page = b"<html>please log in</html>"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class Trickle(Portal):
    """Sends a letter of a header now and then, so that no read ever takes too long."""

    def do_HEAD(self) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20:
            self.wfile.write(bytes([letter]))
            self.wfile.flush()
            time.sleep(0.4)

    do_GET = do_HEAD


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] -- who asked is gone
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.socket.close()


@contextmanager
def silent() -> Iterator[str]:
    """A socket that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def full() -> Iterator[str]:
    """A socket that takes no more connections, so that packets to it are dropped: what a black hole looks like."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for client in waiting:
                client.close()


@contextmanager
def refusing() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def nameless() -> Iterator[str]:
    """A host whose name is looked up and looked up."""
    answered = Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])
        yield "http://hub.example"
        answered.set()


@contextmanager
def unknown() -> Iterator[str]:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fail)
        yield "http://hub.example"


NETWORKS: dict[str, Any] = {
    "refusing": refusing, "full": full, "lookup hangs": nameless, "lookup fails": unknown,
    "trickle": lambda: answering(Trickle),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_without_a_network_one_sentence_comes_at_once(
    hub: Hub, network: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with network() as url:
        redirect(monkeypatch.setattr, Hub(url), tmp_path / "cache")
        begun = time.perf_counter()
        assert fetch("./mine.toml") == 4
        taken = time.perf_counter() - begun
    assert taken < PATIENCE
    said = sentence(capsys)
    assert f"{url} cannot be reached, and" in said or f"{url} does not answer, and" in said
    assert "the SAE local/mine.toml/a (a/params.npz); the SAE local/mine.toml/b (b/params.npz)." in said
    assert "Fetch them where there is a network, with `saebench fetch NAME`" in said
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("status", [200, 302, 403, 500, 503])
def test_an_answer_that_is_not_the_hubs_is_one_sentence(
    hub: Hub, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As of a hotel's network, or of a hub that is down."""
    with answering(type("Page", (Portal,), {"status": status})) as url:
        redirect(monkeypatch.setattr, Hub(url), tmp_path / "cache")
        begun = time.perf_counter()
        assert fetch("./mine.toml") == 4
        assert time.perf_counter() - begun < PATIENCE
    assert sentence(capsys).startswith(f"saebench: {SAES}: ")


def test_where_the_hub_may_not_be_asked_it_is_not(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offline(monkeypatch)
    assert fetch("./mine.toml") == 4
    assert "HF_HUB_OFFLINE is set, and these files are not in the cache: the SAE local/mine.toml/a" in sentence(capsys)
    assert fetch("--sae-model", "gemma-2-2b") == 4
    said = sentence(capsys)
    assert all(f in said for f in (f"the model {MODEL} (config.json, ", "tokenizer, model.safetensors)"))
    assert fetch("--sae-corpus", DATA) == 4
    assert f"the texts {DATA} (its first documents)" in sentence(capsys)
    assert hub.log == []


def test_many_missing_files_are_still_a_sentence(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offline(monkeypatch)
    assert fetch("gemmascope/2b/layer-1/16k/*") == 4
    said = sentence(capsys)
    assert "; and " in said
    assert len(said) < 800


# The same as a user sees it, in a process of its own

WATCH = """
import atexit, os, socket, sys, time
HEAVY = ("torch", "transformers", "sae_lens", "transformer_lens", "datasets")

def told():
    with open(os.environ["TOLD"], "a") as file:
        print(*(name for name in HEAVY if name in sys.modules), file=file)

atexit.register(told)
if os.environ.get("HANG"):
    socket.getaddrinfo = lambda *_, **__: time.sleep(60)
if port := os.environ.get("PORT"):
    connect = socket.socket.connect

    def watched(self, address):
        if isinstance(address, tuple) and str(address[1]) == port:
            with open(os.environ["TOLD"] + ".who", "a") as file:
                print(os.environ.get("PYTEST_XDIST_WORKER", "controller"), file=file)
        return connect(self, address)

    socket.socket.connect = watched
"""


@dataclass
class Done:
    code: int
    out: str
    seconds: float
    heavy: list[str]
    """Modules that were imported."""
    busy: float
    """Seconds per second of work: above 1 the machine has other things to do."""


def command(tmp_path: Path, *arguments: str, cwd: Path = ROOT, **variables: str) -> Done:
    """Run in a process whose caches are in the folder, and watch it."""
    (tmp_path / "watch").mkdir(exist_ok=True)
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("HF_", "PYTEST"))
    }
    own = {
        "PYTHONPATH": f"{tmp_path / 'watch'}:{ROOT}", "TOLD": str(tmp_path / "told"), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf"),
        "SAEBENCH_CACHE": str(tmp_path / "saebench"), "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env={**kept, **own, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - begun, os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    heavy = (tmp_path / "told").read_text().splitlines()[-1].split()
    return Done(done.returncode, done.stdout + done.stderr, seconds, heavy, seconds / max(work, 1e-3))


COMMANDS: dict[str, tuple[str, ...]] = {
    "fetch": ("saebench", "fetch", "gemmascope"),
    "pytest": ("pytest", "suites/", "--sae", "gemmascope", "-p", "no:cacheprovider"),
}


@pytest.fixture(scope="module")
def startup(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Both commands where it is known that there is no network: what it takes to start."""
    folder = tmp_path_factory.mktemp("startup")
    return {name: command(folder, *arguments, HF_HUB_OFFLINE="1") for name, arguments in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_may_not_ask_ends_in_one_sentence_and_exit_4(startup: dict[str, Done], name: str) -> None:
    check_sentence(startup[name], "HF_HUB_OFFLINE is set")


def check_sentence(done: Done, reason: str) -> None:
    assert done.code == 4
    assert done.out.count("these files are not in the cache") == 1
    assert reason in done.out
    assert "the SAE gemmascope/2b/layer-12/16k (layer_12/width_16k/average_l0_82/params.npz)" in done.out
    assert "Traceback" not in done.out
    assert done.heavy == []


CASES = [("fetch", "hang"), ("pytest", "silent")]


@pytest.fixture(scope="module", params=CASES, ids=[f"{name} {network}" for name, network in CASES])
def waited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Done]:
    """A command on a network that never answers."""
    name, network = request.param
    folder = tmp_path_factory.mktemp("waited")
    if network == "hang":
        return name, command(folder, *COMMANDS[name], HF_ENDPOINT="http://hub.example", HANG="1")
    with silent() as url:
        return name, command(folder, *COMMANDS[name], HF_ENDPOINT=url)


def test_a_command_without_a_network_ends_in_one_sentence_and_exit_4(waited: tuple[str, Done]) -> None:
    check_sentence(waited[1], "http://")


def test_a_command_waits_for_an_answer_for_less_than_three_seconds(
    waited: tuple[str, Done], startup: dict[str, Done]
) -> None:
    """Beyond what it takes to start."""
    assert waited[1].seconds - startup[waited[0]].seconds < PATIENCE


# Fetching


def test_what_is_fetched_is_said_first_with_its_size(hub: Hub, tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    run = Run(resolve_all(["./mine.toml"]), Store(tmp_path / "s.jsonl"))
    run.preparation.prepare(lambda line: said.append((line, len(hub.log))))
    weights = {name: len(content) for name, content in saes().items() if name in ("a/params.npz", "b/params.npz")}
    (first, before), (second, between) = said
    assert first == f"fetching {gigabytes(sum(weights.values()))}: the SAE local/mine.toml/a, the SAE local/mine.toml/b"
    assert f"fetching {gigabytes(sum(map(len, model().values())))}" in second
    assert f"the model {MODEL}, the texts {DATA}" in second
    assert not any("/resolve/" in path for _, path in hub.log[:before])
    assert sorted(files_got(hub)[: len(weights)]) == sorted(weights)
    assert not any(f"/{MODEL}/resolve/" in path for _, path in hub.log[:between])


def test_only_what_is_needed_is_fetched(hub: Hub, tmp_path: Path) -> None:
    assert fetch("./mine.toml") == 0
    got = files_got(hub)
    assert "README.md" not in got
    assert "wide/params.npz" not in got
    once = [file for file in got if not file.endswith(".parquet")]  # which is read in parts
    assert len(once) == len(set(once))


def test_a_second_fetch_asks_nothing(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch("./mine.toml") == 0
    assert "fetching" in capsys.readouterr().out
    asked = len(hub.log)
    assert fetch("./mine.toml") == 0
    out = capsys.readouterr().out
    assert "fetching" not in out
    assert out.startswith(f"all is here: 2 SAEs, {MODEL}, {DATA}@")
    offline(monkeypatch)
    assert fetch("./mine.toml") == 0
    assert len(hub.log) == asked


def test_what_several_saes_share_is_fetched_once(hub: Hub) -> None:
    assert fetch("./mine.toml") == 0
    got = files_got(hub)
    for file in ("a/params.npz", "b/params.npz", "model.safetensors", "tokenizer.json", "config.json"):
        assert got.count(file) == 1, file
    assert sum(f"/api/models/{SAES}" in path for _, path in hub.log) <= 3
    assert sum(path.startswith(f"/api/models/{MODEL}") for _, path in hub.log) <= 3


def test_every_model_of_several_saes_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.add(OTHER, model(1))
    (tmp_path / "other.toml").write_text(FAMILY.replace(MODEL, OTHER))
    assert fetch("./mine.toml", "./other.toml") == 0
    assert missing_of_model(MODEL) == missing_of_model(OTHER) == []
    assert files_got(hub).count("model.safetensors") == 2
    assert files_got(hub).count("a/params.npz") == 1


def test_a_part_that_is_here_already_is_not_fetched_again(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("--sae-model", MODEL) == 0
    asked = len(hub.log)
    assert fetch("./mine.toml") == 0
    assert "the model" not in capsys.readouterr().out.split("\n", 2)[2].partition("all is here")[0]
    assert sorted(set(files_got(hub, asked)) & {"model.safetensors", "config.json"}) == []


@pytest.mark.parametrize("extra", ["consolidated.safetensors", "original/model.safetensors", "onnx/config.json"])
def test_a_models_weights_are_fetched_once_and_in_one_form(hub: Hub, extra: str) -> None:
    """As Mistral's, which come as one file for its own code and as shards for transformers."""
    weights, index = sharded(model()["model.safetensors"])
    files = {name: content for name, content in model().items() if name != "model.safetensors"}
    hub.add(MODEL, {**files, **weights, "model.safetensors.index.json": index, extra: save({"x": torch.zeros(9)})})
    assert fetch("--sae-model", MODEL) == 0
    assert extra not in files_got(hub)
    assert set(weights) <= set(files_got(hub))


def sharded(weights: bytes) -> tuple[dict[str, bytes], bytes]:
    """The same weights in two files, and their index."""
    tensors = load(weights)
    names = sorted(tensors)
    halves = [names[::2], names[1::2]]
    files = {f"model-0000{i}-of-00002.safetensors": half for i, half in enumerate(halves, 1)}
    index = {"metadata": {}, "weight_map": {name: file for file, half in files.items() for name in half}}
    shards = {file: save({name: tensors[name] for name in half}, {"format": "pt"}) for file, half in files.items()}
    return shards, json.dumps(index).encode()


def test_a_full_disk_is_one_sentence(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(hubs.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    assert fetch("./mine.toml") == 4
    assert "has 0.0 MB left" in sentence(capsys)
    assert files_got(hub) == []


# Downloads that are cut off


class Broken(dict[str, int]):
    """Of one file, some bytes are sent at first, and then no more."""

    def __init__(self, path: str, first: int) -> None:
        super().__init__({path: first})

    def pop(self, path: str, *_: Any) -> int:  # type: ignore[override]
        length, self[path] = self[path], 0
        return length


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client writes what it has more often, and tries again at once."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)


def test_a_download_that_breaks_off_goes_on_by_itself(hub: Hub, impatient: None) -> None:
    hub.cut["a/params.npz"] = 4500
    assert fetch("./mine.toml") == 0
    assert [header for path, header in hub.ranges if path.endswith("a/params.npz")] == ["bytes=4000-"]
    assert resolve("./mine.toml")[0].repo == SAES


@pytest.mark.parametrize("repo, file", [(SAES, "a/params.npz"), (MODEL, "model.safetensors")])
def test_a_fetch_that_broke_off_leaves_nothing_half_and_the_next_one_makes_it_whole(
    hub: Hub, impatient: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, repo: str, file: str
) -> None:
    hub.cut = Broken(file, 4500)
    assert fetch("./mine.toml") == 4
    assert repo in sentence(capsys)
    assert not any(
        path.name == Path(file).name and path.parent.name == Path(file).parent.name for path in in_cache(tmp_path)
    )
    assert Repo(repo).local(file) is None
    hub.cut, asked = {}, len(hub.log)
    assert fetch("./mine.toml") == 0
    assert files_got(hub, asked).count(file) == 1
    whole = {path for path in files_got(hub)[: len(files_got(hub)) - len(files_got(hub, asked))] if path != file}
    assert whole.isdisjoint(files_got(hub, asked)), "what came whole is not fetched again"
    found = Repo(repo).local(file)
    assert found is not None
    assert found.read_bytes() == hub.repos[repo][file]


def test_a_file_that_arrives_damaged_is_not_kept(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.corrupt["a/params.npz"] = lambda body: body[:-1] + bytes([body[-1] ^ 1])
    assert fetch("./mine.toml") == 4
    assert f"{SAES}: a/params.npz arrived damaged, and was removed from the cache" in sentence(capsys)
    assert Repo(SAES).local("a/params.npz") is None
    hub.corrupt.clear()
    assert fetch("./mine.toml") == 0


@pytest.mark.parametrize(
    "repo, file", [(SAES, "b/params.npz"), (MODEL, "model.safetensors"), (MODEL, "tokenizer.json")]
)
def test_a_file_that_is_damaged_later_is_fetched_again(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, repo: str, file: str
) -> None:
    assert fetch("./mine.toml") == 0
    found = Repo(repo).local(file)
    assert found is not None
    found.resolve().write_bytes(b"torn")
    with monkeypatch.context() as patch:
        offline(patch)
        found.resolve().write_bytes(b"torn")
        assert fetch("./mine.toml") == 4
        assert ("tokenizer" if file == "tokenizer.json" else file) in sentence(capsys)
    assert fetch("./mine.toml") == 0
    assert Repo(repo).local(file).read_bytes() == hub.repos[repo][file]  # type: ignore[union-attr]


# What is not there


def without(files: Mapping[str, bytes], *names: str) -> repos.Files:
    return {name: content for name, content in files.items() if name not in names}


LACKING = {
    "an SAE's weights": (SAES, ["a/params.npz"], ["./mine.toml"], "the SAE local/mine.toml/a: me/saes has no a/params.npz"),
    "a configuration": (MODEL, ["config.json"], ["--sae-model", MODEL], f"the model {MODEL}: {MODEL} has no config.json"),
    "a tokenizer": (MODEL, ["tokenizer.json"], ["--sae-model", MODEL], f"the model {MODEL}: {MODEL} has no tokenizer"),
    "weights": (MODEL, ["model.safetensors"], ["--sae-model", MODEL], f"the model {MODEL} has no weights as safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("repo, names, arguments, expected", LACKING.values(), ids=list(LACKING))
def test_what_a_repository_lacks_is_named_before_anything_is_downloaded(
    hub: Hub, capsys: pytest.CaptureFixture[str], repo: str, names: list[str], arguments: list[str], expected: str
) -> None:
    hub.add(repo, without({name: bytes(content) for name, content in hub.repos[repo].items()}, *names))  # type: ignore[arg-type]
    assert fetch(*arguments) == 4
    assert expected in sentence(capsys)
    assert files_got(hub) == []


def test_pickled_weights_are_not_fetched(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add(MODEL, {**without(model(), "model.safetensors"), "pytorch_model.bin": b"\x80pickle"})
    assert fetch("--sae-model", MODEL) == 4
    assert "pickled weights are never loaded" in sentence(capsys)
    assert files_got(hub) == []


def test_a_shard_that_the_index_names_and_nobody_has_is_named(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    shards, index = sharded(model()["model.safetensors"])
    lost = "model-00002-of-00002.safetensors"
    hub.add(
        MODEL, {**without(model(), "model.safetensors"), **without(shards, lost), "model.safetensors.index.json": index}
    )
    assert fetch("--sae-model", MODEL) == 4
    assert sentence(capsys) == f"saebench: the model {MODEL}: {MODEL} has no {lost}"


def test_an_sae_of_unknown_format_that_is_not_there_is_named(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("hf:me/saes/c", "--sae-model", MODEL) == 4
    assert "me/saes has no c" in sentence(capsys)
    assert files_got(hub) == []


def test_an_sae_of_unknown_format_is_found_by_its_files(hub: Hub) -> None:
    assert fetch(f"hf:me/saes/a@{HOOK}", "--sae-model", MODEL, "--sae-corpus", DATA) == 0
    assert "a/params.npz" in files_got(hub)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["hf:me/nothing/a"], "me/nothing: no such model on the hub, or it is private and HF_TOKEN is not set"),
        (["./mine.toml@v9"], "me/saes has no revision 'v9'"),
        (["--sae-model", "me/nothing"], "me/nothing: no such model on the hub"),
        (["--sae-model", f"{MODEL}@v9"], f"{MODEL} has no revision 'v9'"),
        (["--sae-corpus", "me/nothing"], "me/nothing: no such dataset on the hub"),
        (["--sae-corpus", f"{DATA}@v9"], f"{DATA} has no revision 'v9'"),
        (["--sae-model", "gemma 2"], "is no repository of the hub"),
        (["--sae-model", "./typo"], "typo"),
        ([], "name what to fetch"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_one_sentence(
    hub: Hub, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert fetch(*arguments) == 4
    assert expected in sentence(capsys)
    assert files_got(hub) == []


@pytest.mark.parametrize("name", ["./typo", "../typo", ".", "~/typo"])
def test_a_folder_that_is_no_model_is_not_looked_for_on_the_hub(
    hub: Hub, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert fetch("--sae-model", name) == 4
    assert name in sentence(capsys)
    assert hub.log == []


def test_a_gated_model_is_one_sentence(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.gated.add(MODEL)
    assert fetch("--sae-model", MODEL) == 4
    assert f"{MODEL} is gated: accept its terms at https://huggingface.co/{MODEL}, then `hf auth login`" in sentence(
        capsys
    )


# Names of models


@pytest.mark.parametrize(
    "name, full", [("gemma-2-2b", MODEL), (MODEL, MODEL), ("gpt2", GPT2), (GPT2, GPT2), ("gpt2-small", GPT2)]
)
def test_a_model_has_one_place_under_all_its_names(
    hub: Hub, name: str, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(GPT2, gpt2())
    assert fetch("--sae-model", name) == 0
    assert missing_of_model(full) == []
    assert model_folder(full) == model_folder(name)
    offline(monkeypatch)
    assert fetch("--sae-model", full) == 0


def test_a_short_name_may_have_a_revision(hub: Hub) -> None:
    first = hub.add(MODEL, model(1))
    hub.add(MODEL, model(2))
    assert fetch("--sae-model", f"gemma-2-2b@{first}") == 0
    assert revision_of_model(f"gemma-2-2b@{first}") == first
    assert (model_folder(f"{MODEL}@{first}") / "model.safetensors").read_bytes() == model(1)["model.safetensors"]


def folder_of(tmp_path: Path, files: Mapping[str, bytes], name: str = "local") -> Path:
    (tmp_path / name).mkdir()
    for file, content in files.items():
        (tmp_path / name / file).write_bytes(content)
    return tmp_path / name


def test_a_local_model_needs_no_hub(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path, model())
    for name in ("./local", "local", str(tmp_path / "local")):
        assert fetch("--sae-model", name) == 0
    assert hub.log == []
    assert capsys.readouterr().out.count("all is here: 0 SAEs") == 3


@pytest.mark.parametrize(
    "lacking, expected",
    [
        (["config.json"], "no config.json"), (["tokenizer.json"], "no tokenizer"),
        (["model.safetensors"], "no model.safetensors"), (list(model()), "no config.json"),
    ],
)  # fmt: skip
def test_a_folder_that_lacks_something_is_one_sentence(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], lacking: list[str], expected: str
) -> None:
    folder_of(tmp_path, without(model(), *lacking))
    assert fetch("--sae-model", "./local") == 4
    said = sentence(capsys)
    assert said.startswith("saebench: the model ./local is no folder of a language model: it has ")
    assert expected in said


# Revisions


def pinned(hub: Hub) -> tuple[str, str]:
    """Two commits of the SAEs, of which main is the second."""
    first = hub.add(SAES, saes(1))
    return first, hub.add(SAES, saes(2))


def test_a_pinned_sae_stays_what_it_was(hub: Hub) -> None:
    first, second = pinned(hub)
    assert fetch(f"./mine.toml@{first}", "./mine.toml") == 0
    old, new = (resolve(f"./mine.toml{at}")[0] for at in (f"@{first}", ""))
    assert [path.read_bytes() for path in here(old)] == [saes(1)["a/params.npz"]]
    assert [path.read_bytes() for path in here(new)] == [saes(2)["a/params.npz"]]
    third = hub.add(SAES, saes(3))
    asked = len(hub.log)
    assert fetch(f"./mine.toml@{first}", "./mine.toml") == 0
    assert len(hub.log) == asked, "what was fetched stays as it is until it is asked for by a revision"
    assert fetch(f"./mine.toml@{third}") == 0
    digests = [digest_of_files(digested(resolve(f"./mine.toml@{at}")[0])) for at in (first, second, third)]
    assert len(set(digests)) == 3
    assert needs.revisions(old, MODEL, None) == {"sae": first, "model": hub.commit(MODEL, "main")[0]}


def test_a_pinned_model_stays_what_it_was_and_has_a_digest_of_its_own(hub: Hub) -> None:
    first = hub.commit(MODEL, "main")[0]
    second = hub.add(MODEL, model(1))
    names = [f"{MODEL}@{first}", f"{MODEL}@{second}", MODEL]
    for name in names:
        assert fetch("--sae-model", name) == 0
    assert [revision_of_model(name) for name in names] == [first, second, second]
    digests = [models.subject_digest(name, centred=False, dtype="float32") for name in names]
    assert digests[0] != digests[1] == digests[2]


def test_branches_that_begin_alike_are_several_saes(hub: Hub) -> None:
    """As `step-100000-seed-1` and `step-100000-seed-2`: the second would be dropped without a word."""
    branches = [f"step-100000-seed-{seed}" for seed in (1, 2)]
    specs = resolve_all([f"hf:me/saes/a@{branch}" for branch in branches])
    assert [spec.revision for spec in specs] == branches
    assert len({spec.name for spec in specs}) == 2


def test_a_control_of_a_pinned_sae_is_of_that_very_revision(hub: Hub, tmp_path: Path) -> None:
    first, _ = pinned(hub)
    name = f"gemmascope/2b/layer-12/16k@{first}~random_l0"
    run = Run(resolve_all([name]), Store(tmp_path / "s.jsonl"))
    assert run.specs[0].own.revision == first


def test_a_control_may_be_of_an_sae_of_an_own_family(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("./mine.toml~random_l0") == 0
    assert {"a/params.npz", "b/params.npz"} <= set(files_got(hub))


# SAEs that do not fit


@pytest.fixture
def fitting(hub: Hub, tmp_path: Path) -> Hub:
    """Models of another width, and of another tokenizer, beside the SAEs' own."""
    hub.add(OTHER, wider())
    hub.add(GPT2, gpt2())
    hub.add("me/short", repos.gemma2_model(WIDTH, 1, heads=2, head_dim=12, positions=128))
    (tmp_path / "wide.toml").write_text(WIDE)
    (tmp_path / "late.toml").write_text(LATE)
    return hub


MISFITS = {
    "another width": (["./mine.toml", "--sae-model", OTHER], f"local/mine.toml/a reads 32 dimensions, and {OTHER} has 48: it is an SAE of another model"),
    "fewer layers": (["./mine.toml", "--sae-model", "me/short"], f"local/mine.toml/a reads {HOOK}, and me/short has 1 layers, 0 to 0"),
    "another tokenizer": (["./mine.toml", "--sae-model", "gpt2"], f"local/mine.toml/a was trained on {MODEL}, whose tokenizer is not that of {GPT2}"),
    "its own width": (["./wide.toml"], f"local/wide.toml/wide reads 48 dimensions, and {MODEL} has 32"),
    "its own layers": (["./late.toml"], f"local/late.toml/late reads blocks.7.hook_resid_post, and {MODEL} has 3 layers, 0 to 2"),
}  # fmt: skip


@pytest.mark.parametrize("arguments, expected", MISFITS.values(), ids=list(MISFITS))
def test_an_sae_that_does_not_fit_is_one_sentence(
    fitting: Hub, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert fetch("./mine.toml") == 0
    assert fetch(*arguments) == 4
    assert expected in sentence(capsys)


def test_another_tokenizer_is_noticed_though_the_own_model_was_never_here(
    fitting: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who names another model has no reason to have fetched the SAE's own."""
    assert fetch("./mine.toml", "--sae-model", "gpt2", "--sae-corpus", DATA) == 4
    assert "whose tokenizer is not that of" in sentence(capsys)
    assert not any(f"/{MODEL}/" in path and "model.safetensors" in path for _, path in fitting.log)


def test_a_model_with_the_same_tokenizer_may_take_its_place(hub: Hub) -> None:
    hub.add(OTHER, model(1))
    assert fetch("./mine.toml") == 0
    assert fetch("./mine.toml", "--sae-model", OTHER) == 0


def test_what_does_not_fit_is_told_before_anything_heavy_is_imported(fitting: Hub, tmp_path: Path) -> None:
    assert fetch("./wide.toml") == 4
    own = {**environment(fitting, tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    folder = str(tmp_path / "wide.toml")
    for arguments in (("saebench", "fetch", folder), ("pytest", "suites/", "--sae", folder, "-p", "no:cacheprovider")):
        done = command(tmp_path, *arguments, **own)
        assert done.code == 4
        assert f"wide.toml/wide reads 48 dimensions, and {MODEL} has 32: it is an SAE of another model" in done.out
        assert done.heavy == []


# One SAE of several


def prepared(tmp_path: Path, *patterns: str, model: str | None = None) -> tuple[Run, list[str]]:
    run, said = Run(resolve_all(patterns), Store(tmp_path / "s.jsonl"), Options(model=model, texts=DATA)), list[str]()
    run.preparation.prepare(said.append)
    return run, said


def check_left_out(run: Run, said: list[str], name: str, sentence: str) -> None:
    """It alone is unreadable, and that is said once."""
    assert list(run.holder.unreadable) == [name]
    assert sentence in run.holder.unreadable[name]
    assert name in run.holder.unreadable[name]
    assert "\n" not in run.holder.unreadable[name]
    assert said.count(run.holder.unreadable[name]) == 1
    run.preparation.prepare(said.append)
    assert said.count(run.holder.unreadable[name]) == 1


def test_one_that_a_repository_lacks_leaves_the_others(hub: Hub, tmp_path: Path) -> None:
    hub.add(SAES, without(saes(), "a/params.npz"))
    run, said = prepared(tmp_path, "./mine.toml")
    check_left_out(run, said, "local/mine.toml/a", "me/saes has no a/params.npz")
    assert "b/params.npz" in files_got(hub)


def test_one_that_cannot_be_fetched_leaves_those_that_are_here(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch("./mine.toml/b") == 0
    with silent() as url:
        redirect(monkeypatch.setattr, Hub(url), tmp_path / "cache")
        begun = time.perf_counter()
        run, said = prepared(tmp_path, "./mine.toml")
        assert time.perf_counter() - begun < PATIENCE
    check_left_out(run, said, "local/mine.toml/a", "is not in the cache (a/params.npz), and the hub cannot be asked")


def test_one_that_does_not_fit_leaves_the_others(fitting: Hub, tmp_path: Path) -> None:
    run, said = prepared(tmp_path, "./mine.toml/a", "./late.toml")
    check_left_out(run, said, "local/late.toml/late", "reads blocks.7.hook_resid_post, and")
    with pytest.raises(ValueError, match=r"late.toml/late reads blocks.7.*; 1 more SAEs cannot be read either"):
        prepared(tmp_path, "./late.toml", "./wide.toml")


def test_one_that_is_damaged_leaves_the_others(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "lone.npz").write_bytes(sae()[:100])
    run, said = prepared(tmp_path, "./mine.toml/a", "./lone.npz", "./mine.toml/b~pca")
    check_left_out(run, said, "local/lone.npz", "lone.npz is damaged")
    assert [spec.name for spec in run.preparation.readable()] == ["local/mine.toml/a", "local/mine.toml/b~pca"]


def test_a_control_of_one_that_is_damaged_is_left_out_too(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "lone.npz").write_bytes(sae()[:100])
    run, _ = prepared(tmp_path, "./mine.toml/a", "./lone.npz~pca")
    assert "lone.npz is damaged" in run.holder.unreadable["local/lone.npz~pca"]


def test_one_that_does_not_say_its_hook_leaves_the_others(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "lone.npz").write_bytes(sae())
    run, said = prepared(tmp_path, "./mine.toml/a", "./lone.npz", model=MODEL)
    check_left_out(run, said, "local/lone.npz", "name it, as in --sae local/lone.npz@blocks.8.hook_resid_post")
    run, said = prepared(tmp_path, "./mine.toml/a", f"./lone.npz@{HOOK}", model=MODEL)
    assert not run.holder.unreadable


def test_what_concerns_all_still_ends_the_run(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="me/nothing: no such model"):
        prepared(tmp_path, "./mine.toml", model="me/nothing")


HOOKS = {
    "no hook": ("./lone.npz", "local/lone.npz does not say which hook it reads"),
    "no such hook": (f"./lone.npz@{HOOK}s", f"transformer-lens has no hook '{HOOK}s'. Did you mean '{HOOK}'?"),
    "no such layer": ("./lone.npz@blocks.7.hook_resid_post", "local/lone.npz@blocks.7.hook_resid_post reads blocks.7.hook_resid_post, and"),
    "no such hook in a file": ("./typo.toml", f"typo.toml/x: transformer-lens has no hook '{HOOK}s'"),
}  # fmt: skip


@pytest.mark.parametrize("pattern, expected", HOOKS.values(), ids=list(HOOKS))
def test_a_wrong_hook_is_told_before_anything_heavy_is_imported(
    hub: Hub, tmp_path: Path, pattern: str, expected: str
) -> None:
    assert fetch("--sae-model", MODEL, "--sae-corpus", DATA) == 0
    (tmp_path / "lone.npz").write_bytes(sae())
    (tmp_path / "typo.toml").write_text(f'[sae.x]\nlocation = "lone.npz"\nhook = "{HOOK}s"\n')
    own = {**environment(hub, tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    arguments = ["--sae", pattern, "--sae-model", MODEL, "--sae-corpus", DATA, "-p", "no:cacheprovider"]
    done = command(tmp_path, "pytest", str(ROOT / "suites"), *arguments, cwd=tmp_path, **own)
    assert (done.code, done.heavy) == (4, [])
    assert expected in done.out


# Whole runs


@pytest.fixture
def project(hub: Hub, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with SAEs, from which the suites are run as from a checkout."""
    for name in ("sae_lens", "transformer_lens.model_bridge", "saebench.making.control_training", "saebench.saes.loaders.files", "saebench.saes.loaders.python",
                 "saebench.metrics.reconstruction", "saebench.evidence.trace"):  # fmt: skip
        importlib.import_module(name)  # pytester forgets what a run imported, but not what is here already
    pytester.makefile(".toml", mine=FAMILY)
    pytester.makepyfile(my_saes=PYTHON)
    monkeypatch.syspath_prepend(pytester.path)
    monkeypatch.delitem(sys.modules, "my_saes", raising=False)
    return pytester


def run_suite(
    project: pytest.Pytester, *arguments: str, select: str = "fvu or l0", file: str = "s.jsonl"
) -> pytest.RunResult:
    forget()
    suite = str(ROOT / "suites" / "test_reconstruction.py")
    options = [
        "--sae-budget",
        "smoke",
        "--sae-device",
        "cpu",
        "--sae-scores",
        str(project.path / file),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    return project.runpytest_inprocess(suite, "-k", select, *options, *arguments)


def scores(project: pytest.Pytester, file: str = "s.jsonl") -> list[Score]:
    return Store(project.path / file).read()


def test_what_was_fetched_is_run_without_a_single_request(
    project: pytest.Pytester, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch("./mine.toml") == 0
    asked = len(hub.log)
    offline(monkeypatch)
    assert run_suite(project, "--sae", "./mine.toml").ret == 0
    assert len(hub.log) == asked
    found = scores(project)
    assert {s.sae for s in found} == {"local/mine.toml/a", "local/mine.toml/b"}
    commits = {"sae": SAES, "model": MODEL, "corpus": f"datasets/{DATA}"}
    assert all(s.revisions == {what: hub.commit(repo, "main")[0] for what, repo in commits.items()} for s in found)
    assert {s.model for s in found} == {MODEL}
    assert {s.corpus.split("@")[0] for s in found} == {DATA}


def test_a_finished_run_is_resumed_without_a_look_at_any_weights(
    project: pytest.Pytester, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What loading told is kept: of SAEs of the hub by their commit, of local files by their content."""
    assert fetch("./mine.toml") == 0
    facts = f'model = "{MODEL}"\ncorpus = "{DATA}"\nhook = "{HOOK}"\n'
    (project.path / "own.toml").write_text(f'{facts}[sae.alone]\nlocation = "alone.npz"\n')
    (project.path / "alone.npz").write_bytes(sae(0))
    names = ["--sae", "./mine.toml", "--sae", "./own.toml"]
    assert run_suite(project, *names).ret == 0
    before = len(scores(project))

    def load(*_: object) -> NoReturn:
        pytest.fail("an SAE is loaded")

    with monkeypatch.context() as patch:
        patch.setattr("saebench.saes.loaders.load_sae", load)
        result = run_suite(project, *names)
        assert result.ret == 0
        result.stdout.fnmatch_lines([f"*{before} scores expected, {before} recorded ({before} from earlier runs)*"])
    assert len(scores(project)) == before
    (project.path / "alone.npz").write_bytes(sae(1))
    assert run_suite(project, *names).ret == 0
    assert len(scores(project)) == before + 2


def test_scores_of_two_revisions_are_two_measurements(project: pytest.Pytester, hub: Hub) -> None:
    first, second = pinned(hub)
    names = [f"./mine.toml@{first}", "./mine.toml"]
    assert run_suite(project, *(option for name in names for option in ("--sae", name)), select="fvu").ret == 0
    found = scores(project)
    assert [s.revisions["sae"] for s in found] == [first, first, second, second]
    assert len({s.identity() for s in found}) == 4
    assert len({s.sae for s in found}) == 4
    hub.add(SAES, saes(3))
    result = run_suite(project, "--sae", "./mine.toml", select="fvu")
    result.stdout.fnmatch_lines(["*2 recorded (2 from earlier runs)*"])


def test_scores_of_two_revisions_of_a_model_are_two_measurements(project: pytest.Pytester, hub: Hub) -> None:
    first = hub.commit(MODEL, "main")[0]
    second = hub.add(MODEL, model(1))
    options = ["--sae", "my_saes:OfHub", "--sae-corpus", DATA]
    for name in (f"{MODEL}@{first}", MODEL):
        assert run_suite(project, *options, "--sae-model", name, select="l0").ret == 0
    found = scores(project)
    assert [s.revisions["model"] for s in found] == [first, second]
    assert len({s.identity() for s in found}) == 2


def test_a_local_model_and_file_need_no_hub(
    project: pytest.Pytester, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    folder_of(project.path, model())
    (project.path / "texts.txt").write_text("\n\n".join(documents()))
    result = run_suite(
        project, "--sae", "my_saes:Identity", "--sae-model", "./local", "--sae-corpus", "texts.txt", select="l0"
    )
    assert result.ret == 4, "the object does not say which hook it reads"
    result.stdout.fnmatch_lines(["*my_saes:Identity does not say which hook it reads*"])
    (project.path / "my_saes.py").write_text(PYTHON.replace('"gemma-2-2b"', '"./local"'))
    monkeypatch.delitem(sys.modules, "my_saes", raising=False)
    assert run_suite(project, "--sae", "my_saes:OfHub", "--sae-corpus", "texts.txt", select="l0").ret == 0
    assert [s.revisions for s in scores(project)] == [{}]
    assert hub.log == []


def test_a_hook_that_only_an_object_names_is_checked_before_its_model_is_loaded(
    project: pytest.Pytester, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch("--sae-model", MODEL, "--sae-corpus", DATA) == 0
    monkeypatch.setattr(subject, "load_subject", lambda *_, **__: pytest.fail("a model is loaded"))
    for hook, expected in ((f"{HOOK}s", "has no hook"), ("blocks.7.hook_resid_post", "has 3 layers, 0 to 2")):
        (project.path / "my_saes.py").write_text(PYTHON.replace(HOOK, hook))
        monkeypatch.delitem(sys.modules, "my_saes", raising=False)
        result = run_suite(project, "--sae", "my_saes:OfHub", "--sae-corpus", DATA, select="l0")
        result.stdout.fnmatch_lines([f"*my_saes:OfHub*{expected}*"])


def test_a_hook_behind_a_name_wins_over_what_an_object_says(project: pytest.Pytester, hub: Hub) -> None:
    assert fetch("--sae-model", MODEL, "--sae-corpus", DATA) == 0
    names = ["my_saes:OfHub", "my_saes:OfHub@blocks.2.hook_resid_post"]
    options = [option for name in names for option in ("--sae", name)]
    assert run_suite(project, *options, "--sae-corpus", DATA, select="test_cosine", file="hooks.jsonl").ret == 0
    assert [(s.sae, s.hook) for s in scores(project, "hooks.jsonl")] == [
        (names[0], HOOK), (names[1], "blocks.2.hook_resid_post"),
    ]  # fmt: skip


def test_a_hook_that_a_model_has_not_names_the_sae(project: pytest.Pytester, hub: Hub) -> None:
    hook = "blocks.1.hook_router_scores"
    result = run_suite(project, "--sae", f"my_saes:Identity@{hook}", "--sae-model", MODEL, "--sae-corpus", DATA)
    result.stdout.fnmatch_lines([f"*my_saes:Identity@{hook}: {MODEL} has no hook '{hook}'*"])


def test_a_notice_is_printed_once(project: pytest.Pytester, hub: Hub) -> None:
    hub.add(OTHER, model(1))
    hub.add(MODEL, without(model(), "tokenizer.json"))
    result = run_suite(project, "--sae", "./mine.toml/a", "--sae-model", OTHER, select="l0")
    said = result.stdout.str()
    for notice in (f"the tokenizer of {MODEL} is not here", "fetching", "unscored"):
        lines = [line for line in said.splitlines() if line.startswith("saebench: ") and notice in line]
        assert len(lines) == len(set(lines)), lines
    assert said.count(f"saebench: the tokenizer of {MODEL} is not here") == 1


def test_what_an_object_names_is_not_fetched_in_the_middle_of_a_test(project: pytest.Pytester, hub: Hub) -> None:
    """Which model it reads is known when it is made: what is missing then is a sentence with the command that brings it."""
    result = run_suite(project, "--sae", "my_saes:OfHub", "--collect-only")
    assert result.ret == 0
    result = run_suite(project, "--sae", "my_saes:OfHub")
    assert result.ret == 4
    result.stdout.fnmatch_lines(
        [f"saebench: my_saes:OfHub reads the model {MODEL}, *: saebench fetch --sae-model {MODEL}"]
    )
    assert "Traceback" not in result.stdout.str()
    assert hub.log == []
    assert fetch("--sae-model", MODEL, "--sae-corpus", DATA) == 0
    asked = len(hub.log)
    assert run_suite(project, "--sae", "my_saes:OfHub").ret == 0
    found = scores(project)
    assert {(s.model, s.revisions.get("model")) for s in found} == {(MODEL, hub.commit(MODEL, "main")[0])}
    assert len(hub.log) == asked


def test_a_run_without_a_network_ends_before_its_first_test(
    project: pytest.Pytester, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as url:
        redirect(monkeypatch.setattr, Hub(url), project.path / "cache")
        begun = time.perf_counter()
        result = run_suite(project, "--sae", "./mine.toml")
        assert time.perf_counter() - begun < PATIENCE
    assert result.ret == 4
    said = result.stdout.str() + result.stderr.str()
    assert (
        said.count(
            "these files are not in the cache: the SAE local/mine.toml/a (a/params.npz); the SAE local/mine.toml/b"
        )
        == 1
    )
    assert "Traceback" not in said
    assert scores(project) == []


def test_a_control_that_is_not_made_is_unscored_and_no_crash(project: pytest.Pytester, hub: Hub) -> None:
    """None is trained at this budget."""
    (project.path / "texts.txt").write_text("\n\n".join(documents()))
    result = run_suite(
        project, "--sae", "my_saes:OfHub~frozen", "--sae-model", MODEL, "--sae-corpus", "texts.txt", select="fvu"
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*E  *")
    result.stdout.fnmatch_lines(["saebench: 1 scores expected, 0 recorded*1 unscored*"])


# Several workers


def test_of_several_workers_only_the_controller_fetches(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "my_saes.py").write_text(PYTHON)
    (tmp_path / "test_two.py").write_text("".join(f"def test_{i}(sae): assert sae\n" for i in range(4)))
    arguments = [
        "pytest", "test_two.py", "-n", "2", "-p", "saebench.plugin", "-p", "no:cacheprovider", "--sae", "my_saes:OfHub",
        "--sae-model", "gemma-2-2b", "--sae-corpus", DATA, "--sae-device", "cpu",
    ]  # fmt: skip
    path = f"{tmp_path / 'watch'}:{ROOT}:{tmp_path}"
    own = {**environment(hub, tmp_path / "cache"), "PORT": hub.url.rpartition(":")[2], "PYTHONPATH": path}
    done = command(tmp_path, *arguments, cwd=tmp_path, **own)
    assert "4 passed" in done.out, done.out
    assert set((tmp_path / "told.who").read_text().split()) == {"controller"}
    got = files_got(hub)
    assert got.count("model.safetensors") == got.count("tokenizer.json") == 1
    assert done.out.count("saebench: fetching") == 1


def test_without_a_network_no_worker_gets_to_a_test(tmp_path: Path) -> None:
    done = command(tmp_path, *COMMANDS["pytest"], "-n", "2", HF_HUB_OFFLINE="1")
    check_sentence(done, "HF_HUB_OFFLINE is set")
