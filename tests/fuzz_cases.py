"""Calls that once went wrong: what the fuzzer, or a reader, found. Each is a test of its own.

A call is written as it is made: arrays, options, and where `out` lies and what lies in its memory.
To add one, take the numbers of the reproducer that `make fuzz` prints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fuzz.call import Call, Operand, Out, call
from ml_dtypes import bfloat16

INF, NAN = np.inf, np.nan


def f2(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.float16)


def f4(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.float32)


def f8(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.float64)


def b2(*numbers: Any) -> np.ndarray:
    return np.array(numbers, bfloat16)


def in_out(function: str, name: str, value: np.ndarray, place: str = "x", **arguments: Any) -> Call:
    """A call whose argument `name` lies in the memory of `out`, in a column of it if that fits."""
    x = arguments["x"]
    per_row = value.shape == x.shape[:1] and value.dtype == x.dtype
    row = x.strides[0]
    where = (value.size - 1) * row if per_row else 0, -row if per_row else 0
    out = Out(x.shape, x.dtype.name, place, over={name: where})
    return call(function, out, **arguments, **{name: value})


TEACHER, STUDENT = [0, 0.1, 0.3], [0.05, 0.2]
DIVERGENCES = {
    f"a student's logit of {low:g}, {of.__name__}": call(
        "kl_divergence_value_and_grad", x=of(TEACHER), y=of([*STUDENT, low])
    )
    for of, lows in (
        (f4, (-100, -1000, -1e9, -1e15, -1e30)),
        (b2, (-100, -1e9, -1e15)),
        (f2, (-100, -6e4)),
        (f8, (-150, -1e4, -1e9, -1e15, -1e100)),
    )
    for low in lows
} | {
    "a class of neither, low temperature": call(
        "kl_divergence_value_and_grad", x=f8([0, 1, 1]), y=f8([1, 0, 1]), temperature=1e-4
    ),
    "+inf in x": call("kl_divergence", x=f8([INF, 2.0]), y=f8([1.0, 2.0])),
    "+inf in x, and the gradients": call(
        "kl_divergence_value_and_grad", x=f4([INF, 0.0], [0, INF]), y=f4([0.3, 4], [-2, -INF])
    ),
    "two that are large and equal": call(
        "kl_divergence_value_and_grad", x=f4([9e37, 9e37]), y=f4([-2.9, -2.5])
    ),
    "levels apart": call(
        "kl_divergence_value_and_grad", x=f4([0, 4e-39]), y=f4([-30, -30]), temperature=7e-5
    ),
    "levels apart, a tiny value": call(
        "kl_divergence_value_and_grad", x=f4([-3e-22, -9e-22]), y=f4([1e9, 1e9])
    ),
    "y without what x has": call(
        "kl_divergence_value_and_grad", x=f8([2.0, -0.2, 2.0]), y=f8([-1000.0, 1.0, 0.4])
    ),
}

X, INDEX, V = [[1, 2, 0.5], [0.25, 3, 1]], np.array([0, 0]), [[1, 0, 2], [0, 1, -1]]
OPTIONS = {
    "weight": f8(1, 2, 0.5),
    "temperature": f8(2, 0.5),
    "sample_weight": f8(2, 0.5),
    "where": np.array([[True, True, False], [True, True, True]]),
    "target": np.array([2, 1]),
}
SHARED = {
    f"{function}, {name} in the memory of out{' = x' if place == 'x' else ''}": in_out(
        function,
        name,
        value,
        place,
        x=f8(*X),
        reduction="none" if place == "new" else "mean",
        **({"target": INDEX} if name != "target" else {}),
        **({"v": f8(*V)} if function == "cross_entropy_hvp" else {}),
    )
    for function in ("cross_entropy_value_and_grad", "cross_entropy_hvp")
    for name, value in OPTIONS.items()
    for place in ("x", "new")
} | {
    "softmax, where in the memory of out": in_out(
        "softmax", "where", OPTIONS["where"], "new", x=f4(*X)
    ),
    "softmax, temperature in the memory of out": in_out(
        "softmax", "temperature", OPTIONS["temperature"], "x", x=f8(*X)
    ),
    "logsumexp_vjp, g in the memory of out": in_out(
        "logsumexp_vjp", "g", f8(1, 2), "new", x=f8(*X)
    ),
    "an index that would be read beyond its row": in_out(
        "cross_entropy_value_and_grad",
        "target",
        np.array([7, 3, 1, 6, 5, 0, 2, 4]),
        "new",
        x=np.zeros((8, 8)),
    ),
}

BOUNDS = {
    "p / T is subnormal, the result normal": call(
        "softmax_vjp", p=f4([1, 2e-38]), g=f4([0, 1e4]), temperature=1e4
    ),
    "p is subnormal, T low": call(
        "softmax_vjp", p=f8([1, 4e-317]), g=f8([-1000001.65, -1000001.47]), temperature=7e-5
    ),
    "p is subnormal, v large": call(
        "softmax_jvp", p=f4([3e-39, 0.3]), v=f4([1e-12, -2e4]), temperature=1e4
    ),
    "p is 0, g large": call("logsumexp_vjp", x=f4([0, -100]), g=f4(1e10)),
    "p is 0, g large, float64": call("logsumexp_vjp", x=f8([0, -740]), g=f8(1e200)),
    "log p of -110, v large": call("log_softmax_jvp", logp=f4([0, -110]), v=f4([0, 1e30])),
    "log p of -100, bfloat16": call("log_softmax_jvp", logp=b2([0, -100]), v=b2([1e29, 7e29])),
    "log p of -740, v large": call("log_softmax_jvp", logp=f8([0, -740]), v=f8([0, 1e300])),
    "v of 1e-30, T of 0.1": call(
        "log_softmax_jvp", logp=f4([-3e-11, -20]), v=f4([1e-31, 1e-30]), temperature=0.1
    ),
    "log p of -745, T low": call(
        "log_softmax_vjp", logp=f8([-745.158, -21.68]), g=f8([0, -2]), temperature=1e-4
    ),
    "a row of weight 1e30": call(
        "cross_entropy_value_and_grad",
        x=f4([0, -100]),
        target=np.array([0]),
        sample_weight=f8(1e30),
    ),
    "a row of weight 1e200": call(
        "cross_entropy_value_and_grad",
        x=f8([0, -740]),
        target=np.array([0]),
        sample_weight=f8(1e200),
    ),
    "a Hessian with T of 1e-4": call(
        "cross_entropy_hvp",
        x=f4([0, -0.009]),
        target=np.array([0]),
        v=f4([1, 2]),
        temperature=1e-4,
    ),
    "a Hessian with T of 2^-13": call(
        "cross_entropy_hvp",
        x=f4([-1.0785818, -1.093165]),
        target=f4([0.3, 0.3]),
        v=f4([-8e8, -3e11]),
        temperature=2.0**-13,
    ),
    "a divergence by x that is subnormal": call(
        "kl_divergence_value_and_grad", x=f8([-246.396222, 482.144254]), y=f8([100, 70])
    ),
    "a Hessian of five classes": call(
        "cross_entropy_hvp",
        x=f4([4.04129, 4.3915796, 2.639399, -0.26465902, -0.5994121]),
        target=np.array([0]),
        v=f4([0.6, 0.3, -1, 0.2, 0.8]),
    ),
    "factors of every size": call("logsumexp", x=f8([0, -20]), b=f8([3e-10, 5e8])),
    "subnormal logits, low temperature": call("logsumexp", x=f8(1e-318), temperature=7e-5),
}

BITS = {
    "an exponential of a reversed array": call(
        "log_softmax_jacobian.to_dense",
        logp=Operand(f8(-26.784410352507106, -5.7461617281338), "backwards"),
    ),
    "the same on the diagonal": call(
        "log_softmax_jacobian.diagonal",
        logp=Operand(f8(-1.8277177104000275, -1.7690326750238188), "backwards"),
    ),
    "a single class, with others and alone": call(
        "cross_entropy_value_and_grad", x=b2([8e37], [0]), target=np.array([0, 0])
    ),
}

ZEROS = {
    "zeros of a Fortran array": call(
        "cross_entropy_value_and_grad",
        x=Operand(f4([-3, 200], [-3, 200]), "Fortran"),
        target=np.array([1, 1]),
        reduction="sum",
    ),
    "zeros of softmax_vjp, backwards": call(
        "softmax_vjp", p=Operand(f2([0.006, 4e-4]), "backwards"), g=f2([0.0, -0.0])
    ),
    "zeros of log_softmax_vjp, classes apart": call(
        "log_softmax_vjp", logp=Operand(f2([-3.512, -103.4]), "classes apart"), g=f2([0.3, 0.0])
    ),
    "zeros of logsumexp_vjp, backwards": call(
        "logsumexp_vjp", x=Operand(f2([-3, -2]), "backwards"), g=f2(-0.0)
    ),
    "zeros of a Hessian": call(
        "cross_entropy_hvp",
        x=Operand(f4([-1e4, -1e4]), "Fortran, rows apart"),
        target=np.array([0]),
        v=f4([9e-32, -2e-31]),
        sample_weight=f8(0),
        z_loss=2.0,
    ),
    "a mean with strided weights": call(
        "cross_entropy",
        x=f8(
            *([-1.6, -1.2], [-7.3, 5.4], [3.4, -1.0], [2.3, 0.8]),
            *([-1.7, 2.9], [-0.9, -1.0], [-2.4, 1.4], [-0.3, 1.6]),
        ),
        target=np.zeros(8, int),
        sample_weight=Operand(f8(0.7, 0.4, 0.2, 0.3, 0.5, 0.9, 0.8, 0.3), "classes apart"),
    ),
}

SPECIAL = {
    "entropy of NaN and +inf": call("entropy", x=f4([NAN, INF], [1, 2])),
    "cross entropy of NaN and +inf, probabilities": call(
        "cross_entropy_value_and_grad", x=f4([INF, NAN, 0.09]), target=f4([0.1, 0.1, 0.2])
    ),
    "a Hessian where only -inf is left": call(
        "cross_entropy_hvp",
        x=f4([-7, -INF]),
        target=f4([0, 1]),
        v=f4([5e3, -300]),
        where=np.array([[False, True]]),
    ),
    "logsumexp of bfloat16 with factors": call("logsumexp", x=b2([1, 2]), b=b2([2, 0.5])),
    "factors and NaN": call("logsumexp", x=b2([1, NAN]), b=b2([2, 0.5])),
    "+inf with factors of both signs": call(
        "logsumexp", x=f8([INF, INF]), b=f8([1, -1]), return_sign=True
    ),
    "the sign of what overflows": call("logsumexp", x=b2(-1e30), dtype="float16", return_sign=True),
    "curvature of float16": call(
        "boosting.gradient_and_curvature", x=f2([0, 20], [0, 5]), target=np.array([1, 0])
    ),
    **{
        f"a mean of no weight, chunk {chunk}": call(
            "linear_cross_entropy_value_and_grad",
            h=f8([1, 2], [0, 1]),
            weight_matrix=np.eye(3, 2),
            bias=f8(0, 0, -INF),
            target=np.array([0, 0]),
            weight=f8(0, 1, 1),
            label_smoothing=0.1,
            where=np.array([[True, False, True], [True, True, True]]),
            chunk=chunk,
        )
        for chunk in ((2, 3), (1, 2), (2, 1))
    },
    "a layer's gradient times 1/2": call(
        "CrossEntropyLoss", x=f4([0, -88.406685]), target=f4([0, 1]), dy=0.5
    ),
    "two large logits apart": call(
        "kl_divergence_value_and_grad", x=f8([1e9 + 5, 1e9 + 1]), y=f8([-400, -4e307])
    ),
    "a single class of +inf, z_loss": call(
        "cross_entropy_value_and_grad", x=f8([INF]), target=f8([0.5]), z_loss=1e-4
    ),
    "very large logits": call("entropy", x=f8([3e306, -2])),
    "very large logits and no mass": call(
        "cross_entropy_value_and_grad", x=f8([2, -3e306]), target=f8([0, 0])
    ),
    "very large logits of a student": call("kl_divergence", x=f8([300, -20]), y=f8([3e306, -50])),
    "a mean of no weight, where": call(
        "cross_entropy_hvp",
        x=b2([-3, -3]),
        target=np.array([1]),
        v=b2([1e3, 1e3]),
        weight=f8(0, 0),
        where=np.array([[False, True]]),
    ),
    "a loss beyond float64": call(
        "cross_entropy", x=f8([0.3, -4e307]), target=f8([0, 1]), temperature=7e-5
    ),
}

# Beside each, a row with a class whose p is no normal number: its bits are its own all the same.
TANGENTS = f8([1e200, -1e180, 1e10], [1, 2, 1e40])
OVERFLOW = {
    "tangents of 1e200, logsumexp_jvp": call(
        "logsumexp_jvp", x=f8([0, 1, -2], [0, -1, -730]), v=TANGENTS
    ),
    "tangents of 1e200, log_softmax_jvp": call(
        "log_softmax_jvp", logp=f8([-1, -1, -1.5], [0, -40, -730]), v=TANGENTS
    ),
    "tangents of 1e200, a Hessian": call(
        "cross_entropy_hvp", x=f8([0, 1, -2], [0, -1, -730]), target=np.array([0, 1]), v=TANGENTS
    ),
    "one long row of tangents of 1e200": call(
        "logsumexp_jvp", x=np.zeros((1, 70_000)), v=np.full((1, 70_000), 1e200)
    ),
    "all smoothed, z_loss, and +inf elsewhere": call(
        "cross_entropy_value_and_grad",
        x=f8([INF, -9]),
        target=np.array([1]),
        label_smoothing=1.0,
        z_loss=2.0,
    ),
    "a divergence of a class and its half": call(
        "kl_divergence", x=f8([1e-39, -2e-39]), y=f8([0, 1])
    ),
    "a mean that is subnormal before T": call(
        "logsumexp_jvp", x=f8([-0.3226987, -0.37341037]), v=f8([0, -0.1]), temperature=7e-5
    ),
    "masses of every size": call(
        "cross_entropy_value_and_grad",
        x=f4([200, -200]),
        target=f4([0.03, 0.03]),
        weight=f8(2e30, 2e-30),
    ),
    "a heavy class next to nothing, smoothed": call(
        "cross_entropy_value_and_grad",
        x=f4([0, -90, -90]),
        target=np.array([1]),
        weight=f8(1, 2, 1e30),
        label_smoothing=0.1,
    ),
    "a heavy row, its loss below the smallest float64 without the weight": call(
        "cross_entropy_value_and_grad",
        x=f8([0, -750]),
        target=np.array([0]),
        sample_weight=f8(1e200),
    ),
    "masses beyond float32": call(
        "cross_entropy_value_and_grad",
        x=f4([7e-39, -7e-39]),
        target=f4([0.06, 0.09]),
        weight=f8(2e-32, 3e29),
        sample_weight=f8(2e30),
    ),
}

CASES = DIVERGENCES | SHARED | BOUNDS | BITS | ZEROS | SPECIAL | OVERFLOW
