"""SAEBench's `ravel`: whether one attribute of an entity can be changed through latents while all others stay."""

from collections.abc import Iterable

from saebench.exchange.saebench_document import Json, Left, Measured, Part, model_config
from saebench.record.score import Score

NAMES = {
    "disentanglement_score": "disentanglement.score", "cause_score": "disentanglement.cause",
    "isolation_score": "disentanglement.isolation",
}  # fmt: skip
CHOSEN = ("mask", "gradient", "probe")
"""How latents are chosen: SAEBench trains a mask; what comes behind is taken where that is not measured."""
ERROR = "dropped"
"""What SAEBench does with what the SAE does not reconstruct."""
WAYS = {
    "mask": "with a mask that is trained, as SAEBench has it", "gradient": "latents are chosen by gradients, not by a mask",
    "probe": "latents are chosen by probes, not by a mask",
}  # fmt: skip


def ravel(sae: Measured, gaps: bool) -> Part:
    for chosen in CHOSEN:
        scores = [sae.get(name, chosen=chosen, error=ERROR) for name in NAMES.values()]
        valued = [score for score in scores if score is not None and score.value is not None]
        if len(valued) == len(NAMES):
            return _part(sae, chosen, valued)
    raise Left(sae.unscored(["disentanglement.score"]))


def _part(sae: Measured, chosen: str, scores: list[Score]) -> Part:
    metrics = dict(zip(NAMES, (score.value for score in scores), strict=True))
    each = {name: sae.by_item(prop, chosen=chosen, error=ERROR) for name, prop in NAMES.items()}
    asked = _attributes(each["disentanglement_score"])
    config: Json = {**model_config(scores[0]), "entity_attribute_selection": asked, "train_mdas": False}
    return Part(
        kind="ravel", config=config, metrics={"ravel": metrics}, scores=scores,
        definitions={"disentanglement_score": WAYS[chosen], "cause_score": "over attributes and sentences, of test entities"},
        beside={"per_attribute": each},
    )  # fmt: skip


def _attributes(items: Iterable[str]) -> dict[str, list[str]]:
    """Kind of entity to its attributes, of items `kind/attribute/sentence`."""
    found: dict[str, dict[str, None]] = {}
    for kind, _, rest in (item.partition("/") for item in items):
        found.setdefault(kind, {})[rest.rpartition("/")[0] or rest] = None
    return {kind: list(attributes) for kind, attributes in found.items()}
