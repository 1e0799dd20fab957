"""The lazy Jacobians are the matrices they stand for."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from budget import DENSE_PRODUCT, RANK
from implementations import dtypes
from measure import check, same_bits
from numpy.testing import assert_allclose
from scipy.sparse.linalg import aslinearoperator

import onesum

MAKERS = ["softmax", "log_softmax"]
X = np.random.default_rng(1).normal(0, 3, (4, 5, 6))
V = np.random.default_rng(2).normal(0, 1, (4, 5, 6))
AXES = [-1, 0, 1, (0, 2), (2, 1), None, ()]


def made(api, name: str, x=X, axis=-1, **options):
    """p (or log p) of x, and its Jacobian."""
    p = getattr(api, name)(x, axis=axis)
    return p, getattr(api, f"{name}_jacobian")(p, axis=axis, **options)


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


def test_the_classes_themselves(name):
    """What the functions make can be made without them, with the same axis where none is given."""
    p = getattr(onesum, name)(X[0])
    kind = {"softmax": onesum.SoftmaxJacobian, "log_softmax": onesum.LogSoftmaxJacobian}[name]
    assert same_bits(kind(p) @ V[0], getattr(onesum, f"{name}_jacobian")(p) @ V[0])


# Entries


@pytest.mark.parametrize("kind", ["spread 3", "saturated", "ruled out", "one class", "two classes"])
def test_dense(any_api, name, kind):
    """Every entry against the exact one; 1 - p of the largest class from the others."""
    x = {
        "spread 3": X[0],
        "saturated": np.array([[40.0, 0, 0], [0, 80, 3]]),
        "ruled out": np.array([[1.0, -np.inf, 0], [-np.inf, 3, -np.inf]]),
        "one class": np.zeros((2, 1)),
        "two classes": np.array([[0.0, 1.0], [30.0, 0.0]]),
    }[kind]
    for dtype in dtypes(any_api.name):
        p, _ = made(any_api, name, x.astype(dtype))
        for t in [1.0, 0.7]:
            dense, diagonal = entries(any_api, name, p, t)
            wanted = getattr(oracle, f"{name}_jacobian")(p, temperature=t)
            assert dense.dtype == diagonal.dtype == np.dtype(dtype)
            check(dense, wanted, "jacobian", kind)
            on_diagonal = [np.diagonal(a, axis1=-2, axis2=-1) for a in wanted]
            check(diagonal, oracle.Reference(*on_diagonal), "jacobian", kind)


def entries(api, name, p, t):
    """The dense matrices and the diagonal as NumPy arrays."""
    sent = api.convert(p) if api.convert else p
    jacobian = getattr(onesum, f"{name}_jacobian")(sent, temperature=t)
    return api.back(jacobian.to_dense()), api.back(jacobian.diagonal())


def test_the_largest_class_keeps_its_complement(api):
    """p = 1 as far as float64 knows, and yet 1 - p is 4e-18."""
    p = api.softmax(np.array([40.0, 0.0]))
    assert p[0] == 1
    jacobian = api.softmax_jacobian(p)
    assert jacobian.diagonal()[0] == jacobian.to_dense()[0, 0] == p[1]
    logp = api.log_softmax(np.array([40.0, 0.0]))
    assert api.log_softmax_jacobian(logp).diagonal()[0] > 0


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_dense_of_any_axis(api, name, axis, temperature):
    """The batch axes in order, then n by n; several class axes are flattened in order."""
    p, jacobian = made(api, name, axis=axis, temperature=temperature)
    layout = oracle.Layout(p.shape, axis)
    batch = tuple(p.shape[i] for i in layout.rest)
    dense = jacobian.to_dense()
    assert dense.shape == jacobian.shape == (*batch, layout.n, layout.n)
    assert jacobian.ndim == len(batch) + 2
    flat = getattr(onesum, f"{name}_jacobian")(layout.rows(p), temperature=temperature)
    assert same_bits(dense.reshape(-1, layout.n, layout.n), flat.to_dense())
    assert jacobian.diagonal().shape == p.shape
    assert same_bits(layout.rows(jacobian.diagonal()), flat.diagonal())


@pytest.mark.parametrize("t", [np.linspace(0.5, 2, 5), np.linspace(0.5, 2, 20).reshape(4, 5, 1)])
def test_temperature_per_row(api, name, t):
    p, jacobian = made(api, name, temperature=t)
    dense, diagonal, product, solution = (
        jacobian.to_dense(),
        jacobian.diagonal(),
        jacobian @ V,
        jacobian.solve(V),
    )
    each = np.broadcast_to(t.reshape(t.shape[:2]), (4, 5))
    for i in np.ndindex(4, 5):
        alone = getattr(onesum, f"{name}_jacobian")(p[i], temperature=float(each[i]))
        assert same_bits(dense[i], alone.to_dense())
        assert same_bits(diagonal[i], alone.diagonal())
        assert same_bits(product[i], alone @ V[i])
        assert same_bits(solution[i], alone.solve(V[i]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_shape_and_dtype(api, name, dtype):
    _, jacobian = made(api, name, X.astype(dtype))
    assert jacobian.shape == (4, 5, 6, 6)
    assert jacobian.dtype == np.dtype(dtype)
    v = V.astype(dtype)
    for result in [jacobian @ v, v @ jacobian, jacobian.solve(v), jacobian.T @ v]:
        assert result.dtype == np.dtype(dtype)
        assert result.shape == v.shape
    assert jacobian.to_dense().dtype == np.dtype(dtype)
    assert type(jacobian).__name__ in repr(jacobian)
    assert "(4, 5, 6, 6)" in repr(jacobian)
    assert dtype in repr(jacobian)


# Products


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_products_are_the_functions(api, name, axis, temperature):
    """J @ v is the JVP and g @ J the VJP, bit by bit; J.T turns them around."""
    p, jacobian = made(api, name, axis=axis, temperature=temperature)
    jvp = getattr(onesum, f"{name}_jvp")(p, V, axis, temperature=temperature)
    vjp = getattr(onesum, f"{name}_vjp")(p, V, axis, temperature=temperature)
    assert same_bits(jacobian @ V, jvp)
    assert same_bits(V @ jacobian, vjp)
    assert same_bits(jacobian.T @ V, vjp)
    assert same_bits(V @ jacobian.T, jvp)
    assert same_bits(jacobian.T.T @ V, jvp)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_products_with_matrices(api, name, shape):
    """Columns to the right of J, rows to the left, one matrix for each matrix of the batch."""
    _, jacobian = made(api, name, X[(0,) * (3 - len(shape))])
    dense = jacobian.to_dense()
    right = np.random.default_rng(3).normal(size=(*shape, 3))
    left = np.swapaxes(right, -1, -2)
    for got, wanted in [
        (jacobian @ right, dense @ right),
        (left @ jacobian, left @ dense),
        (jacobian.T @ right, np.swapaxes(dense, -1, -2) @ right),
    ]:
        assert got.shape == wanted.shape
        assert_allclose(got, wanted, rtol=0, atol=DENSE_PRODUCT * np.abs(dense).max())
    for column in range(3):
        alone = jacobian @ np.ascontiguousarray(right[..., column])
        assert same_bits((jacobian @ right)[..., column], alone)


def test_lists_are_vectors(api, name):
    _, jacobian = made(api, name, X[0, 0])
    assert same_bits(jacobian @ V[0, 0].tolist(), jacobian @ V[0, 0])
    assert same_bits(V[0, 0].tolist() @ jacobian, V[0, 0] @ jacobian)


def test_products_against_the_dense_matrix(api, name):
    """The O(n) products agree with the O(n^2) ones on the exact matrix."""
    p, jacobian = made(api, name)
    exact = getattr(oracle, f"{name}_jacobian")(p).value
    v = V.astype(np.longdouble)
    right = np.einsum("...ij,...j->...i", exact, v)
    left = np.einsum("...i,...ij->...j", v, exact)
    room = DENSE_PRODUCT * np.abs(v).sum()
    assert_allclose(jacobian @ V, right.astype(float), rtol=0, atol=room)
    assert_allclose(V @ jacobian, left.astype(float), rtol=0, atol=room)


# What the matrices are known to be


def test_rows_sum_to_zero(api, name):
    """A constant added to x changes nothing: J 1 = 0, exactly in the product."""
    _, jacobian = made(api, name)
    assert not np.any(jacobian @ np.full_like(X, 3.0))
    assert_allclose(jacobian.to_dense().sum(-1), 0, rtol=0, atol=DENSE_PRODUCT)


def test_columns_of_softmax_sum_to_zero(api):
    """The p always sum to one: 1^T J = 0."""
    _, jacobian = made(api, "softmax")
    assert not np.any(np.full_like(X, 3.0) @ jacobian)


def test_symmetry(api):
    """softmax's is symmetric to the bit; log_softmax's is not, and its T is the transpose."""
    _, jacobian = made(api, "softmax")
    dense = jacobian.to_dense()
    assert same_bits(dense, np.ascontiguousarray(np.swapaxes(dense, -1, -2)))
    assert same_bits(dense, jacobian.T.to_dense())
    _, jacobian = made(api, "log_softmax")
    dense = jacobian.to_dense()
    assert same_bits(jacobian.T.to_dense(), np.ascontiguousarray(np.swapaxes(dense, -1, -2)))
    assert not np.array_equal(dense, np.swapaxes(dense, -1, -2))
    assert same_bits(jacobian.T.diagonal(), jacobian.diagonal())
    assert jacobian.T.shape == jacobian.shape


def test_positive_semidefinite(api):
    """v^T J v is the variance of v under p."""
    p, jacobian = made(api, "softmax")
    variance = np.sum(p * (V - np.sum(p * V, -1, keepdims=True)) ** 2, -1)
    assert_allclose(np.sum(V * (jacobian @ V), -1), variance, rtol=DENSE_PRODUCT)


# solve


@pytest.mark.parametrize("transposed", [False, True])
def test_solve_is_the_pseudoinverse(api, name, transposed):
    """On probabilities that sum to one exactly: np.linalg.pinv, hence of least norm."""
    p = np.array(
        [[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25], [0.75, 0.125, 0.0625, 0.0625]]
    )
    b = np.random.default_rng(4).normal(size=p.shape)
    first = p if name == "softmax" else np.log(p)
    for t in [1.0, 0.5]:
        jacobian = getattr(api, f"{name}_jacobian")(first, temperature=t)
        jacobian = jacobian.T if transposed else jacobian
        inverse = np.linalg.pinv(jacobian.to_dense(), rcond=RANK)
        wanted = np.einsum("kij,kj->ki", inverse, b)
        got = jacobian.solve(b)
        assert_allclose(got, wanted, rtol=0, atol=DENSE_PRODUCT * np.abs(wanted).max())
        # Where there is a solution, it is one.
        v = jacobian @ b
        assert_allclose(jacobian @ jacobian.solve(v), v, rtol=0, atol=DENSE_PRODUCT)


@pytest.mark.parametrize("kind", ["spread 3", "saturated", "ruled out"])
def test_solve_is_exact(api, name, kind):
    """Componentwise, also where the matrix is all but singular."""
    x = {
        "spread 3": X[0],
        "saturated": np.array([[40.0, 0, 0], [0, 30, 3]]),
        "ruled out": np.array([[1.0, -np.inf, 0], [-np.inf, 3, -np.inf]]),
    }[kind]
    for dtype in ["float32", "float64"]:
        p, jacobian = made(api, name, x.astype(dtype), temperature=0.5)
        b = V.ravel()[: x.size].reshape(x.shape).astype(dtype)
        wanted = getattr(oracle, f"{name}_solve")(p, b, temperature=0.5)
        check(jacobian.solve(b), wanted, "solve", f"{kind} {dtype}")


@pytest.mark.parametrize("axis", AXES)
def test_solve_of_any_axis(api, name, axis):
    p, jacobian = made(api, name, axis=axis)
    layout = oracle.Layout(p.shape, axis)
    flat = getattr(onesum, f"{name}_jacobian")(layout.rows(p))
    assert same_bits(jacobian.solve(V), layout.unrow(flat.solve(layout.rows(V))))


def test_solve_of_matrices(api, name):
    _, jacobian = made(api, name)
    b = np.random.default_rng(5).normal(size=(4, 5, 6, 3))
    got = jacobian.solve(b)
    assert got.shape == b.shape
    for column in range(3):
        assert same_bits(got[..., column], jacobian.solve(np.ascontiguousarray(b[..., column])))


# Conventions


def test_linear_operator(api, name):
    """One matrix is a scipy.sparse.linalg.LinearOperator."""
    _, jacobian = made(api, name, X[0, 0])
    operator, v = aslinearoperator(jacobian), V[0, 0]
    matrix = np.random.default_rng(6).normal(size=(6, 3))
    assert operator.shape == (6, 6)
    assert operator.dtype == np.float64
    assert same_bits(operator @ v, jacobian @ v)
    assert same_bits(operator.matvec(v[:, None]), jacobian @ v[:, None])
    assert same_bits(operator.rmatvec(v), jacobian.T @ v)
    assert same_bits(operator @ matrix, jacobian @ matrix)
    assert same_bits(operator.rmatmat(matrix), jacobian.T @ matrix)
    assert same_bits(operator.H @ v, jacobian.T @ v)
    total = aslinearoperator(jacobian - 2 * jacobian.T)
    assert same_bits(total @ v, (jacobian - 2 * jacobian.T) @ v)
    assert same_bits(total.rmatmat(matrix), (jacobian - 2 * jacobian.T).T @ matrix)


def test_p_is_not_copied(api, name):
    """Lazy: a million classes have no matrix of 8 TB."""
    n = 1_000_000
    _, jacobian = made(api, name, np.zeros(n, np.float32))
    assert jacobian.shape == (n, n)
    v = np.zeros(n, np.float32)
    v[3] = 1
    assert np.count_nonzero(jacobian @ v) == n


@pytest.mark.parametrize("hidden", [0.3, 0.9, np.nan])
def test_masked_classes(api, name, hidden):
    """A masked p is one without those classes, whatever lies beneath: also the largest of all."""
    first, nothing = (0.5, 0.0) if name == "softmax" else (np.log(0.5), -np.inf)
    p = np.ma.array([first, hidden, first], mask=[False, True, False])
    jacobian = getattr(api, f"{name}_jacobian")(p)
    plain = getattr(api, f"{name}_jacobian")(np.array([first, nothing, first]))
    v, b = np.array([1.0, np.nan, 0.0]), np.array([1.0, 0.0, -1.0])
    for got, wanted in [
        (jacobian.to_dense(), plain.to_dense()),
        (jacobian.diagonal(), plain.diagonal()),
        ((2 * jacobian).diagonal(), (2 * plain).diagonal()),
        (jacobian @ v, plain @ v),
        (v @ jacobian, v @ plain),
        (jacobian.solve(b), plain.solve(b)),
    ]:
        assert same_bits(np.asarray(got), wanted)


@pytest.mark.parametrize("method", ["__matmul__", "__rmatmul__", "solve"])
@pytest.mark.parametrize("shape", [(5,), (3,), (4, 5), (5, 6), (4, 5, 6, 2, 2), (4, 6, 5), ()])
def test_wrong_shapes(api, name, method, shape):
    _, jacobian = made(api, name)
    argument = {"__matmul__": "v", "__rmatmul__": "g", "solve": "b"}[method]
    with pytest.raises(ValueError, match=rf"\b{argument}\b") as caught:
        getattr(jacobian, method)(np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("method", ["__matmul__", "__rmatmul__", "solve"])
def test_wrong_values(api, name, method):
    _, jacobian = made(api, name)
    for bad in [X.astype(complex), X.astype(str), X.astype(object)]:
        with pytest.raises(TypeError, match=str(bad.dtype)):
            getattr(jacobian, method)(bad)
