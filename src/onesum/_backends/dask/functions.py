# mypy: allow-untyped-defs, allow-untyped-calls
"""Softmax and its derivatives. With all classes in one chunk a chunk is a call; otherwise the
classes go by their states.

The arguments are as `protocol.py` has them; there is no `out`.
"""

import functools
import math

import numpy as np

from ..reference import chunk_functions
from ..registry import backend_of
from .class_chunks import ClassChunks
from .graph import blocks, part, without
from .whole_rows import call, calls

WIDE = np.dtype(np.float64)


def are_split(x, axis):
    """Whether the classes come in several chunks, whose sizes then are to be known."""
    sizes = x.chunks[axis]
    if len(sizes) > 1 and any(map(math.isnan, sizes)):
        wanted = "chunks of known sizes along the class axis (x.compute_chunk_sizes() finds them)"
        raise ValueError(f"x: expected {wanted}, got {sizes}")
    return len(sizes) > 1


def softmax(x, axis, where, temperature, dtype, out):
    return _forward("softmax", x, axis, where, temperature, np.dtype(dtype))


def log_softmax(x, axis, where, temperature, dtype, out):
    return _forward("log_softmax", x, axis, where, temperature, np.dtype(dtype))


def _forward(name, x, axis, where, temperature, dtype):
    if not are_split(x, axis):
        return call(name, x, axis, where, temperature, dtype, None, axis=axis, dtype=dtype)
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.normalizer, axis, where, temperature)
    function = getattr(chunk_functions, name)
    return classes.map(function, [state], axis, where, temperature, dtype, dtype=dtype)


def logsumexp(x, axis, where, temperature, dtype, out):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        options = {"dtype": dtype, "per_row": True}
        return call("logsumexp", x, axis, where, temperature, dtype, None, axis=axis, **options)
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.normalizer, axis, where, temperature)
    return classes.per_row(chunk_functions.logsumexp, [state], dtype, dtype=dtype)


def signed_logsumexp(x, b, axis, where, temperature, dtype):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        types = dtype, dtype
        return tuple(
            calls(
                "signed_logsumexp", x, b, axis, where, temperature, dtype, axis=axis, per_row=types
            )
        )
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.signed, b, axis, where, temperature)
    both = classes.several_per_row(chunk_functions.signed_logsumexp, [state], dtype)
    return tuple(without(part(both, i, dtype), axis) for i in range(2))


def softmax_vjp(p, g, axis, temperature, dtype, out):
    return _product("softmax_vjp", "product_of_p", p, g, axis, temperature, dtype)


def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    return _product("log_softmax_vjp", "product_of_logp", logp, g, axis, temperature, dtype)


def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    return _product("log_softmax_jvp", "product_of_logp", logp, v, axis, temperature, dtype)


def _product(name, state, p, g, axis, temperature, dtype):
    dtype = np.dtype(dtype)
    if not are_split(p, axis):
        return call(name, p, g, axis, temperature, dtype, None, axis=axis, dtype=dtype)
    classes = ClassChunks(p, axis)
    state = classes.state(getattr(chunk_functions, state), g, axis, temperature)
    function = getattr(chunk_functions, name)
    return classes.map(function, [state], g, axis, temperature, dtype, dtype=dtype)


def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        return call(
            "logsumexp_vjp", x, g, axis, where, temperature, dtype, None, axis=axis, dtype=dtype
        )
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.normalizer, axis, where, temperature)
    function = chunk_functions.logsumexp_vjp
    return classes.map(function, [state], g, axis, where, temperature, dtype, dtype=dtype)


def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        options = {"dtype": dtype, "per_row": True}
        return call(
            "logsumexp_jvp", x, v, axis, where, temperature, dtype, None, axis=axis, **options
        )
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.mean_tangent, v, axis, where, temperature)
    return classes.per_row(chunk_functions.logsumexp_jvp, [state], dtype, dtype=dtype)


def softmax_diagonal(p, axis, temperature, dtype):
    return _diagonal("softmax_diagonal", "product_of_p", p, axis, temperature, dtype)


def log_softmax_diagonal(logp, axis, temperature, dtype):
    return _diagonal("log_softmax_diagonal", "product_of_logp", logp, axis, temperature, dtype)


def _diagonal(name, state, p, axis, temperature, dtype):
    dtype = np.dtype(dtype)
    if not are_split(p, axis):
        return call(name, p, axis, temperature, dtype, axis=axis, dtype=dtype)
    classes = ClassChunks(p, axis)
    state = classes.state(getattr(chunk_functions, state), None, axis, temperature)
    function = getattr(chunk_functions, name)
    return classes.map(function, [state], axis, temperature, dtype, dtype=dtype)


# --- chunks of a chunked array, as a Normalizer takes them --------------------------------------


def normalizer(x, axis, where, temperature):
    types = (WIDE,) * 3
    if not are_split(x, axis):
        return tuple(calls("normalizer", x, axis, where, temperature, axis=axis, per_row=types))
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.normalizer, axis, where, temperature)
    parts = classes.several_per_row(chunk_functions.parts, [state])
    return tuple(without(part(parts, i, dtype), axis) for i, dtype in enumerate(types))


def pivot_index(x, axis, where, m):
    """As `chunks.pivot_index` has it; m is found again, chunk by chunk."""
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.pivot, axis, where)
    return classes.per_row(chunk_functions.index, [state], dtype=np.dtype(np.int64))


def shifted_exp(x, axis, where, temperature, m, scale, dtype, out):
    return _shifted("shifted_exp", x, axis, where, temperature, m, scale, dtype)


def shifted_logits(x, axis, where, temperature, m, log_rest, dtype, out):
    return _shifted("shifted_logits", x, axis, where, temperature, m, log_rest, dtype)


def _shifted(name, x, axis, where, temperature, m, words, dtype):
    """Which need no more of the other chunks than is given."""
    dtype = np.dtype(dtype)
    operands = x, where, temperature, m, *words
    function = functools.partial(_shift, name, axis, dtype)
    return blocks(function, x, operands, name=name, dtype=dtype)


def _shift(name, axis, dtype, x, where, temperature, m, *words):
    return getattr(backend_of(x), name)(x, axis, where, temperature, m, words, dtype, None)
