"""The exact answers of what is made of the functions: Jacobians, the linear layer, boosting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
from measure import smallest_normal
from oracle import EXACT, Reference

from .answers import Answers, Wanted
from .functions import product
from .limits import Answer
from .losses import cross_entropy_answers, masses
from .rows import Rows

Array = np.ndarray[Any, Any]


# --- Jacobians


def _matrices(first: str, name: str) -> Callable[[Answers], list[Wanted]]:
    """A Jacobian times a matrix: its columns ("v") or its rows ("g") are the vectors."""

    def answers(of: Answers) -> list[Wanted]:
        p = of.array(first)
        second = "g" if "g" in of.rows.values else "v"
        matrix = of.array(second)
        vectors = np.moveaxis(matrix, 1 if second == "v" else 2, -1)  # (k, m, n)
        shape = vectors.shape
        p, t = (np.broadcast_to(a[:, np.newaxis], (*shape[:2], a.shape[1])) for a in (p, of.t))
        flat = [a.reshape(-1, a.shape[-1]) for a in (p, vectors, t)]
        options = {"temperature": flat[2], "arithmetic": of.arithmetic}
        value, scale = getattr(oracle, name)(*flat[:2], **options)
        axis = 1 if second == "v" else 2

        def back(a: Array) -> Array:
            return np.moveaxis(a.reshape(shape), -1, axis)

        answer = Answer(back(value), back(scale), np.zeros(matrix.shape, bool))
        whole = of.rows.values[second].shape
        return [Wanted("matrix", name, answer, whole, lambda a: a.reshape(whole), of.dtype)]

    return answers


def _dense(of: Answers, first: str) -> Reference:
    """All entries of the matrices, (k, n, n)."""
    name = "softmax_jacobian" if first == "p" else "log_softmax_jacobian"
    value, scale = getattr(oracle, name)(of.array(first))
    t = of.t[:, :, np.newaxis]
    return Reference(value / t, scale / t)


def _to_dense(first: str) -> Callable[[Answers], list[Wanted]]:
    def answers(of: Answers) -> list[Wanted]:
        value, scale = _dense(of, first)
        layout = of.rows.layout
        shape = (*(layout.shape[i] for i in layout.rest), of.rows.n, of.rows.n)
        answer = Answer(value, scale, np.zeros(value.shape, bool))
        return [Wanted("dense", "jacobian", answer, shape, lambda a: a.reshape(shape), of.dtype)]

    return answers


def _diagonal(first: str) -> Callable[[Answers], list[Wanted]]:
    def answers(of: Answers) -> list[Wanted]:
        value, scale = (np.einsum("kii->ki", a) for a in _dense(of, first))
        return [of.full("diagonal", "jacobian", Answer(value, scale, value != value))]

    return answers


def _solve(first: str) -> Callable[[Answers], list[Wanted]]:
    def answers(of: Answers) -> list[Wanted]:
        solver = oracle.softmax_solve if first == "p" else oracle.log_softmax_solve
        value, scale = solver(of.array(first), of.array("b"), temperature=EXACT.number(of.t))
        return [of.full("solution", "solve", Answer(value, scale, value != value))]

    return answers


# --- the linear layer


def _linear(of: Answers, gradient: bool) -> list[Wanted]:
    """From all logits, and what their rounding may change.

    A logit is a sum of d products, and an addition: its error is in proportion to A, the sum of
    their magnitudes. A change of all logits by at most A changes the loss by at most 2 Q A / T, and
    p by at most p times 2 A / T; it changes the slope of a softcap c by at most 2 A / c of it.
    """
    rows, options = of.rows, of.call.options
    h, w, bias = rows["h"], rows["weight_matrix"], rows.get("bias")
    wide = np.longdouble
    x = h.astype(wide) @ w.astype(wide).T
    size = np.abs(h).astype(wide) @ np.abs(w).astype(wide).T
    if bias is not None:
        x = x + bias.astype(wide)
        size = size + np.where(np.isfinite(bias), np.abs(bias.astype(wide)), 0)
    of.x = x.astype(np.float64)
    losses, grads, divisor = cross_entropy_answers(of)
    q, s, counted, _ = masses(of)
    size = np.where(counted & of.inside, size, 0).max(axis=-1, keepdims=True)
    steep = 2 * s * options.get("z_loss", 0.0)
    largest = np.where(of.inside & np.isfinite(of.x), np.abs(of.x), 0).max(axis=-1, keepdims=True)
    total = q.sum(axis=-1, keepdims=True) + steep * (largest / of.t + np.log(1 + rows.n) + 1)
    moved = 2 * total * size / of.t
    moved = np.where(counted, moved, 0)
    losses = losses._replace(scale=losses.scale + np.where(np.isfinite(moved), moved, 0)[:, 0])
    results = [of.loss("loss", "linear_cross_entropy", losses, divisor)]
    if not gradient:
        return results
    by = 1 / wide(divisor) if divisor else wide(1)
    p = np.where(of.inside, 1, 0)
    narrow = smallest_normal("float64" if _in_float64(rows) else "float32")
    terms = grads.scale + p * (moved / of.t + total * narrow) * by
    if "softcap" in options:  # its slope changes by so much
        terms = terms + grads.scale * 2 * size / options["softcap"]
    terms = np.where(counted, terms, 0)
    # The mean of no weight has no gradient, but classes that are no choice for any row have 0.
    g, rows_free, chosen = grads.value, grads.free.any(axis=1), grads.free.any(axis=0)
    h = np.where(counted, h, 0).astype(wide)
    parts = [
        (
            g @ w.astype(wide),
            terms @ np.abs(w).astype(wide),
            rows_free[:, np.newaxis],
            rows.values["h"].shape,
        ),
        (g.T @ h, terms.T @ np.abs(h), chosen[:, np.newaxis], w.shape),
    ]
    if bias is not None:
        parts.append((g.sum(axis=0), terms.sum(axis=0), chosen, bias.shape))
    for name, (value, scale, no_value, shape) in zip(("dh", "dw", "db"), parts, strict=False):
        answer = Answer(value, scale, np.broadcast_to(no_value, value.shape))
        results.append(
            Wanted(
                name,
                "linear_cross_entropy",
                answer,
                shape,
                lambda a, shape=shape: a.reshape(shape),
                of.dtype,
            )
        )
    return results


def _in_float64(rows: Rows) -> bool:
    names = [
        rows.values[name].dtype for name in ("h", "weight_matrix", "bias") if name in rows.values
    ]
    asked = rows.call.options.get("dtype")
    return "float64" in [*(d.name for d in names), asked] or any(d.kind in "biu" for d in names)


# --- boosting


# The docstring of the curvature: right within so much of k M. In ulps of float64 it is this part of
# k M for each of the budget's.
CURVATURE = 1e-15 / (16 * 2.0**-52)


def _gradient_and_curvature(of: Answers) -> list[Wanted]:
    results = []
    for name, (value, scale) in zip(("gradient", "curvature"), _derivatives(of), strict=True):
        answer = Answer(value, scale, np.zeros(value.shape, bool))
        results.append(of.full(name, "gradient_and_curvature", answer))
    return results


def _derivatives(of: Answers) -> list[Reference]:
    """g = M p - q F(p) and h = k M p (1 - p), or abs(g)."""
    rows, options = of.rows, of.call.options
    wide, n = np.longdouble, rows.n
    gamma, smoothing = wide(options.get("gamma", 0.0)), wide(options.get("label_smoothing", 0.0))
    x = rows["x"].astype(np.float64)
    z = oracle._normalizer(x, np.full(x.shape, True), np.ones((len(x), 1)), oracle.WIDE)
    pivot = oracle._pivot(x)
    p, logp = z.e / (1 + z.r), z.d - np.log1p(z.r)
    away = np.where(pivot, z.r / (1 + z.r), 1 - p)
    y = np.arange(n) == rows["target"].astype(int)[:, np.newaxis]
    weight, sample = rows.get("weight"), rows.get("sample_weight")
    w = np.ones(n, wide) if weight is None else weight.astype(wide)
    s = np.ones(len(x), wide) if sample is None else sample.astype(wide)
    q = s[:, np.newaxis] * w * ((1 - smoothing) * y + smoothing / n)
    loss = -logp
    ratio = np.where(loss == 0, 1, loss / np.expm1(np.where(loss == 0, 1, loss)))
    slope = away**gamma * (1 + gamma * ratio) if gamma else np.ones_like(p)
    mass = (q * slope).sum(axis=-1, keepdims=True)
    value = mass * p - q * slope
    terms = mass * p + q * slope
    if not smoothing:  # all of q at one class, where 1 - p is known
        value = mass * np.where(y, -away, p)
        terms = np.abs(value)
    k = {"diagonal": 1.0, "scaled": n / wide(n - 1), "upper_bound": 2.0}
    curvature = options.get("curvature", "diagonal")
    if curvature == "absolute":
        bent, bent_terms = np.abs(value), terms
    else:
        bent = k[curvature] * mass * p * away
        bent_terms = bent + k[curvature] * mass * CURVATURE
    bent = np.maximum(bent, wide(1e-16))
    return [Reference(value, terms), Reference(bent, np.maximum(bent_terms, wide(1e-16)))]


FUNCTIONS: dict[str, Callable[[Answers], list[Wanted]]] = {
    "softmax_jacobian @ v": product("p", "softmax_jvp"),
    "g @ softmax_jacobian": product("p", "softmax_vjp"),
    "softmax_jacobian @ matrix": _matrices("p", "softmax_jvp"),
    "matrix @ softmax_jacobian": _matrices("p", "softmax_vjp"),
    "softmax_jacobian.solve": _solve("p"),
    "softmax_jacobian.diagonal": _diagonal("p"),
    "softmax_jacobian.to_dense": _to_dense("p"),
    "log_softmax_jacobian @ v": product("logp", "log_softmax_jvp"),
    "g @ log_softmax_jacobian": product("logp", "log_softmax_vjp"),
    "log_softmax_jacobian.T @ v": product("logp", "log_softmax_vjp"),
    "log_softmax_jacobian @ matrix": _matrices("logp", "log_softmax_jvp"),
    "matrix @ log_softmax_jacobian": _matrices("logp", "log_softmax_vjp"),
    "log_softmax_jacobian.solve": _solve("logp"),
    "log_softmax_jacobian.diagonal": _diagonal("logp"),
    "log_softmax_jacobian.to_dense": _to_dense("logp"),
    "linear_cross_entropy": lambda of: _linear(of, False),
    "linear_cross_entropy_value_and_grad": lambda of: _linear(of, True),
    "boosting.gradient_and_curvature": _gradient_and_curvature,
}
