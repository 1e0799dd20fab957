"""What is kept for the backward pass, what it gives, and a network trained with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_torch_modes import FORWARD, NUMBERS, RANDOM, TARGET, every_dtype
from torch.nn import functional as theirs

import onesum
import onesum.torch


@pytest.mark.parametrize("function", FORWARD)
@every_dtype
def test_backward_is_the_product_of_the_package(function, dtype):
    x = torch.tensor(NUMBERS).to(dtype).requires_grad_()
    y = getattr(onesum, function)(x)
    g = torch.tensor(RANDOM.normal(size=y.shape)).to(dtype)
    y.backward(g)
    first = x.detach() if function == "logsumexp" else y.detach()
    assert torch.equal(x.grad, getattr(onesum, f"{function}_vjp")(first, g))
    assert x.grad.dtype is dtype


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("classes", [7, 20_000])
def test_backward_of_a_loss(dtype, reduction, classes):
    """The gradient of a small one is there already, that of a larger one is computed then."""
    options = {"reduction": reduction, "label_smoothing": 0.125}
    x = torch.tensor(RANDOM.normal(0, 3, (6, classes))).to(dtype).requires_grad_()
    loss = onesum.cross_entropy(x, TARGET, **options)
    by = torch.tensor(RANDOM.normal(size=loss.shape)).to(dtype)
    _, wanted = onesum.cross_entropy_value_and_grad(x.detach().double(), TARGET, **options)
    for _ in range(2):  # what was kept is gone the second time
        (dx,) = torch.autograd.grad(loss, x, by, retain_graph=True)
        torch.testing.assert_close(dx, (wanted * by.double().unsqueeze(-1)).to(dtype))
    (dx,) = torch.autograd.grad(loss, x, torch.ones_like(loss))
    torch.testing.assert_close(dx, wanted.to(dtype))


PAIRS = {
    "softmax": (torch.softmax, onesum.softmax),
    "log_softmax": (torch.log_softmax, onesum.log_softmax),
    "logsumexp": (torch.logsumexp, onesum.logsumexp),
    "cross_entropy": (
        lambda x, _: theirs.cross_entropy(x, torch.zeros(len(x), dtype=torch.int64)),
        lambda x, _: onesum.cross_entropy(x, torch.zeros(len(x), dtype=torch.int64)),
    ),
}


def kept(function, rows):
    """Bytes that a graph saves, as the hooks see it, and bytes that its last node has beside it."""
    saved, others = {}, {}
    x = torch.zeros(rows, 2000, requires_grad=True)

    def pack(a):
        saved[a.data_ptr()] = a.nbytes
        return a

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda a: a):
        y = function(x, -1)
    for a in getattr(y.grad_fn, "__dict__", {}).values():
        for part in a if isinstance(a, (tuple, list)) else (a,):
            if isinstance(part, torch.Tensor) and part.data_ptr() not in saved:
                others[part.data_ptr()] = part.nbytes
    return sum(saved.values()), sum(others.values())


@pytest.mark.parametrize("rows", [5, 600])
@pytest.mark.parametrize("name", PAIRS)
def test_memory_for_the_backward_pass(name, rows):
    """No more than torch saves. A loss keeps a gradient beside it, up to 64 KiB."""
    of_torch, of_ours = (kept(function, rows) for function in PAIRS[name])
    assert of_ours[0] <= of_torch[0]
    if name == "cross_entropy" and rows == 5:
        assert of_ours[1] <= 5 * 2000 * 4 + 64
    else:
        assert of_ours[1] <= 64


def test_what_is_changed_in_place_is_noticed():
    """Also what `out` writes to, whichever way the result gets there."""
    rows = torch.tensor([1.0, 2.0, 3.0])
    for options in [{}, {"temperature": rows}]:
        x = torch.zeros(3, 2, requires_grad=True)
        p = onesum.softmax(x)
        onesum.softmax(torch.ones(3, 2), out=p.detach(), **options)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            p.sum().backward()
    for classes in (2, 20_000):
        x = torch.zeros(3, classes, requires_grad=True)
        y = x * 1
        loss = onesum.cross_entropy(y, torch.tensor([0, 1, 0]))
        onesum.softmax(torch.ones(3, classes), out=y.detach())
        if classes == 2:  # its gradient is there already
            loss.backward()
            torch.testing.assert_close(x.grad, torch.tensor([[-1.0, 1], [1, -1], [-1, 1]]) / 6)
        else:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()


def test_several_cotangents_at_once():
    x = torch.tensor(NUMBERS, requires_grad=True)
    y, loss = onesum.softmax(x), onesum.cross_entropy(x, TARGET)
    g = torch.tensor(RANDOM.normal(size=(2, 6, 7)))
    (together,) = torch.autograd.grad(y, x, g, is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(y, x, a, retain_graph=True)[0] for a in g]
    torch.testing.assert_close(together, torch.stack(alone))
    (together,) = torch.autograd.grad(
        loss, x, torch.tensor([1.0, 2.0]).double(), is_grads_batched=True, retain_graph=True
    )
    (once,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(together, torch.stack([once, 2 * once]))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda x: onesum.softmax(x, 0), (torch.tensor(NUMBERS),)),
        (
            lambda x, y, s: onesum.cross_entropy(x, y, sample_weight=s),
            (torch.tensor(NUMBERS), TARGET, torch.tensor(RANDOM.random(6))),
        ),
        (
            lambda x, w: onesum.cross_entropy(x, torch.tensor(2), weight=w),
            (torch.tensor(NUMBERS), torch.tensor(RANDOM.random((6, 7)))),
        ),
        (
            lambda x, t: onesum.entropy(x, temperature=t),
            (torch.tensor(NUMBERS), torch.tensor(RANDOM.random(6) + 0.5)),
        ),
        (
            lambda x, w: onesum.softmax(x, where=w),
            (torch.tensor(NUMBERS), torch.tensor(NUMBERS < 3)),
        ),
    ],
)
def test_mapped(function, arguments):
    """vmap of a function, and of its gradient, is what a loop over the rows gives."""
    rows = [tuple(a[i] for a in arguments) for i in range(6)]

    def number(*a):
        return function(*a).square().sum()

    for f in (function, torch.func.grad(number)):
        wanted = torch.stack([f(*row) for row in rows])
        torch.testing.assert_close(torch.vmap(f)(*arguments), wanted)
        moved = tuple(a.movedim(0, -1) for a in arguments)
        torch.testing.assert_close(torch.vmap(f, -1)(*moved), wanted)
        nested = torch.vmap(torch.vmap(f))(*(a.unsqueeze(0) for a in arguments))
        torch.testing.assert_close(nested, wanted.unsqueeze(0))


# --- softcap ---------------------------------------------------------------------------------

C, ROWS = 2.0, torch.tensor([0, 4, 2, 1, 3, 2])
H, MATRIX, BIAS = (torch.tensor(RANDOM.normal(size=s)) for s in [(6, 4), (5, 4), (5,)])
X, V = H @ MATRIX.T + BIAS, torch.tensor(RANDOM.normal(size=(6, 5)))


def capped(x):
    """The definition, in torch's own functions."""
    return theirs.cross_entropy(C * torch.tanh(x / C), ROWS)


def capped_linear(h, matrix, bias):
    return capped(theirs.linear(h, matrix, bias))


def their_hvp(x, v):
    x = x if x.requires_grad else x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(capped(x), x, create_graph=True)
    return torch.autograd.grad((gradient * v).sum(), x, create_graph=True)[0]


def gradients_of(function):
    """The function of the arguments that torch derives."""

    def call(*arguments):
        arguments = [a if a.requires_grad else a.detach().requires_grad_() for a in arguments]
        return torch.autograd.grad(function(*arguments), arguments, create_graph=True)

    return call


SOFTCAP = {
    "cross_entropy": (lambda x: onesum.cross_entropy(x, ROWS, softcap=C), capped, (X,)),
    "none": (
        lambda x: onesum.cross_entropy(x, ROWS, softcap=C, reduction="none").mean(),
        capped,
        (X,),
    ),
    "value_and_grad": (
        lambda x: onesum.cross_entropy_value_and_grad(x, ROWS, softcap=C)[1],
        lambda x: gradients_of(capped)(x)[0],
        (X,),
    ),
    "hvp": (lambda x, v: onesum.cross_entropy_hvp(x, ROWS, v, softcap=C), their_hvp, (X, V)),
    "linear": (
        lambda h, w, b: onesum.linear_cross_entropy(h, w, ROWS, b, softcap=C),
        capped_linear,
        (H, MATRIX, BIAS),
    ),
    "linear, gradients": (
        lambda h, w, b: onesum.linear_cross_entropy_value_and_grad(h, w, ROWS, b, softcap=C)[1],
        gradients_of(capped_linear),
        (H, MATRIX, BIAS),
    ),
    "module": (lambda x: onesum.torch.CrossEntropyLoss(softcap=C)(x, ROWS), capped, (X,)),
    "linear module": (
        lambda h, w, b: onesum.torch.LinearCrossEntropyLoss(softcap=C)(h, w, ROWS, b),
        capped_linear,
        (H, MATRIX, BIAS),
    ),
}


@pytest.mark.parametrize("name", SOFTCAP)
def test_softcap(name):
    """Value, first derivatives and second ones, against those of c tanh(x / c)."""
    results = []
    for function in SOFTCAP[name][:2]:
        arguments = [a.clone().requires_grad_() for a in SOFTCAP[name][2]]
        value = function(*arguments)
        value = value if isinstance(value, tuple) else (value,)
        total = sum((a * torch.cos(torch.arange(a.numel()).reshape(a.shape))).sum() for a in value)
        first = torch.autograd.grad(total, arguments, create_graph=True)
        total = sum((a * b.detach()).sum() for a, b in zip(first, arguments, strict=True))
        second = torch.autograd.grad(total, arguments, materialize_grads=True)
        results.append((*value, *first, *second))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_softcap_of_a_layer():
    """The layer without a graph, on tensors."""
    layer = onesum.CrossEntropyLoss(softcap=C)
    x = X.clone().requires_grad_()
    capped(x).backward()
    torch.testing.assert_close(layer(X, ROWS), capped(X))
    torch.testing.assert_close(layer.backward(), x.grad, rtol=1e-10, atol=1e-12)


# --- a network -------------------------------------------------------------------------------


def test_digits():
    """From the same start the same losses, and the digits of examples/digits.py are told apart."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = torch.tensor(digits.data[order] / 16), torch.tensor(digits.target[order])
    x, y, held_out_x, held_out_y = x[360:], y[360:], x[:360], y[:360]

    def train(loss_of):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        ).double()
        steps = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        losses = []
        for _ in range(20):
            for batch in torch.randperm(len(y)).split(32):
                steps.zero_grad()
                loss = loss_of(network(x[batch]), y[batch])
                loss.backward()
                steps.step()
                losses.append(loss.item())
        right = network(held_out_x).argmax(1) == held_out_y
        return losses, right.double().mean().item()

    ours, accuracy = train(onesum.torch.CrossEntropyLoss())
    of_torch, _ = train(torch.nn.CrossEntropyLoss())
    np.testing.assert_allclose(ours, of_torch, rtol=1e-9)
    assert np.mean(ours[-45:]) < 0.1  # the last time through the 45 batches
    assert accuracy >= 0.96
