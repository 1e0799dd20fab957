"""What is refused of tensors, by the name of the argument, and what `out` may be."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

import onesum
from onesum.torch import CrossEntropyLoss, LinearCrossEntropyLoss

F8 = torch.float64
X, G = torch.randn(2, 3, 4, dtype=F8)
P, Y = torch.softmax(X, -1), torch.tensor([0, 2, 3])
MATRIX = torch.randn(5, 4, dtype=F8)
META = torch.zeros(3, 4, dtype=F8, device="meta")
ROWS = torch.tensor([0.5, 1.0, 2.0], dtype=F8)


def quantized():
    return torch.quantize_per_tensor(X.float(), 0.1, 0, torch.qint8)


def fake():
    with FakeTensorMode():
        return torch.zeros(3, 4, dtype=F8)


def leaf():
    return X.clone().requires_grad_()


NO_TENSORS = {
    "complex": (lambda: X + 0j, "got (dtype )?torch.complex128"),
    "float8": (lambda: X.to(torch.float8_e5m2), "got (dtype )?torch.float8_e5m2"),
    "COO": (lambda: X.to_sparse(), "got one that is of layout torch.sparse_coo"),
    "CSR": (lambda: X.to_sparse_csr(), "got one that is of layout torch.sparse_csr"),
    "mkldnn": (lambda: X.float().to_mkldnn(), "got one that is of layout torch._mkldnn"),
    "nested": (lambda: torch.nested.nested_tensor([X[0], X[1, :2]]), "got one that is nested"),
    "jagged": (
        lambda: torch.nested.nested_tensor([X[0], X[1, :2]], layout=torch.jagged),
        "got one that is nested",
    ),
    "quantized": (quantized, "got one that is quantized"),
    "fake": (fake, "got a FakeTensor outside its mode"),
}
PLACES = {
    "x": lambda a: onesum.softmax(a),
    "g": lambda a: onesum.softmax_vjp(P, a),
    "target": lambda a: onesum.cross_entropy(X, a),
    "h": lambda a: onesum.linear_cross_entropy(a, MATRIX, Y),
    "out": lambda a: onesum.softmax(X, out=a),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NO_TENSORS)
@pytest.mark.filterwarnings("ignore")  # torch's, of what it has not finished or will drop
def test_tensors_that_are_no_plain_numbers(kind, place):
    make, got = NO_TENSORS[kind]
    error = ValueError if place == "out" and kind in ("complex", "float8") else TypeError
    with pytest.raises(error, match=rf"^{place}: expected .*{got}"):
        PLACES[place](make())


@pytest.mark.parametrize("kind", NO_TENSORS)
@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_no_plain_numbers(kind):
    with pytest.raises(TypeError, match=r"^weight: expected .*got "):
        onesum.cross_entropy(X, Y, weight=NO_TENSORS[kind][0]())


LIBRARIES = [
    # call, argument, whose it has to be, whose it is
    (lambda: onesum.softmax_vjp(P, G.numpy()), "g", "torch", "numpy"),
    (lambda: onesum.softmax_vjp(P.numpy(), G), "g", "numpy", "torch"),
    (lambda: onesum.softmax_vjp(P, jnp.zeros((3, 4))), "g", "torch", "jax.numpy"),
    (lambda: onesum.cross_entropy(X, jnp.zeros(3, int)), "target", "torch", "jax.numpy"),
    (lambda: onesum.cross_entropy(jnp.zeros((3, 4)), Y), "target", "jax.numpy", "torch"),
    (lambda: onesum.cross_entropy(X.numpy(), Y), "target", "numpy", "torch"),
    (lambda: onesum.kl_divergence(X, X.numpy()), "y", "torch", "numpy"),
    (lambda: onesum.cross_entropy_hvp(X, Y, G.numpy()), "v", "torch", "numpy"),
    (
        lambda: onesum.linear_cross_entropy(X, MATRIX.numpy(), Y),
        "weight_matrix",
        "torch",
        "numpy",
    ),
    (lambda: onesum.softmax(X, temperature=jnp.ones(3)), "temperature", "torch", "jax.numpy"),
    (lambda: onesum.softmax(X, where=jnp.ones((3, 4), bool)), "where", "torch", "jax.numpy"),
]


def test_what_is_no_target():
    wanted = "a tensor of class indices or probabilities"
    for target, got in ((None, "NoneType"), ([0, 1], "list")):
        with pytest.raises(TypeError, match=rf"^target: expected {wanted}, got {got}$"):
            CrossEntropyLoss()(X, target)
        with pytest.raises(TypeError, match=rf"^target: expected {wanted}, got {got}$"):
            LinearCrossEntropyLoss()(X, MATRIX, target)
    with pytest.raises(TypeError, match=r"^target: expected numbers that torch can take, got None"):
        onesum.cross_entropy(X, None)


def test_a_target_of_classes_along_the_last_axis():
    x, y = torch.stack([X, G]), torch.zeros(2, 3).long()
    wanted = r"class indices of shape \(2, 4\), for the classes are along axis 1"
    message = rf"^target: expected {wanted}, got \(2, 3\) \(dim=-1\?\)$"
    with pytest.raises(ValueError, match=message):
        CrossEntropyLoss()(x, y)
    assert CrossEntropyLoss(dim=-1)(x, y) == onesum.cross_entropy(x, y)
    square = x[:, :, :3]
    assert CrossEntropyLoss()(square, y) == onesum.cross_entropy(square, y, 1)


@pytest.mark.parametrize(("call", "name", "wanted", "got"), LIBRARIES)
def test_two_libraries(call, name, wanted, got):
    message = rf"^{name}: expected an array of {wanted}, as \w+ is, got {got}$"
    with pytest.raises(TypeError, match=message):
        call()


def test_arrays_of_numpy_beside_a_tensor():
    """What has no derivative is converted."""
    loss = onesum.cross_entropy(X, Y.numpy(), weight=np.ones(4), temperature=ROWS.numpy())
    assert torch.equal(loss, onesum.cross_entropy(X, Y, weight=torch.ones(4), temperature=ROWS))


DEVICES = {
    "g": lambda: onesum.softmax_vjp(P, META),
    "target": lambda: onesum.cross_entropy(X, Y.to("meta")),
    "weight": lambda: onesum.cross_entropy(X, Y, weight=META[0]),
    "sample_weight": lambda: onesum.cross_entropy(X, Y, sample_weight=META[:, 0]),
    "temperature": lambda: onesum.softmax(X, temperature=META[:, 0]),
    "where": lambda: onesum.softmax(X, where=META > 0),
    "y": lambda: onesum.kl_divergence(X, META),
    "v": lambda: onesum.cross_entropy_hvp(X, Y, META),
    "weight_matrix": lambda: onesum.linear_cross_entropy(X, META, Y.clamp(max=2)),
    "bias": lambda: onesum.linear_cross_entropy(X, MATRIX, Y, torch.zeros(5, device="meta")),
    "out": lambda: onesum.softmax(X, out=META),
}


@pytest.mark.parametrize("name", DEVICES)
def test_two_devices(name):
    with pytest.raises(ValueError, match=rf"^{name}: expected a tensor on cpu, as \w+ is, got one"):
        DEVICES[name]()


# --- what is known only as torch runs ----------------------------------------------------------

OPTIONS = ("axis", "label_smoothing", "ignore_index", "z_loss", "softcap")


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_are_mapped_or_derived(name):
    """An option is a number: a derivative by it would be lost, and several are none."""

    def loss(a):
        return onesum.cross_entropy(X, Y, **{name: a})

    message = rf"^{name}: expected an? (int|number)[\w, ]*, got "
    with pytest.raises(TypeError, match=message):
        torch.func.vmap(loss)(torch.tensor([1, 1]))
    one = torch.tensor(1.0)
    with pytest.raises(TypeError, match=message):
        torch.func.grad(loss)(one)
    with pytest.raises(TypeError, match=message):
        torch.func.jvp(loss, (one,), (one,))
    if name not in ("axis", "ignore_index"):
        with forward_ad.dual_level(), pytest.raises(TypeError, match=message):
            loss(forward_ad.make_dual(one, one))
        assert loss(one) == loss(1.0)


def test_a_temperature_that_is_mapped():
    wanted = torch.stack([onesum.softmax(X, temperature=t) for t in (0.5, 2.0)])
    got = torch.func.vmap(lambda t: onesum.softmax(X, temperature=t))(torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(got, wanted)


def test_an_axis_that_is_traced():
    """A graph can have no such argument; outside of it, a tensor of one int is an int."""
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(onesum.softmax, fullgraph=True, backend="eager")(X, torch.tensor(0))
    assert torch.equal(onesum.softmax(X, torch.tensor(0)), onesum.softmax(X, 0))


# --- out ---------------------------------------------------------------------------------------

OUT = [
    (lambda: onesum.softmax(X, out=leaf()), "a tensor that requires no gradient, got one that"),
    (lambda: onesum.softmax(X, out=leaf() * 1), "a tensor that requires no gradient, got one that"),
    (lambda: onesum.softmax(x := leaf(), out=x), "a tensor that requires no gradient, got one"),
    (lambda: onesum.softmax(leaf(), out=X.clone()), "no argument that requires a gradient beside"),
    (
        lambda: onesum.cross_entropy_value_and_grad(leaf(), Y, out=X.clone()),
        "no argument that requires a gradient beside",
    ),
    (lambda: onesum.softmax(X, out=torch.empty(3, 4)), "dtype torch.float64, got torch.float32"),
    (lambda: onesum.softmax(X, out=X.clone()[:2]), "shape (3, 4), got (2, 4)"),
    (lambda: onesum.logsumexp(X, out=X[:, :1].clone()), "shape (3,), got (3, 1)"),
    (lambda: onesum.softmax(X, out=X.numpy()), "an array of the library of x, got ndarray"),
    (
        lambda: onesum.softmax(X, out=torch.zeros(4, dtype=F8).expand(3, 4)),
        "a tensor with memory for each element, got an expanded one, of strides (0, 1)",
    ),
]


@pytest.mark.parametrize(("call", "message"), OUT)
def test_out_that_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(f"out: expected {message}")):
        call()


def test_out_without_derivatives():
    """Under no_grad even a leaf is written to, as torch's own functions do."""
    x = leaf()
    with torch.no_grad():
        assert onesum.softmax(x, out=x) is x
    assert x.is_leaf
    assert x.requires_grad
    assert torch.equal(x.detach(), onesum.softmax(X))


INTO = {
    "softmax": (lambda out, **o: onesum.softmax(X, out=out, **o), X),
    "log_softmax": (lambda out, **o: onesum.log_softmax(X, out=out, **o), X),
    "logsumexp": (lambda out, **o: onesum.logsumexp(X, out=out, **o), ROWS),
    "softmax_vjp": (lambda out, **o: onesum.softmax_vjp(P, G, out=out, **o), X),
    "log_softmax_jvp": (lambda out, **o: onesum.log_softmax_jvp(P, G, out=out, **o), X),
    "logsumexp_jvp": (lambda out, **o: onesum.logsumexp_jvp(X, G, out=out, **o), ROWS),
    "value_and_grad": (
        lambda out, **o: onesum.cross_entropy_value_and_grad(X, Y, out=out, **o)[1],
        X,
    ),
    "hvp": (lambda out, **o: onesum.cross_entropy_hvp(X, Y, G, out=out, **o), X),
}


@pytest.mark.parametrize("temperature", [1.0, ROWS], ids=["plain", "of rows"])
@pytest.mark.parametrize("name", INTO)
def test_out_in_every_layout(name, temperature):
    """What is written is the result, and torch's version counter says that it was."""
    call, like = INTO[name]
    wanted = call(None, temperature=temperature)
    rooms = [
        torch.empty_like(like),
        torch.empty_like(like.T).T,
        torch.empty(*like.shape, 2, dtype=F8)[..., 0],
        torch._neg_view(torch.empty_like(like)),
    ]
    for out in rooms:
        before = out._version
        assert call(out, temperature=temperature) is out
        assert torch.equal(out, wanted)
        assert out._version > before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_out_of_every_type(dtype):
    x = X.to(dtype)
    out = torch.empty_like(x)
    assert onesum.softmax(x, out=out) is out
    assert torch.equal(out, onesum.softmax(x))
    wanted = onesum.cross_entropy_value_and_grad(x, Y)[1]
    assert onesum.cross_entropy_value_and_grad(x, Y, out=out)[1] is out
    assert torch.equal(out, wanted)


@pytest.mark.parametrize("temperature", [1.0, torch.tensor([0.5, 1.0, 2.0, 3.0])])
def test_out_that_shares_memory_with_x(temperature):
    """x itself, x the other way round, and a part of what x is another part of."""
    for function in ("softmax", "log_softmax"):
        call = getattr(onesum, function)
        memory = torch.randn(5, 4, dtype=F8)
        for place in (
            lambda m: (m[:4], m[:4]),
            lambda m: (m[:4], m[:4].T),
            lambda m: (m[:4], m[1:]),
            lambda m: (m[1:], m[:4]),
        ):
            x, out = place(memory.clone())
            wanted = call(x.clone(), temperature=temperature)
            call(x, temperature=temperature, out=out)
            assert torch.equal(out, wanted)
    g, p = G.clone(), P.clone()
    wanted = onesum.softmax_vjp(p, g)
    assert torch.equal(onesum.softmax_vjp(p, g, out=g), wanted)
    assert torch.equal(onesum.softmax_vjp(p, G, out=p), wanted)
