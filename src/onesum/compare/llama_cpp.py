"""The file that llama.cpp writes for `llama-perplexity --kl-divergence-base FILE`.

    8 bytes  _logits_
    int32    n_ctx, n_vocab, n_chunk
    int32    the tokens, n_chunk times n_ctx
    and for each chunk, of its positions from n_ctx // 2 to n_ctx - 2, a row:
      float32  scale, min_log_prob
      uint16   q, one for each of n_vocab and one more if these are odd

A row's log-probabilities are scale q + min_log_prob, its label is the next position's token. All
is little-endian, as on the machines that llama.cpp runs on.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"_logits_"
_HEADER = len(MAGIC) + 3 * 4
_PREFIX = 4  # so many uint16 take the place of scale and min_log_prob


class LlamaCppLogits:
    """The rows of a base file of llama.cpp's, decoded as they are read.

    llama.cpp lifts whatever is more than 16 below a row's largest logit to that, and rounds to
    65 536 steps: what it stores does not sum to one. `compare` takes the rows as logits, whose
    softmax does, and tells in `Comparison.mass_error_base` how much was off. (llama.cpp itself
    takes the probabilities as they are, and leaves out those below exp(-16).)

    Parameters
    ----------
    path : str or path-like
        The file, of which rows are read when they are asked for.

    Attributes
    ----------
    path : pathlib.Path
    shape : tuple of int
        (rows, n_vocab), with n_chunk (n_ctx - 1 - n_ctx // 2) rows.
    dtype : numpy.dtype
        float64: scale times q has 40 bits.
    ndim : int
        2.
    n_ctx, n_vocab, n_chunk : int
    tokens : ndarray of int32, of shape (n_chunk, n_ctx)
    labels : ndarray of int64, of shape (rows,)
        The token that follows each row's position.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, its header makes no sense, or it is not of the size that follows
        from the header: the sizes are named.

    Examples
    --------
    >>> import os, struct, tempfile
    >>> from onesum.compare import LlamaCppLogits
    >>> row = struct.pack("<ff4H", 0.5, -3.0, 6, 0, 2, 4)      # scale, min_log_prob, q
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "base.kld")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(b"_logits_" + struct.pack("<3i3i", 3, 4, 1, 0, 2, 3) + row)
    ...     logits = LlamaCppLogits(path)
    ...     logits.shape, logits[:1], logits.labels
    ((1, 4), array([[ 0., -3., -2., -1.]]), array([3]))
    """

    log_probabilities = True  # or nearly so: `compare` measures how nearly
    dtype = np.dtype(np.float64)
    ndim = 2

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with open(self.path, "rb") as file:
            header = file.read(_HEADER)
        if header[: len(MAGIC)] != MAGIC:
            start = header[: len(MAGIC)]
            raise ValueError(f"{self.path}: expected a file starting with {MAGIC!r}, got {start!r}")
        if len(header) < _HEADER:
            got = f"{len(header)} bytes"
            raise ValueError(f"{self.path}: expected a header of {_HEADER} bytes, got {got}")
        numbers = np.frombuffer(header, "<i4", offset=len(MAGIC))
        self.n_ctx, self.n_vocab, self.n_chunk = (int(n) for n in numbers)
        for name, least in (("n_ctx", 3), ("n_vocab", 1), ("n_chunk", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{self.path}: expected {name} >= {least}, got {value}")
        self._first = self.n_ctx // 2
        rows_of_chunk = self.n_ctx - 1 - self._first
        self.shape = (self.n_chunk * rows_of_chunk, self.n_vocab)
        self._words = self.n_vocab + self.n_vocab % 2 + _PREFIX
        self._start = _HEADER + 4 * self.n_chunk * self.n_ctx
        self._need_size(os.stat(self.path).st_size)

    def _need_size(self, size: int) -> None:
        row = 2 * self._words
        expected = self._start + row * self.shape[0]
        if size == expected:
            return
        header = f"n_ctx {self.n_ctx}, n_vocab {self.n_vocab}, n_chunk {self.n_chunk}"
        wanted = f"{expected} bytes, {self.shape[0]} rows of {row} ({header})"
        got = f"{size} bytes"
        if self._start <= size < expected:
            got = f"{got}, {(size - self._start) // row} whole rows"
        raise ValueError(f"{self.path}: expected {wanted}, got {got}")

    @property
    def nbytes(self) -> int:
        """The size of the stored rows."""
        return 2 * self._words * self.shape[0]

    @cached_property
    def tokens(self) -> NDArray[np.int32]:
        count = self.n_chunk * self.n_ctx
        tokens = np.fromfile(self.path, "<i4", count, offset=_HEADER)
        return tokens.astype(np.int32, copy=False).reshape(self.n_chunk, self.n_ctx)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return self.tokens[:, self._first + 1 :].reshape(-1).astype(np.int64)

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """The log-probabilities of a slice of rows, or of a tuple of slices."""
        rows, *classes = key if isinstance(key, tuple) else (key,)
        first, last, step = rows.indices(self.shape[0])
        if step != 1:
            raise IndexError(f"step: expected slices of rows without one, got {step}")
        scale, least, q = self._stored(first, max(last - first, 0))
        logits: NDArray[np.float64] = scale * q[:, *classes] + least
        return logits

    def _stored(self, first: int, count: int) -> tuple[Any, Any, Any]:
        """Scale and min_log_prob of so many rows, and q of their classes."""
        offset = self._start + 2 * self._words * first
        words = np.fromfile(self.path, "<u2", count * self._words, offset=offset)
        if len(words) < count * self._words:
            raise ValueError(f"{self.path}: became shorter while it was read")
        words = words.reshape(count, self._words)
        numbers = np.ascontiguousarray(words[:, :_PREFIX]).view("<f4").astype(np.float64)
        return numbers[:, :1], numbers[:, 1:], words[:, _PREFIX : _PREFIX + self.n_vocab]

    def __repr__(self) -> str:
        return f"LlamaCppLogits({str(self.path)!r}, rows={self.shape[0]}, n_vocab={self.n_vocab})"


def is_llama_cpp(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as one of these does."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def need_same_tokens(base: LlamaCppLogits, other: LlamaCppLogits) -> None:
    if base.tokens.shape != other.tokens.shape:
        raise ValueError(
            f"other: expected tokens of shape {base.tokens.shape}, as base has them, "
            f"got {other.tokens.shape}"
        )
    different = np.argwhere(base.tokens != other.tokens)
    if len(different):
        chunk, place = (int(i) for i in different[0])
        raise ValueError(
            f"other: expected the tokens of base, got {len(different)} others, "
            f"the first at position {place} of chunk {chunk}: {other.tokens[chunk, place]} for "
            f"{base.tokens[chunk, place]}"
        )
