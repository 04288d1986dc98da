"""`saebench doctor`: what is installed, what it runs on, what is cached, and what would be downloaded."""

import argparse
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from saebench.catalogue import registry
from saebench.catalogue.spec import SAESpec
from saebench.commands import DEFAULT_SCORES, Commands, put
from saebench.hub.needs import Made, Need, of_corpus, of_model, of_sae
from saebench.record.naming import shown
from saebench.record.places import LIMIT, ORGANISM, cache_dir, cache_limit, fixtures_dir, suites_dir
from saebench.record.store import Store
from saebench.record.version import __version__
from saebench.run.models import Models
from saebench.run.run import Run

PACKAGES = ("torch", "transformers", "transformer-lens", "sae-lens", "pytest")
OPTIONAL = ("pytest-xdist", "scikit-learn", "playwright")


def add(commands: Commands) -> None:
    parser = commands.add_parser("doctor", help="what is installed, what is cached, what would be downloaded")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as for pytest --sae (default: what comes along)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    for line in lines(arguments.names or [ORGANISM]):
        put(shown(line, 2_000))
    return 0


def lines(names: list[str]) -> Iterator[str]:
    yield f"saebench {__version__}, Python {platform.python_version()} on {platform.machine()}"
    yield f"packages: {', '.join(_version(name) for name in PACKAGES)}"
    yield f"optional: {', '.join(_version(name) for name in OPTIONAL)}"
    yield f"device: {_device()}"
    yield f"suites: {suites_dir()}"
    yield f"families: {fixtures_dir()}"
    limit = "no limit" if (most := cache_limit()) is None else f"at most {most / 1e9:g} GB of tensors"
    yield f"cache: {cache_dir()}, {_size(cache_dir())}, {limit} (SAEBENCH_CACHE names another, {LIMIT} sets one)"
    specs = registry.resolve_all(names)
    yield f"asked for: {', '.join(names)}: {len(specs)} SAEs"
    models = Run(specs, Store(DEFAULT_SCORES)).models
    needs = [need for spec in specs for need in _needs(spec.own, models)]
    lacking = list(dict.fromkeys(need.what for need in needs if need.lacking()))
    here = list(dict.fromkeys(need.what for need in needs if need.what not in lacking))
    yield f"here: {_listed(here) or ('nothing of it' if lacking else 'all that is needed came with saebench')}"
    yield f"to be downloaded: {_listed(lacking) or 'nothing'}"


def _needs(spec: SAESpec, models: Models) -> list[Need | Made]:
    return [*of_sae(spec), *of_model(models.name(spec)), *of_corpus(models.source(spec))]


def _listed(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} is not installed"


def _device() -> str:
    import psutil
    import torch

    memory = f"{psutil.virtual_memory().available / 1e9:.0f} of {psutil.virtual_memory().total / 1e9:.0f} GB free"
    cores = f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory}"
    if not torch.cuda.is_available():
        return f"{cores}; no GPU"
    free, total = torch.cuda.mem_get_info()
    return f"cuda, {torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free; {cores}"


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "not there yet"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e9:.2f} GB"
