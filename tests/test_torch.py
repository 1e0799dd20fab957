"""PyTorch: every public function under every kind of derivative that torch has."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import onesum

torch.manual_seed(7)
F8 = torch.float64
X, G, V = (torch.randn(3, 4, dtype=F8) for _ in range(3))
P, LOGP = torch.softmax(X, -1), torch.log_softmax(X, -1)
ROWS = torch.randn(3, dtype=F8)
Y, Q, W = torch.tensor([0, 2, 3]), torch.rand(3, 4, dtype=F8), torch.rand(4, dtype=F8)
T, S = torch.rand(3, dtype=F8) + 0.5, torch.rand(3, dtype=F8)
WHERE = torch.tensor([[True, True, False, True]])
H, MATRIX, BIAS = (torch.randn(*s, dtype=F8) for s in [(3, 5), (4, 5), (4,)])


def everything(x):
    """All options of a loss together."""
    return onesum.cross_entropy(
        x, Y, weight=W, label_smoothing=0.1, z_loss=0.01, softcap=2.0, temperature=T
    )


FUNCTIONS = {
    "softmax": (lambda x: onesum.softmax(x, temperature=1.3), (X,)),
    "softmax, axis 0": (lambda x: onesum.softmax(x, 0), (X,)),
    "softmax, both axes": (lambda x: onesum.softmax(x, None), (X,)),
    "softmax, where": (lambda x: onesum.softmax(x, where=WHERE), (X,)),
    "softmax, temperature": (lambda x, t: onesum.softmax(x, temperature=t), (X, T)),
    "log_softmax": (lambda x: onesum.log_softmax(x), (X,)),
    "log_softmax, temperature": (lambda x: onesum.log_softmax(x, temperature=0.7), (X,)),
    "logsumexp": (lambda x: onesum.logsumexp(x, keepdims=True), (X,)),
    "logsumexp, temperature": (lambda x: onesum.logsumexp(x, temperature=0.7), (X,)),
    "logsumexp, b": (lambda x, b: onesum.logsumexp(x, b=b), (X, Q)),
    "softmax_vjp": (onesum.softmax_vjp, (P, G)),
    "softmax_jvp": (onesum.softmax_jvp, (P, V)),
    "log_softmax_vjp": (onesum.log_softmax_vjp, (LOGP, G)),
    "log_softmax_jvp": (onesum.log_softmax_jvp, (LOGP, V)),
    "logsumexp_vjp": (onesum.logsumexp_vjp, (X, ROWS)),
    "logsumexp_jvp": (onesum.logsumexp_jvp, (X, V)),
    "diagonal": (lambda p: onesum.softmax_jacobian(p).diagonal(), (P,)),
    "solve": (lambda p: onesum.softmax_jacobian(p).solve(G), (P,)),
    "dense": (lambda p: onesum.log_softmax_jacobian(p).to_dense(), (LOGP,)),
    "cross_entropy": (lambda x: onesum.cross_entropy(x, Y), (X,)),
    "cross_entropy, everything": (everything, (X,)),
    "cross_entropy, none": (lambda x: onesum.cross_entropy(x, Y, reduction="none"), (X,)),
    "cross_entropy, probabilities": (lambda x, q: onesum.cross_entropy(x, q), (X, Q)),
    "cross_entropy, weight": (lambda x, w: onesum.cross_entropy(x, Y, weight=w), (X, W)),
    "cross_entropy, rows": (lambda x, s: onesum.cross_entropy(x, Y, sample_weight=s), (X, S)),
    "value_and_grad": (
        lambda x: onesum.cross_entropy_value_and_grad(x, Y, reduction="none"),
        (X,),
    ),
    "hvp": (lambda x, v: onesum.cross_entropy_hvp(x, Y, v), (X, V)),
    "selective": (lambda x: onesum.selective_log_softmax(x, Y), (X,)),
    "entropy": (lambda x: onesum.entropy(x), (X,)),
    "kl": (lambda x, y: onesum.kl_divergence(x, y), (X, G)),
    "kl, gradients": (lambda x, y: onesum.kl_divergence_value_and_grad(x, y)[1], (X, G)),
    "linear": (lambda h, w, b: onesum.linear_cross_entropy(h, w, Y, b), (H, MATRIX, BIAS)),
    "linear, gradients": (
        lambda h, w, b: onesum.linear_cross_entropy_value_and_grad(h, w, Y, b)[1],
        (H, MATRIX, BIAS),
    ),
}


def total_of(function):
    """The function, brought to one number."""
    return lambda *arguments: weighed(function(*arguments))


def leaves(arguments):
    return tuple(a.clone().requires_grad_() for a in arguments)


def weighed(results):
    """One number, in which every element of the results counts differently."""
    results = results if isinstance(results, tuple) else (results,)
    weights = (torch.cos(torch.arange(r.numel(), dtype=F8)).reshape(r.shape) for r in results)
    return sum((r * w).sum() for r, w in zip(results, weights, strict=True))


def same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autograd(name):
    """First derivatives, second ones, and forward mode, against differences."""
    function, given = FUNCTIONS[name]
    assert torch.autograd.gradcheck(function, leaves(given), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, leaves(given), fast_mode=True)


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "logsumexp", "cross_entropy, none", "entropy", "kl"]
)
def test_third_derivatives(name):
    """By the cotangent of the first ones too: of a Hessian's product that is a rule of its own."""
    function, given = FUNCTIONS[name]

    def first(g, *arguments):
        return torch.autograd.grad(function(*arguments), arguments, g, create_graph=True)

    g = torch.rand_like(function(*given)) + 0.5
    assert torch.autograd.gradgradcheck(first, leaves((g, *given)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_func(name):
    """The transforms of torch.func, and their nestings, agree with autograd."""
    function, given = FUNCTIONS[name]
    every, total, arguments = tuple(range(len(given))), total_of(function), leaves(given)
    wanted = torch.autograd.grad(total(*arguments), arguments)
    same(torch.func.grad(total, every)(*given), wanted)
    several = tuple(torch.stack([a, a]) for a in given)
    got = torch.func.vmap(torch.func.grad(total, every))(*several)
    same([g[1] for g in got], wanted)
    _, pull = torch.func.vjp(total, *given)
    same(pull(torch.ones((), dtype=F8)), wanted)
    _, change = torch.func.jvp(total, given, given)
    along = sum((g * a).sum() for g, a in zip(wanted, given, strict=True))
    torch.testing.assert_close(change, along, rtol=1e-9, atol=1e-11)
    forward, reverse = (
        transform(total, every)(*given) for transform in (torch.func.jacfwd, torch.func.jacrev)
    )
    same(forward, reverse)
    hessian = torch.func.hessian(total)(*given)
    other = torch.func.jacrev(torch.func.jacrev(total))(*given)
    torch.testing.assert_close(hessian, other, rtol=1e-9, atol=1e-11)


def of_logits(x):
    """Several functions in one: to compile takes long."""
    p = onesum.softmax(x), onesum.log_softmax(x), onesum.selective_log_softmax(x, Y)
    return (*p, onesum.entropy(x), everything(x))


@pytest.mark.parametrize(
    ("function", "given"), [(of_logits, (X,)), FUNCTIONS["kl"], FUNCTIONS["linear"]]
)
def test_compiled(function, given):
    """Without a break in the graph: forward, backward, and torch.func.grad within."""
    every, total, arguments = tuple(range(len(given))), total_of(function), leaves(given)
    wanted = torch.autograd.grad(total(*arguments), arguments)
    options = {"fullgraph": True, "backend": "aot_eager"}
    torch._dynamo.reset()
    same(torch.autograd.grad(torch.compile(total, **options)(*arguments), arguments), wanted)
    same(torch.compile(torch.func.grad(total, every), **options)(*given), wanted)


def test_compiled_for_any_shape():
    """Where Dynamo has symbols for sizes, and for numbers too."""

    def function(x):
        loss = onesum.cross_entropy(x, [0, 2, 1], ignore_index=1, z_loss=0.1, softcap=3.0)
        p = onesum.softmax(x, 0, temperature=2.0), onesum.softmax(x, (0, 1))
        return (*p, onesum.logsumexp(x), loss)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 5, 2000):  # on both sides of what is small
        (x,) = leaves([torch.randn(3, n, dtype=F8)])
        got, wanted = compiled(x), function(x)
        torch.testing.assert_close(got, wanted)
        same(*(torch.autograd.grad(weighed(results), x) for results in (got, wanted)))


@pytest.mark.slow
def test_compiled_to_machine_code():
    """By Inductor, whose C++ takes ten seconds; the graph is that of the other tests."""
    torch._dynamo.reset()
    x = torch.tensor([40.0, 0.0], dtype=F8, requires_grad=True)
    torch.compile(onesum.softmax, fullgraph=True)(x)[0].backward()
    assert x.grad.tolist() == [4.248354255291589e-18, -4.248354255291589e-18]


@pytest.mark.parametrize("mode", ["eager", "func", "compiled"])
def test_what_torch_loses(mode):
    """The small components of gradients, where torch's own functions say 0, or do not sum to 0."""
    x = torch.tensor([40.0, 0.0], dtype=F8)
    y = torch.tensor([[20.0, 0.0]])

    def first(x):
        return onesum.softmax(x)[0]

    def loss(y):
        return onesum.cross_entropy(y, torch.tensor([0]))

    if mode == "func":
        gradients = torch.func.grad(first)(x), torch.func.grad(loss)(y)
    else:
        torch._dynamo.reset()
        how = {"fullgraph": True, "backend": "aot_eager"}
        run = (lambda f: f) if mode == "eager" else (lambda f: torch.compile(f, **how))
        x, y = x.requires_grad_(), y.requires_grad_()
        run(first)(x).backward()
        run(loss)(y).backward()
        gradients = x.grad, y.grad
    assert gradients[0].tolist() == [4.248354255291589e-18, -4.248354255291589e-18]
    assert gradients[1].sum() == 0.0
    assert gradients[1][0, 1].item() == pytest.approx(2.06115362e-09, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_long_rows_of_16_bits(dtype):
    x = torch.zeros(1, 70_000, dtype=dtype, requires_grad=True)
    p = onesum.softmax(x)
    assert p.dtype == dtype
    assert p.unique().tolist() == [torch.tensor(1 / 70_000, dtype=dtype).item()]
    assert onesum.logsumexp(x).item() == torch.tensor(11.1563, dtype=dtype).item()
    p.sum().backward()
    assert x.grad.dtype == dtype


def test_no_copy_and_no_other_package():
    """The tensors of the CPU are read where they are; torch is all that is needed."""
    program = """
import sys
for name in ("array_api_compat", "ml_dtypes", "jax"):
    sys.modules[name] = None
import onesum
assert "torch" not in sys.modules
import torch
for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8):
    x = torch.ones(2, 3).to(dtype)
    wanted = torch.softmax(x.double(), -1)
    p = onesum.softmax(x.T, 0).T
    assert p.dtype == (torch.float64 if dtype == torch.int8 else dtype), p.dtype
    torch.testing.assert_close(p.double(), wanted, rtol=1e-2, atol=0)
    loss = onesum.cross_entropy(x, torch.tensor([0, 1]))
    assert isinstance(loss, torch.Tensor)
print("fine")
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.stdout == "fine\n", run.stderr


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: onesum.softmax(X.to(torch.complex64)), TypeError, "x: "),
        (lambda: onesum.softmax(X.to(torch.float8_e4m3fn)), TypeError, "x: "),
        (lambda: onesum.softmax(X.to_sparse()), TypeError, "x: "),
        (lambda: onesum.softmax_vjp(P, G.to("meta")), ValueError, "g: "),
        (lambda: onesum.softmax(X, out=leaves([X])[0]), ValueError, "out: "),
        (lambda: onesum.softmax(X, temperature=torch.tensor(0.0)), ValueError, "temperature: "),
        (lambda: onesum.cross_entropy(X, torch.tensor([0, 4, 1])), IndexError, "target: "),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=f"^{message}expected"):
        call()


def test_modules():
    """In the place of torch's own, positionally and by keyword, with its class axis."""
    import onesum.torch

    x = torch.randn(2, 4, 5, dtype=F8)
    y = torch.randint(0, 4, (2, 5))
    y[0, 0] = -100
    for options in [{}, {"label_smoothing": 0.2}, {"reduction": "none"}, {"weight": W}]:
        ours, theirs = (
            onesum.torch.CrossEntropyLoss(**options),
            torch.nn.CrossEntropyLoss(**options),
        )
        a, b = leaves([x, x])
        got, wanted = ours(a, y), theirs(b, y)
        torch.testing.assert_close(got, wanted)
        got.sum().backward()
        wanted.sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(onesum.torch.Softmax(1)(x), torch.nn.Softmax(1)(x))
    torch.testing.assert_close(onesum.torch.LogSoftmax(1)(x), torch.nn.LogSoftmax(1)(x))
    layer = onesum.torch.LinearCrossEntropyLoss()
    wanted = torch.nn.functional.cross_entropy(H @ MATRIX.T + BIAS, Y)
    torch.testing.assert_close(layer(H, MATRIX, Y, BIAS), wanted)
