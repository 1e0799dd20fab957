"""Functions to be audited: each usual mistake in several hands, and right ones in as many.

WRONG and WRONG_BACKWARDS say which mistake each makes, RIGHT and RIGHT_BACKWARDS hold those that
are not to be accused of any. All are by kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import torch

import onesum

Array = Any
Function = Callable[..., Any]

WRONG: list[tuple[str, str, Function]] = []
WRONG_BACKWARDS: list[tuple[str, str, Function]] = []
RIGHT: list[tuple[str, Function]] = []
RIGHT_BACKWARDS: list[tuple[str, Function]] = []


def wrong(mistake: str, kind: str = "softmax") -> Callable[[Function], Function]:
    def keep(function: Function) -> Function:
        (WRONG_BACKWARDS if kind.endswith("_vjp") else WRONG).append((mistake, kind, function))
        return function

    return keep


def right(kind: str = "softmax") -> Callable[[Function], Function]:
    def keep(function: Function) -> Function:
        (RIGHT_BACKWARDS if kind.endswith("_vjp") else RIGHT).append((kind, function))
        return function

    return keep


def shifted(x, axis):
    return np.exp(x - np.max(x, axis=axis, keepdims=True))


# --- forwards that are wrong ------------------------------------------------------------------


@wrong("no_max_shift")
def naive(x, axis=-1):
    e = np.exp(x)
    return e / np.sum(e, axis=axis, keepdims=True)


@wrong("no_max_shift")
def shifted_by_the_mean(x, axis=-1):
    e = np.exp(x - np.mean(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@wrong("no_max_shift", "logsumexp")
def naive_logsumexp(x, axis=-1):
    return np.log(np.sum(np.exp(x), axis=axis))


@wrong("no_max_shift", "log_softmax")
def naive_log_softmax(x, axis=-1):
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


@wrong("no_max_shift", "cross_entropy")
def naive_cross_entropy(x, target):
    rows = np.arange(len(x))
    return np.mean(np.log(np.exp(x).sum(axis=1)) - x[rows, target])


@wrong("no_max_shift")
def naive_torch(x, dim=-1):
    e = torch.exp(x)
    return e / e.sum(dim=dim, keepdim=True)


@wrong("global_max")
def shifted_by_one_maximum(x, axis=-1):
    e = np.exp(x - x.max())
    return e / e.sum(axis=axis, keepdims=True)


@wrong("global_max", "logsumexp")
def logsumexp_by_one_maximum(x, axis=-1):
    m = x.max()
    return m + np.log(np.exp(x - m).sum(axis=axis))


@wrong("global_max", "log_softmax")
def log_softmax_by_one_maximum(x, axis=-1):
    d = x - np.max(x)
    return d - np.log(np.exp(d).sum(axis, keepdims=True))


@wrong("global_max", "cross_entropy")
def cross_entropy_by_one_maximum(x, target):
    d = x - np.max(x)
    return np.log(np.exp(d).sum(axis=1)) - d[np.arange(len(x)), target]


@wrong("log_of_softmax", "log_softmax")
def log_of_softmax(x, axis=-1):
    return np.log(scipy.special.softmax(x, axis=axis))


@wrong("log_of_softmax", "log_softmax")
def log_of_a_naive_softmax(x, axis=-1):
    return np.log(naive(x, axis))


@wrong("log_of_softmax", "cross_entropy")
def log_of_softmax_loss(x, target):
    p = scipy.special.softmax(x, axis=-1)
    return -np.log(p[np.arange(len(x)), target]).mean()


@wrong("clipped")
def clipped_logits(x, axis=-1):
    return scipy.special.softmax(np.clip(x, -30, 30), axis=axis)


@wrong("clipped")
def clipped_instead_of_shifted(x, axis=-1):
    e = np.exp(np.clip(x, -500, 500))
    return e / e.sum(axis=axis, keepdims=True)


@wrong("clipped")
def clipped_difference(x, axis=-1):
    e = np.exp(np.maximum(x - x.max(axis=axis, keepdims=True), -50.0))
    return e / e.sum(axis=axis, keepdims=True)


@wrong("clipped")
def clipped_probabilities(x, axis=-1):
    return np.clip(scipy.special.softmax(x, axis=axis), 1e-7, 1 - 1e-7)


@wrong("clipped", "cross_entropy")
def clipped_loss(x, target):
    p = np.clip(scipy.special.softmax(x, axis=-1), 1e-12, 1.0)
    return -np.mean(np.log(p[np.arange(len(x)), target]))


@wrong("epsilon_added")
def epsilon_below(x, axis=-1):
    e = shifted(x, axis)
    return e / (e.sum(axis=axis, keepdims=True) + 1e-8)


@wrong("epsilon_added")
def epsilon_everywhere(x, axis=-1):
    e = shifted(x, axis) + 1e-9
    return e / e.sum(axis=axis, keepdims=True)


@wrong("epsilon_added", "log_softmax")
def epsilon_in_the_logarithm(x, axis=-1):
    return np.log(scipy.special.softmax(x, axis=axis) + 1e-10)


@wrong("epsilon_added", "cross_entropy")
def epsilon_in_the_loss(x, target):
    p = scipy.special.softmax(x, axis=-1)
    return -np.log(p[np.arange(len(x)), target] + 1e-15)


@wrong("epsilon_added", "logsumexp")
def epsilon_in_the_sum(x, axis=-1):
    m = x.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - m).sum(axis=axis) + 1e-6) + m.squeeze(axis)


@wrong("wrong_axis")
def over_the_rows(x):
    e = shifted(x, 0)
    return e / e.sum(axis=0, keepdims=True)


@wrong("wrong_axis")
def over_everything(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


@wrong("wrong_axis")
def axis_ignored(x, axis=-1):
    e = shifted(x, -1)
    return e / e.sum(axis=-1, keepdims=True)


@wrong("wrong_axis")
def without_keepdims(x, axis=-1):
    e = shifted(x, axis)
    return e / e.sum(axis=axis)


@wrong("wrong_axis", "logsumexp")
def logsumexp_over_the_rows(x):
    return scipy.special.logsumexp(x, axis=0)


@wrong("integer_overflow")
def in_bytes(x, axis=-1):
    if x.dtype.kind in "iu":
        x = x.astype(np.int8)
    return scipy.special.softmax(x - x.max(axis=axis, keepdims=True), axis=axis)


@wrong("half_precision_sum")
def sum_in_half(x, axis=-1):
    e = shifted(x, axis)
    return e / np.sum(e, axis=axis, keepdims=True, dtype=np.float16)


@wrong("half_precision_sum")
def all_in_half(x, axis=-1):
    e = shifted(x.astype(np.float16), axis)
    return e / e.sum(axis=axis, keepdims=True)


@wrong("half_precision_sum", "log_softmax")
def log_of_a_half(x, axis=-1):
    d = x - x.max(axis=axis, keepdims=True)
    return d - np.log(np.exp(d).sum(axis=axis, keepdims=True).astype(np.float16)).astype(x.dtype)


@wrong("half_precision_sum")
def in_bfloat16(x, dim=-1):
    e = torch.exp(x - x.amax(dim=dim, keepdim=True))
    return e / e.sum(dim=dim, keepdim=True).to(torch.bfloat16).to(x.dtype)


@wrong("half_precision_sum")
def one_after_the_other_in_half(x, axis=-1):
    """In half types alone."""
    e = shifted(x, axis)
    total = np.take(np.cumsum(e, axis=axis), [-1], axis=axis)
    return e / total


@wrong("not_normalized")
def no_division(x, axis=-1):
    return shifted(x, axis)


@wrong("not_normalized")
def sigmoids(x):
    return 1 / (1 + np.exp(-x))


@wrong("not_normalized")
def over_the_largest_sum(x, axis=-1):
    e = shifted(x, axis)
    return e / (2 * e.sum(axis=axis, keepdims=True))


@wrong("not_normalized", "log_softmax")
def only_shifted(x, axis=-1):
    return x - x.max(axis=axis, keepdims=True)


@wrong("writes_input")
def in_place(x, axis=-1):
    if x.dtype.kind == "f":
        x -= x.max(axis=axis, keepdims=True)
    return scipy.special.softmax(x, axis=axis)


@wrong("writes_input")
def in_place_torch(x, dim=-1):
    x.sub_(x.amax(dim=dim, keepdim=True)).exp_()
    return x / x.sum(dim=dim, keepdim=True)


@wrong("writes_input", "logsumexp")
def sorts_first(x, axis=-1):
    x.sort(axis=axis)
    return scipy.special.logsumexp(x, axis=axis)


@wrong("depends_on_batch")
def scaled_by_the_batch(x, axis=-1):
    return scipy.special.softmax(x / max(1.0, np.std(x)), axis=axis)


@wrong("depends_on_batch")
def half_precision_for_many(x, axis=-1):
    p = scipy.special.softmax(x, axis=axis)
    return p.astype(np.float32).astype(x.dtype) if x.ndim > 1 and len(x) > 4 else p


@wrong("depends_on_batch", "log_softmax")
def centred_by_column(x):
    return scipy.special.log_softmax(x - x.mean(axis=tuple(range(x.ndim - 1))), axis=-1)


# --- forwards that are right ------------------------------------------------------------------

for _kind in ("softmax", "log_softmax", "logsumexp"):
    right(_kind)(getattr(onesum, _kind))
    right(_kind)(getattr(scipy.special, _kind))
    right(_kind)(getattr(torch, _kind))
right()(jax.nn.softmax)
right("cross_entropy")(onesum.cross_entropy)
right("cross_entropy")(torch.nn.functional.cross_entropy)
right()(torch.nn.Softmax(dim=-1))
right()(onesum.Softmax())


@right()
def textbook(x, axis=-1):
    e = shifted(x, axis)
    return e / e.sum(axis=axis, keepdims=True)


@right("log_softmax")
def textbook_log(x, axis=-1):
    d = x - x.max(axis=axis, keepdims=True)
    return d - np.log(np.exp(d).sum(axis=axis, keepdims=True))


@right("logsumexp")
def textbook_logsumexp(x, axis=-1):
    m = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(m, axis) + np.log(np.exp(x - m).sum(axis=axis))


@right("cross_entropy")
def textbook_loss(x, target):
    d = x - x.max(axis=1, keepdims=True)
    return np.log(np.exp(d).sum(axis=1)) - d[np.arange(len(x)), target]


@right("cross_entropy")
def textbook_mean_loss(x, target):
    return textbook_loss(x.astype(np.float64), target).mean()


@right()
def in_double(x, axis=-1):
    return textbook(np.asarray(x, np.float64), axis)


@right()
def in_single(x, axis=-1):
    return textbook(np.asarray(x, np.float32), axis)


@right()
def from_the_logarithm(x, axis=-1):
    return np.exp(onesum.log_softmax(x, axis=axis))


@right()
def loops_in_single(x):
    """Row by row, a class after the other."""
    rows = np.asarray(x, np.float32).reshape(-1, x.shape[-1])[:, :5000]
    out = np.zeros((len(rows), x.shape[-1]), np.float32)
    for i, row in enumerate(rows):
        m = max(row.tolist(), default=0.0)
        e = [np.float32(math.exp(v - m)) for v in row.tolist()]
        total = np.float32(0)
        for v in e:
            total += v
        out[i, : len(e)] = np.array(e, np.float32) / total
    return textbook(np.asarray(x, np.float32)) if x.shape[-1] > 5000 else out.reshape(x.shape)


@right()
def online(x):
    """Maximum and sum in one pass, a block of classes at a time."""
    x = np.asarray(x, np.float64)
    m = np.full((*x.shape[:-1], 1), -np.inf)
    total = np.zeros_like(m)
    for first in range(0, x.shape[-1], 3 if x.shape[-1] < 100 else 4096):
        block = x[..., first : first + (3 if x.shape[-1] < 100 else 4096)]
        new = np.maximum(m, block.max(axis=-1, keepdims=True))
        total = total * np.exp(m - new) + np.exp(block - new).sum(axis=-1, keepdims=True)
        m = new
    return np.exp(x - m) / total


@right("logsumexp")
def pairwise(x, axis=-1):
    return np.logaddexp.reduce(np.asarray(x, np.float64), axis=axis)


@right()
def one_row(x):
    """A list of floats for a row."""
    values = [float(v) for v in x]
    m = max(values)
    e = [math.exp(v - m) for v in values]
    total = math.fsum(e)
    return [v / total for v in e]


@right()
def powers_of_two(x, axis=-1):
    d = (x - np.max(x, axis=axis, keepdims=True)) * np.float32(1.4426950408889634)
    e = np.exp2(d)
    return e / e.sum(axis=axis, keepdims=True)


# --- backwards that are wrong -----------------------------------------------------------------


def total(a, axis):
    return a.sum(axis=axis, keepdims=True)


@wrong("p_minus_g", "softmax_vjp")
def p_minus_g(p, g, axis=-1):
    return p - g


@wrong("p_minus_g", "softmax_vjp")
def p_minus_g_over_the_rows(p, g):
    return (p - g) / p.shape[0]


@wrong("p_minus_g", "log_softmax_vjp")
def log_p_minus_g(logp, g, axis=-1):
    return np.exp(logp) - g


@wrong("elementwise", "softmax_vjp")
def elementwise(p, g, axis=-1):
    return g * p * (1 - p)


@wrong("diagonal_only", "softmax_vjp")
def diagonal(p, g, axis=-1):
    return p * (1 - p)


@wrong("diagonal_only", "softmax_vjp")
def diagonal_of_the_jacobian(p, g):
    out = np.empty_like(p)
    for i in np.ndindex(p.shape[:-1]):
        jacobian = np.diag(p[i]) - np.outer(p[i], p[i])
        out[i] = np.diag(np.diag(jacobian)) @ g[i]
    return out


@wrong("elementwise", "log_softmax_vjp")
def log_elementwise(logp, g, axis=-1):
    return g * (1 - np.exp(logp))


@wrong("missing_sum", "softmax_vjp")
def product(p, g, axis=-1):
    return g * p


@wrong("missing_sum", "log_softmax_vjp")
def minus_p(logp, g, axis=-1):
    return g - np.exp(logp)


@wrong("wrong_sign", "softmax_vjp")
def uphill(p, g, axis=-1):
    return p * (total(p * g, axis) - g)


@wrong("wrong_sign", "softmax_vjp")
def plus_the_sum(p, g, axis=-1):
    return p * (g + total(p * g, axis))


@wrong("wrong_sign", "log_softmax_vjp")
def log_plus_the_sum(logp, g, axis=-1):
    return g + np.exp(logp) * total(g, axis)


@wrong("sum_over_batch", "softmax_vjp")
def sum_of_everything(p, g, axis=-1):
    return p * (g - (p * g).sum())


@wrong("sum_over_batch", "softmax_vjp")
def sum_of_a_column(p, g, axis=-1):
    return p * (g - np.sum(p * g, axis=0))


@wrong("sum_over_batch", "softmax_vjp")
def averaged(p, g, axis=-1):
    d = p * (g - total(p * g, axis))
    return np.broadcast_to(d.mean(axis=0), d.shape)


@wrong("sum_over_batch", "log_softmax_vjp")
def log_sum_of_everything(logp, g, axis=-1):
    return g - np.exp(logp) * g.sum()


@wrong("unshifted", "softmax_vjp")
def plain(p, g, axis=-1):
    return p * (g - total(p * g, axis))


@wrong("unshifted", "softmax_vjp")
def plain_products(p, g, axis=-1):
    return g * p - total(g * p, axis) * p


@wrong("unshifted", "softmax_vjp")
def whole_jacobian(p, g):
    n = p.shape[-1]
    if n > 1000:
        return plain(p, g)
    jacobian = p[..., :, None] * (np.eye(n) - p[..., None, :])
    return (jacobian @ g[..., None])[..., 0]


@wrong("unshifted", "softmax_vjp")
def torchs(p, g, dim=-1):
    return torch._softmax_backward_data(g, p, dim, p.dtype)


@wrong("unshifted", "log_softmax_vjp")
def log_plain(logp, g, axis=-1):
    return g - np.exp(logp) * total(g, axis)


@wrong("wrong_axis", "softmax_vjp")
def last_axis_always(p, g, axis=-1):
    return onesum.softmax_vjp(p, g)


# --- backwards that are right -----------------------------------------------------------------

right("softmax_vjp")(onesum.softmax_vjp)
right("log_softmax_vjp")(onesum.log_softmax_vjp)


@right("softmax_vjp")
def by_the_layer(p, g, axis=-1):
    return onesum.softmax_vjp(np.asarray(p, np.float64), g, axis=axis)


@right("softmax_vjp")
def pivoted(p, g, axis=-1):
    at = np.expand_dims(p.argmax(axis=axis), axis)
    w = g - np.take_along_axis(g, at, axis=axis)
    return p * (w - total(p * w, axis))


@right("softmax_vjp")
def pivoted_torch(p, g, dim=-1):
    w = g - torch.gather(g, dim, p.argmax(dim=dim, keepdim=True))
    return p * (w - (p * w).sum(dim=dim, keepdim=True))


@right("softmax_vjp")
@jax.jit
def pivoted_jax(p, g):
    w = g - jnp.take_along_axis(g, p.argmax(axis=-1, keepdims=True), axis=-1)
    return p * (w - (p * w).sum(axis=-1, keepdims=True))


@right("softmax_vjp")
def by_pairs(p, g):
    """The sum of p_j (g_i - g_j), of which nothing cancels but what is equal."""
    if p.shape[-1] > 1000:
        return pivoted(p, g)
    return p * (p[..., None, :] * (g[..., :, None] - g[..., None, :])).sum(axis=-1)


@right("softmax_vjp")
def through_the_jacobian(p, g, axis=-1):
    return g @ onesum.softmax_jacobian(p, axis)


@right("softmax_vjp")
def centred_twice(p, g, axis=-1):
    w = g - np.take_along_axis(g, np.expand_dims(p.argmax(axis=axis), axis), axis=axis)
    w = w - total(p * w, axis)
    return p * w


@right("softmax_vjp")
def loops(p, g):
    if p.shape[-1] > 1000:
        return pivoted(p, g)
    out = np.empty_like(p)
    for i in np.ndindex(p.shape[:-1]):
        row, cotangent = p[i].tolist(), g[i].tolist()
        top = max(range(len(row)), key=row.__getitem__, default=0)
        w = [v - cotangent[top] for v in cotangent]
        s = math.fsum(a * b for a, b in zip(row, w, strict=True))
        out[i] = [a * (b - s) for a, b in zip(row, w, strict=True)]
    return out


@right("log_softmax_vjp")
def log_pivoted(logp, g, axis=-1):
    p = np.exp(logp)
    at = np.expand_dims(logp.argmax(axis=axis), axis)
    others = p.copy()
    np.put_along_axis(others, at, 0, axis=axis)
    rest = total(others, axis)
    chosen = np.take_along_axis(g, at, axis=axis)
    left = g.copy()
    np.put_along_axis(left, at, 0, axis=axis)
    out = g - p * total(g, axis)
    there = chosen * rest - np.take_along_axis(p, at, axis=axis) * total(left, axis)
    np.put_along_axis(out, at, there, axis=axis)
    return out


@right("log_softmax_vjp")
def log_in_double(logp, g, axis=-1):
    return log_pivoted(np.asarray(logp, np.float64), np.asarray(g, np.float64), axis)
