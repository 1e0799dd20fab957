"""What the JAX formulas compute by themselves, because a device's own functions are not exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from onesum._backends.jax import numbers

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
