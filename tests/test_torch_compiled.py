"""torch.compile beside every kind of derivative, and under autocast: as without it.

test_torch.py has backward and torch.func.grad by themselves.
"""

from __future__ import annotations

import pytest
import torch
from test_torch import BIAS, F8, MATRIX, G, H, X, Y, everything
from torch.autograd import forward_ad
from torch.nn import functional as theirs

import onesum
import onesum.torch


def total(x):
    """Two functions in one: to compile takes long."""
    return (onesum.softmax(x) * G).sum() + everything(x)


def plain(function):
    return function


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def backward_under_autocast(run, function):
    def call(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return function(x)

    x = X.to(torch.bfloat16).requires_grad_()
    loss = run(call)(x)
    loss.backward()
    return torch.stack([loss, x.grad.sum()])


def forward_mode(run, function):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(run(function)(forward_ad.make_dual(X, G))).tangent


def of_func(transform):
    def mode(run, function):
        return run(transform(function))(X)

    return mode


def jvp(function):
    return lambda x: torch.func.jvp(function, (x,), (G,))[1]


def mapped(function):
    """vmap over a scale of x."""

    def gradient(s):
        return torch.func.grad(lambda s: function(s * X))(s)

    return lambda x: torch.func.vmap(gradient)(x[0])


MODES = {
    "autocast": backward_under_autocast,
    "func.jvp": of_func(jvp),
    "func.hessian": of_func(torch.func.hessian),
    "vmap of grad": of_func(mapped),
    "forward mode": forward_mode,
}


@pytest.mark.parametrize("mode", MODES)
def test_as_without(mode):
    torch.testing.assert_close(MODES[mode](compiled, total), MODES[mode](plain, total))


def test_twice_backward():
    """Not through a compiled graph: torch says so, and gives no wrong number."""
    message = "does not currently support double backward|not have been used in the graph"
    x = X.clone().requires_grad_()
    run = compiled(lambda x: (onesum.softmax(x) * G).sum())
    (first,) = torch.autograd.grad(run(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad((first**2).sum(), x)


def test_a_compiled_function_is_not_transformed():
    """torch.func goes within: outside of a graph it is torch's error."""
    with pytest.raises(torch._dynamo.exc.Unsupported, match="functorch"):
        torch.func.grad(compiled(everything))(X)


def test_types_under_autocast():
    """Those of torch's own functions, compiled too."""
    pairs = [
        (lambda x: torch.softmax(x, -1), lambda x: onesum.softmax(x)),
        (lambda x: torch.log_softmax(x, -1), lambda x: onesum.log_softmax(x)),
        (lambda x: torch.logsumexp(x, -1), lambda x: onesum.logsumexp(x)),
        (lambda x: theirs.cross_entropy(x, Y), lambda x: onesum.cross_entropy(x, Y)),
        (
            lambda x: theirs.kl_div(x, x, log_target=True, reduction="batchmean"),
            lambda x: onesum.kl_divergence(x, x),
        ),
    ]

    types = torch.float16, torch.bfloat16, torch.float32

    def answers(calls):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return [call(X.to(dtype)).dtype for dtype in types for call in calls]

    of_torch, of_ours = zip(*pairs, strict=True)
    assert answers(of_ours) == answers(of_torch)
    assert compiled(lambda: answers(of_ours))() == answers(of_torch)


MODULES = {
    "Softmax": (onesum.torch.Softmax(temperature=torch.nn.Parameter(torch.tensor(1.5))), (X,)),
    "LogSoftmax": (onesum.torch.LogSoftmax(0), (X,)),
    "CrossEntropyLoss": (onesum.torch.CrossEntropyLoss(label_smoothing=0.1, softcap=2.0), (X, Y)),
    "LinearCrossEntropyLoss": (
        onesum.torch.LinearCrossEntropyLoss(z_loss=0.01, softcap=2.0),
        (H, MATRIX, Y, BIAS),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    module, given = MODULES[name]
    results = []
    for run in (plain, compiled):
        arguments = [a.clone().requires_grad_(a.is_floating_point()) for a in given]
        leaves = [a for a in (*arguments, *module.parameters()) if a.requires_grad]
        value = run(module)(*arguments)
        weights = torch.cos(torch.arange(value.numel(), dtype=F8)).reshape(value.shape)
        results.append((value, *torch.autograd.grad((value * weights).sum(), leaves)))
    torch.testing.assert_close(*results)


def test_several_calls_of_one_graph():
    """Other numbers of rows need no graph each."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    run = torch.compile(onesum.cross_entropy, fullgraph=True, dynamic=True, backend=backend)
    for rows in (3, 5, 2000):
        x, y = torch.randn(rows, 4), torch.arange(rows) % 4
        torch.testing.assert_close(run(x, y), onesum.cross_entropy(x, y))
    assert len(graphs) == 1


@pytest.mark.parametrize("classes", [4, 2000])
def test_a_temperature_that_changes(classes):
    """A number that was another one before is a symbol of the graph."""
    run = compiled(lambda x, t: (onesum.softmax(x, temperature=t) ** 2).sum())
    for t in (1.0, 1.5):
        x = torch.randn(3, classes, dtype=F8, requires_grad=True)
        run(x, t).backward()
        y = x.detach().requires_grad_()
        (onesum.softmax(y, temperature=t) ** 2).sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
