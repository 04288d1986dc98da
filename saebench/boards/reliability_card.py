"""The reliability card as Markdown: every ranked property under every lens, and the numbers behind it."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from saebench.boards.board_footer import footer
from saebench.boards.markdown import escaped, pipe_table
from saebench.boards.pictures import drawing
from saebench.boards.plot import Spec
from saebench.boards.sealed import Sealed
from saebench.boards.truth_picture import truth_picture
from saebench.compare.contrasts import paired_by
from saebench.record.columns import Column
from saebench.record.items import Missing
from saebench.record.places import ORGANISM, fixtures_dir
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.reliability.lens_zoo import truth
from saebench.reliability.lenses import LENSES
from saebench.reliability.reliability import Card, Data, Finding, Lens, failing, make_card, parameters

if TYPE_CHECKING:
    from saebench.record.items import Arrays

NAME = "reliability"
"""Of the card of the embedded family; those of other families, and the files behind them, are called `reliability-FAMILY`."""
INTRO = (
    "The benchmark of the benchmark. Every property that ranks SAEs is itself put to the test, under one lens at a time."
    " A property *passes*, *fails*, or is *not evaluable*, which is neither; lenses are never added up. Thresholds were"
    " chosen before the scores that they are applied to were measured; what is damaged, and that neighbours are compared"
    " in pairs, was settled on a preview of 16 documents. All of it is measured on {subject} and says nothing about other"
    " models."
)
SOURCE = (
    "The audit is arXiv 2605.18229, which put SAEBench's metrics under lenses of this kind; what it found there is not"
    " reproduced here."
)


class Judged(NamedTuple):
    """What was judged of a family, and the scores behind it."""

    card: Card
    scores: list[Score]
    truths: Spec | None
    """What is said against what is known, where something is."""


def files(family: str, found: Judged | None) -> dict[str, str | Sealed]:
    """The page of what was judged, and its picture, by name; none where nothing was."""
    if found is None:
        return {}
    name = name_of(family)
    picture = {f"{name}.pictures/truth.svg": drawing(found.truths)} if found.truths else {}
    return {f"{name}.md": render(family, found.card, found.scores, next(iter(picture), "")), **picture}


def name_of(family: str, file: str = NAME) -> str:
    """Name, without its ending, of a family's card, or of another file that the embedded family has without its name."""
    return file if family == ORGANISM else f"{file}-{family}"


def family_of(name: str) -> str | None:
    """The family whose card, and what it is made of, is called so; None if it is something else."""
    start, _, family = name.partition("-")
    return (family or ORGANISM) if start == NAME else None


def families_in(folder: str | Path) -> list[str]:
    """Families whose planted SAEs lie in a folder."""
    found = (family_of(path.stem) for path in sorted(Path(folder).glob(f"{NAME}*.jsonl")))
    return [family for family in found if family is not None]


def judged(folder: str | Path, family: str = ORGANISM) -> Judged | None:
    """All findings on a family for a folder of scores files and the scores behind them; None where no SAEs are planted.

    The zoo and the architectures are those of the same folder; without them their lenses are not evaluable.
    """
    names = (name_of(family), family, name_of(family, "architectures"))
    planted, zoo, architectures = (Store(Path(folder) / f"{name}.jsonl") for name in names)
    if not planted.path.is_file():
        return None
    real, made, trained = (list(store.newest().values()) for store in (zoo, planted, architectures))
    # Of a family of several models, those of which something is planted.
    models = {score.model for score in made}
    real = [score for score in real if score.model in models]
    known = known_of(family) | known_of_features(real)
    data = Data.of(real, made, trained, known, paired_by(Shared(zoo, planted)))
    return Judged(make_card(data, LENSES), [*real, *made, *trained], truth_picture(data))


def card_for(folder: str | Path, board: str) -> str:
    """The family whose card a board bears the marks of: its own if there is a card of it, else the embedded one."""
    return board if board in families_in(folder) else ORGANISM


def marks(found: Judged | None) -> dict[str, list[str]]:
    """The lenses that each property fails; none where nothing was judged."""
    return failing(found.card) if found is not None else {}


class Shared(Store):
    """A store that finds items of another one, too: an SAE may lie in one file and its damaged versions in the other."""

    def __init__(self, own: Store, other: Store) -> None:
        super().__init__(own.path)
        self.other = other

    def load_items(self, score: Score, *needed: str) -> "Arrays":
        try:
            return super().load_items(score, *needed)
        except Missing:
            return self.other.load_items(score, *needed)


def known_of(family: str) -> dict[str, dict[str, float]]:
    """What the report of a family's zoo says of each SAE, by name."""
    path = fixtures_dir() / family / "report.json"
    saes: dict[str, dict[str, Any]] = json.loads(path.read_text())["saes"] if path.is_file() else {}
    return {f"{family}/{name}": _facts(report) for name, report in saes.items()}


FEATURES = {("known_truth.absorption", ()): "known absorption", ("known_truth.f1", ("zero", "even")): "known F1"}
"""What scores against known features say of an SAE, by property and parameters."""


def known_of_features(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Of SAEs of toy worlds, whose features are known."""
    found: dict[str, dict[str, float]] = {}
    for score in scores:
        fact = FEATURES.get((score.property, tuple(map(str, score.params.values()))))
        if fact is not None and score.value is not None:
            found.setdefault(score.sae, {})[fact] = max(
                score.value, 0.0
            )  # below 0 nothing is absorbed, and more mixed in
    return found


def _facts(report: Mapping[str, Any]) -> dict[str, float]:
    facts = {"FVU": float(report["fvu"]), "dead latents": 1 - float(report["alive"])}
    if "absorbed_letters" in report:
        facts["best latents' F1"] = float(report["best_latent_f1_mean"])
        facts["absorbed letters"] = float(len(report["absorbed_letters"]))
    return facts


def render(family: str, card: Card, scores: Sequence[Score], picture: str = "") -> str:
    """Write the page: all verdicts in one table, then the numbers, lens by lens; `picture` is one of the truth."""
    own = family == ORGANISM
    title = "# Reliability" if own else f"# Reliability: {family}"
    intro = INTRO.format(subject="the embedded organism" if own else f"the model of `{family}`")
    parts = [title, intro, _overview(card), *(_section(card, lens, picture) for lens in LENSES), _cost(card), SOURCE]
    command = "make reliability" + ("" if own else f" FAMILY={family}")
    return "\n\n".join([*parts, footer(scores, command, 0)]) + "\n"


def _overview(card: Card) -> str:
    header = ["property", *(lens.name for lens in LENSES)]
    rows = [[_title(column), *(_word(found[lens.name]) for lens in LENSES)] for column, found in card.findings.items()]
    return pipe_table(header, rows)


def _cost(card: Card) -> str:
    """What a suite costs; it is not judged."""
    suites: dict[str, float] = {}
    for column, seconds in card.seconds.items():
        suites[column.family] = suites.get(column.family, 0.0) + seconds
    rows = [[escaped(name), f"{seconds:.2g}"] for name, seconds in [*suites.items(), ("all", sum(suites.values()))]]
    asked = (
        "What does it take? Seconds per SAE of the zoo, of what is ranked; nothing fails for it. What several properties"
        " are read from is measured with the first of them, and what is the same for all SAEs with the first SAE."
    )
    return "\n\n".join(("## cost", asked, pipe_table(["suite", "seconds per SAE"], rows)))


def _section(card: Card, lens: Lens, picture: str) -> str:
    found = {column: findings[lens.name] for column, findings in card.findings.items()}
    rows = [[_title(c), _word(one), escaped(one.text)] for c, one in found.items() if one.verdict != "not evaluable"]
    parts = [f"## {lens.name}", f"{lens.question} It {lens.rule}"]
    parts += [pipe_table(["property", "verdict", "found"], rows, left=3)] if rows else []
    parts += [f"![What is said, against what is known]({quote(picture)})"] if picture and lens.judge is truth else []
    return "\n\n".join([*parts, *_left_out(found)])


def _left_out(found: Mapping[Column, Finding]) -> list[str]:
    """Properties that are not evaluable, by reason."""
    reasons: dict[str, list[Column]] = {}
    for column, one in found.items():
        if one.verdict == "not evaluable":
            reasons.setdefault(one.text, []).append(column)
    return [f"Not evaluable, {escaped(why)}: {', '.join(_short(which, found))}." for why, which in reasons.items()]


def _short(chosen: Sequence[Column], columns: Collection[Column]) -> list[str]:
    """Titles of columns; a suite, or a property, that is there with all that it has stands for it."""
    names = dict[str, None]()
    for column in chosen:
        wider = [column.family, column.name]
        whole = (name for name in wider if all(c in chosen for c in columns if name in (c.family, c.name)))
        names.setdefault(escaped(next(whole, "")) or _title(column))
    return list(names)


def _word(finding: Finding) -> str:
    return f"**{finding.verdict}**" if finding.verdict == "fails" else finding.verdict


def _title(column: Column) -> str:
    which = parameters(column)
    return escaped(f"{column.name} ({which})" if which else column.name)
