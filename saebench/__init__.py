"""saebench: a pytest-style benchmark suite for sparse autoencoders."""

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Estimate, Score, Unscored

__all__ = ["Estimate", "SAESpec", "Score", "Unscored"]
__version__ = "0.1.0"
