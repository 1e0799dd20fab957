"""The losses and their gradients within their budgets of exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import oracle
import oracle_losses
import pytest
from budget import WIDE_FLOAT64_ULPS, WIDE_SCALE
from implementations import every
from measure import check, judge, ulp
from oracle import EXACT, WIDE, Reference
from oracle_losses import HARD, TARGETS, targets
from rows import KINDS, logits
from table import swapped, unaligned

FLOATS = ["float16", "bfloat16", "float32", "float64"]
IN_STRICT = ["float32", "float64"]
SOME_KINDS = ["a class", "smoothed", "z_loss", "probabilities, all options"]


def classes_first(a):
    return np.ascontiguousarray(np.moveaxis(a, -1, 0))


def judges(x, target, arithmetic=WIDE, **options):
    """Of losses and of gradients, whichever implementation they are of."""
    wanted = oracle_losses.cross_entropy(x, target, **options, arithmetic=arithmetic)
    return judge(wanted.loss, "cross_entropy"), judge(wanted.grad, "cross_entropy_grad")


def agree(api, x, target, right, note, axis=-1, **options) -> None:
    """Loss and gradient together, and the loss alone."""
    right_loss, right_grad = right
    note = f"{note}, {api.name}"
    loss, grad = api.cross_entropy_value_and_grad(x, target, axis, **options)
    right_loss(loss, note)
    right_grad(np.moveaxis(grad, axis, -1), note)
    right_loss(api.cross_entropy(x, target, axis, **options), f"{note}, no gradient")


def both_layouts(api, x, target, right, note, reduction="none", **options) -> None:
    """Classes along the last axis and along the first."""
    options["reduction"] = reduction
    agree(api, x, target, right, note, **options)
    first = [classes_first(a) if a.ndim == x.ndim else a for a in (x, target)]
    agree(api, *first, right, f"{note}, classes first", axis=0, **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", TARGETS)
def test_every_kind_of_row(kind, dtype):
    for rows in KINDS:
        for k, n in [(40, 10), (5, 300)]:
            x = logits(rows, k, n, dtype)
            target, options = targets(kind, x)
            right = judges(x, target, **options)
            for api in every(dtype, libraries=n == 10 and rows == "gaps"):
                both_layouts(api, x, target, right, f"{rows} {k}x{n}", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["a class", "probabilities, all options"])
def test_every_length(kind, dtype):
    """Every tail of every vector, in more rows than a vector has lanes."""
    for n in [*range(1, 36), 63, 64, 65, 71, 100, 127, 128, 129, 255, 1000, 3000]:
        x = logits("spread 3", 19 if n < 100 else 3, n, dtype)
        target, options = targets(kind, x)
        right = judges(x, target, **options)
        for api in every(dtype):
            both_layouts(api, x, target, right, f"n={n}", **options)


@pytest.mark.parametrize("kind", ["a class", "probabilities, all options"])
@pytest.mark.parametrize("dtype", IN_STRICT)
@pytest.mark.parametrize(("k", "n"), [(2, 70_000), (1, 200_001)])
def test_long_rows(k, n, dtype, kind):
    x = logits("spread 3", k, n, dtype)
    target, options = targets(kind, x)
    right = judges(x, target, **options)
    for api in every(dtype):
        both_layouts(api, x, target, right, f"n={n}", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [2, 3, 10])
def test_batches_of_tiny_rows(n, dtype):
    for k in [65, 1000]:
        x = logits("spread 20", k, n, dtype)
        for kind in ["the likeliest class", "weighted", "probabilities"]:
            target, options = targets(kind, x)
            right = judges(x, target, **options)
            for api in every(dtype):
                both_layouts(
                    api, x, target, right, f"{kind}, {k} rows", reduction="none", **options
                )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_axis_in_the_middle(dtype, reduction):
    for shape in [(3, 5, 9), (2, 70, 33), (4, 17, 1)]:
        rng = np.random.default_rng(3)
        x = rng.normal(0, 20, shape).astype(dtype)
        rows = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        for target in [
            rng.integers(0, shape[1], rows.shape[:-1]),
            rng.dirichlet(np.ones(shape[1]), rows.shape[:-1]).astype(dtype),
        ]:
            options = {"label_smoothing": 0.1, "reduction": reduction}
            right = judges(rows, target, **options)
            y = target if target.ndim == 2 else np.moveaxis(target, -1, 1)
            for api in every(dtype, libraries=dtype == "float32"):
                agree(api, x, y, right, str(shape), axis=1, **options)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [*SOME_KINDS, "weighted"])
def test_reductions(kind, dtype, reduction):
    """One number, itself rounded once; and the gradient of it."""
    for k, n in [(1, 3), (200, 10), (7, 129)]:
        x = logits("spread 3", k, n, dtype)
        target, options = targets(kind, x)
        options["reduction"] = reduction
        if target.ndim == 1 and k > 1:
            target[::3] = options["ignore_index"] = -1
        right = judges(x, target, **options)
        for api in every(dtype, libraries=n == 3):
            both_layouts(api, x, target, right, f"{k}x{n}", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", SOME_KINDS)
def test_temperature(kind, dtype):
    rng = np.random.default_rng(4)
    for rows in ["spread 3", "offset", "gaps"]:
        x = logits(rows, 24, 11, dtype)
        target, options = targets(kind, x)
        for t in [0.1, 100.0, np.exp(rng.uniform(np.log(0.1), np.log(100), 24))]:
            options |= {"temperature": t}
            right = judges(x, target, **options)
            for api in every(dtype, libraries=rows == "gaps"):
                both_layouts(api, x, target, right, f"{rows}, T={t}", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", TARGETS)
def test_where(kind, dtype):
    """A masked row is as exact as a whole one. What is outside is not read."""
    rng = np.random.default_rng(5)
    for n in [2, 9, 65]:
        x = logits("uniform", 30, n, dtype)
        target, options = targets(kind, x)
        where = rng.random(x.shape) < 0.6
        where[np.arange(30), rng.integers(0, n, 30)] = True
        options |= {"where": where}
        right = judges(x, target, **options)
        hidden = np.where(where, x, np.array(np.nan, x.dtype))
        if target.ndim == 2:
            target = np.where(where, target, np.array(np.nan, x.dtype))
        for api in every(dtype, libraries=n == 9):
            agree(api, hidden, target, right, f"n={n}", reduction="none", **options)


@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_of_every_size(dtype):
    """Sample weights from 1e-30 to 1e30; where the dtype ends, so does the result."""
    rng = np.random.default_rng(6)
    for rows in ["spread 3", "gaps"]:
        x = logits(rows, 61, 10, dtype)
        s = 10.0 ** np.arange(-30, 31)
        for target in [rng.integers(0, 10, 61), rng.dirichlet(np.ones(10), 61).astype(dtype)]:
            right = judges(x, target, sample_weight=s)
            for api in every(dtype, libraries=rows == "gaps"):
                both_layouts(api, x, target, right, rows, sample_weight=s)


@pytest.mark.parametrize("present", [unaligned, swapped])
@pytest.mark.parametrize("kind", SOME_KINDS)
def test_other_memory(present, kind):
    for dtype in IN_STRICT:
        x = logits("spread 3", 30, 17, dtype)
        target, options = targets(kind, x)
        right = judges(x, target, **options)
        for api in every(dtype):
            agree(api, present(x), present(target), right, "", reduction="none", **options)


@pytest.mark.parametrize("dtype", IN_STRICT)
@pytest.mark.parametrize("gap", [20.0, 40.0, 80.0])
def test_a_class_all_but_certain(gap, dtype):
    """The loss of [20, 0] is 2.06e-9, not 0, and so is its gradient, which sums to 0."""
    x = np.array([[gap, 0]], dtype)
    if gap == 20:
        exact = oracle_losses.cross_entropy(x, [0]).loss.value
        assert float(exact[0]) == 2.061153620314381e-09
    right = judges(x, [0], EXACT)
    for api in every(dtype):
        agree(api, x, np.array([0]), right, f"gap {gap}", reduction="none")
        _, grad = api.cross_entropy_value_and_grad(x, np.array([0]))
        assert grad[0, 0] == -grad[0, 1] < 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", TARGETS)
def test_hessian(kind, dtype):
    rng = np.random.default_rng(7)
    for rows in KINDS:
        for k, n in [(20, 10), (3, 300)]:
            x = logits(rows, k, n, dtype)
            v = rng.normal(size=x.shape).astype(dtype)
            target, options = targets(kind, x)
            options["temperature"] = float(rng.choice([1.0, 0.7]))
            options["reduction"] = str(rng.choice(["sum", "mean"]))
            wanted = oracle_losses.cross_entropy_hvp(x, target, v, **options, arithmetic=WIDE)
            right = judge(wanted, "cross_entropy_hvp")
            for api in every(dtype, libraries=(rows, n) == ("spread 3", 10)):
                note = f"{rows} {k}x{n}, {api.name}"
                right(api.cross_entropy_hvp(x, target, v, **options), note)
                first = [classes_first(a) if a.ndim == 2 else a for a in (x, target, v)]
                got = api.cross_entropy_hvp(*first, axis=0, **options)
                right(got.T, f"{note}, classes first")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_entropy_and_selected_classes(dtype, temperature):
    rng, name = np.random.default_rng(8), "selective_log_softmax"
    for rows in KINDS:
        for k, n in [(9, 1), (64, 2), (10, 10), (2, 1000)]:
            x = logits(rows, k, n, dtype)
            one, several = rng.integers(0, n, k), rng.integers(0, n, (k, 3))
            options = {"temperature": temperature, "arithmetic": WIDE}
            right_entropy = judge(oracle_losses.entropy(x, **options), "entropy")
            selected = [
                (i, judge(oracle_losses.selective_log_softmax(x, i, **options), name))
                for i in (one, several)
            ]
            for api in every(dtype, libraries=n == 10):
                note = f"{rows} {k}x{n}, {api.name}"
                right_entropy(api.entropy(x, temperature=temperature), note)
                for index, right in selected:
                    right(api.selective_log_softmax(x, index, temperature=temperature), note)
                    first = [np.moveaxis(a, -1, 0) if a.ndim == 2 else a for a in (x, index)]
                    got = api.selective_log_softmax(*first, axis=0, temperature=temperature)
                    right(got.T, f"{note}, classes first")


def pairs(rng, dtype: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Logits that are apart, near, all but equal; and some of which only one has a class."""
    for rows in KINDS:
        for k, n in [(7, 2), (3, 10), (1, 30)]:
            x = logits(rows, k, n, dtype)
            yield f"{rows} {k}x{n}, apart", x, logits(rows, k, n, dtype, seed=1)
            for step in [1.0, 1e-5]:
                y = (x.astype(np.float64) + step * rng.normal(size=x.shape)).astype(dtype)
                yield f"{rows} {k}x{n}, {step:g}", x, y
            few = x.copy()
            few[rng.random(x.shape) < 0.2] = -np.inf
            few[:, 0] = x[:, 0]
            yield f"{rows} {k}x{n}, fewer classes", few, x


@pytest.mark.parametrize("dtype", FLOATS)
def test_divergence(dtype):
    rng = np.random.default_rng(9)
    for note, x, y in pairs(rng, dtype):
        t, reduction = float(rng.choice([1.0, 0.7])), str(rng.choice(["none", "sum", "mean"]))
        options = {"temperature": t, "reduction": reduction}
        wanted = oracle_losses.kl_divergence(x, y, **options)
        right, *right_grads = (
            judge(a, name)
            for a, name in zip(wanted, ("kl_divergence", *["kl_divergence_grad"] * 2), strict=True)
        )
        for api in every(dtype, libraries=note.startswith("gaps 7x2")):
            where = f"{note}, {reduction}, {api.name}"
            value, grads = api.kl_divergence_value_and_grad(x, y, **options)
            right(value, where)
            for got, right_grad in zip(map(api.back, grads), right_grads, strict=True):
                right_grad(got, where)
            right(api.kl_divergence(x, y, **options), where)
            right(api.kl_divergence(x.T, y.T, axis=0, **options), f"{where}, classes first")


@pytest.mark.parametrize("dtype", IN_STRICT)
def test_divergence_of_classes_that_one_side_does_not_have(dtype):
    """A class of which only q knows takes mass from the others: KL is -log(1 - q) of it."""
    x, y = np.array([[0, -np.inf], [0, -800], [0, -740]], dtype), np.array([[0, -17.0]] * 3, dtype)
    value = np.log1p(np.exp(np.full(3, -17, np.longdouble)))
    q = oracle.softmax(y).value[:, 1:]
    for api in every(dtype):
        got, (_, dy) = api.kl_divergence_value_and_grad(x, y, reduction="none")
        check(got, Reference(value, value), "kl_divergence", api.name)
        wanted = Reference(q * [-1, 1], q * [1, 1])
        check(api.back(dy), wanted, "kl_divergence_grad", api.name)


# The references themselves


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("rows", KINDS)
def test_wide_is_exact_enough(rows, kind):
    x = logits(rows, 4, 9, np.float64)
    v = np.random.default_rng(10).normal(size=x.shape)
    target, options = targets(kind, x)
    options |= {"temperature": 0.7, "reduction": "mean"}
    for exact, wide in zip(
        *(
            [
                *oracle_losses.cross_entropy(x, target, **options, arithmetic=a),
                oracle_losses.cross_entropy_hvp(x, target, v, **options, arithmetic=a),
                oracle_losses.entropy(x, arithmetic=a),
            ]
            for a in (EXACT, WIDE)
        ),
        strict=True,
    ):
        error = np.abs(wide.value - exact.value)
        assert np.all(error <= WIDE_FLOAT64_ULPS * ulp(exact.scale, np.float64))
        error = np.abs(wide.scale - exact.scale)
        assert np.all(error <= WIDE_SCALE * exact.scale)


def test_a_gradient_of_one_class_is_judged_by_itself():
    x = logits("gaps", 30, 9, np.float64)
    for kind in TARGETS:
        target, options = targets(kind, x)
        grad = oracle_losses.cross_entropy(x, target, **options, arithmetic=WIDE).grad
        alone = np.array_equal(np.abs(grad.value), grad.scale)
        assert alone == (kind in HARD)
