"""The equations of the three papers that onesum grew out of, as they are printed, in numbers.

Rangarajan: "SimplePyML Softmax Layer", 2024. Batch: the note "Softmax" on a batch of k rows, its
equations (1) to (6). Purcell: "Derivative of the Softmax Function", 2021. Where a paper has a slip
of the pen (docs/derivation.md lists them), the equation meant is tested.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from budget import PRINTED_FORMULA

RNG = np.random.default_rng(2024)
K, N = 4, 6
X = RNG.normal(0, 2, (K, N))
DY = RNG.normal(0, 1, (K, N))


def close(got, wanted):
    """Within the rounding of the printed formula, componentwise."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=PRINTED_FORMULA)
    return True


def printed_softmax(x):
    """Y_i = exp(X_i) / sum_k exp(X_k), as all three papers define it: without a shift."""
    e = [math.exp(v) for v in x]
    return np.array([v / math.fsum(e) for v in e])


def printed_jacobian(y):
    """dY_j/dX_i = Y_j ((i == j) - Y_i), entry by entry."""
    n = len(y)
    return np.array([[y[j] * ((i == j) - y[i]) for i in range(n)] for j in range(n)])


def test_rangarajan_definition(api):
    """Rangarajan, section 1: the layer's forward."""
    for x in X:
        assert close(api.softmax(x), printed_softmax(x))


@pytest.mark.parametrize("b", [2.0, math.e, 10.0])
def test_rangarajan_logarithm_in_base_b(api, b):
    """Rangarajan: log_b Y_j = X_j / ln b - log_b sum_k exp(X_k)."""
    for x in X:
        in_base_b = api.log_softmax(x) / math.log(b)
        total = math.fsum(map(math.exp, x))
        assert close(in_base_b, x / math.log(b) - math.log(total, b))


def test_rangarajan_jacobian(api):
    """Rangarajan: dY_j/dX_i = Y_j ((i == j) - Y_i)."""
    for x in X:
        y = api.softmax(x)
        assert close(api.softmax_jacobian(y).to_dense(), printed_jacobian(y))


def test_rangarajan_expanded_matrix(api):
    """Rangarajan: row i of dL/dX is the sum over j of dL/dY_j Y_j ((i == j) - Y_i).

    The last row as printed has Y_2 (Y_n) where Y_2 (-Y_n) is meant; with it the test fails.
    """
    for x, dy in zip(X, DY, strict=True):
        y = api.softmax(x)
        rows = [
            math.fsum(dy[j] * y[j] * ((1 - y[i]) if i == j else -y[i]) for j in range(N))
            for i in range(N)
        ]
        assert close(api.softmax_vjp(y, dy), rows)


def test_rangarajan_final_formula(api):
    """Rangarajan, the result: g = dL/dY * Y, dL/dX = (-sum_k g_k) Y + g."""
    y = api.softmax(X)
    g = DY * y
    assert close(api.softmax_vjp(y, DY), -g.sum(axis=-1, keepdims=True) * y + g)


def test_batch_1_one_row(api):
    """Batch (1): Y_i = exp(x_i) / sum_j exp(x_j) for one row, 1 by n."""
    row = X[:1]
    assert close(api.softmax(row), [printed_softmax(row[0])])


def test_batch_2_every_row(api):
    """Batch (2): Y_ij = exp(x_ij) / sum_d exp(x_id), all k rows in one call."""
    assert close(api.softmax(X), [printed_softmax(x) for x in X])


def test_batch_3_and_4_two_cases(api):
    """Batch (3) and (4): dy_1/dx_1 = p_1 (1 - p_1), dy_1/dx_2 = -p_1 p_2, for n = 3."""
    p = api.softmax(X[0, :3])
    dense = api.softmax_jacobian(p).to_dense()
    assert close(dense[0, 0], p[0] * (1 - p[0]))
    assert close(dense[0, 1], -p[0] * p[1])


def test_batch_5_general_matrix(api):
    """Batch (5): p_i (1 - p_i) on the diagonal, -p_i p_j elsewhere, for every row: k by n by n."""
    p = api.softmax(X)
    dense = api.softmax_jacobian(p).to_dense()
    assert dense.shape == (K, N, N)
    for matrix, row in zip(dense, p, strict=True):
        for i in range(N):
            for j in range(N):
                wanted = row[i] * (1 - row[i]) if i == j else -row[i] * row[j]
                assert close(matrix[i, j], wanted)


def test_batch_6_vector_times_matrix(api):
    """Batch (6): dL/dx_i = sum_m dL/dy_m dy_m/dx_i; "apply (6) k times" is one call."""
    p = api.softmax(X)
    jacobian = api.softmax_jacobian(p)
    dense = jacobian.to_dense()
    k_times = [dy @ matrix for dy, matrix in zip(DY, dense, strict=True)]
    assert close(DY @ jacobian, k_times)
    assert close(api.softmax_vjp(p, DY), k_times)


def test_purcell_1_definition(api):
    """Purcell (1): a_i = exp(z_i) / sum_j exp(z_j), and the a sum to 1."""
    for z in X:
        a = api.softmax(z)
        assert close(a, printed_softmax(z))
        assert close(math.fsum(a), 1.0)


def test_purcell_2_logarithmic_derivative(api):
    """Purcell (2), (4): a_i d(ln a_i)/dz_j = da_i/dz_j, with d(ln a_i)/dz_j = delta_ij - a_j."""
    for z in X:
        a = api.softmax(z)
        of_logarithm = api.log_softmax_jacobian(api.log_softmax(z)).to_dense()
        assert close(of_logarithm, np.eye(N) - a)
        assert close(a[:, None] * of_logarithm, api.softmax_jacobian(a).to_dense())


def test_purcell_5_result(api):
    """Purcell (5): da_i/dz_j = a_i (delta_ij - a_j)."""
    for z in X:
        a = api.softmax(z)
        wanted = [[a[i] * ((i == j) - a[j]) for j in range(N)] for i in range(N)]
        assert close(api.softmax_jacobian(a).to_dense(), wanted)
