"""The layers: forward, backward and Jacobian of the last call."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
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
def test_forward_and_backward(api, name, options):
    """The layer is the function, and its backward the function's VJP at what it returned."""
    layer = getattr(onesum, name)(**options)
    y = layer(X)
    assert same_bits(y, getattr(api, LAYERS[name])(X, **options))
    dx = layer.backward(DY)
    assert same_bits(dx, getattr(api, f"{LAYERS[name]}_vjp")(y, DY, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_jacobian(api, name, options):
    layer = getattr(onesum, name)(**options)
    y = layer(X)
    jacobian = layer.jacobian()
    assert type(jacobian) is getattr(onesum, f"{name}Jacobian")
    wanted = getattr(api, f"{LAYERS[name]}_jacobian")(y, **options)
    assert same_bits(jacobian.to_dense(), wanted.to_dense())
    assert same_bits(DY @ jacobian, layer.backward(DY))


def test_positional_arguments(api, name):
    assert same_bits(
        getattr(onesum, name)(0, 2.0)(X), getattr(onesum, name)(axis=0, temperature=2.0)(X)
    )


@pytest.mark.parametrize("method", ["backward", "jacobian"])
def test_backward_before_forward(name, method):
    layer = getattr(onesum, name)()
    with pytest.raises(RuntimeError, match=rf"{name}.*{method}"):
        getattr(layer, method)(*([DY] if method == "backward" else []))


def test_the_last_call_counts(api, name):
    layer = getattr(onesum, name)()
    layer(X)
    y = layer(X[0])
    assert same_bits(layer.backward(DY[0]), getattr(api, f"{LAYERS[name]}_vjp")(y, DY[0]))


def test_backward_again(api, name):
    """Backward may be asked for more than once, and its result belongs to the caller."""
    layer = getattr(onesum, name)()
    y = layer(X)
    kept = y.copy()
    first = layer.backward(DY)
    first_copy = first.copy()
    first[...] = 0
    assert same_bits(layer.backward(DY), first_copy)
    assert same_bits(y, kept)


def test_a_failed_call_leaves_nothing(name):
    """Not the gradient of the call before, of other data."""
    layer = getattr(onesum, name)()
    layer(X)
    with pytest.raises(TypeError):
        layer(X.astype(complex))
    for use in [lambda: layer.backward(DY), layer.jacobian]:
        with pytest.raises(RuntimeError, match=name):
            use()


@pytest.mark.parametrize("layer", [onesum.Softmax, onesum.LogSoftmax, onesum.CrossEntropyLoss])
def test_a_call_is_forward(layer):
    arguments = [X, INDEX] if layer is onesum.CrossEntropyLoss else [X]

    class Louder(layer):
        def forward(self, *arguments):
            return 2 * super().forward(*arguments)

    assert same_bits(layer().forward(*arguments), layer()(*arguments))
    assert same_bits(Louder()(*arguments), 2 * layer()(*arguments))


def test_masked(api, name):
    """A masked array comes back from backward, too, with the mask of the last call."""
    masked = np.ma.array(X, mask=X > 2)
    layer = getattr(onesum, name)()
    layer(X)
    layer(masked)
    dx = layer.backward(DY)
    assert np.array_equal(np.ma.getmaskarray(dx), X > 2)


def test_wrong_shape_of_dy(api, name):
    layer = getattr(onesum, name)()
    layer(X)
    with pytest.raises(ValueError, match=r"\bg\b|\bdy\b"):
        layer.backward(DY[0])


def test_dtype(api, name):
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
    (Y, {"z_loss": 0.1, "softcap": 3.0, "temperature": 0.5}),
    (INDEX, {"axis": 2, "temperature": np.linspace(0.5, 2, 5)}),
    (Y, {"axis": 1, "temperature": np.linspace(0.5, 2, 6)}),
]


@pytest.mark.parametrize(("target", "options"), LOSSES, ids=str)
def test_loss_and_backward(api, target, options):
    """The layer is the function, and its backward the function's gradient."""
    layer = onesum.CrossEntropyLoss(**options)
    loss, grad = api.cross_entropy_value_and_grad(X, target, **options)
    assert same_bits(layer(X, target), loss)
    assert same_bits(layer.backward(), grad)
    assert same_bits(layer.backward(1), grad)
    assert same_bits(layer.backward(np.float64(0.25)), grad / 4)


def test_loss_of_weighted_rows(api):
    """What belongs to the data is given to the call."""
    s, where = np.linspace(0, 1, 20).reshape(4, 5), X > -3
    options = {"sample_weight": s, "where": where}
    loss, grad = api.cross_entropy_value_and_grad(X, Y, **options)
    layer = onesum.CrossEntropyLoss()
    assert same_bits(layer(X, Y, **options), loss)
    assert same_bits(layer.backward(), grad)


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None])
def test_backward_of_each_row(api, axis):
    """With reduction "none", dL/dloss is one number per row, or one for all."""
    dy = np.asarray(DY[:, :, 0].sum() if axis is None else DY.sum(axis))
    index = np.zeros(dy.shape, int)
    layer = onesum.CrossEntropyLoss(axis, reduction="none")
    loss = layer(X, index)
    assert np.shape(loss) == dy.shape
    _, grad = api.cross_entropy_value_and_grad(X, index, axis, reduction="none")
    assert same_bits(layer.backward(), grad)
    assert same_bits(layer.backward(-2.0), -2 * grad)
    by_row = np.expand_dims(dy, tuple(range(3)) if axis is None else axis)
    assert same_bits(layer.backward(dy), grad * by_row)
    if dy.ndim:
        with pytest.raises(ValueError, match=r"\bdy\b"):
            layer.backward(dy[..., :1])


def test_backward_of_the_loss_takes_a_number(api):
    layer = onesum.CrossEntropyLoss()
    layer(X, INDEX)
    for dy in [np.ones(20), "1", None, 1j]:
        with pytest.raises(TypeError, match=r"\bdy\b"):
            layer.backward(dy)


def test_the_last_loss_counts(api):
    layer = onesum.CrossEntropyLoss()
    layer(X, INDEX)
    layer(X[0], INDEX[0])
    _, grad = api.cross_entropy_value_and_grad(X[0], INDEX[0])
    assert same_bits(layer.backward(), grad)
    with pytest.raises(IndexError):
        layer(X, INDEX + 6)
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss\.backward"):
        layer.backward()


@pytest.mark.parametrize("dy", [1.0, 3.0, np.ones((4, 5))], ids=["1", "3", "rows"])
def test_backward_of_the_loss_again(api, dy):
    """Whatever the caller does to what he got, he gets the same again."""
    layer = onesum.CrossEntropyLoss(reduction="none")
    layer(X, INDEX)
    first = layer.backward(dy)
    wanted = first.copy()
    first *= 0.1
    assert same_bits(layer.backward(dy), wanted)
    assert same_bits(layer.backward(dy), wanted)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("number", [float, int, np.float32, np.float64, np.array, torch.tensor])
def test_whatever_is_a_number(api, reduction, number):
    layer = onesum.CrossEntropyLoss(reduction=reduction)
    layer(np.float32(X), INDEX)
    assert same_bits(layer.backward(number(2)), 2 * layer.backward())


def test_backward_rounds_once(api):
    """0.1 is not rounded to float32 first."""
    layer = onesum.CrossEntropyLoss(reduction="none")
    for dtype in [np.float16, np.float32]:
        layer(X.astype(dtype), INDEX)
        wanted = (layer.backward().astype(float) * 0.1).astype(dtype)
        assert same_bits(layer.backward(0.1), wanted)
        assert same_bits(layer.backward(np.full((4, 5), 0.1)), wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_backward_does_not_warn(api, dtype):
    """Overflow, underflow and infinities are answers, as everywhere."""
    layer = onesum.CrossEntropyLoss(reduction="none")
    layer(X.astype(dtype), INDEX)
    kept = layer.backward().astype(float)
    with np.errstate(all="raise"):
        for dy in [1e308, np.inf, 1e-308, np.nan]:
            for given in [dy, np.full((4, 5), dy)]:
                got = layer.backward(given)
                with np.errstate(all="ignore"):
                    assert same_bits(got, (kept * dy).astype(dtype))


def test_masked_gradients(api):
    """backward(dy) has the mask of backward(), and what dy masks is masked, too."""
    masked = np.ma.array(X, mask=X > 2)
    rows = np.ma.array(np.full((4, 5), 2.0), mask=DY[..., 0] > 1)
    layer = onesum.CrossEntropyLoss(reduction="none")
    layer(masked, INDEX)
    wanted = layer.backward()
    assert np.array_equal(np.ma.getmaskarray(wanted), X > 2)
    for dy, mask in [(2.0, X > 2), (rows, (X > 2) | rows.mask[..., None])]:
        got = layer.backward(dy)
        assert np.array_equal(np.ma.getmaskarray(got), mask)
        assert np.array_equal(got.compressed(), 2 * np.ma.array(wanted, mask=mask).compressed())


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_the_loss_of_other_arrays(xp):
    """backward answers in kind, and in the type of x."""
    x, target = xp.asarray(np.float32(X)), xp.asarray(INDEX)
    ours = onesum.CrossEntropyLoss(weight=xp.asarray(np.linspace(0.5, 2, 6)), reduction="none")
    ours(x, target)
    plain = onesum.CrossEntropyLoss(weight=np.linspace(0.5, 2, 6), reduction="none")
    plain(x, target)
    rows = DY[..., 0]
    for dy in [1.0, 0.5, np.float32(2), xp.asarray(2.0), xp.asarray(rows)]:
        got = ours.backward(dy)
        assert type(got) is type(x)
        assert got.dtype == x.dtype
        by = rows[..., None] if tuple(np.shape(dy)) else float(dy)
        wanted = (np.asarray(plain.backward()).astype(float) * by).astype(np.float32)
        assert same_bits(got, wanted)


def test_dtype_of_the_loss(api):
    for dtype in ["float16", "bfloat16", "float32", "float64"]:
        for reduction, dy in [("mean", 0.5), ("none", DY[..., 0])]:
            layer = onesum.CrossEntropyLoss(reduction=reduction)
            assert layer(X.astype(dtype), INDEX).dtype == np.dtype(dtype)
            assert layer.backward(dy).dtype == np.dtype(dtype)


# What can be known without data, the constructors say

AT_ONCE = [
    ("Softmax", {"axis": (0, 0.5)}),
    ("Softmax", {"axis": (0, 0)}),
    ("LogSoftmax", {"axis": 1.5}),
    ("CrossEntropyLoss", {"axis": [0]}),
    ("Softmax", {"temperature": -1}),
    ("LogSoftmax", {"temperature": 0.0}),
    ("CrossEntropyLoss", {"temperature": np.nan}),
    ("CrossEntropyLoss", {"temperature": "warm"}),
    ("LogSoftmax", {"temperature": 1j}),
    ("Softmax", {"temperature": np.array([[1.0, 1, 0, 1, 1]] * 4)}),
    ("CrossEntropyLoss", {"reduction": "foo"}),
    ("CrossEntropyLoss", {"reduction": None}),
    ("CrossEntropyLoss", {"label_smoothing": 1.5}),
    ("CrossEntropyLoss", {"label_smoothing": "much"}),
    ("CrossEntropyLoss", {"z_loss": -1e-9}),
    ("CrossEntropyLoss", {"z_loss": np.inf}),
    ("CrossEntropyLoss", {"softcap": 0.0}),
    ("CrossEntropyLoss", {"softcap": "much"}),
    ("CrossEntropyLoss", {"ignore_index": 1.5}),
    ("CrossEntropyLoss", {"weight": [1.0, 1, 1, -1, 1, 1]}),
    ("CrossEntropyLoss", {"weight": np.array([1.0, np.nan, 1, 1, 1, 1])}),
    ("CrossEntropyLoss", {"weight": np.ones((2, 3))}),
    ("CrossEntropyLoss", {"weight": ["1", "2"]}),
]


@pytest.mark.parametrize(("layer", "options"), AT_ONCE, ids=str)
def test_constructors_check_at_once(api, layer, options):
    """As the function would, with the same words."""
    arguments = [X, INDEX] if layer == "CrossEntropyLoss" else [X]
    function = getattr(api, {**LAYERS, "CrossEntropyLoss": "cross_entropy"}[layer])
    with pytest.raises((TypeError, ValueError)) as wanted:
        function(*arguments, **options)
    with pytest.raises(wanted.type) as got:
        getattr(onesum, layer)(**options)
    assert str(got.value) == str(wanted.value)


def test_weight_is_one_number_per_class():
    """How many classes there are, only the data tells."""
    for weight in [1.0, []]:
        with pytest.raises(ValueError, match=r"weight: expected shape \(1,\)"):
            onesum.CrossEntropyLoss(weight=weight)
    with pytest.raises(ValueError, match=r"weight: expected shape \(6,\)"):
        onesum.CrossEntropyLoss(weight=np.ones(5))(X, INDEX)


@pytest.mark.parametrize("xp", [np, torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_constructors_take_what_the_functions_take(xp):
    """And leave the options as they are."""
    t, weight = xp.asarray(np.linspace(0.5, 2, 5)), xp.asarray(np.linspace(0, 1, 6))
    for make in [onesum.Softmax, onesum.LogSoftmax, onesum.CrossEntropyLoss]:
        assert make((0, -1), temperature=t).axis == (0, -1)
        assert make(None).axis is None
    layer = onesum.CrossEntropyLoss(weight=weight, ignore_index=-100, temperature=t)
    assert layer.options["weight"] is weight
    assert layer.options["temperature"] is t


def test_backward_before_a_loss():
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss.*backward"):
        onesum.CrossEntropyLoss().backward()


def test_repr_of_the_loss():
    assert repr(onesum.CrossEntropyLoss(1, label_smoothing=0.1)) == (
        "CrossEntropyLoss(axis=1, weight=None, label_smoothing=0.1, ignore_index=None, "
        "z_loss=0.0, softcap=None, temperature=1.0, reduction='mean')"
    )
