"""How to draw a call of each function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import values
from .call import Call, Operand
from .memory import finished
from .shapes import Draw
from .values import FLOATS, INF, NAN, Rng, chance, choice

Array = np.ndarray[Any, Any]

INDEX_DTYPES = ("int64", "int64", "int32", "uint8", "int8", "uint64")


def made_of(
    function: str,
    arrays: dict[str, Array],
    options: tuple[dict[str, Array], dict[str, Any]],
) -> Call:
    operands = {name: Operand(a) for name, a in (arrays | options[0]).items()}
    return Call(function, operands, options[1])


def _forward(name: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng)
        x = d.full(values.logits(rng, d.k, d.n, d.dtype))
        names = ["where", "temperature", "dtype"]
        if name == "logsumexp":
            names += ["keepdims", "return_sign"]
        arrays = {"x": x}
        options = d.options(*names)
        if (
            name == "logsumexp" and chance(rng, 0.3) and x.size < 5000
        ):  # the reference takes its time
            b = values.cotangents(rng, d.k, d.n, d.floating())
            arrays["b"] = d.full(b)
            options[1].pop("dtype", None)
        call = made_of(name, arrays, options)
        return finished(rng, call, d)

    return recipe


def _product(name: str, first: str, second: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng)
        d.dtype = d.dtype if d.dtype in FLOATS else "float32"
        p, logp = values.probabilities(rng, d.k, d.n, d.dtype)
        rows = p if first == "p" else logp
        g = values.cotangents(rng, d.k, d.n, d.floating())
        if g.dtype.kind not in "biu":
            dead = rows == (0 if first == "p" else -INF)
            if chance(rng, 0.3):
                g = np.where(dead, np.asarray(choice(rng, (INF, NAN)), g.dtype), g)
        if chance(rng, 0.05):
            rows[rng.random(rows.shape) < 0.1] = NAN
        arrays = {first: d.full(rows), second: d.full(g)}
        return finished(rng, made_of(name, arrays, d.options("temperature")), d)

    return recipe


def _logsumexp_vjp(rng: Rng) -> Call:
    d = Draw(rng)
    x = d.full(values.logits(rng, d.k, d.n, d.dtype))
    options = d.options("where", "temperature", "keepdims")
    g = values.cotangents(rng, d.k, 1, d.floating())[:, 0]
    g = d.column(g, kept=options[1].get("keepdims", False))
    return finished(rng, made_of("logsumexp_vjp", {"x": x, "g": g}, options), d)


def _logsumexp_jvp(rng: Rng) -> Call:
    d = Draw(rng)
    x = values.logits(rng, d.k, d.n, d.dtype)
    v = values.cotangents(rng, d.k, d.n, d.floating())
    if v.dtype.kind not in "biu" and chance(rng, 0.3):
        v = np.where(np.isneginf(x.astype(float)), np.asarray(NAN, v.dtype), v)
    options = d.options("where", "temperature", "keepdims")
    return finished(rng, made_of("logsumexp_jvp", {"x": d.full(x), "v": d.full(v)}, options), d)


def target(rng: Rng, d: Draw, numbers: dict[str, Any]) -> Array:
    """Class indices, some of them ignored, or probabilities."""
    if d.n == 0 or chance(rng, 0.6):
        return _index_target(rng, d, numbers)
    kind = choice(rng, ("any", "sparse", "even", "one-hot"))
    y = rng.random((d.k, d.n))
    if kind == "sparse":
        y = y**4 * (rng.random(y.shape) < 0.5)
    elif kind == "even":
        y = np.full(y.shape, 1 / d.n)
    elif kind == "one-hot":
        y = (np.arange(d.n) == rng.integers(0, d.n, (d.k, 1))).astype(float)
    if kind != "one-hot" and chance(rng, 0.7):
        y = y / np.maximum(y.sum(axis=-1, keepdims=True), 1e-3)
    dtype = d.floating()
    return d.full(y.astype(dtype if dtype in FLOATS else "float64"))


def _index_target(rng: Rng, d: Draw, numbers: dict[str, Any]) -> Array:
    index = rng.integers(0, d.n, d.k)
    dtype = choice(rng, INDEX_DTYPES)
    if d.n > np.iinfo(dtype).max:
        dtype = "int64"
    if chance(rng, 0.2):
        ignored = int(choice(rng, (-1, -100, int(rng.integers(0, d.n)))))
        numbers["ignore_index"] = ignored
        if ignored >= 0 or not dtype.startswith("u"):
            index = np.where(rng.random(d.k) < 0.4, ignored, index)
    return d.column(index.astype(dtype))


LOSS_OPTIONS = (
    "weight",
    "label_smoothing",
    "sample_weight",
    "z_loss",
    "softcap",
    "temperature",
    "where",
    "reduction",
    "dtype",
)


def loss(name: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng)
        while d.n == 0:
            d = Draw(rng)
        x = values.logits(rng, d.k, d.n, d.dtype)
        options = d.options(*LOSS_OPTIONS, often=choice(rng, (0.1, 0.2, 0.4)))
        arrays = {"x": d.full(x), "target": target(rng, d, options[1])}
        if name.endswith("hvp"):
            v = values.cotangents(rng, d.k, d.n, d.floating())
            arrays["v"] = d.full(v)
        return finished(rng, made_of(name, arrays, options), d)

    return recipe


def _entropy(rng: Rng) -> Call:
    d = Draw(rng)
    while d.n == 0:
        d = Draw(rng)
    x = d.full(values.logits(rng, d.k, d.n, d.dtype))
    return finished(
        rng, made_of("entropy", {"x": x}, d.options("where", "temperature", "dtype")), d
    )


def _selective(rng: Rng) -> Call:
    d = Draw(rng)
    while d.n == 0:
        d = Draw(rng)
    x = d.full(values.logits(rng, d.k, d.n, d.dtype))
    options = d.options("where", "temperature", "dtype")
    several = len(d.layout.axes) == 1 and chance(rng, 0.4)
    if several:
        shape = list(d.shape)
        shape[d.layout.axes[0]] = int(rng.integers(1, 4))
        index = rng.integers(0, d.n, shape)
    else:
        index = d.column(rng.integers(0, d.n, d.k))
    index = index.astype(choice(rng, ("int64", "int32", "int16")))
    return finished(rng, made_of("selective_log_softmax", {"x": x, "index": index}, options), d)


def _divergence(name: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng, most=16)
        while d.n == 0:
            d = Draw(rng, most=16)
        x = values.logits(rng, d.k, d.n, d.dtype, special=0.1)
        kind = choice(rng, ("apart", "near", "low", "one"))
        dtype = d.floating()
        if kind in ("apart", "one") or dtype not in FLOATS or d.dtype not in FLOATS:
            y = values.logits(rng, d.k, d.n, dtype, special=0.1)
            if kind == "one" and d.dtype in FLOATS:
                x[np.arange(d.k), rng.integers(0, d.n, d.k)] = INF
        else:
            with np.errstate(all="ignore"):
                y = x.astype(np.float64)
                y = y + rng.normal(0, choice(rng, (1, 1e-3, 1e-5, 1e-12)), y.shape)
                if kind == "low":
                    low = -(10.0 ** choice(rng, (1.5, 2, 2.2, 3, 4, 5, 9, 15)))
                    y = np.where(rng.random(y.shape) < 0.3, low, y)
                y = np.where(np.isnan(y), x.astype(np.float64), y)
                finite = np.isfinite(y)
                y = np.where(finite, values.rounded(np.where(finite, y, 0), dtype), y).astype(dtype)
        options = d.options("where", "temperature", "reduction", "dtype")
        arrays = {"x": d.full(x), "y": d.full(y)}
        return finished(rng, made_of(name, arrays, options), d)

    return recipe


RECIPES: dict[str, Callable[[Rng], Call]] = {
    "softmax": _forward("softmax"),
    "log_softmax": _forward("log_softmax"),
    "logsumexp": _forward("logsumexp"),
    "softmax_vjp": _product("softmax_vjp", "p", "g"),
    "softmax_jvp": _product("softmax_jvp", "p", "v"),
    "log_softmax_vjp": _product("log_softmax_vjp", "logp", "g"),
    "log_softmax_jvp": _product("log_softmax_jvp", "logp", "v"),
    "logsumexp_vjp": _logsumexp_vjp,
    "logsumexp_jvp": _logsumexp_jvp,
    "cross_entropy": loss("cross_entropy"),
    "cross_entropy_value_and_grad": loss("cross_entropy_value_and_grad"),
    "cross_entropy_hvp": loss("cross_entropy_hvp"),
    "entropy": _entropy,
    "selective_log_softmax": _selective,
    "kl_divergence": _divergence("kl_divergence"),
    "kl_divergence_value_and_grad": _divergence("kl_divergence_value_and_grad"),
}
