"""Nothing of a call is on another device than its arguments: every function, on a pretended GPU.

Under torch's FakeTensorMode tensors have a device and a shape, and no memory: an operation on
tensors of two devices is refused as CUDA would refuse it, on machines that have no CUDA. The values
are those of `test_torch_formulas.py`, which says what they are.
"""

from __future__ import annotations

import functools
import operator
from itertools import product

import pytest
import torch
from implementations import arrays_of
from rows import DERIVATIVES, FUNCTIONS, MASKABLE
from torch._subclasses.fake_tensor import FakeTensorMode

import onesum

DEVICE = torch.device("cuda:0")
DTYPES = [torch.float16, torch.float64]
ROWS, CLASSES, FEATURES = 3, 5, 4
CUTS = (slice(0, 2), slice(2, 5), slice(5, 5))


class _Unguarded(torch.overrides.TorchFunctionMode):
    """~x and x[i] without the guard of the device, which a build of torch without CUDA lacks."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__invert__:
            return torch.bitwise_not(*args)
        if function is torch.Tensor.__getitem__:
            return _part(*args)
        return function(*args, **(kwargs or {}))


def _part(x, index):
    index = list(index) if isinstance(index, tuple) else [index]
    if any(i is ... for i in index):
        at = next(k for k, i in enumerate(index) if i is ...)
        others = sum(i is not None for i in index) - 1
        index[at : at + 1] = [slice(None)] * (x.ndim - others)
    axis = 0
    for i in index:
        if isinstance(i, int):
            x = x.select(axis, i)
            continue
        if i is None:
            x = x.unsqueeze(axis)
        else:
            start, stop, _ = i.indices(x.shape[axis])
            x = x.narrow(axis, start, max(stop - start, 0))
        axis += 1
    return x


@pytest.fixture
def gpu():
    with FakeTensorMode(), _Unguarded():
        yield


def tensor(*shape, dtype=torch.float64):
    return torch.empty(shape, dtype=dtype, device=DEVICE)


def temperatures():
    return (1.0, 1.5, tensor(ROWS, 1))


def check(answer, dtype=None):
    """Every result is there, and of this type."""
    arrays = arrays_of(answer)
    assert arrays
    assert {a.device for a in arrays} == {DEVICE}
    if dtype is not None:
        assert {a.dtype for a in arrays} == {dtype}


def test_two_devices_are_refused(gpu):
    """The mode does what it is for."""
    with pytest.raises(RuntimeError, match="two devices"):
        torch.gather(tensor(ROWS, CLASSES), 1, torch.zeros(ROWS, 1, dtype=torch.int64))
    assert _part(tensor(2, 3, 4), (0, ..., None, slice(1, 9))).shape == (3, 1, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions(dtype, gpu):
    x, g, rows = (tensor(*s, dtype=dtype) for s in ((ROWS, CLASSES), (ROWS, CLASSES), (ROWS,)))
    for t in temperatures():
        for name in (*FUNCTIONS, "entropy"):
            others = (rows if name == "logsumexp_vjp" else g,) if name in DERIVATIVES else ()
            for options in ({}, {"where": g > 0}) if name in (*MASKABLE, "entropy") else ({},):
                check(getattr(onesum, name)(x, *others, temperature=t, **options), dtype)
        check(onesum.logsumexp(x, b=g, temperature=t, return_sign=True), dtype)
        check(onesum.kl_divergence_value_and_grad(x, g, temperature=t), dtype)
        classes = tensor(ROWS, dtype=torch.int64)
        check(onesum.selective_log_softmax(x, classes, temperature=t), dtype)
    check(onesum.softmax(x, None), dtype)
    check(onesum.softmax(x, where=[True] * CLASSES, temperature=[1.0, 2.0, 3.0]), dtype)
    check(onesum.softmax(x.to(torch.uint8)), torch.float64)


@pytest.mark.parametrize("name", ["softmax_jacobian", "log_softmax_jacobian"])
def test_jacobians(name, gpu):
    p, v = tensor(ROWS, CLASSES), tensor(ROWS, CLASSES)
    for t in temperatures():
        jacobian = getattr(onesum, name)(p, temperature=t)
        for a in (jacobian, jacobian.T, 2.0 * jacobian, jacobian + jacobian, jacobian[0:2]):
            check(a.to_dense())
            check(a.diagonal())
        check((jacobian @ v, v @ jacobian, jacobian @ tensor(ROWS, CLASSES, 2), jacobian.solve(v)))


def losses(dtype):
    """Targets with their options; `weight` is one of the classes."""
    classes, parts = tensor(ROWS, dtype=torch.int64), tensor(ROWS, CLASSES, dtype=dtype)
    every = {"label_smoothing": 0.1, "sample_weight": tensor(ROWS), "z_loss": 0.1, "softcap": 30.0}
    weight = tensor(CLASSES)
    yield classes, {}
    yield classes, {"ignore_index": -100, "weight": weight}
    yield classes, {"ignore_index": -1, "weight": weight, **every}
    yield parts, {"temperature": 1.5}
    yield parts, {"weight": weight, "temperature": tensor(ROWS), **every}


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(dtype, gpu):
    x, v = tensor(ROWS, CLASSES, dtype=dtype), tensor(ROWS, CLASSES, dtype=dtype)
    layer = tensor(ROWS, FEATURES, dtype=dtype), tensor(CLASSES, FEATURES, dtype=dtype)
    bias = tensor(CLASSES, dtype=dtype)
    for (target, options), where in product(losses(dtype), [None, v > 0]):
        given = {**options, "where": where, "reduction": "none" if where is None else "mean"}
        check(onesum.cross_entropy_value_and_grad(x, target, **given), dtype)
        check(onesum.cross_entropy_hvp(x, target, v, **given), dtype)
        check(onesum.linear_cross_entropy_value_and_grad(*layer, target, bias, **given), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives(dtype, monkeypatch):
    """Backward twice, through the rules and, where the temperature has a derivative, without.

    On the meta device: autograd has streams for the other one, which are not to be had.
    """
    monkeypatch.setitem(globals(), "DEVICE", torch.device("meta"))
    for target, options in losses(dtype):
        for t in (1.5, tensor(ROWS, 1).requires_grad_()):
            x = tensor(ROWS, CLASSES, dtype=dtype).requires_grad_()
            loss = onesum.cross_entropy(x, target, **{**options, "temperature": t})
            leaves = [x] if isinstance(t, float) else [x, t]
            first = torch.autograd.grad(loss, leaves, create_graph=True)
            check(torch.autograd.grad(sum((a * a).sum() for a in first), leaves))
            check(first)


def chunked(x, where, weight, target):
    """The arguments of each chunk; the last has no class at all."""
    for cut in CUTS:
        yield {
            "x": x[:, cut],
            "target": target if target.ndim == 1 else target[:, cut],
            "start": cut.start,
            "weight": weight[cut],
            "where": where[:, cut],
        }


def test_normalizer(gpu):
    x = tensor(ROWS, CLASSES, dtype=torch.float16)
    first, *others = parts = [(x[:, cut], x[:, cut] > 0) for cut in CUTS]
    normalizer = onesum.Normalizer.of(first[0], where=first[1], temperature=tensor(ROWS))
    for part in others:
        normalizer.update(*part)
    check((normalizer.logsumexp, normalizer.r, normalizer.pivot, normalizer.count))
    for part in parts:
        check((normalizer.softmax(*part), normalizer.log_softmax(*part)), x.dtype)


@pytest.mark.parametrize("which", [-1, 2])
def test_state_of_a_loss(which, gpu):
    """With every option, of probabilities and of classes."""
    x = tensor(ROWS, CLASSES, dtype=torch.float16)
    target, options = list(losses(x.dtype))[which]
    chunks = list(chunked(x, x > 0, options.pop("weight"), target))
    states = (onesum.CrossEntropyState.of(**chunk, **options) for chunk in chunks)
    state = functools.reduce(operator.or_, states)
    check((state.loss(), state.loss("none")), x.dtype)
    check(tuple(state.gradient(**chunk) for chunk in chunks[1:]), x.dtype)
