"""What a run is asked for: the options, as they were given."""

from dataclasses import dataclass

from saebench.record.budget import BUDGETS, Budget


@dataclass(frozen=True)
class Options:
    """Of `--sae-budget`, `--sae-device` and so on; None for what was not named."""

    budget: str = "quick"
    device: str | None = None
    model: str | None = None
    fresh: bool = False
    texts: str | None = None
    """What `--sae-corpus` says."""
    dtype: str | None = None
    """Of the language model."""
    context: int | None = None
    """Tokens per document."""
    labels: str | None = None
    """What `--sae-labels` says."""
    cloze: str | None = None
    """What `--sae-cloze` says."""
    phrases: str | None = None
    """A file of phrases, as `--sae-phrases` names it."""
    judge: str | None = None
    """What `--sae-judge` says."""
    judge_budget: int | None = None
    """Most calls to it."""

    @property
    def sizes(self) -> Budget:
        return BUDGETS[self.budget]
