"""From options to a run and its gate: everything is named and read before anything heavy is loaded."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from saebench.catalogue.architectures import is_new
from saebench.catalogue.architectures import resolve as resolve_architectures
from saebench.catalogue.registry import resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.suites import definitions
from saebench.compare.at_l0 import Matched, read_matched, read_own
from saebench.compare.baseline import Baseline, read_baseline
from saebench.compare.demands import Demand, check_known
from saebench.compare.judging import Gate
from saebench.compare.settings import Settings, read_settings
from saebench.evidence.phrases.bank_file import load_bank
from saebench.hub.models import default_hook
from saebench.judges.named import judge_named
from saebench.record.budget import SHORTEST
from saebench.record.naming import shown_model
from saebench.record.places import ORGANISM, cache_limit, suites_dir
from saebench.record.store import Store
from saebench.record.version import __version__
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.session.options import DEFAULT
from saebench.sweep.planning import shard

Option = Callable[[str], Any]


def requested_run(option: Option) -> Run:
    """The run that the options ask for. Raises ValueError or OSError with one sentence."""
    if option("sae_seeds") < 1:
        raise ValueError(f"--sae-seeds {option('sae_seeds')}: expected 1 or more repetitions")
    if (context := option("sae_context")) is not None and context < SHORTEST:
        raise ValueError(f"--sae-context {context}: expected {SHORTEST} or more tokens")
    cache_limit()
    if option("sae_phrases"):
        load_bank(Path(option("sae_phrases")))
    if (calls := option("sae_judge_budget")) is not None and calls < 1:
        raise ValueError(f"--sae-judge-budget {calls}: expected 1 or more calls")
    judge_named(option("sae_judge"))
    architectures = option("sae_arch") or []
    hook = default_hook(option("sae_model") or DEFAULT)
    trained = resolve_architectures(architectures, option("sae_model"), hook, option("sae_budget"))
    specs = resolve_all(option("sae") or ([] if architectures else [DEFAULT]))
    options = Options(
        option("sae_budget"), option("sae_device"), option("sae_model"), option("sae_fresh"), option("sae_corpus"),
        option("sae_dtype"), option("sae_context"), cloze=option("sae_cloze"), phrases=option("sae_phrases"),
        judge=option("sae_judge"), judge_budget=option("sae_judge_budget"), labels=option("sae_labels"),
    )  # fmt: skip
    of_shard = option("sae_shard")
    specs = [*specs, *trained] if of_shard is None else shard([*specs, *trained], of_shard)
    run = Run(specs, Store(option("sae_scores")), options)
    run.open()
    return run


def requested_gate(option: Option, folder: Path) -> Gate:
    """What its scores are held against; `folder` has the project's pyproject.toml."""
    return Gate(_baseline(option), read_settings(folder), [Demand.parse(text) for text in option("sae_min") or []])


def _baseline(option: Option) -> Baseline | Matched | None:
    """Scores by name; with `--sae-arch`, those of other architectures at the same L0, of which some come along."""
    argument, names, budget = option("sae_baseline"), option("sae_arch") or [], option("sae_budget")
    if not names:
        return read_baseline(argument) if argument else None
    if argument:
        return read_matched(argument, budget)
    new = any(is_new(name) for name in names) and (option("sae_model") or ORGANISM) == ORGANISM
    return read_own(budget) if new and not option("sae_corpus") else None


def check_gate(gate: Gate, scored: Iterable[str]) -> None:
    """Raise ValueError where a demand or a setting names a property that is not scored, or that there is not."""
    names = set(scored)
    check_known(gate.demands, names)
    if gate.settings != Settings():
        gate.settings.check(sorted(names | set(definitions(suites_dir()))))


def header(run: Run, gate: Gate, option: Option) -> list[str]:
    """What the run was asked for, and where its scores go."""
    asked = [f"--sae {', '.join(option('sae'))}"] if option("sae") else []
    asked += [f"--sae-arch {', '.join(option('sae_arch'))}"] if option("sae_arch") else []
    chosen = "; ".join(asked) or f"--sae none given, so {DEFAULT}, the embedded model's zoo"
    chosen += f", shard {option('sae_shard')}" if option("sae_shard") else ""
    seeds = f", {option('sae_seeds')} repetitions" if option("sae_seeds") > 1 else ""
    known = f", {len(run.recorder.stored)} there already (--sae-fresh computes anew)" if run.recorder.stored else ""
    return [
        f"saebench {__version__}: {chosen}: {len(run.specs)} SAEs, budget {run.options.budget}{seeds}",
        f"scores: {run.store.path}{known}",
        *(
            f"model: {shown_model(model)} in {dtype} on {run.models.device()}"
            for model, dtype in run.models.dtypes.items()
        ),
        *dict.fromkeys(filter(None, (run.judges.plan(spec) for spec in _judged(run, option)))),
        *([_compared(gate, run.options.budget)] if option("sae_arch") else []),
    ]


def _judged(run: Run, option: Option) -> list[SAESpec]:
    """SAEs about which a judge is asked that costs something."""
    return run.preparation.readable() if option("sae_judge") else []


def _compared(gate: Gate, budget: str) -> str:
    """What architectures are compared with."""
    if not isinstance(gate.baseline, Matched):
        return f"baseline: none at --sae-budget {budget}; --sae-baseline FILE:ARCHITECTURE names one"
    return f"baseline: {gate.baseline.row} at the L0 of each SAE; a table of {', '.join(gate.baseline.architectures)}"
