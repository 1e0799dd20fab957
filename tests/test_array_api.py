"""The array API standard: every version that array-api-strict offers, and its devices.

Nothing is used that a version lacks, nothing leaves the device, and the numbers are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import oracle
import pytest
from array_api_strict._flags import supported_versions
from budget import FLOAT32_ALONE
from implementations import arrays_of, using
from measure import ulp
from rows import FUNCTIONS, KINDS, arguments, logits

import onesum

DEVICE, WITHOUT_FLOAT64 = strict.Device("device1"), strict.Device("no_float64")

X, Y = (logits("spread 3", 4, 6, np.float64, seed) for seed in (0, 1))
INDEX = np.array([0, 4, -1, 5])
Given = Callable[[np.ndarray], Any]


def everything(x: Any, y: Any, index: Any, given: Given) -> Iterator[tuple[str, Any]]:
    """Every function of arrays, with every option that a backend has, and what it answers.

    `given` turns the arrays among the options into what they are to be given as.
    """
    rows = {
        "temperature": given(np.array([0.5, 1.0, 2.0, 4.0])),
        "where": given(np.arange(24).reshape(4, 6) % 5 > 0),
    }
    p, logp = onesum.softmax(x, **rows), onesum.log_softmax(x)
    yield "softmax", (p, onesum.softmax(x, axis=None), onesum.softmax(x, axis=(), temperature=2))
    yield "softmax of integers", onesum.softmax(index, dtype="float32")
    yield "log_softmax", (logp, onesum.log_softmax(x, axis=0, **{**rows, "temperature": 2.0}))
    yield "logsumexp", onesum.logsumexp(x, keepdims=True, **rows)
    yield "logsumexp, axes", onesum.logsumexp(x, axis=(0, 1), dtype="float32")
    yield "logsumexp, b", onesum.logsumexp(x, b=y, return_sign=True, **rows)
    yield "logsumexp, more b", onesum.logsumexp(x[0, :], b=y, keepdims=True)
    yield from derivatives(x, y, p, logp, rows)
    yield from losses(x, y, p, index, rows, given)


def derivatives(x: Any, y: Any, p: Any, logp: Any, rows: dict) -> Iterator[tuple[str, Any]]:
    t = {"temperature": rows["temperature"]}
    yield "softmax_vjp", onesum.softmax_vjp(p, y, **t)
    yield "softmax_jvp", onesum.softmax_jvp(p, y, axis=0)
    yield "log_softmax_vjp", onesum.log_softmax_vjp(logp, y, **t)
    yield "log_softmax_jvp", onesum.log_softmax_jvp(logp, y, axis=(1, 0))
    yield "logsumexp_vjp", onesum.logsumexp_vjp(x, y[:, 0], **rows)
    yield "logsumexp_jvp", onesum.logsumexp_jvp(x, y, keepdims=True, **rows)
    for name, jacobian in [
        ("softmax_jacobian", onesum.softmax_jacobian(p, **t)),
        ("log_softmax_jacobian", onesum.log_softmax_jacobian(logp, axis=0)),
        ("multiple", onesum.log_softmax_jacobian(logp, axis=(0, 1)) * 3 / 7),
    ]:
        for side, operator in (("", jacobian), (".T", jacobian.T)):
            yield f"{name}{side}", (operator @ y, operator.solve(y))
            yield f"{name}{side}, entries", (operator.to_dense(), operator.diagonal())
    jacobian = onesum.softmax_jacobian(p, **t)
    total = jacobian - 2 * onesum.softmax_jacobian(onesum.softmax(y))
    yield "sum", (total @ y, total.to_dense(), total.diagonal())
    yield "parts", (jacobian[1] @ y[1, :], jacobian[1:] @ y[1:, :], jacobian[[3, 0]] @ y[:2, :])
    matrices = onesum.softmax_jacobian(p).to_dense()
    yield "matrices", (jacobian @ matrices, jacobian.solve(matrices))


def losses(
    x: Any, y: Any, p: Any, index: Any, rows: dict, given: Given
) -> Iterator[tuple[str, Any]]:
    weights = {"weight": given(np.arange(6.0)), "sample_weight": given(np.arange(4.0))}
    options = {**rows, **weights, "label_smoothing": 0.1, "z_loss": 0.1, "softcap": 3.0}
    of_index = {"ignore_index": -1, **options}
    for kind, aim, some in (("index", index, of_index), ("p", p, options)):
        for reduction in ("mean", "sum", "none"):
            kept = {**some, "reduction": reduction}
            yield f"cross_entropy, {kind}, {reduction}", onesum.cross_entropy(x, aim, **kept)
            answer = onesum.cross_entropy_value_and_grad(x, aim, **kept)
            yield f"cross_entropy_value_and_grad, {kind}, {reduction}", answer
            hv = onesum.cross_entropy_hvp(x, aim, y, **kept)
            yield f"cross_entropy_hvp, {kind}, {reduction}", hv
        plain = {"ignore_index": -1} if kind == "index" else {}
        yield f"plain, {kind}", onesum.cross_entropy_value_and_grad(x, aim, **plain)
        h, w, b = x[:, :5], y.T[:, :4].T[:, :5], y[:, 5]  # five features, four classes
        aim = given(np.array([0, 3, -1, 2])) if kind == "index" else p[:, :4]
        options_of_rows = {"temperature": rows["temperature"], "where": given(np.arange(4) != 1)}
        every = {**plain, **options_of_rows, "label_smoothing": 0.1, "z_loss": 0.1, "softcap": 3.0}
        both = onesum.linear_cross_entropy_value_and_grad
        yield f"linear_cross_entropy, {kind}", onesum.linear_cross_entropy(h, w, aim, **plain)
        yield f"linear, {kind}, options", both(h, w, aim, b, **every, chunk=(3, 4))
    masked = {"temperature": np.ma.array(np.ones(4), mask=[0, 1, 0, 0])}
    yield "masked rows", onesum.cross_entropy_value_and_grad(x, p, **masked)
    chosen = given(np.array([0, 1, 2, 3]))
    yield "selective_log_softmax", onesum.selective_log_softmax(x, chosen, **rows)
    several = given(np.array([[0, 1], [1, 5], [2, 2], [3, 0]]))
    yield "selective_log_softmax, several", onesum.selective_log_softmax(x, several, **rows)
    yield "entropy", onesum.entropy(x, **rows)
    for reduction in ("mean", "none"):
        kept = {**rows, "reduction": reduction}
        yield f"kl_divergence, {reduction}", onesum.kl_divergence(x, y, **kept)
        answer = onesum.kl_divergence_value_and_grad(x, y, **kept)
        yield f"kl_divergence_value_and_grad, {reduction}", answer
    for layer in (onesum.Softmax(), onesum.LogSoftmax(temperature=rows["temperature"])):
        yield type(layer).__name__, (layer(x), layer.backward(y), layer.jacobian().diagonal())
    layer = onesum.CrossEntropyLoss(reduction="none", ignore_index=-1)
    yield "CrossEntropyLoss", (layer(x, index), layer.backward(y[:, 0]))


@pytest.fixture(scope="module")
def wanted() -> dict[str, list[np.ndarray]]:
    with using("reference"), np.errstate(all="ignore"):
        return {name: arrays_of(a) for name, a in everything(X, Y, INDEX, lambda a: a)}


def agree(wanted: dict, given: Given, device: Any = None) -> None:
    """Everything is an array of the library, on the device, and NumPy's in every bit."""

    def ours(a: np.ndarray) -> Any:
        return strict.asarray(a, device=device)

    device = ours(X).device if device is None else device
    seen = 0
    for name, answer in everything(*map(ours, (X, Y, INDEX)), given):
        seen += 1
        for got, exact in zip(arrays_of(answer), wanted[name], strict=True):
            assert isinstance(got, strict._array_object.Array), name
            assert got.device == device, name
            numbers = np.asarray(got._array)
            assert numbers.dtype == exact.dtype, name
            assert np.array_equal(numbers, np.ma.getdata(exact), equal_nan=True), name
    assert seen == len(wanted)


# The oldest lacks the most, the newest is the one in use.
OLDEST, *BETWEEN, NEWEST = supported_versions
VERSIONS = [OLDEST, NEWEST, *(pytest.param(v, marks=pytest.mark.slow) for v in BETWEEN)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.filterwarnings("ignore:The 2021.12 version")
def test_versions(wanted, version):
    """Settled before an array is made: arrays remember the version."""
    with strict.ArrayAPIStrictFlags(api_version=version):
        agree(wanted, strict.asarray)


@pytest.mark.parametrize(
    "given",
    [lambda a: strict.asarray(a, device=DEVICE), lambda a: a, lambda a: a.tolist()],
    ids=["of the device", "NumPy's", "lists"],
)
def test_a_device(wanted, given):
    """Also what comes without one: NumPy's arrays, and lists."""
    agree(wanted, given, DEVICE)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_device_without_float64(function):
    """All stays there, and two words of float32 are worth as much; also of what underflows."""
    call = getattr(onesum, function)
    rows = [arguments(function, logits(kind, 20, 30, np.float32)) for kind in KINDS]
    rows += {
        "log_softmax_jvp": [(np.float32([0, -110]), np.float32([0, 1e30]))],
        "logsumexp_vjp": [(np.float32([0, -100]), np.float32(1e10))],
    }.get(function, [])
    for args in rows:
        got = call(*(strict.asarray(a, device=WITHOUT_FLOAT64) for a in args), temperature=0.75)
        assert got.device == WITHOUT_FLOAT64
        assert got.dtype == strict.float32
        exact, scale = getattr(oracle, function)(*args, temperature=0.75)
        allowed = FLOAT32_ALONE * ulp(np.maximum(scale, abs(exact)), np.float32)
        assert np.all(abs(np.asarray(got._array) - exact) <= allowed)


def test_a_layer_on_a_device_without_float64():
    """Its temperature is looked at before there is an x."""
    t = strict.ones(4, dtype=strict.float32, device=WITHOUT_FLOAT64)
    x = strict.zeros((4, 2), dtype=strict.float32, device=WITHOUT_FLOAT64)
    assert onesum.Softmax(temperature=t)(x).device == WITHOUT_FLOAT64
