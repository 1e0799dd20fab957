"""How good the probabilities of a classifier are: scores, calibration, and a diagram of it.

_scores.py        scores that are means over rows
_calibration.py   `calibration_error`; confidences in bins
_reliability.py   `reliability`: the bins, for a person to look at; _figure.py: drawn
_bootstrap.py     `Estimate`: a number and its interval, by resampling rows
"""

from ._bootstrap import Estimate
from ._calibration import calibration_error
from ._reliability import Reliability, reliability
from ._scores import (
    brier_score,
    negative_log_likelihood,
    perplexity,
    top_k_accuracy,
)

__all__ = [
    "Estimate",
    "Reliability",
    "brier_score",
    "calibration_error",
    "negative_log_likelihood",
    "perplexity",
    "reliability",
    "top_k_accuracy",
]
