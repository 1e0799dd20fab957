"""Arrays of another library go in, and arrays of the same library, device and dtype come out."""

from __future__ import annotations

import re

import array_api_strict
import numpy as np
import oracle
import pytest
import torch
from measure import check
from rows import DERIVATIVES, FUNCTIONS, MASKABLE, arguments, logits

import onesum

TORCH = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
STRICT = [array_api_strict.float32, array_api_strict.float64]
CASES = [(torch, d) for d in TORCH] + [(array_api_strict, d) for d in STRICT]


def array_type(xp):
    return type(xp.zeros(()))


def sent(xp, function: str, dtype) -> list:
    args = arguments(function, logits("spread 3", 4, 6, np.float32))
    return [xp.asarray(a, dtype=dtype) for a in args]


def values(a) -> np.ndarray:
    return a.to(torch.float64).numpy() if isinstance(a, torch.Tensor) else np.asarray(a._array)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("xp", "dtype"), CASES, ids=str)
def test_in_kind(xp, dtype, function):
    args = sent(xp, function, dtype)
    got = getattr(onesum, function)(*args)
    assert isinstance(got, array_type(xp))
    assert got.dtype == dtype
    assert got.device == args[0].device
    shape = (4,) if function in ("logsumexp", "logsumexp_jvp") else (4, 6)
    assert tuple(got.shape) == shape


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("axis", [0, 1, (0, 1), None, ()])
def test_axes(xp, axis):
    x = logits("spread 3", 4, 6, np.float64)
    for function in FUNCTIONS[:3]:
        got = getattr(onesum, function)(xp.asarray(x), axis=axis)
        assert isinstance(got, array_type(xp))
        assert values(got).shape == np.asarray(getattr(onesum, function)(x, axis=axis)).shape


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("function", MASKABLE)
def test_options_of_the_library(xp, function):
    """where and temperature as arrays of the same library, or as plain lists."""
    args = sent(xp, function, xp.float32)
    mask = np.arange(24).reshape(4, 6) % 3 > 0
    t = np.linspace(0.5, 2, 4)
    call = getattr(onesum, function)
    got = call(*args, where=xp.asarray(mask), temperature=xp.asarray(t))
    assert isinstance(got, array_type(xp))
    plain = call(*args, where=mask.tolist(), temperature=t.tolist())
    assert np.array_equal(values(got), values(plain))


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_weights_and_sign(xp):
    x = xp.asarray([0.0, 0.0], dtype=xp.float32)
    got, sign = onesum.logsumexp(x, b=xp.asarray([1.0, -3.0], dtype=xp.float32), return_sign=True)
    assert isinstance(got, array_type(xp))
    assert isinstance(sign, array_type(xp))
    assert float(sign) == -1
    assert float(got) == np.log(np.float32(2))


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_out(xp, function):
    args = sent(xp, function, xp.float32)
    fresh = getattr(onesum, function)(*args)
    out = xp.zeros(tuple(fresh.shape), dtype=xp.float32)
    assert getattr(onesum, function)(*args, out=out) is out
    assert np.array_equal(values(out), values(fresh))


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_integers(xp):
    got = onesum.softmax(xp.asarray([1, 2, 3], dtype=xp.uint8))
    assert got.dtype == xp.float64
    check(values(got), oracle.softmax([1.0, 2.0, 3.0]), "softmax")


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(xp, dtype):
    x = xp.asarray([0.0, 1.0], dtype=xp.float32)
    for wish in [dtype, getattr(np, dtype), getattr(xp, dtype)]:
        got = onesum.softmax(x, dtype=wish)
        assert isinstance(got, array_type(xp))
        assert got.dtype == getattr(xp, dtype)


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("function", DERIVATIVES)
def test_lists_beside_an_array(xp, function):
    """What is no array at all becomes one of the library of the first."""
    a, b = sent(xp, function, xp.float64)
    wanted = getattr(onesum, function)(a, b)
    got = getattr(onesum, function)(a, values(b).tolist())
    assert isinstance(got, array_type(xp))
    assert np.array_equal(values(got), values(wanted))
    if function == "logsumexp_vjp":
        row, one = a[0, ...], xp.asarray(0.5, dtype=xp.float64)
        for number in (0.5, np.float64(0.5)):
            got = onesum.logsumexp_vjp(row, number)
            assert np.array_equal(values(got), values(onesum.logsumexp_vjp(row, one)))
    with pytest.raises(ValueError, match=rf"\b[gv]: expected .*{re.escape(str(tuple(b.shape)))}"):
        getattr(onesum, function)(a, [[1.0]])
    with pytest.raises(TypeError, match=r"\b[gv]\b.*complex128"):
        getattr(onesum, function)(a, (values(b) * 1j).tolist())


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("function", DERIVATIVES)
def test_two_libraries_do_not_mix(xp, function):
    a, b = sent(xp, function, xp.float32)
    with pytest.raises(TypeError, match=r"\b[gv]\b"):
        getattr(onesum, function)(a, values(b))
    with pytest.raises(TypeError, match=r"\b[gv]\b"):
        getattr(onesum, function)(values(a), b)


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_out_of_another_library(xp):
    with pytest.raises(ValueError, match=r"\bout\b"):
        onesum.softmax(xp.asarray([0.0, 1.0]), out=np.zeros(2))
    with pytest.raises(ValueError, match=r"\bout\b"):
        onesum.softmax(np.zeros(2), out=xp.asarray([0.0, 1.0], dtype=xp.float64))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_complex_is_refused(xp, dtype):
    with pytest.raises(TypeError, match=rf"(?s)(?=.*\bx\b)(?=.*{dtype})"):
        onesum.softmax(xp.asarray([0.0, 1.0], dtype=getattr(xp, dtype)))


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_jacobian(xp):
    p = onesum.softmax(xp.asarray([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], dtype=xp.float64))
    v = xp.asarray([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], dtype=xp.float64)
    jacobian = onesum.softmax_jacobian(p)
    for got, wanted in [
        (jacobian @ v, onesum.softmax_jvp(p, v)),
        (jacobian.T @ v, onesum.softmax_vjp(p, v)),
    ]:
        assert isinstance(got, array_type(xp))
        assert np.array_equal(values(got), values(wanted))
    if xp is torch:  # array_api_strict's own @ refuses what is not its array before asking it
        assert np.array_equal(values(v @ jacobian), values(onesum.softmax_vjp(p, v)))
    dense = jacobian.to_dense()
    assert isinstance(dense, array_type(xp))
    assert tuple(dense.shape) == (2, 3, 3)
    for part in [jacobian.diagonal(), jacobian.solve(v)]:
        assert isinstance(part, array_type(xp))
        assert tuple(part.shape) == (2, 3)


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_layers(xp):
    layer = onesum.Softmax()
    x = xp.asarray([[0.0, 1.0, 2.0]], dtype=xp.float64)
    y = layer(x)
    dx = layer.backward(y)
    assert isinstance(y, array_type(xp))
    assert isinstance(dx, array_type(xp))
    assert np.array_equal(values(dx), values(onesum.softmax_vjp(y, y)))
