"""Pictures beside a leaderboard, drawn from the items of its scores."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from saebench.leaderboard import current_scores, escaped
from saebench.naming import natural
from saebench.plot import Series, line_chart, stacked
from saebench.score import Score
from saebench.store import Store

MOST_LINES = 12
RESPONSES, RETENTION = "distinguishability.angle", "context_length.kl_retention"
Items = Mapping[str, Any]


def pictures(store: Store, scores: Sequence[Score], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """SVG by path beside the page `name`, and the Markdown that shows them by the family they belong to."""
    files, shown = {}, {}
    if picture := context_length_picture(store, scores):
        files[f"{name}.svg"] = picture
        shown["context_length"] = f"![context_length]({name}.svg)"
    found = response_pictures(store, scores)
    links = {sae: f"{name}.responses/{_file_name(sae)}.svg" for sae in found}
    files |= {links[sae]: picture for sae, picture in found.items()}
    if links:
        listed = ", ".join(f"[{escaped(sae)}]({link})" for sae, link in links.items())
        shown["distinguishability"] = f"Mean response curves of features and of every fake: {listed}."
    return files, shown


def context_length_picture(store: Store, scores: Sequence[Score]) -> str | None:
    """Draw each SAE's KL by position from the items of `context_length.kl_retention`; None if there are none."""
    found = _with_items(scores, RETENTION)
    items = {name: store.load_items(found[name]) for name in _sorted(found)[:MOST_LINES]}
    arrays = {name: {key: array.tolist() for key, array in all_of.items()} for name, all_of in items.items()}
    series = [Series(n, a["position"], a["kl"], a.get("kl_low"), a.get("kl_high")) for n, a in arrays.items()]
    if not series:
        return None
    contexts = {tuple(a.get("context_size", ())) for a in arrays.values()}
    context = next(iter(contexts))[0] if len(contexts) == 1 and contexts != {()} else None
    values = [value for line in series for value in line.y if value > 0]
    return line_chart(
        series, title="KL from the model without SAE, by position", x_label="position in the document (tokens)",
        y_label="KL (nats per token)", marker_x=context, marker_label=f"training context ({context})",
        log_y=bool(values) and max(values) > 30 * min(values),
    )  # fmt: skip


def response_pictures(store: Store, scores: Sequence[Score]) -> dict[str, str]:
    """Draw, per SAE, how the model answers to features and to each fake, from the items of `RESPONSES`."""
    found = _with_items(scores, RESPONSES)
    return {name: _responses(name, store.load_items(found[name])) for name in _sorted(found)}


def _responses(name: str, items: Items) -> str:
    turned = line_chart(
        _curves(items, "angle"), title=f"{name}: inactive features, turned on", x_label="angle (degrees)",
        y_label="KL from the clean model (nats)", log_y=True,
    )  # fmt: skip
    if "share" not in items:
        return turned
    down = line_chart(
        _curves(items, "share"), title=f"{name}: active features, turned down", x_label="share of the feature's size",
        y_label="KL from the clean model (nats)", log_y=True,
    )  # fmt: skip
    return stacked([turned, down])


def _curves(items: Items, axis: str) -> list[Series]:
    """Lines whose columns are called `AXIS:NAME`, `AXIS:NAME:low` and `AXIS:NAME:high`."""
    names = [key.removeprefix(f"{axis}:") for key in items if key.startswith(f"{axis}:") and key.count(":") == 1]
    x = items[axis].tolist()
    return [
        Series(name, x, *(items[f"{axis}:{name}{end}"].tolist() for end in ("", ":low", ":high"))) for name in names
    ]


def _with_items(scores: Sequence[Score], name: str) -> dict[str, Score]:
    return {score.sae: score for score in current_scores(scores) if score.property == name and score.items}


def _sorted(found: Mapping[str, Score]) -> list[str]:
    """Controls last."""
    return sorted(found, key=lambda name: (found[name].control, natural(name)))


def _file_name(sae: str) -> str:
    return re.sub(r"[^\w.-]", "_", sae.partition("/")[2] or sae)
