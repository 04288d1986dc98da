"""Which scores may stand in one column, and which of them are the current ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from saebench.record.score import Score


@dataclass(frozen=True, order=True)
class Column:
    """Scores that may stand in one column and be ranked: one property, version, parameters, corpus."""

    name: str
    version: int
    params: tuple[tuple[str, str], ...]
    corpus: str

    @classmethod
    def of(cls, score: Score) -> "Column":
        params = tuple(sorted((name, str(value)) for name, value in score.params.items())) if score.params else ()
        return cls(score.property, score.version, params, score.corpus)

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]


def current_scores(scores: Sequence[Score]) -> list[Score]:
    """Leave out repetitions with other seeds, and an SAE's or a model's earlier weights: a row is one SAE's."""
    published = [score for score in scores if score.seed == 0]
    dated = sorted(published, key=lambda score: score.created)
    newest = {(score.sae, score.model): (score.sae_digest, score.model_digest) for score in dated}
    return [score for score in published if newest[score.sae, score.model] == (score.sae_digest, score.model_digest)]
