"""What a run needs of the hub: what is here is checked, what is missing is fetched, or said to be missing at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from saebench.catalogue.spec import SAESpec
from saebench.hub import hub
from saebench.hub.cloze import ClozeSource, HubCloze
from saebench.hub.files import format_of, missing, names_of, repo_of
from saebench.hub.gguf import bring, is_gguf
from saebench.hub.hub import Repo, Wanted, gigabytes
from saebench.hub.hub_labels import HubLabels
from saebench.hub.labels import FileLabels, Labels, WheelLabels
from saebench.hub.models import (  # fmt: skip
    CONFIG,
    PATTERNS,
    TOKENIZERS,
    WEIGHTS,
    missing_of_model,
    repo_of_model,
    revision_of_model,
)
from saebench.hub.texts import HubSource, Source
from saebench.hub.wheel_texts import WheelSource
from saebench.hub.wheels import Packaged, is_packaged, packaged
from saebench.record.naming import one_sentence, shown_model

Say = Callable[[str], None]
ESSENTIAL = {CONFIG: {CONFIG}, "tokenizer": set(TOKENIZERS)}
"""What a model cannot be without, beside its weights, and the files that are it."""


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


@dataclass(frozen=True)
class Made:
    """What is made of a wheel's members, or of a file of this machine."""

    what: str
    wanted: Packaged | None
    lacking: Callable[[], list[str]]
    make: Callable[[], None]


@one_sentence
def of_model(name: str) -> list[Need | Made]:
    if is_gguf(name):
        wanted = packaged(name) if is_packaged(name) else None
        return [Made(f"the model {shown_model(name)}", wanted, lambda: missing_of_model(name), lambda: bring(name))]
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
def of_corpus(source: Source | None) -> list[Need | Made]:
    """The texts of a data set; a file of texts is read, so that what is wrong with it is said at once."""
    if isinstance(source, WheelSource):
        absent: list[str] = [] if source.here else ["its documents"]
        return [Made(f"the texts {source}", source.wanted, lambda: absent, source.fetch)]
    if not isinstance(source, HubSource):
        if source is not None:
            source.texts()
        return []
    lacking: list[str] = [] if source.here else ["its first documents"]
    return [Need(f"the texts {source.repo}", source.repo, (), lambda: lacking, keep=source.keep)]


@one_sentence
def of_labels(labels: Labels) -> list[Need | Made]:
    """Labelled texts of a wheel or of the hub; a file of them is read, so that what is wrong with it is said at once."""
    if isinstance(labels, WheelLabels):
        absent: list[str] = [] if labels.here else ["its labelled texts"]
        return [Made(f"the texts {labels}", labels.wanted, lambda: absent, labels.fetch)]
    if isinstance(labels, HubLabels):
        return [_of_labelled(labels, repo) for repo in labels.repos]
    if isinstance(labels, FileLabels):
        labels.all  # noqa: B018
    return []


def _of_labelled(labels: HubLabels, repo: Repo) -> Need:
    lacking: list[str] = [] if labels.here(repo) else ["its labelled texts"]
    return Need(f"the texts {repo}", repo, (), lambda: lacking, keep=partial(labels.keep, repo))


@one_sentence
def of_cloze(source: ClozeSource | None) -> list[Need]:
    """The questions of a task of the hub; a file of questions is read, so that what is wrong with it is said at once."""
    if not isinstance(source, HubCloze):
        if source is not None:
            source.questions()
        return []
    lacking: list[str] = [] if source.here else ["its first questions"]
    return [Need(f"the questions {source}", source.repo, (), lambda: lacking, keep=source.keep)]


@one_sentence
def ensure(wanted: Iterable[Need | Made], say: Say) -> None:
    """Fetch what is missing, after saying how much it is; check what is here.

    Raises OSError with one sentence, in less than three seconds where the hub cannot be reached.
    """
    wanted = list(wanted)
    _make([need for need in wanted if isinstance(need, Made) and need.lacking()], say)
    needs = [need for need in wanted if isinstance(need, Need)]
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


def _make(absent: list[Made], say: Say) -> None:
    """Each wheel is fetched where it is read; all that will be fetched is said at once."""
    if packed := [need for need in absent if need.wanted is not None]:
        sizes = [need.wanted.size for need in packed if need.wanted is not None]
        much = gigabytes(sum(size or 0 for size in sizes)) if all(sizes) else "what no name says the size of"
        say(f"fetching {much} from the package index: {', '.join(need.what for need in packed)}")
    for need in absent:
        need.make()


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


def revisions(spec: SAESpec, model: str, source: Source | None) -> dict[str, str]:
    """Commits of what a score was measured with, as far as it came from the hub."""
    repo = repo_of(spec)
    found = {
        "sae": repo.commit() if repo is not None else "", "model": revision_of_model(model),
        "corpus": source.revision if isinstance(source, HubSource) else "",
    }  # fmt: skip
    return {name: commit for name, commit in found.items() if commit}
