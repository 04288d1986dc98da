"""`saebench verify`: recompute a sample of published scores, and say whether they hold."""

import argparse
from collections.abc import Sequence

from saebench.catalogue.registry import resolve_all
from saebench.catalogue.suites import tests
from saebench.commands import Commands, table, title
from saebench.exchange.recomputing import Recomputing
from saebench.exchange.sampling import SAMPLE, sample
from saebench.exchange.verification import Recomputed, Vouched, published_scores, sort_out, wrong_items
from saebench.record.naming import shown
from saebench.record.places import suites_dir
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.wording import DASH


def add(commands: Commands) -> None:
    parser = commands.add_parser("verify", help="recompute a sample of published scores and compare")
    parser.add_argument("file", metavar="FILE", help="scores file of a leaderboard")
    parser.add_argument("--sample", metavar="N", type=int, default=SAMPLE, help=f"how many scores (default: {SAMPLE})")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="which sample (default: 0)")
    parser.add_argument("--sae", metavar="SPEC", action="append", default=[], help=(
        "an SAE that was measured: Python code that may run, or where a folder lies now; repeatable"))  # fmt: skip
    parser.add_argument("--sae-corpus", metavar="TEXTS", help="as for pytest, if the scores were made with it")
    parser.add_argument("-n", metavar="WORKERS", help="as for pytest: processes at once")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    store, known = Store(arguments.file), tests(suites_dir())
    scores, vouched = _read(store, arguments.sample), Vouched(resolve_all(arguments.sae))
    possible, left_out = sort_out(scores, known, vouched)
    for reason, rows in left_out.items():
        print(f"left out: {len(rows)} scores {shown(reason)}")
    broken = wrong_items(store, scores)
    print(
        "\n".join(map(shown, broken)) or f"items of {sum(score.items is not None for score in scores)} scores are whole"
    )
    chosen = sample(possible, arguments.sample, arguments.seed)
    recomputing = Recomputing(known, arguments.sae_corpus, arguments.n, vouched.names(scores))
    verdicts = recomputing.verdicts(chosen, lambda line: print(line, flush=True))
    if not any(verdict.here for verdict in verdicts):
        raise ValueError(f"{arguments.file}: {_why_nothing(verdicts)}")
    print("\n" + table([_line(verdict) for verdict in verdicts], ["score", "published", "here", "verdict"]))
    print(f"\n{_summary(verdicts)} (of {len(scores)} in {arguments.file})")
    return 1 if broken or any(verdict.word == "differs" for verdict in verdicts) else 0


def _read(store: Store, count: int) -> list[Score]:
    if count < 1:
        raise ValueError(f"--sample {count}: a sample has at least one score")
    if not store.path.is_file():
        raise ValueError(f"{store.path}: no such file of scores")
    if not (scores := published_scores(store)):
        raise ValueError(f"{store.path} holds no scores")
    return scores


def _why_nothing(verdicts: Sequence[Recomputed]) -> str:
    reasons = dict.fromkeys(verdict.reason for verdict in verdicts)
    return f"nothing could be recomputed here: {'; '.join(reasons) or 'all scores are left out'}"


def _line(verdict: Recomputed) -> list[str]:
    name = f"{title(verdict.published)}[{verdict.published.sae}]"
    reason = f": {verdict.reason}" if verdict.reason else ""
    return [shown(cell) for cell in (name, _value(verdict.published), _value(verdict.here), verdict.word + reason)]


def _value(score: Score | None) -> str:
    return DASH if score is None else "unscored" if score.value is None else f"{score.value:.6g}"


def _summary(verdicts: Sequence[Recomputed]) -> str:
    words = [verdict.word for verdict in verdicts]
    counts = f"{words.count('holds')} of {len(words)} sampled scores hold"
    counts += f", {differ} differ" if (differ := words.count("differs")) else ""
    return counts + (f", {rest} cannot be recomputed here" if (rest := words.count("cannot be recomputed")) else "")
