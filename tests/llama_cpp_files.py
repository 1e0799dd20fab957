"""Files as `llama-perplexity --kl-divergence-base` writes them, and what it makes of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DEEPEST = 16.0  # below a row's largest logit: what is deeper is lifted, and later left out


def stored(logits: Array) -> tuple[Array, Array, Array]:
    """Scale, min_log_prob and q of rows of float32 logits, in float32 as llama.cpp has it."""
    x = logits.astype(np.float32)
    largest = x.max(axis=-1, keepdims=True)
    least = np.maximum(x.min(axis=-1, keepdims=True), largest - np.float32(DEEPEST))
    total = np.exp(x - largest).sum(axis=-1, keepdims=True, dtype=np.float64)
    log_total = np.log(total).astype(np.float32)
    scale = (largest - least) / np.float32(65535)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.rint((np.float32(1) / scale) * (x - least))
    q = np.where((x > least) & (scale > 0), q, 0).astype(np.uint16)
    return scale, least - largest - log_total, q


def write(path: Path, logits: Array, tokens: Array) -> None:
    """Logits of shape (chunks, n_ctx - 1 - n_ctx // 2, n_vocab), tokens of (chunks, n_ctx)."""
    chunks, n_ctx = tokens.shape
    n_vocab = logits.shape[-1]
    assert logits.shape[:2] == (chunks, n_ctx - 1 - n_ctx // 2)
    with open(path, "wb") as file:
        file.write(b"_logits_" + struct.pack("<3i", n_ctx, n_vocab, chunks))
        file.write(tokens.astype("<i4").tobytes())
        for row in zip(*(a.reshape(-1, a.shape[-1]) for a in stored(logits)), strict=True):
            scale, least, q = row
            file.write(struct.pack("<2f", scale[0], least[0]))
            file.write(q.astype("<u2").tobytes() + b"\xab\xcd" * (n_vocab % 2))


def its_divergences(scale: Array, least: Array, q: Array, logits: Array) -> Array:
    """KL as llama.cpp adds it up, in float64: stored probabilities as they are, the least left out.

    (It has float32, which adds errors of its own.)
    """
    log_base = scale.astype(np.float64) * q + least
    x = logits.astype(np.float64)
    m = x.max(axis=-1, keepdims=True)
    log_other = x - m - np.log(np.exp(x - m).sum(axis=-1, keepdims=True))
    terms = np.exp(log_base) * (log_base - log_other)
    return np.where(log_base > -DEEPEST, terms, 0).sum(axis=-1)
