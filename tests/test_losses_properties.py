"""What holds for the losses of every input: hypothesis looks for one where it does not."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import oracle
import oracle_losses
from budget import DENSE_PRODUCT, DIFFERENCES, budget
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from measure import check, ulp
from oracle import WIDE
from oracle_losses import TARGETS, targets

LOGIT = st.one_of(
    st.integers(-6, 6).map(lambda i: i / 2),
    st.floats(-60, 60, width=32),
    st.just(-np.inf),
)
FINITE = st.floats(-20, 20, width=32)
ROWS = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)
FEW = settings(max_examples=30)


@st.composite
def problems(draw, elements=LOGIT):
    """Logits with a finite class in each row, and a target with some of the options."""
    x = draw(hnp.arrays(np.float64, draw(ROWS), elements=elements))
    x[~np.isfinite(x).any(axis=-1), 0] = 0.0
    kind, seed = draw(st.sampled_from(sorted(TARGETS))), draw(st.integers(0, 9))
    target, options = targets(kind, x, seed)
    return x, target, options


@given(problems(), st.sampled_from(["none", "sum", "mean"]), st.sampled_from([1.0, 0.7, 30.0]))
@FEW
def test_exact(numpy_api, problem, reduction, temperature):
    """Any rows, target and options, against the exact result."""
    x, target, options = problem
    options |= {"reduction": reduction, "temperature": temperature}
    try:
        wanted = oracle_losses.cross_entropy(x, target, **options)
    except ZeroDivisionError:  # a mean over classes that all weigh nothing
        assert np.isnan(numpy_api.cross_entropy(x, target, **options))
        return
    loss, grad = numpy_api.cross_entropy_value_and_grad(x, target, **options)
    check(loss, wanted.loss, "cross_entropy")
    check(grad, wanted.grad, "cross_entropy_grad")


@given(problems())
@FEW
def test_gradient_sums_to_zero(numpy_api, problem):
    """Of bare logits, and where no class with a mass is ruled out, it is along no constant."""
    x, target, options = problem
    options.pop("z_loss", None)
    options.pop("softcap", None)
    x = np.maximum(x, -60)
    loss, grad = numpy_api.cross_entropy_value_and_grad(x, target, reduction="none", **options)
    assert np.all(loss >= 0)
    wanted = oracle_losses.cross_entropy(x, target, **options, arithmetic=WIDE).grad
    allowed = ulp(wanted.scale, np.float64) * sum(budget("cross_entropy_grad", "float64"))
    total = grad.astype(np.longdouble).sum(axis=-1)
    assert np.all(np.abs(total) <= allowed.sum(axis=-1))


@given(problems(), st.data())
@FEW
def test_where_is_removal(numpy_api, problem, data):
    """A masked row answers as the row without its masked classes, and 0 elsewhere."""
    x, target, options = problem
    i = data.draw(st.integers(0, len(x) - 1))
    where = np.array(data.draw(hnp.arrays(bool, x.shape[1])))
    where |= x[i] == x[i].max()
    options.pop("sample_weight", None)
    options |= {"reduction": "none"}
    row, y = x[i], target[i]
    if target.ndim == 1 and not where[y]:
        y = np.flatnonzero(where)[0]
    got = numpy_api.cross_entropy_value_and_grad(row, y, where=where, **options)
    if "weight" in options:
        options["weight"] = options["weight"][where]
    short = np.count_nonzero(where[:y]) if target.ndim == 1 else y[where]
    wanted = oracle_losses.cross_entropy(row[where], np.asarray(short), **options)
    check(got[0], wanted.loss, "cross_entropy")
    check(got[1][where], wanted.grad, "cross_entropy_grad")
    assert not np.any(got[1][~where])


@given(problems())
@FEW
def test_all_smoothed(numpy_api, problem):
    """With all of the target spread and no weights, any class has the same loss."""
    x, _, _ = problem
    wanted = oracle_losses.cross_entropy(x, np.full(x.shape, 1 / 4), label_smoothing=1)
    for seed in (0, 1):
        some, _ = targets("a class", x, seed)
        got = numpy_api.cross_entropy_value_and_grad(x, some, label_smoothing=1, reduction="none")
        check(got[0], wanted.loss, "cross_entropy")
        check(got[1], wanted.grad, "cross_entropy_grad")


@given(problems(FINITE))
@FEW
def test_gradient_is_the_slope(numpy_api, problem):
    """Against central differences, as well as they can tell."""
    x, target, options = problem
    options |= {"reduction": "sum"}
    v = np.random.default_rng(x.size).normal(size=x.shape)
    _, grad = numpy_api.cross_entropy_value_and_grad(x, target, **options)
    step = 1e-5
    up, down = (numpy_api.cross_entropy(x + h * v, target, **options) for h in (step, -step))
    size = 1 + abs(up) + np.abs(grad).sum()
    assert abs((up - down) / (2 * step) - np.sum(grad * v)) <= DIFFERENCES * size


@given(problems(FINITE))
@FEW
def test_hessian_is_the_slope_of_the_gradient(numpy_api, problem):
    x, target, options = problem
    options |= {"reduction": "sum"}
    v = np.random.default_rng(x.size).normal(size=x.shape)
    step = 1e-5
    up, down = (
        numpy_api.cross_entropy_value_and_grad(x + h * v, target, **options)[1]
        for h in (step, -step)
    )
    hv = numpy_api.cross_entropy_hvp(x, target, v, **options)
    size = 1 + np.abs(hv).max() + np.abs(up).max()
    assert np.all(np.abs((up - down) / (2 * step) - hv) <= DIFFERENCES * size)


@given(problems(FINITE))
@FEW
def test_hessian_with_every_entry(numpy_api, problem):
    """(a (diag(p) - p p^T) + 2 z s p p^T) / T^2, written out."""
    x, target, options = problem
    z_loss = options.pop("z_loss", 0.0)
    options.pop("softcap", None)
    layout, eye = oracle.Layout(x.shape, -1), np.eye(x.shape[1])
    masses = oracle_losses.masses_of(layout, target, None, WIDE, **options)
    p = oracle.softmax(x, temperature=2.0, arithmetic=WIDE).value
    lse = oracle.logsumexp(x, temperature=2.0, keepdims=True, arithmetic=WIDE).value
    outer = p[:, :, np.newaxis] * p[:, np.newaxis, :]
    b = 2 * z_loss * masses.s
    a = masses.q.sum(axis=-1, keepdims=True) + b * lse
    hessian = a[..., np.newaxis] * (p[:, :, np.newaxis] * eye - outer) + b[..., np.newaxis] * outer
    options |= {"z_loss": z_loss, "temperature": 2, "reduction": "sum"}
    for i, v in enumerate(eye):
        got = numpy_api.cross_entropy_hvp(x, target, np.broadcast_to(v, x.shape), **options)
        difference = np.abs(got - hessian[..., i] / 4)
        assert np.all(difference <= DENSE_PRODUCT * (1 + np.abs(a)))
