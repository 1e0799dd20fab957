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


@pytest.mark.parametrize("layer", [onesum.Softmax, onesum.CrossEntropyLoss])
def test_reuse_is_documented(layer):
    """The docstring says what a second call does, and what two threads may not."""
    assert "second call" in layer.__doc__
    assert "thread" in layer.__doc__


# CrossEntropyLoss

INDEX = np.random.default_rng(3).integers(0, 4, (4, 5))
Y = np.abs(DY)
LOSSES = [
    (INDEX, {}),
    (Y, {"reduction": "sum"}),
    (INDEX, {"weight": np.linspace(0.5, 2, 6), "label_smoothing": 0.1, "ignore_index": 3}),
    (Y, {"z_loss": 0.1, "temperature": 0.5}),
    (INDEX, {"axis": 2, "temperature": np.linspace(0.5, 2, 5)}),
    (Y, {"axis": 1, "temperature": np.linspace(0.5, 2, 6)}),
]


@pytest.mark.parametrize(("target", "options"), LOSSES, ids=str)
def test_loss_and_backward(numpy_api, target, options):
    """The layer is the function, and its backward the function's gradient."""
    layer = onesum.CrossEntropyLoss(**options)
    loss, grad = numpy_api.cross_entropy_value_and_grad(X, target, **options)
    assert same_bits(layer(X, target), loss)
    assert same_bits(layer.backward(), grad)
    assert same_bits(layer.backward(1), grad)
    assert same_bits(layer.backward(np.float64(0.25)), grad / 4)


def test_loss_of_weighted_rows(numpy_api):
    """What belongs to the data is given to the call."""
    s, where = np.linspace(0, 1, 20).reshape(4, 5), X > -3
    options = {"sample_weight": s, "where": where}
    loss, grad = numpy_api.cross_entropy_value_and_grad(X, Y, **options)
    layer = onesum.CrossEntropyLoss()
    assert same_bits(layer(X, Y, **options), loss)
    assert same_bits(layer.backward(), grad)


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None])
def test_backward_of_each_row(numpy_api, axis):
    """With reduction "none", dL/dloss is one number per row, or one for all."""
    dy = np.asarray(DY[:, :, 0].sum() if axis is None else DY.sum(axis))
    index = np.zeros(dy.shape, int)
    layer = onesum.CrossEntropyLoss(axis, reduction="none")
    loss = layer(X, index)
    assert np.shape(loss) == dy.shape
    _, grad = numpy_api.cross_entropy_value_and_grad(X, index, axis, reduction="none")
    assert same_bits(layer.backward(), grad)
    assert same_bits(layer.backward(-2.0), -2 * grad)
    by_row = np.expand_dims(dy, tuple(range(3)) if axis is None else axis)
    assert same_bits(layer.backward(dy), grad * by_row)
    if dy.ndim:
        with pytest.raises(ValueError, match=r"\bdy\b"):
            layer.backward(dy[..., :1])


def test_backward_of_the_loss_takes_a_number(numpy_api):
    layer = onesum.CrossEntropyLoss()
    layer(X, INDEX)
    for dy in [np.ones(20), "1", None, 1j]:
        with pytest.raises(TypeError, match=r"\bdy\b"):
            layer.backward(dy)


def test_the_last_loss_counts(numpy_api):
    layer = onesum.CrossEntropyLoss()
    layer(X, INDEX)
    layer(X[0], INDEX[0])
    _, grad = numpy_api.cross_entropy_value_and_grad(X[0], INDEX[0])
    assert same_bits(layer.backward(), grad)
    with pytest.raises(IndexError):
        layer(X, INDEX + 6)
    assert same_bits(layer.backward(), grad), "a failed call changed the layer"


def test_backward_of_the_loss_again(numpy_api):
    """Asked for by a factor first, and twice."""
    layer = onesum.CrossEntropyLoss()
    layer(X, INDEX)
    _, grad = numpy_api.cross_entropy_value_and_grad(X, INDEX)
    layer.backward(3.0)[...] = 0
    assert same_bits(layer.backward(), grad)
    assert same_bits(layer.backward(), grad)


def test_dtype_of_the_loss(numpy_api):
    for dtype in ["float16", "bfloat16", "float32", "float64"]:
        for reduction, dy in [("mean", 0.5), ("none", DY[..., 0])]:
            layer = onesum.CrossEntropyLoss(reduction=reduction)
            assert layer(X.astype(dtype), INDEX).dtype == np.dtype(dtype)
            assert layer.backward(dy).dtype == np.dtype(dtype)


def test_backward_before_a_loss():
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss.*backward"):
        onesum.CrossEntropyLoss().backward()


def test_repr_of_the_loss():
    assert repr(onesum.CrossEntropyLoss(1, label_smoothing=0.1)) == (
        "CrossEntropyLoss(axis=1, weight=None, label_smoothing=0.1, ignore_index=None, "
        "z_loss=0.0, temperature=1.0, reduction='mean')"
    )
