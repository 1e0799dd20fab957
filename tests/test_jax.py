"""JAX: every public function under jit and every kind of derivative."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import onesum

RNG = np.random.default_rng(7)
X, G, V = (RNG.normal(size=(3, 4)) for _ in range(3))
P = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
ROWS, T, S = RNG.normal(size=3), RNG.random(3) + 0.5, RNG.random(3)
Y, Q, W = np.array([0, 2, 3]), RNG.random((3, 4)), RNG.random(4)
H, MATRIX, BIAS = RNG.normal(size=(3, 5)), RNG.normal(size=(4, 5)), RNG.normal(size=4)
SMALL = 4.248354255291589e-18


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def everything(x):
    return onesum.cross_entropy(
        x, Y, weight=W, label_smoothing=0.1, z_loss=0.01, softcap=2.0, temperature=T
    )


FUNCTIONS = {
    "softmax": (lambda x: onesum.softmax(x, temperature=1.3), (X,)),
    "softmax, axis 0": (lambda x: onesum.softmax(x, 0), (X,)),
    "softmax, both axes": (lambda x: onesum.softmax(x, None), (X,)),
    "softmax, where": (lambda x: onesum.softmax(x, where=Q < 0.6), (X,)),
    "softmax, temperature": (lambda x, t: onesum.softmax(x, temperature=t), (X, T)),
    "log_softmax": (lambda x: onesum.log_softmax(x), (X,)),
    "logsumexp": (lambda x: onesum.logsumexp(x, keepdims=True), (X,)),
    "logsumexp, b": (lambda x, b: onesum.logsumexp(x, b=b), (X, Q)),
    "softmax_vjp": (onesum.softmax_vjp, (P, G)),
    "softmax_jvp": (onesum.softmax_jvp, (P, V)),
    "log_softmax_vjp": (onesum.log_softmax_vjp, (np.log(P), G)),
    "log_softmax_jvp": (onesum.log_softmax_jvp, (np.log(P), V)),
    "logsumexp_vjp": (onesum.logsumexp_vjp, (X, ROWS)),
    "logsumexp_jvp": (onesum.logsumexp_jvp, (X, V)),
    "diagonal": (lambda p: onesum.softmax_jacobian(p).diagonal(), (P,)),
    "dense": (lambda p: onesum.log_softmax_jacobian(p).to_dense(), (np.log(P),)),
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
    "linear": (lambda h, w, b: onesum.linear_cross_entropy(h, w, Y, b), (H, MATRIX, BIAS)),
}


CLOSE = {"eps": 1e-4, "atol": 1e-5, "rtol": 1e-5}  # of differences
# The functions that others are made of: what is taken again of these serves for all.
BASES = ("softmax", "log_softmax", "logsumexp", "cross_entropy")
# Those with rules of their own, which have derivatives themselves.
RULES = (
    *BASES,
    "softmax, temperature",
    "logsumexp, b",
    "cross_entropy, everything",
    "cross_entropy, probabilities",
    "entropy",
    "kl",
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    """Compiled: the same values; both directions. Of rules the second derivative too, and many at
    a time: of the bases test_jax_core.py has these."""
    function, given = FUNCTIONS[name]
    arguments = tuple(map(jnp.asarray, given))
    compiled = jax.jit(function)
    for got, wanted in zip(
        jax.tree.leaves(compiled(*arguments)), jax.tree.leaves(function(*given)), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)
    check_grads(compiled, arguments, 1, **CLOSE)
    if name not in RULES:
        return

    def total(*arguments):
        results = jax.tree.leaves(function(*arguments))
        return sum(jnp.sum(r * jnp.cos(jnp.arange(r.size)).reshape(r.shape)) for r in results)

    every = tuple(range(len(given)))
    gradient = jax.jit(jax.grad(total, every))
    wanted = gradient(*arguments)
    check_grads(gradient, arguments, 1, ("fwd", "rev") if name in BASES else ("fwd",), **CLOSE)
    if name not in BASES:
        several = jax.vmap(gradient)(*(jnp.stack([a, a + 0.1]) for a in arguments))
        for a, b in zip(several, wanted, strict=True):
            np.testing.assert_allclose(a[0], b, rtol=1e-11, atol=1e-13)
    else:
        _, steps = jax.lax.scan(lambda c, _: (c, gradient(*c)), arguments, length=2)
        for a, b in zip(steps, wanted, strict=True):
            np.testing.assert_allclose(a[1], b, rtol=1e-11, atol=1e-13)
        for a, b in zip(jax.jacfwd(total, every)(*arguments), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_what_jax_loses():
    x = jnp.array([40.0, 0.0])
    first = jax.jit(jax.grad(lambda x: onesum.softmax(x)[0]))
    assert first(x).tolist() == [SMALL, -SMALL]
    assert onesum.softmax_vjp(onesum.softmax(x), jnp.array([1.0, 0.0])).tolist() == [SMALL, -SMALL]
    _, forward = jax.jvp(onesum.softmax, (x,), (jnp.array([1.0, 0.0]),))
    assert forward.tolist() == [SMALL, -SMALL]
    loss = jax.jit(jax.grad(lambda x: onesum.cross_entropy(x, jnp.array([0]))))
    gradient = loss(jnp.array([[20.0, 0.0]], jnp.float32))
    assert gradient.dtype == jnp.float32
    assert gradient.sum() == 0.0
    assert gradient[0, 1] == pytest.approx(2.06115362e-09, rel=1e-6)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_types(wide, dtype):
    with jax.enable_x64(wide):
        x = jnp.zeros((1, 70_000), dtype)
        for function in (onesum.softmax, jax.jit(onesum.softmax)):
            p = function(x)
            assert p.dtype == dtype
            assert set(np.asarray(p, np.float64).ravel()) == {float(jnp.asarray(1 / 70_000, dtype))}
        assert onesum.softmax(jnp.array([1, 2])).dtype == ("float64" if wide else "float32")


def test_rows_that_are_not_plain():
    x = jnp.array([[np.nan, 0.0], [-np.inf, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
    wanted = onesum.softmax(np.asarray(x))
    np.testing.assert_array_equal(jax.jit(onesum.softmax)(x), wanted)
    lse = jax.jit(jax.grad(lambda x: onesum.logsumexp(x)[1:].sum()))(x)
    np.testing.assert_array_equal(lse[1:], [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    where = jnp.array([[False, True]])
    dx = jax.grad(lambda x: onesum.log_softmax(x, where=where)[:, 1].sum())(x[:1])
    assert dx.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: onesum.softmax(x, temperature=-1.0), ValueError, "temperature: expected"),
        (lambda x: onesum.cross_entropy(x, jnp.array([0, 9, 1])), IndexError, "target: expected"),
        (lambda x: onesum.softmax_vjp(x, np.ones((3, 4))), TypeError, "g: expected an array of"),
        (lambda x: onesum.softmax(x, out=x), TypeError, "out: "),
        (lambda x: jax.jit(lambda a: onesum.softmax(x, axis=a))(1), TypeError, "axis: expected"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=f"^{message}"):
        call(jnp.asarray(X))


def test_values_are_not_looked_at_while_they_are_traced():
    """What would be refused gives a number that is wrong, or NaN; nothing is read outside."""
    loss = jax.jit(lambda y: onesum.cross_entropy(jnp.float32(X), y, reduction="none"))
    assert loss(jnp.array([0, 9, 1])).shape == (3,)


def test_jax_is_not_imported():
    program = """
import sys, numpy, onesum
onesum.softmax(numpy.ones(3))
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_products_have_all_digits():
    """JAX's default takes fewer on GPUs and TPUs; whoever asks for that gets it."""

    def products():
        h, w = jnp.ones((3, 5), jnp.float32), jnp.ones((4, 5), jnp.float32)
        function = jax.jit(lambda h: onesum.linear_cross_entropy_value_and_grad(h, w, Y))
        lines = function.lower(h).as_text().splitlines()
        return [line for line in lines if "dot_general" in line]

    exact = products()
    assert len(exact) == 3
    assert all("HIGHEST, HIGHEST" in line for line in exact)
    with jax.default_matmul_precision("tensorfloat32"):
        assert not any("HIGHEST" in line for line in products())
