"""The layers: forward, backward and Jacobian of the last call."""

from __future__ import annotations

import numpy as np
import pytest
from measure import same_bits

import onesum

X = np.random.default_rng(1).normal(0, 3, (4, 5, 6))
DY = np.random.default_rng(2).normal(0, 1, (4, 5, 6))
LAYERS = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
OPTIONS = [
    {},
    {"axis": 0},
    {"axis": (0, 2)},
    {"axis": None},
    {"temperature": 0.5},
    {"axis": 1, "temperature": np.linspace(0.5, 2, 6)},
]


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_forward_and_backward(numpy_api, name, options):
    """The layer is the function, and its backward the function's VJP at what it returned."""
    layer = getattr(onesum, name)(**options)
    y = layer(X)
    assert same_bits(y, getattr(numpy_api, LAYERS[name])(X, **options))
    dx = layer.backward(DY)
    assert same_bits(dx, getattr(numpy_api, f"{LAYERS[name]}_vjp")(y, DY, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_jacobian(numpy_api, name, options):
    layer = getattr(onesum, name)(**options)
    y = layer(X)
    jacobian = layer.jacobian()
    assert type(jacobian) is getattr(onesum, f"{name}Jacobian")
    wanted = getattr(numpy_api, f"{LAYERS[name]}_jacobian")(y, **options)
    assert same_bits(jacobian.to_dense(), wanted.to_dense())
    assert same_bits(DY @ jacobian, layer.backward(DY))


def test_positional_arguments(numpy_api, name):
    assert same_bits(
        getattr(onesum, name)(0, 2.0)(X), getattr(onesum, name)(axis=0, temperature=2.0)(X)
    )


@pytest.mark.parametrize("method", ["backward", "jacobian"])
def test_backward_before_forward(name, method):
    layer = getattr(onesum, name)()
    with pytest.raises(RuntimeError, match=rf"{name}.*{method}"):
        getattr(layer, method)(*([DY] if method == "backward" else []))


def test_the_last_call_counts(numpy_api, name):
    layer = getattr(onesum, name)()
    layer(X)
    y = layer(X[0])
    assert same_bits(layer.backward(DY[0]), getattr(numpy_api, f"{LAYERS[name]}_vjp")(y, DY[0]))


def test_backward_again(numpy_api, name):
    """Backward may be asked for more than once, and its result belongs to the caller."""
    layer = getattr(onesum, name)()
    y = layer(X)
    kept = y.copy()
    first = layer.backward(DY)
    first_copy = first.copy()
    first[...] = 0
    assert same_bits(layer.backward(DY), first_copy)
    assert same_bits(y, kept)


def test_a_failed_call_leaves_the_layer_as_it_was(numpy_api, name):
    layer = getattr(onesum, name)()
    y = layer(X)
    with pytest.raises(TypeError):
        layer(X.astype(complex))
    assert same_bits(layer.backward(DY), getattr(numpy_api, f"{LAYERS[name]}_vjp")(y, DY))


def test_wrong_shape_of_dy(numpy_api, name):
    layer = getattr(onesum, name)()
    layer(X)
    with pytest.raises(ValueError, match=r"\bg\b|\bdy\b"):
        layer.backward(DY[0])


def test_dtype(numpy_api, name):
    for dtype in ["float16", "bfloat16", "float32", "float64"]:
        layer = getattr(onesum, name)()
        assert layer(X.astype(dtype)).dtype == np.dtype(dtype)
        assert layer.backward(DY.astype(dtype)).dtype == np.dtype(dtype)


def test_repr(name):
    assert (
        repr(getattr(onesum, name)(axis=0, temperature=2.0)) == f"{name}(axis=0, temperature=2.0)"
    )


def test_reuse_is_documented():
    """The docstring says what a second call does, and what two threads may not."""
    assert "second call" in onesum.Softmax.__doc__
    assert "thread" in onesum.Softmax.__doc__
