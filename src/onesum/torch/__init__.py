"""Modules for torch, whose results and derivatives are those of onesum."""

from .losses import CrossEntropyLoss, LinearCrossEntropyLoss
from .normalization import LogSoftmax, Softmax
from .vocab_parallel import vocab_parallel_cross_entropy, vocab_parallel_linear_cross_entropy

__all__ = [
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "LogSoftmax",
    "Softmax",
    "vocab_parallel_cross_entropy",
    "vocab_parallel_linear_cross_entropy",
]
