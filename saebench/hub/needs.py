"""What a run needs of the hub: what is here is checked, what is missing is fetched, or said to be missing at once."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from saebench.catalogue.hooks import misnamed
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.weights import header, inspect
from saebench.hub import hub
from saebench.hub.files import file_of, format_of, here, missing, names_of, place_of, repo_of
from saebench.hub.hub import Repo, Wanted, gigabytes
from saebench.hub.models import (  # fmt: skip
    CONFIG,
    PATTERNS,
    TOKENIZERS,
    WEIGHTS,
    layers_of,
    missing_of_model,
    model_folder,
    repo_of_model,
    revision_of_model,
    width_of,
)
from saebench.hub.texts import HubSource, Source
from saebench.record.json_files import read_json
from saebench.record.naming import one_sentence

Say = Callable[[str], None]
ESSENTIAL = {CONFIG: {CONFIG}, "tokenizer": set(TOKENIZERS)}
"""What a model cannot be without, beside its weights, and the files that are it."""
FULL_WIDTH = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "hook_embed")
"""Hooks whose activation has the dimensions of the residual stream."""


@dataclass(frozen=True)
class Need:
    """Files of a repository that one thing needs."""

    what: str
    repo: Repo
    patterns: tuple[str, ...]
    lacking: Callable[[], list[str]]
    """Files that have to be here, and are not."""
    guessed: bool = False
    """Whether its format is not known yet, so that some of the files need not exist."""
    keep: Callable[[str], None] | None = None
    """For texts, what fetches them at a commit, since only a part of the data set is kept."""


def of_sae(spec: SAESpec) -> list[Need]:
    repo = repo_of(spec)
    if repo is None:
        return []
    # As it is known now: what is found to be damaged is removed, and would not tell any more.
    own = replace(spec, format=format_of(spec))
    return [Need(f"the SAE {spec.name}", repo, tuple(names_of(own)), lambda: missing(own), own.format is None)]


@one_sentence
def of_model(name: str) -> list[Need]:
    repo = repo_of_model(name)
    if repo is None:
        if lacking := missing_of_model(name):
            raise ValueError(f"the model {name} is no folder of a language model: it has no {', no '.join(lacking)}")
        return []
    return [Need(f"the model {repo}", repo, PATTERNS, lambda: missing_of_model(name))]


def of_tokenizer(name: str) -> list[Need]:
    """The tokenizer of a model alone, to be compared with another's."""
    repo = repo_of_model(name)
    if repo is None:
        return []
    lacking = lambda: [] if repo.local(TOKENIZERS[0]) else [TOKENIZERS[0]]  # noqa: E731
    return [Need(f"the tokenizer of {repo}", repo, (TOKENIZERS[0],), lacking)]


@one_sentence
def of_corpus(source: Source | None) -> list[Need]:
    """The texts of a data set; a file of texts is read, so that what is wrong with it is said at once."""
    if not isinstance(source, HubSource):
        if source is not None:
            source.texts()
        return []
    lacking: list[str] = [] if source.here else ["its first documents"]
    return [Need(f"the texts {source.repo}", source.repo, (), lambda: lacking, keep=source.keep)]


@one_sentence
def ensure(needs: Iterable[Need], say: Say) -> None:
    """Fetch what is missing, after saying how much it is; check what is here.

    Raises OSError with one sentence, in less than three seconds where the hub cannot be reached.
    """
    needs = list(needs)
    if absent := [need for need in needs if need.lacking()]:
        _check_reachable(absent)
        _fetch(absent, say)
        for need in absent:
            if need.keep is None and (lacking := need.lacking()):
                raise OSError(f"{need.what}: {need.repo} has no {', no '.join(lacking)}")
    for need in needs:
        if damaged := [file for file in _files_here(need) if hub.drop_damaged(need.repo, file)]:
            say(f"{need.what}: {', '.join(damaged)} was damaged in the cache, and is fetched again")
            _check_reachable([need])
            _fetch([need], say)


def _check_reachable(absent: list[Need]) -> None:
    try:
        hub.check_reachable()
    except hub.Unreachable as reason:
        listed = "; ".join(f"{need.what} ({', '.join(need.lacking())})" for need in absent[:3])
        more = f"; and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise hub.Unreachable(
            f"{reason}, and these files are not in the cache: {listed}{more}. Fetch them where there is a network, with"
            " `saebench fetch NAME`"
        ) from None


def _fetch(absent: list[Need], say: Say) -> None:
    """Say how much it is, then fetch it; each repository once, whatever needs it."""
    repos = dict.fromkeys(need.repo for need in absent)
    plans = {repo: hub.plan(repo, [p for need in absent if need.repo == repo for p in need.patterns]) for repo in repos}
    for need in absent:
        _check_listed(need, plans[need.repo])
    say(f"fetching {gigabytes(sum(plan.size for plan in plans.values()))}: {', '.join(need.what for need in absent)}")
    for repo, wanted in plans.items():
        keepers = [need.keep for need in absent if need.repo == repo and need.keep is not None]
        for keep in keepers:
            keep(wanted.commit)
        if not keepers:
            hub.fetch(wanted)


def _check_listed(need: Need, wanted: Wanted) -> None:
    """Say what a repository lacks before anything is downloaded."""
    if need.keep is not None:
        return
    known = need.patterns != PATTERNS
    absent = [file for file in need.lacking() if known and not need.guessed and file not in wanted.files]
    if absent or not wanted.files:
        raise OSError(f"{need.what}: {need.repo} has no {', no '.join(absent or need.lacking())}")
    if not known and (lacking := [name for name, files in ESSENTIAL.items() if not files & set(wanted.files)]):
        raise OSError(f"{need.what}: {need.repo} has no {', no '.join(lacking)}")
    if not known and not any(file.endswith(".safetensors") for file in wanted.files):
        raise OSError(f"{need.what} has no weights as safetensors ({WEIGHTS}), and pickled weights are never loaded")


def _files_here(need: Need) -> list[str]:
    """Names of the need's files that are in the cache; those of a model are what its folder holds."""
    if need.patterns != PATTERNS:
        return [file for file in need.patterns if need.repo.local(file) is not None]
    config = need.repo.local(CONFIG)
    return [] if config is None else [p.name for p in config.parent.iterdir() if p.suffix in (".json", ".safetensors")]


@one_sentence
def check_files(spec: SAESpec) -> None:
    """Look at the headers of an SAE's weights. Raises ValueError with one sentence if they are not to be trusted."""
    for path in here(spec):
        if path.suffix in (".safetensors", ".npz", ".pt", ".pth"):
            inspect(path)


@one_sentence
def model_of(spec: SAESpec) -> str | None:
    """Language model of an SAE, from its files where its name does not say."""
    if spec.model is not None or spec.loader != "files":
        return spec.model
    place, form = place_of(spec), format_of(spec)
    where = {
        "sae_lens": (f"{place}/cfg.json", "metadata", "model_name"),
        "dictionary_learning_1": (f"{place}/config.json", "trainer", "lm_name"),
        "sparsify": (f"{place.rpartition('/')[0]}/config.json", "", "model"),
        "params_safetensors": (f"{place}/config.json", "", "model_name"),
    }.get(form or "")
    path = where and file_of(spec, where[0].removeprefix("/"))
    if not where or path is None:
        return None
    config = read_json(path)
    inner = config.get(where[1])
    found = (inner if isinstance(inner, dict) else config).get(where[2])
    return str(found) if found else None


@one_sentence
def check_fit(spec: SAESpec, model: str, *, chosen: bool) -> None:
    """Raise ValueError with one sentence where an SAE cannot be one of a model: its layer, width or tokenizer.

    `chosen` is whether the user named the model, so that it may not be the SAE's own.
    """
    layers, width = layers_of(model), width_of(model)
    for hook in filter(None, (spec.hook, spec.hook_out)):
        if told := misnamed(hook):
            raise ValueError(f"{spec.name}: {told}")
        layer = hook.split(".")[1] if hook.startswith("blocks.") else ""
        if layers is not None and layer.isdecimal() and int(layer) >= layers:
            raise ValueError(f"{spec.name} reads {hook}, and {model} has {layers} layers, 0 to {layers - 1}")
    d_in = _d_in(spec)
    if width is not None and d_in is not None and str(spec.hook).endswith(FULL_WIDTH) and d_in != width:
        raise ValueError(f"{spec.name} reads {d_in} dimensions, and {model} has {width}: it is an SAE of another model")
    if chosen and spec.model is not None and (own := _vocabulary(spec.model)) and own != (_vocabulary(model) or own):
        raise ValueError(f"{spec.name} was trained on {spec.model}, whose tokenizer is not that of {model}")


def _d_in(spec: SAESpec) -> int | None:
    """Dimensions that the SAE reads: by its files if they are here and say so."""
    for path in here(spec) if spec.loader == "files" else []:
        shapes = {n: a.shape for n, a in header(path).items()} if path.suffix in (".npz", ".safetensors") else {}
        for name, axis in (("W_enc", 0), ("w_enc", 0), ("encoder.weight", 1)):
            if len(shapes.get(name, ())) == 2:
                return shapes[name][axis]
    told = _config(spec, "trainer").get("activation_dim") if format_of(spec) == "dictionary_learning_1" else None
    return told if isinstance(told, int) else spec.d_in


def _config(spec: SAESpec, table: str) -> dict[str, Any]:
    path = file_of(spec, f"{place_of(spec)}/config.json".removeprefix("/"))
    found = read_json(path).get(table) if path is not None else None
    return found if isinstance(found, dict) else {}


def _vocabulary(model: str) -> Any:
    """Tokens of a model by id, or None where its tokenizer is not here."""
    try:
        repo = repo_of_model(model)
        path = model_folder(model) / TOKENIZERS[0] if repo is None else repo.local(TOKENIZERS[0])
        return path and json.loads(path.read_text(encoding="utf-8")).get("model", {}).get("vocab")
    except (OSError, ValueError, AttributeError):
        return None


def revisions(spec: SAESpec, model: str, source: Source | None) -> dict[str, str]:
    """Commits of what a score was measured with, as far as it came from the hub."""
    repo = repo_of(spec)
    found = {
        "sae": repo.commit() if repo is not None else "", "model": revision_of_model(model),
        "corpus": source.revision if isinstance(source, HubSource) else "",
    }  # fmt: skip
    return {name: commit for name, commit in found.items() if commit}
