"""What the JAX formulas compute by themselves, because a device's own functions are not exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from budget import FLOAT32_ALONE

import onesum
from onesum._backends.jax import functions, numbers

TINY = float(np.finfo(np.float32).tiny)  # XLA takes what is below it for 0


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_exp_is_within_an_ulp_down_to_the_smallest_normal_number(compiled):
    x = np.float32(-np.linspace(0.0, 87.3, 20011))
    exact = np.exp(np.float64(x))
    normal = exact > 1.000001 * TINY
    got = np.asarray((jax.jit(numbers.exp) if compiled else numbers.exp)(jnp.asarray(x)))
    errors = np.abs(got - exact) / np.spacing(np.float32(exact))
    assert normal.sum() > 20000
    assert errors[normal].max() <= 1.0


def test_exp_of_what_has_no_logarithm():
    got = numbers.exp(jnp.float32([0.0, -jnp.inf, jnp.nan, jnp.inf, 3.0]))
    np.testing.assert_allclose(got, np.exp([0.0, -np.inf, np.nan, np.inf, 3.0]), 1.2e-7)


def test_exp_is_its_own_derivative():
    value, slope = jax.value_and_grad(numbers.exp)(jnp.float32(-2.5))
    curvature = jax.grad(jax.grad(numbers.exp))(jnp.float32(-2.5))
    assert value == slope == curvature > 0.0


@pytest.mark.parametrize("temperatures", [False, True], ids=["", "temperature of rows"])
def test_log_softmax_vjp_where_the_cotangent_cancels(temperatures):
    rng = np.random.default_rng(3)
    logp = np.float32(onesum.log_softmax(20.0 * rng.standard_normal((300, 40))))
    g = np.float32(rng.standard_normal(logp.shape))
    t = np.float32(rng.uniform(0.3, 3.0, (300, 1))) if temperatures else np.float32(1.0)
    words = numbers.temperature_words(jnp.asarray(t), jnp.float32)
    of_rows = jax.jit(functions._products_of["log_softmax_vjp"].formula, static_argnums=3)
    got = np.asarray(of_rows(jnp.asarray(logp), jnp.asarray(g), words, 1))

    p, exact_g, pivot = np.exp(np.float64(logp)), np.float64(g), logp.argmax(1)[:, None]
    here = np.arange(40) == pivot
    rest, others = (np.where(here, 0.0, a).sum(1, keepdims=True) for a in (p, exact_g))
    left = np.where(here, rest, 1.0) * exact_g / t
    right = p * np.where(here, others, exact_g.sum(1, keepdims=True)) / t
    larger = np.float32(np.maximum(np.abs(left), np.abs(right)))
    errors = np.abs(got - (left - right)) / np.spacing(larger)
    assert errors.max() <= FLOAT32_ALONE
