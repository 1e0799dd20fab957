"""JAX on CPUs: the compiled core is what XLA calls, it gives NumPy's bits, and it stays exact."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import onesum
from onesum._backends import registry
from onesum._backends.jax import core

pytestmark = pytest.mark.skipif(
    registry.name_of(registry.numpy_backend) != "native", reason="no core"
)

RNG = np.random.default_rng(11)
X, G = RNG.normal(size=(2, 3, 5, 4))
Y = RNG.integers(0, 4, (3, 5))
TYPES = ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def lowered(function, *arguments, platform="cpu"):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def grad(function):
    return jax.grad(lambda x: function(x).sum())


def total(x):
    return onesum.cross_entropy(x, Y)


CALLED = {
    "softmax": onesum.softmax,
    "log_softmax": onesum.log_softmax,
    "logsumexp": onesum.logsumexp,
    "cross_entropy": total,
    "softmax_vjp": grad(onesum.softmax),
    "log_softmax_vjp": grad(onesum.log_softmax),
    "logsumexp_vjp": grad(onesum.logsumexp),
    "logsumexp_jvp": lambda x: jax.jvp(onesum.logsumexp, (x,), (x,))[1],
    "cross_entropy_and_gradient": jax.grad(total),
    "cross_entropy_gradient": jax.grad(lambda x: onesum.cross_entropy(x, Y, temperature=2.0)),
    "log_softmax_jvp": lambda x: onesum.log_softmax_jvp(x, x),
}


@pytest.mark.parametrize("name", CALLED)
def test_who_computes(name):
    assert core.available
    assert f"@onesum_{name}(" in lowered(CALLED[name], X)
    assert "onesum_" not in lowered(CALLED[name], X, platform="cuda")


@pytest.mark.parametrize(
    ("dtype", "axis"), [("float32", 0), ("float32", -1), *((dtype, 1) for dtype in TYPES)]
)
def test_bits(dtype, axis):
    """NumPy's; of the last axis compiled too."""
    x, g = (np.asarray(jnp.asarray(a, dtype)) for a in (8 * X, G))
    p, logp = onesum.softmax(x, axis), onesum.log_softmax(x, axis)
    cases = [
        (onesum.softmax, (x,)),
        (partial(onesum.softmax, temperature=0.7), (x,)),
        (onesum.log_softmax, (x,)),
        (onesum.logsumexp, (x,)),
        (onesum.softmax_vjp, (p, g)),
        (onesum.log_softmax_vjp, (logp, g)),
        (onesum.log_softmax_jvp, (logp, g)),
        (onesum.logsumexp_vjp, (x, g.take(0, axis))),
        (onesum.logsumexp_jvp, (x, g)),
        (
            partial(onesum.cross_entropy, reduction="none"),
            (x, np.argmax(g, axis).astype(np.int32)),
        ),
    ]
    for function, arguments in cases:
        wanted = function(*arguments, axis=axis)
        ours = tuple(map(jnp.asarray, arguments))
        calls = [partial(function, axis=axis)]
        for call in calls + [jax.jit(c) for c in calls if axis == -1]:
            got = call(*ours)
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(np.asarray(got), wanted, err_msg=str(function))


def test_gradients_are_the_cores():
    x, y = np.float32(9 * X), jnp.asarray(Y)
    for reduction, by in (("sum", 1.0), ("mean", 1 / 15)):
        wanted = onesum.cross_entropy_value_and_grad(x, Y, reduction="sum")[1] * np.float32(by)
        got = jax.grad(partial(onesum.cross_entropy, reduction=reduction))(jnp.asarray(x), y)
        np.testing.assert_allclose(got, wanted, rtol=1.3e-7)
    pull = jax.vjp(onesum.softmax, jnp.asarray(x))[1]
    wanted = onesum.softmax_vjp(onesum.softmax(x), np.float32(G))
    np.testing.assert_array_equal(pull(jnp.float32(G))[0], wanted)


@pytest.mark.parametrize("wide", [True, False])
def test_denormals_and_long_rows(wide):
    """However XLA's threads take denormals, results have them as NumPy's do."""
    x = np.array([[0.0, -88.0, -95.0, -100.0], [-100.0, -90.0, -1.0, 3.0]], np.float32)
    long = np.zeros((2, 70_000), np.float16)
    with jax.enable_x64(wide):
        for a in (x, long):
            for function in (onesum.softmax, jax.jit(onesum.softmax)):
                got = function(jnp.asarray(a))
                np.testing.assert_array_equal(np.asarray(got), onesum.softmax(a))


def test_rows_that_are_not_plain():
    nan, inf = np.nan, np.inf
    x = np.array(
        [[nan, 0, 1], [-inf, 0, 1], [inf, 0, 1], [-inf, -inf, -inf], [inf, inf, 0], [nan, -inf, 0]]
    )
    y = np.array([1, 0, 0, 1, 2, 2])
    for function in (onesum.softmax, onesum.log_softmax, onesum.logsumexp):
        np.testing.assert_array_equal(jax.jit(function)(x), function(x))
    loss = partial(onesum.cross_entropy, reduction="none")
    np.testing.assert_array_equal(jax.jit(loss)(x, y), loss(x, y))
    wanted = onesum.cross_entropy_value_and_grad(x, y, reduction="sum")[1]
    got = jax.jit(jax.grad(lambda x: loss(x, y).sum()))(x)
    np.testing.assert_array_equal(got, wanted)
    ignored = jax.grad(lambda x: onesum.cross_entropy(x, y, ignore_index=1))(x)
    np.testing.assert_array_equal(ignored[jnp.array([0, 3])], 0.0)
    assert jax.jit(onesum.softmax)(jnp.zeros((0, 3))).shape == (0, 3)
    assert jax.jit(loss)(jnp.zeros((0, 3)), jnp.zeros(0, int)).shape == (0,)
    assert jax.jit(onesum.softmax)(jnp.array([[2.0], [-inf]])).tolist()[0] == [1.0]
    assert jax.jit(jax.grad(onesum.cross_entropy))(jnp.array([[2.0]]), jnp.array([0])) == 0.0


def test_a_class_that_is_none():
    loss = jax.jit(jax.value_and_grad(lambda x, y: onesum.cross_entropy(x, y, reduction="sum")))
    for y in (9, -7, 2**31 - 1):
        value, gradient = loss(jnp.zeros((2, 4)), jnp.array([1, y]))
        assert np.isnan(value)
        assert gradient[0].tolist() == [0.25, -0.75, 0.25, 0.25]
        assert np.isnan(gradient[1]).all()


MAPPED = {
    "softmax": (lambda x, t: onesum.softmax(x, temperature=t), (X[0], np.float64(0.7))),
    "rows": (lambda x, t: onesum.softmax(x, 0, temperature=t), (X[0], X[1, 0] ** 2 + 0.5)),
    "log_softmax": (lambda x, t: onesum.log_softmax(x, temperature=t), (X[0], np.float64(0.7))),
    "log_softmax_vjp": (onesum.log_softmax_vjp, (onesum.log_softmax(X[0]), G[0])),
    "softmax_vjp": (onesum.softmax_vjp, (onesum.softmax(X[0]), G[0])),
    "logsumexp_vjp": (onesum.logsumexp_vjp, (X[0], G[0, :, 0])),
    "logsumexp_jvp": (onesum.logsumexp_jvp, (X[0], G[0])),
    "cross_entropy": (lambda x, y: onesum.cross_entropy(x, y, reduction="none"), (X[0], Y[0])),
    "temperature": (
        lambda x, t: onesum.cross_entropy(x, Y[0], temperature=t),
        (X[0], np.float64(0.7)),
    ),
}


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_over_each_argument(name):
    function, arguments = MAPPED[name]
    both = [jnp.stack([a, a[::-1] if a.ndim else a + 1]) for a in map(np.asarray, arguments)]
    slope = jax.grad(lambda *a: (function(*a) * 0.3).sum())
    for axes in ((0, None), (None, 0)):
        given = [b if d == 0 else a for a, b, d in zip(arguments, both, axes, strict=True)]
        for of in map(jax.jit, (function, slope)):
            got = jax.jit(jax.vmap(of, axes))(*given)
            for i in (0, 1):
                one = [b[i] if d == 0 else a for a, b, d in zip(arguments, both, axes, strict=True)]
                np.testing.assert_allclose(
                    got[i], of(*map(jnp.asarray, one)), rtol=1e-13, atol=1e-16
                )


# --- accuracy ---------------------------------------------------------------------------------


@pytest.fixture(params=["core", "formulas"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(core, "available", request.param == "core")
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


# p of the first is 1 - 1e-13, and the second component of v is 1e-9 from its first.
LOGITS = np.array([2.0, -28.0, -29.5, -31.0])
ALONG, OTHER = np.array([0.7, 0.7 + 1e-9, 0.3, -0.2]), np.array([1.1, -0.4, 0.9, 0.8])


def exact():
    """p, log p, and J v of both, of the logits above."""
    with mpmath.workdps(60):
        e = [mpmath.exp(a) for a in LOGITS.tolist()]
        p = [a / sum(e) for a in e]
        v = [mpmath.mpf(a) for a in ALONG.tolist()]
        mean = sum(a * b for a, b in zip(p, v, strict=True))
        of_softmax = [a * (b - mean) for a, b in zip(p, v, strict=True)]
        forward = [b - mean for b in v]
        backward = [b - a * sum(v) for a, b in zip(p, v, strict=True)]
        hessian = [[a * ((i == j) - b) for j, b in enumerate(p)] for i, a in enumerate(p)]
        return p, of_softmax, forward, backward, hessian


def close(got, wanted):
    """Within 4 ulp, each component."""
    got = np.asarray(got).ravel().tolist()
    flat = [b for a in wanted for b in (a if isinstance(a, list) else [a])]
    for i, (a, b) in enumerate(zip(got, flat, strict=True)):
        assert abs(mpmath.mpf(a) - b) <= 4 * np.spacing(abs(float(b))), (i, a, float(b))


def test_digits_beside_a_class_that_takes_all(way):
    p, of_softmax, forward, backward, hessian = exact()
    assert 0 < float(1 - p[0]) < 2e-13

    def products(function, x, v):
        """J v and v J, each in two ways."""

        def jvp(v):
            return jax.jvp(function, (x,), (v,))[1]

        def vjp(v):
            return jax.vjp(function, x)[1](v)[0]

        def transposed(function):
            return jax.linear_transpose(function, v)(v)[0]

        return jvp(v), transposed(vjp), vjp(v), transposed(jvp)

    def curvature(loss, x, v):
        return jax.hessian(loss)(x), jax.jvp(jax.grad(loss), (x,), (v,))[1]

    @jax.jit
    def answers(x, v):
        return (
            onesum.softmax_vjp(onesum.softmax(x), v),
            *products(onesum.softmax, x, v),
            *products(onesum.log_softmax, x, v),
            *curvature(onesum.logsumexp, x, v),
            *curvature(lambda x: onesum.cross_entropy(x, 2), x, v),
            jax.jacrev(jax.grad(lambda x: -onesum.log_softmax(x)[2]))(x),
        )

    wanted = (
        *[of_softmax] * 5,
        *(forward, forward, backward, backward),
        *[hessian, of_softmax] * 2,
        hessian,
    )
    for got, exactly in zip(answers(LOGITS, ALONG), wanted, strict=True):
        close(got, exactly)


def test_second_derivatives(way):
    """The core's and the formulas', of functions that are not symmetric."""

    def weighted(function):
        return lambda x: (function(x) * OTHER).sum() ** 2

    x = jnp.asarray(X[0, 0])
    for function in (onesum.softmax, onesum.log_softmax):
        second = jax.jit(jax.hessian(weighted(function)))(x)
        step = 1e-5
        slope = jax.jit(jax.grad(weighted(function)))
        rows = [(slope(x + step * e) - slope(x - step * e)) / (2 * step) for e in np.eye(4)]
        np.testing.assert_allclose(second, np.stack(rows), rtol=1e-6, atol=1e-8)


# --- the interface ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f("softmax", (X,), axis=np.int64(0)), "do not fit together"),
        (lambda f: f("softmax", (X,), axis=np.int64(-4)), "do not fit together"),
        (lambda f: f("softmax", (X,), axis=np.int32(-1)), "expected an attribute `axis`"),
        (lambda f: f("softmax", (X,)), "expected an attribute `axis`"),
        (lambda f: f("softmax", (X, X), axis=np.int64(-1)), "expected more buffers"),
        (lambda f: f("softmax", (X, X, X, X), axis=np.int64(-1)), "expected fewer buffers"),
        (lambda f: f("softmax", (X, Y, Y), axis=np.int64(-1)), "temperature in two words"),
        (lambda f: f("softmax", (X, G[0], G[0]), axis=np.int64(-1)), "the shape of x"),
        (lambda f: f("softmax_vjp", (X, np.float32(G)), axis=np.int64(-1)), "one type"),
        (lambda f: f("softmax_vjp", (X, G[0]), axis=np.int64(-1)), "the axes of x"),
        (lambda f: f("softmax_vjp", (X, G[..., :2]), axis=np.int64(-1)), "the shape of x"),
        (
            lambda f: f("softmax", (np.int32(Y),), axis=np.int64(-1)),
            "floating numbers of 32 or 64 bits",
        ),
        (lambda f: f("cross_entropy", (X, Y), axis=np.int64(-1)), "the shape of x"),
        (lambda f: f("cross_entropy_gradient", (X, X, X), axis=np.int64(-1)), "class indices"),
        (
            lambda f: f("cross_entropy_and_gradient", (X, Y), axis=np.int64(-1)),
            "numbers of buffers",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(call, message):
    def function(name, operands, **options):
        operands = tuple(map(jnp.asarray, operands))
        result = jax.typeof(operands[0])
        of = jax.jit(lambda *a: jax.ffi.ffi_call(f"onesum_{name}", result)(*a, **options))
        return of(*operands)

    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        call(function)


def run(program: str, **environment: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | environment)


def test_over_a_mesh():
    run(
        """
import jax, numpy as np, onesum
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
y = np.array([0, 4, 2, 1])
shared = [jax.device_put(x, NamedSharding(mesh, p)) for p in (P("rows"), P(None, "rows"))]
def slope(x, y, **options):
    return jax.grad(lambda x: onesum.cross_entropy(x, y, reduction="sum", **options))(x)
def warm(x, y):
    return slope(x, y, temperature=2.0)
def rows(function):
    return jax.shard_map(function, mesh=mesh, in_specs=P("rows"), out_specs=P("rows"))
for function, arguments in ((slope, (x, y)),
        (jax.grad(lambda x: (onesum.log_softmax(x) ** 2).sum()), (x,)),
        (lambda x: onesum.softmax(x, temperature=2.0), (x,)),
        (warm, (x, y)),
        (jax.grad(lambda x: onesum.logsumexp(x).sum()), (x,))):
    plain = np.asarray(function(*map(jax.numpy.asarray, arguments)))
    np.testing.assert_array_equal(np.asarray(jax.jit(rows(function))(*arguments)), plain)
    for each in shared:
        got = jax.jit(function)(each, *arguments[1:])
        np.testing.assert_array_equal(np.asarray(got), plain)
text = jax.jit(rows(onesum.softmax)).lower(x).as_text()
assert "@onesum_softmax" in text
""",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )


def test_without_the_core():
    run(
        """
import jax, onesum
from onesum._backends.jax import core
assert not core.available
assert "onesum_" not in jax.jit(onesum.softmax).lower(jax.numpy.zeros((2, 3))).as_text()
assert onesum.softmax(jax.numpy.zeros((2, 4))).tolist() == [[0.25] * 4] * 2
""",
        ONESUM_BACKEND="reference",
        JAX_PLATFORMS="cpu",
    )


def test_export():
    """A program for export names the core's functions only where that is said to be right."""
    x = jnp.asarray(X)
    checks = [jax.export.DisabledSafetyCheck.custom_call("onesum_softmax")]
    exported = jax.export.export(jax.jit(onesum.softmax), disabled_checks=checks)(x)
    again = jax.export.deserialize(exported.serialize())
    np.testing.assert_array_equal(again.call(x), onesum.softmax(X))
    with pytest.raises(ValueError, match="onesum_softmax"):
        jax.export.export(jax.jit(onesum.softmax))(x)


def test_no_warning_of_types_that_are_not_there():
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = jnp.zeros((2, 4)), jnp.array([1, 3])
        for ignored in (None, 3, 2**40, -100):
            assert onesum.cross_entropy(x, y, ignore_index=ignored).dtype == np.float32
        loss = partial(onesum.cross_entropy, ignore_index=2**40)
        assert jax.jit(jax.grad(loss))(x, y).dtype == np.float32
        onesum.cross_entropy(x, np.array([1, 3], np.uint8), weight=jnp.ones(4))
        onesum.cross_entropy(x[:0], [])
        onesum.selective_log_softmax(x, y)
        onesum.CrossEntropyLoss(weight=jnp.ones(4))(x, y)
        onesum.linear_cross_entropy(x, jnp.ones((5, 4)), y)
