"""`saebench show`: what an SAE is and what was measured on it."""

import argparse
from fnmatch import fnmatchcase
from pathlib import Path

from saebench.boards import reliability_card
from saebench.boards.carriers import HEADER, carrier_rows
from saebench.boards.decompositions import decompositions, of_latent, printed
from saebench.boards.overview import Board, overview
from saebench.boards.probed import HEADER as PROBED
from saebench.boards.probed import probed_rows
from saebench.catalogue import registry
from saebench.catalogue.spec import SAESpec
from saebench.commands import DEFAULT_SCORES, Commands, put, table
from saebench.compare.contrasts import paired_by
from saebench.record.naming import nearest
from saebench.record.score import Score
from saebench.record.store import Store

MOST_CARRIERS = 5
MOST_PROBED = 5


def add(commands: Commands) -> None:
    parser = commands.add_parser("show", help="everything about an SAE on one screen")
    parser.add_argument("name", help="as for pytest --sae, or a name or glob in the scores file")
    parser.add_argument("--scores", metavar="FILE", help=f"scores to look in (default: {DEFAULT_SCORES})")
    parser.add_argument("--all", action="store_true", help="every fact, parametrization, reason and absorbed word")
    parser.add_argument("--feature", type=int, metavar="N", help="only what latent N is made of, with its phrases")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.scores or DEFAULT_SCORES)
    if arguments.scores and not path.is_file():
        raise ValueError(f"{path}: no such file of scores")
    store = Store(path)
    scores = list(store.newest().values())
    named = {s.sae: None for s in scores if s.sae == arguments.name or fnmatchcase(s.sae, arguments.name)}
    specs = {spec.name: spec for spec in _specs(arguments.name, [score.sae for score in scores], bool(named))}
    judged = reliability_card.judged(path.parent, reliability_card.card_for(path.parent, path.stem))
    if arguments.feature is not None:
        return _feature(store, scores, list({**specs, **named}), arguments.feature)
    board = Board(scores, paired_by(store), reliability_card.marks(judged))
    for name in {**specs, **named}:
        put(overview(board, name, specs.get(name), everything=arguments.all))
        own = [score for score in scores if score.sae == name and score.seed == 0]
        put(_carriers(store, own, None if arguments.all else MOST_CARRIERS))
        if rows := probed_rows(store, own, None if arguments.all else MOST_PROBED):
            put(table(rows, PROBED) + "\n")
    return 0


def _feature(store: Store, scores: list[Score], names: list[str], latent: int) -> int:
    """What a latent is made of. Raises ValueError with one sentence where that was not measured."""
    for name in names:
        own = [score for score in scores if score.sae == name and score.seed == 0]
        for one in of_latent(decompositions(store, own), latent, name):
            put(printed(one) + "\n")
    return 0


def _specs(pattern: str, scored: list[str], optional: bool) -> list[SAESpec]:
    try:
        return registry.resolve(pattern)
    except ValueError as error:
        if optional:
            return []
        if guess := nearest(pattern, scored):
            raise ValueError(f"{pattern}: the scores file has no such SAE.{guess}") from None
        raise ValueError(str(error).replace("--sae ", "")) from None


def _carriers(store: Store, scores: list[Score], most: int | None) -> str:
    """Which latents absorb which test words, those first that hold most of the probe's direction."""
    rows = carrier_rows(store, scores)
    if rows is None:
        return ""
    if not rows:
        return "no test word is fully absorbed by one latent\n"
    strongest = rows[:most]
    more = f"\n{len(rows) - len(strongest)} more words: --all" if len(rows) > len(strongest) else ""
    return table(strongest, HEADER) + more + "\n"
