"""What states of chunks keep of their rows: masks, labels, memory; and what is told apart."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from measure import same_bits
from rows import logits

import onesum

Normalizer, State = onesum.Normalizer, onesum.CrossEntropyState
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6))
CUTS = [slice(0, 2), slice(2, 2), slice(2, 6)]
Y = np.array([0, 5, 2, 3])

pytestmark = pytest.mark.filterwarnings("error")


def state_of(x: Any, target: Any, part: slice, **options: Any) -> State:
    if np.ndim(target) == 2:
        target = target[:, part]
    return State.of(x[:, part], target, start=part.start, **options)


def all_orders(states: list[Any]) -> list[Any]:
    return [a | b | c for a, b, c in itertools.permutations(states)]


def same_masked(a: Any, b: Any) -> None:
    """Values of two masked arrays within some ulps, and their masks."""
    assert isinstance(a, np.ma.MaskedArray) == isinstance(b, np.ma.MaskedArray)
    assert np.array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b))
    np.testing.assert_array_max_ulp(np.ma.filled(a, 1.0), np.ma.filled(b, 1.0), 4)


# --- numpy.ma -------------------------------------------------------------------------------------

# Of the rows of X: nothing masked; the first chunk; the last; all.
MASKED = np.ma.MaskedArray(X, [[0] * 6, [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1] * 6])


def test_a_normalizer_of_masked_chunks():
    wanted = onesum.logsumexp(MASKED)
    for n in all_orders([Normalizer.of(MASKED[:, part]) for part in CUTS]):
        same_masked(n.logsumexp, wanted)
        assert n.m.mask.tolist() == [False, False, False, True]
        p = np.ma.concatenate([n.softmax(MASKED[:, part]) for part in CUTS], axis=1)
        np.testing.assert_allclose(p.filled(0), onesum.softmax(MASKED).filled(0), rtol=1e-15)
    # Where one chunk has no masks, no row is masked whole.
    assert not isinstance((Normalizer.of(MASKED) | Normalizer.of(X)).m, np.ma.MaskedArray)


@pytest.mark.parametrize("target", [np.array([0, 5, 0, 3]), RNG.dirichlet(np.ones(6), 4)])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.25}, {"sample_weight": X[:, 0] ** 2}]
)
def test_losses_of_masked_chunks(target, options):
    """A row is ignored if all chunks mask it, whichever comes first."""
    masked = MASKED
    if target.ndim == 2:  # what is masked has no mass, for it would be infinitely far
        target = np.where(masked.mask, 0, target)
    wanted = {
        kind: onesum.cross_entropy_value_and_grad(masked, target, reduction=kind, **options)
        for kind in ("none", "mean")
    }
    own = [(masked[:, c], target[:, c] if target.ndim == 2 else target, c.start) for c in CUTS]
    for state in all_orders([state_of(masked, target, part, **options) for part in CUTS]):
        for kind, (loss, grad) in wanted.items():
            same_masked(state.loss(kind), loss)
            parts = [state.gradient(x, y, start=i, reduction=kind) for x, y, i in own]
            got = np.ma.concatenate(parts, axis=1)
            assert np.array_equal(got.mask, grad.mask)
            np.testing.assert_allclose(got.filled(0), grad.filled(0), rtol=1e-14, atol=1e-17)


def test_masks_of_what_has_one_element_per_row():
    """Of the weights and of T, which the state keeps without them."""
    last = [False, False, False, True]
    options = {
        "sample_weight": np.ma.MaskedArray([1.0, 2.0, 3.0, np.nan], last),
        "temperature": np.ma.MaskedArray([1.0, 2.0, 0.5, -1.0], last),
    }
    loss, grad = onesum.cross_entropy_value_and_grad(X, Y, **options)
    state = State.of(X[:, :2], Y, **options) | State.of(X[:, 2:], Y, start=2, **options)
    np.testing.assert_allclose(state.loss(), loss, rtol=1e-15)
    got = state.gradient(X[:, :2], Y)
    assert np.array_equal(got.mask, grad.mask[:, :2])
    np.testing.assert_allclose(got.filled(0), grad[:, :2].filled(0), rtol=1e-14)


# --- labels ---------------------------------------------------------------------------------------

TABLE = pd.DataFrame(X, index=list("abcd"), columns=list("uvwxyz"))
GRID = xr.DataArray(X, {"row": list("abcd"), "class": range(6)}, ("row", "class"), attrs={"k": 1})


def test_labels_of_pandas():
    n = Normalizer.of(TABLE[["u", "v"]]) | Normalizer.of(X[:, 2:])
    pd.testing.assert_series_equal(n.logsumexp, onesum.logsumexp(TABLE))
    assert all(list(a.index) == list("abcd") for a in (n.m, n.r, n.pivot, n.count))
    pd.testing.assert_frame_equal(n.softmax(TABLE[["z"]]), onesum.softmax(TABLE)[["z"]])
    unlabelled = Normalizer.of(X[:, :2]) | Normalizer.of(TABLE[["w", "x", "y", "z"]])
    assert list(unlabelled.m.index) == list("abcd")
    state = State.of(TABLE, pd.Series(Y, index=list("abcd"))[::-1])
    pd.testing.assert_series_equal(
        state.loss("none"), onesum.cross_entropy(TABLE, Y, reduction="none")
    )
    assert isinstance(state.loss(), np.float64)
    assert len(pickle.dumps(Normalizer.of(pd.concat([TABLE] * 5000, axis=1)))) < 4000


def test_labels_of_xarray():
    n = Normalizer.of(GRID[:, :2], "class") | Normalizer.of(GRID[:, 2:], "class")
    xr.testing.assert_identical(n.logsumexp, onesum.logsumexp(GRID, "class"))
    p = n.softmax(GRID[:, 2:])
    xr.testing.assert_allclose(p, onesum.softmax(GRID, "class")[:, 2:], rtol=1e-15)
    assert p.attrs == {"k": 1}
    loss = State.of(GRID, Y, "class").loss("none")
    wanted = onesum.cross_entropy(GRID, Y, "class", reduction="none")
    xr.testing.assert_allclose(loss, wanted, rtol=1e-15)
    assert loss.attrs == wanted.attrs == {"k": 1}
    assert Normalizer.of(GRID, ("row", "class")).m.dims == ()


def test_rows_with_other_labels():
    def refused(message):
        return pytest.raises(ValueError, match=f"^{message}")

    n, other = Normalizer.of(TABLE), TABLE[::-1]
    order = r"expected rows with the labels \['a', .*\], in this order, got \['d', "
    with refused(f"x: {order}"):
        n.softmax(other)
    with refused(f"other: {order}"):
        n | Normalizer.of(other)
    with refused(f"x: {order}"):
        State.of(TABLE, Y).gradient(other, Y)
    square = GRID[:, :4]
    n = Normalizer.of(square, "class")
    with refused(r"x: expected rows along \('row',\), got \('class',\)"):
        n.softmax(square.T)
    with refused(r"x: expected the labels \['a', .*\] along 'row', in this order, got \['d', "):
        n.update(square[::-1])
    with refused("x: expected labels of xarray, got those of pandas"):
        n.softmax(TABLE)


# --- what is told apart ---------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [np.asarray, torch.asarray, array_api_strict.asarray])
def test_other_targets_and_classes_twice(convert):
    x, y = convert(X), convert(Y)
    left, right = State.of(x[:, :3], y), State.of(x[:, 3:], y, start=3)

    def refused(message):
        return pytest.raises(ValueError, match=f"^{message}")

    other = convert(np.array([0, 5, 1, 3]))
    expected = "expected the target of the chunks before, with class 2 at position 2"
    with refused(f"other: {expected}"):
        left | State.of(x[:, 3:], other, start=3)
    with refused(f"target: {expected}"):
        (left | right).gradient(x[:, :3], other)
    common = "other: expected chunks without common classes, got two with class"
    with refused(f"{common} 0 at position 0"):
        left | left
    with refused(f"{common} 2 at position 2"):
        left | State.of(x[:, 3:], y, start=2)
    with refused("target: expected class indices, as the chunks before, got probabilities"):
        left.gradient(x[:, :3], x[:, :3])
    soft = State.of(x, convert(np.full((4, 6), 1 / 6)))
    with refused("target: expected probabilities, as the chunks before, got class indices"):
        soft.gradient(x, y)


def test_other_rows():
    """What is wrong with a chunk is not blamed on an option of the state."""
    s = np.ones(4)
    state = State.of(X, Y, sample_weight=s, temperature=s)

    def refused(error, message):
        return pytest.raises(error, match=f"^{message}")

    with refused(ValueError, r"x: expected rows of shape \(4,\) beside"):
        state.gradient(X[:3], Y[:3])
    with refused(ValueError, r"other: expected rows of shape \(4,\), got \(3,\)"):
        state | State.of(X[:3], Y[:3], sample_weight=s[:3], temperature=s[:3])
    with refused(TypeError, "x: expected an array of numpy, got one of torch"):
        state.gradient(torch.tensor(X), torch.tensor(Y))
    with refused(TypeError, "x: expected an array of torch, got one of numpy"):
        State.of(torch.tensor(X), torch.tensor(Y)).gradient(X, Y)
    with refused(ValueError, "x: expected an array or evenly nested numbers"):
        state.gradient([[1.0], [1.0, 2.0]], Y)
    with refused(ValueError, "other: expected sample_weight="):
        state | State.of(X, Y, start=6, sample_weight=2 * s, temperature=s)
    for start in (2**63 - 6, 2**63, 2**70):
        with refused(
            ValueError, rf"start: expected an int with all indices below 2\*\*63, got {start}"
        ):
            State.of(X, Y, start=start)
    with refused(ValueError, r"start: expected an int with all indices below 2\*\*31"):
        State.of(jnp.asarray(X), jnp.asarray(Y), start=2**31)


def test_weights_of_rows_are_compared_by_value():
    options = {"sample_weight": pd.Series([1.0, 2.0, 3.0, 4.0])}
    left, right = (state_of(X, Y, c, **options) for c in (slice(0, 3), slice(3, 6)))
    for a, b in ((left, right), (pickle.loads(pickle.dumps(left)), right)):
        np.testing.assert_allclose((a | b).loss(), onesum.cross_entropy(X, Y, **options))


# --- memory ---------------------------------------------------------------------------------------


def test_states_hold_their_own_memory():
    y, s, t = Y.copy(), np.arange(4.0), np.full(4, 2.0)
    n, state = Normalizer.of(X, temperature=t), State.of(X, y, sample_weight=s, temperature=t)
    before = n.logsumexp.copy(), state.loss()
    for a in (y, s, t):
        a[:] = 1
    assert same_bits(n.logsumexp, before[0])
    assert same_bits(state.loss(), before[1])


def test_a_column_of_a_tensor_pickles_alone():
    wide = torch.zeros(1000, 1000, dtype=torch.int64)
    state = State.of(torch.ones(1000, 2), wide[:, 0], sample_weight=wide.double()[:, 0])
    assert len(pickle.dumps(state)) < 1000 * 200


@pytest.mark.parametrize("convert", [torch.asarray, jnp.asarray, array_api_strict.asarray])
def test_states_of_other_libraries_pickle(convert):
    x, y = convert(X), convert(Y)
    n, state = (pickle.loads(pickle.dumps(a)) for a in (Normalizer.of(x), State.of(x, y)))
    p = n.softmax(x)
    assert same_bits(p, Normalizer.of(x).softmax(x))
    np.testing.assert_array_max_ulp(np.asarray(p), onesum.softmax(X).astype(np.asarray(p).dtype), 4)
    assert same_bits(state.gradient(x, y), State.of(x, y).gradient(x, y))


# --- torch ----------------------------------------------------------------------------------------


def test_what_requires_a_gradient_is_refused():
    x, y = torch.tensor(X), torch.tensor(Y)
    n, state = Normalizer.of(x), State.of(x, y)

    def derived(*shape):
        return torch.ones(shape, dtype=torch.float64, requires_grad=True)

    calls = {
        "x": [
            lambda a: Normalizer.of(a),
            lambda a: n.softmax(a),
            lambda a: n.log_softmax(a),
            lambda a: n.update(a),
            lambda a: State.of(a, y),
            lambda a: state.gradient(a, y),
        ],
        "temperature": [
            lambda a: Normalizer.of(x, temperature=a[:, 0]),
            lambda a: State.of(x, y, temperature=a[:, 0]),
        ],
        "target": [lambda a: State.of(x, a), lambda a: State.of(x, x**2).gradient(x, a)],
        "weight": [
            lambda a: State.of(x, y, weight=a[0]),
            lambda a: state.gradient(x, y, weight=a[0]),
        ],
        "sample_weight": [lambda a: State.of(x, y, sample_weight=a[:, 0])],
        "g": [lambda a: state.gradient(x, y, g=a[0, 0]), lambda a: state.gradient(x, y, g=a[:, 0])],
    }
    for name, functions in calls.items():
        for function in functions:
            wanted = f"^{name}: expected a tensor that requires no gradient"
            with pytest.raises(ValueError, match=wanted):
                function(derived(4, 6))
            with torch.no_grad():  # as for torch's own functions
                function(derived(4, 6))


def test_mapped_by_torch():
    """Under torch.func.vmap, the state mapped as well or only the chunk."""
    x = torch.tensor(logits("spread 3", 4, 6, "float32"))
    of_all = Normalizer.of(x[0])

    def each(x):
        return Normalizer.of(x).softmax(x), Normalizer.of(x).logsumexp, of_all.log_softmax(x)

    p, total, logp = torch.func.vmap(each)(x)
    np.testing.assert_array_max_ulp(p.numpy(), onesum.softmax(x.numpy()), 2)
    np.testing.assert_array_max_ulp(total.numpy(), onesum.logsumexp(x.numpy()), 2)
    np.testing.assert_array_max_ulp(logp[0].numpy(), onesum.log_softmax(x[0].numpy()), 2)
