"""saebench: a pytest-style benchmark suite for sparse autoencoders."""

from saebench.record.score import Estimate, Score, Unscored
from saebench.spec import SAESpec

__all__ = ["Estimate", "SAESpec", "Score", "Unscored"]
__version__ = "0.1.0"
