"""How to draw calls of Jacobians, layers, the linear layer's loss and the boosting objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import values
from .call import Call, Operand
from .memory import finished
from .recipes import LOSS_OPTIONS, loss, made_of, target
from .rows import OF_MATRICES
from .shapes import Draw
from .values import FLOATS, INF, NAN, Rng, chance, choice

Array = np.ndarray[Any, Any]


def _jacobian(name: str) -> Callable[[Rng], Call]:
    first = "logp" if "log_" in name else "p"
    second = {"@ v": "v", "g @": "g", "solve": "b"}

    def recipe(rng: Rng) -> Call:
        d = Draw(rng, empty=False, most=10)
        while name in OF_MATRICES and (len(d.shape) != 2 or d.axis not in (-1, 1)):
            d = Draw(rng, empty=False, most=10)
        d.dtype = d.dtype if d.dtype in FLOATS else "float32"
        if name.endswith("solve"):  # b / p is a number for these
            x = np.clip(values.logits(rng, d.k, d.n, "float64", special=0.0), -5, 5)
            x = np.exp(x - x.max(axis=-1, keepdims=True))
            p = x / x.sum(axis=-1, keepdims=True)
            rows = (p if first == "p" else np.log(p)).astype(d.dtype)
        else:
            rows = values.probabilities(rng, d.k, d.n, d.dtype)[first == "logp"]
        arrays = {first: d.full(rows)}
        if name in OF_MATRICES:
            m = int(rng.integers(1, 4))
            g = values.cotangents(rng, d.k * m, d.n, d.dtype).reshape(d.k, m, d.n)
            arrays["g" if name.startswith("matrix") else "v"] = (
                g if name.startswith("matrix") else np.ascontiguousarray(g.transpose(0, 2, 1))
            )
        else:
            for part, word in second.items():
                if part in name:
                    arrays[word] = d.full(values.cotangents(rng, d.k, d.n, d.dtype))
        return finished(rng, made_of(name, arrays, d.options("temperature")), d)

    return recipe


def _layer(name: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng, empty=False)
        x = d.full(values.logits(rng, d.k, d.n, d.dtype))
        g = values.cotangents(rng, d.k, d.n, d.dtype if d.dtype in FLOATS else "float64")
        options = d.options("temperature")
        return finished(rng, made_of(name, {"x": x, "dy": d.full(g)}, options), d)

    return recipe


def _loss_layer(rng: Rng) -> Call:
    call = loss("cross_entropy")(rng)
    options = {k: v for k, v in call.options.items() if k != "dtype"}
    return Call("CrossEntropyLoss", call.arrays, options | {"dy": choice(rng, (1.0, 2.0, 0.5))})


def _linear(name: str) -> Callable[[Rng], Call]:
    def recipe(rng: Rng) -> Call:
        d = Draw(rng, empty=False, most=12)
        while not d.shape or d.axis not in (-1, len(d.shape) - 1):
            d = Draw(rng, empty=False, most=12)
        d.axis = -1
        dtype = choice(rng, FLOATS)
        features = int(rng.integers(1, 6))
        spread = choice(rng, (0.3, 1.0, 5.0))
        h = values.rounded(rng.normal(0, spread, (*d.batch, features)), dtype)
        w = values.rounded(rng.normal(0, spread, (d.n, features)), dtype)
        arrays: dict[str, Array] = {"h": h, "weight_matrix": w}
        if chance(rng, 0.5):
            bias = rng.normal(0, spread, d.n)
            if chance(rng, 0.3):
                bias[rng.random(d.n) < 0.3] = -INF
            arrays["bias"] = bias.astype(dtype)
        few = [o for o in LOSS_OPTIONS if o not in ("temperature", "dtype")]
        options = d.options(*few, often=choice(rng, (0.1, 0.3, 0.5)))
        options[1].pop("axis", None)
        if chance(rng, 0.2):
            options[1]["temperature"] = float(choice(rng, (0.5, 2.0)))
        if chance(rng, 0.15):
            options[1]["dtype"] = choice(rng, FLOATS)
        for factor in ("weight", "sample_weight"):  # of one size: all is summed
            if factor in options[0]:
                options[0][factor] = np.clip(options[0][factor], 0, 3)
        if chance(rng, 0.6):
            chunk = (int(rng.integers(1, d.k + 1)), int(rng.integers(1, d.n + 1)))
            options[1]["chunk"] = chunk
        arrays["target"] = target(rng, d, options[1])
        ignored = options[1].get("ignore_index")
        if ignored is not None and h.size:
            gone = arrays["target"] == ignored
            arrays["h"] = np.where(gone[..., np.newaxis], np.asarray(NAN, h.dtype), h)
        operands = {k: Operand(a) for k, a in (arrays | options[0]).items()}
        return Call(name, operands, options[1])

    return recipe


def _boosting(rng: Rng) -> Call:
    k, n = int(rng.integers(1, 9)), int(rng.integers(2, 8))
    dtype = choice(rng, FLOATS)
    x = np.clip(values.logits(rng, k, n, "float64", special=0.0), -700, 700).astype(dtype)
    y = rng.integers(0, n, k).astype(choice(rng, ("int64", "int32", "float32", "float64")))
    arrays: dict[str, Array] = {"x": x, "target": y}
    options: dict[str, Any] = {}
    if chance(rng, 0.5):
        curvatures = ("diagonal", "scaled", "upper_bound", "absolute")
        options["curvature"] = choice(rng, curvatures)
    if chance(rng, 0.3):
        options["label_smoothing"] = choice(rng, (0.1, 1.0))
    if chance(rng, 0.3):
        options["gamma"] = choice(rng, (0.5, 2.0))
    if chance(rng, 0.2):
        options["dtype"] = choice(rng, FLOATS)
    if chance(rng, 0.3):
        arrays["weight"] = values.weights(rng, n, large=False)
    if chance(rng, 0.3):
        arrays["sample_weight"] = values.weights(rng, k, large=False)
    operands = {name: Operand(a) for name, a in arrays.items()}
    return Call("boosting.gradient_and_curvature", operands, options)


_OPERATIONS = (" @ v", " @ matrix", ".solve", ".diagonal", ".to_dense")
JACOBIANS = (
    *(
        f"{name}{operation}"
        for name in ("softmax_jacobian", "log_softmax_jacobian")
        for operation in _OPERATIONS
    ),
    "log_softmax_jacobian.T @ v",
    *(
        f"{left} @ {name}"
        for name in ("softmax_jacobian", "log_softmax_jacobian")
        for left in ("g", "matrix")
    ),
)
RECIPES: dict[str, Callable[[Rng], Call]] = {
    **{name: _jacobian(name) for name in JACOBIANS},
    "Softmax": _layer("Softmax"),
    "LogSoftmax": _layer("LogSoftmax"),
    "CrossEntropyLoss": _loss_layer,
    "linear_cross_entropy": _linear("linear_cross_entropy"),
    "linear_cross_entropy_value_and_grad": _linear("linear_cross_entropy_value_and_grad"),
    "boosting.gradient_and_curvature": _boosting,
}
