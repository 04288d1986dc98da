"""saebench: a pytest-style benchmark suite for sparse autoencoders."""

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Estimate, Score, Unscored
from saebench.record.version import __version__

__all__ = ["Estimate", "SAESpec", "Score", "Unscored", "__version__"]
