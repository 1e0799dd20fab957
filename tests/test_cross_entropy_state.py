"""The cross entropy of classes in chunks: losses and gradients of all classes at once."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import oracle_losses
import pytest
import torch
from implementations import every
from measure import check, judge, same_bits
from oracle import WIDE, Reference
from oracle_losses import TARGETS, targets
from rows import logits
from test_normalizer import cut

import onesum

State = onesum.CrossEntropyState
INF = np.inf

# Values, and no warnings that they do not deserve.
pytestmark = pytest.mark.filterwarnings("error")


def arguments(x, target, cuts, options):
    """What `of` and `gradient` are given of each chunk, and the options of all."""
    chunks = []
    for part in cuts:
        own = {"start": part.start}
        for name in ("weight", "where"):
            if options.get(name) is not None:
                own[name] = options[name][..., part]
        soft = np.ndim(target) == x.ndim
        chunks.append((x[:, part], target[:, part] if soft else target, own))
    return chunks, {k: v for k, v in options.items() if k not in ("weight", "where", "reduction")}


def chunked(api, x, target, cuts, order, reduction="none", **options):
    """The loss, and the gradient by all chunks, side by side."""

    def given(a):
        return api.convert(a) if api.convert and isinstance(a, np.ndarray) else a

    chunks, common = arguments(x, target, cuts, options)
    chunks = [(given(c), given(y), {k: given(v) for k, v in o.items()}) for c, y, o in chunks]
    common = {k: given(v) for k, v in common.items()}
    parts = [State.of(c, y, **own, **common) for c, y, own in chunks]
    state, *others = (parts[i] for i in order)
    for other in others:
        state = state | other
    grads = [api.back(state.gradient(c, y, reduction=reduction, **own)) for c, y, own in chunks]
    return api.back(state.loss(reduction)), np.concatenate(grads, axis=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", TARGETS)
def test_every_kind_of_target(kind, dtype):
    for rows in ("spread 20", "gaps", "offset"):
        x = logits(rows, 6, 30, dtype)
        target, options = targets(kind, x)
        wanted = oracle_losses.cross_entropy(x, target, **options, arithmetic=WIDE)
        right_loss = judge(wanted.loss, "cross_entropy")
        right_grad = judge(wanted.grad, "cross_entropy_grad")
        for seed, api in enumerate(every(dtype, libraries=rows == "gaps")):
            order = np.random.default_rng(seed).permutation(3)
            loss, grad = chunked(api, x, target, cut(30, 3, seed), order, **options)
            note = f"{rows}, {kind}, {api.name}"
            right_loss(loss, note)
            right_grad(grad, note)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_as_all_at_once(reduction, soft):
    """Every option together, with ignored rows and what no class is left of."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 5, (8, 24)).astype("float32")
    x[1, 3], x[2, 5], x[3] = -INF, INF, -INF
    where = rng.random(x.shape) < 0.8
    where[4], where[np.arange(8), 7] = False, True
    where[4, 7] = False
    target = rng.dirichlet(np.ones(24), 8) * where if soft else np.full(8, 7)
    options = {
        "weight": rng.random(24),
        "sample_weight": rng.random(8),
        "label_smoothing": 0.0 if soft else 0.1,
        "z_loss": 0.01,
        "where": where,
        "temperature": rng.random(8) + 0.5,
    }
    if not soft:
        target[6:] = -1
        options["ignore_index"] = -1
    with np.errstate(all="ignore"):
        loss, grad = onesum.cross_entropy_value_and_grad(x, target, reduction=reduction, **options)
    for api in every("float32"):
        got, got_grad = chunked(
            api, x, target, cut(24, 3), [1, 2, 0], reduction=reduction, **options
        )
        np.testing.assert_allclose(got, loss, rtol=3e-7, err_msg=api.name)
        np.testing.assert_allclose(got_grad, grad, rtol=3e-6, atol=3e-9, err_msg=api.name)


def test_a_certain_row_keeps_its_digits():
    """p is 1 - 2e-9: the loss and the gradient that a plain p - 1 loses."""
    x = np.array([[20, 0]], np.float32)
    state = State.of(x[:, 1:], [0], start=1) | State.of(x[:, :1], [0])
    assert state.loss() == onesum.cross_entropy(x, [0])
    loss, grad = onesum.cross_entropy_value_and_grad(x, [0])
    assert same_bits(state.gradient(x[:, :1], [0]), grad[:, :1])
    assert same_bits(state.gradient(x[:, 1:], [0], start=1), grad[:, 1:])
    assert grad[0, 0] == -grad[0, 1]
    assert loss > 0


def test_smoothing_is_over_all_classes():
    """Not over those of a chunk (Megatron-LM's issues 737 and 7464)."""
    x = logits("spread 3", 5, 12, "float64")
    y = np.array([0, 5, 11, 3, 8])
    for cuts in ([slice(0, 12)], [slice(0, 1), slice(1, 12)], [slice(i, i + 1) for i in range(12)]):
        parts = [State.of(x[:, c], y, start=c.start, label_smoothing=0.3) for c in cuts]
        state = parts[0]
        for part in parts[1:]:
            state |= part
        np.testing.assert_array_max_ulp(
            state.loss(), onesum.cross_entropy(x, y, label_smoothing=0.3), 2
        )


def test_of_other_libraries():
    x, y = logits("spread 3", 5, 12, "float32"), np.array([0, 5, 11, 3, 8])
    wanted, grad = onesum.cross_entropy_value_and_grad(x, y, label_smoothing=0.1)

    def computed(x, y):
        state = State.of(x[:, :5], y, label_smoothing=0.1)
        state |= State.of(x[:, 5:], y, start=5, label_smoothing=0.1)
        return state.loss(), state.gradient(x[:, 5:], y, start=5)

    for function, convert in ((computed, torch.tensor), (jax.jit(computed), jnp.asarray)):
        loss, got = function(convert(x), convert(y))
        np.testing.assert_allclose(loss, wanted, rtol=5e-7)
        np.testing.assert_allclose(got, grad[:, 5:], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "types",
    [
        ("float32", "float16"),
        ("float64", "float32"),
        ("float16", "bfloat16"),
        ("int32", "float32"),
    ],
)
def test_chunks_of_several_types(types):
    """A chunk narrower than the others has its gradient under their m, not under a rounded one."""
    a, b = (logits("spread 3", 4, 5, t) for t in (types[0].replace("int", "float"), types[1]))
    high = {"int32": 30_000_001, "float64": 20.3, "float32": 50.015}.get(types[0], 17.0)
    a[:, 0], b[:, 0] = high, high - 1
    a = a.astype(types[0])
    x, y = np.concatenate([a.astype("f8"), b.astype("f8")], axis=1), np.array([0, 5, 6, 1])
    for options in ({}, {"label_smoothing": 0.1}, {"temperature": 0.5}, {"softcap": 60.0}):
        wanted = oracle_losses.cross_entropy(x, y, **options, arithmetic=WIDE).grad
        for api in every(types[1]):
            state = State.of(a, y, **options) | State.of(b, y, start=5, **options)
            grad = state.gradient(b, y, start=5, reduction="none")
            assert grad.dtype == b.dtype
            part = Reference(wanted.value[:, 5:], wanted.scale[:, 5:])
            check(grad, part, "cross_entropy_grad", f"{api.name}, {options}")


@pytest.mark.parametrize("target", [[0], [[0.5, 0.0, 0.5]]])
def test_what_is_outside_where_has_no_slope(target):
    """The softcap's, where x is NaN."""
    x, where = np.array([[1.0, np.nan, 2.0]]), np.array([[True, False, True]])
    options = {"where": where, "softcap": 10.0}
    _, wanted = onesum.cross_entropy_value_and_grad(x, target, **options)
    for _ in every("float64"):
        grad = State.of(x, target, **options).gradient(x, target, where=where)
        np.testing.assert_allclose(grad, wanted, rtol=1e-14, atol=0)


def test_the_mean_of_nothing():
    """NaN, but for 0 where a logit is -inf."""
    x = np.array([[0.0, -INF, 1.0]], np.float32)
    for api in every("float32", libraries=True):
        y, weight = np.array([0]), np.zeros(3)
        _, wanted = onesum.cross_entropy_value_and_grad(x, y, weight=weight)
        _, grad = chunked(api, x, y, [slice(0, 3)], [0], reduction="mean", weight=weight)
        assert np.array_equal(np.isnan(grad), np.isnan(wanted)), api.name
        assert grad[0, 1] == 0


def test_no_class_at_all():
    nothing = State.of(np.empty((2, 0)), [0, 1]) | State.of(np.empty((2, 0)), [0, 1])
    for call in (nothing.loss, lambda: nothing.gradient(np.empty((2, 0)), [0, 1])):
        with pytest.raises(ValueError, match=r"^x: expected at least one class"):
            call()


def test_it_pickles_small():
    x, y = logits("spread 3", 50, 20_000, "float32"), np.arange(50)
    state = State.of(x, y, label_smoothing=0.1)
    data = pickle.dumps(state)
    assert len(data) < 50 * 200
    assert pickle.loads(data).loss() == state.loss()
    assert repr(state) == "CrossEntropyState(shape=(50,), classes=20000, numpy, float32)"


def test_gradients_go_to_out():
    x, y = logits("spread 3", 4, 10, "float32"), np.array([1, 9, 4, 0])
    state = State.of(x, y)
    wanted, room = state.gradient(x, y), x.copy()
    assert state.gradient(room, y, out=room) is room
    assert same_bits(room, wanted)
    smooth = State.of(x, y, label_smoothing=0.5)
    wanted, room = smooth.gradient(x, y), x.copy()
    assert smooth.gradient(room, y, out=room) is room
    assert same_bits(room, wanted)


def test_every_axis():
    x, y = np.random.default_rng(0).normal(size=(4, 5, 6)), np.zeros((4, 6), int)
    wanted = onesum.cross_entropy(x, y, axis=1, reduction="none")
    state = State.of(x[:, :2], y, axis=1) | State.of(x[:, 2:], y, axis=1, start=2)
    np.testing.assert_array_max_ulp(state.loss("none"), wanted, 2)
    assert state.gradient(x[:, 2:], y, start=2).shape == (4, 3, 6)


def test_refusals():
    x, y = np.ones((2, 3)), np.array([0, 4])
    state = State.of(x, y)

    def raises(error, message):
        return pytest.raises(error, match=f"^{message}")

    with raises(TypeError, "CrossEntropyState: make one by CrossEntropyState.of"):
        State()
    missing = "target: expected class indices of the classes of all chunks, got 4 at position 1"
    with raises(IndexError, missing):
        state.loss()
    with raises(IndexError, missing):
        state.gradient(x, y)
    assert (state | State.of(x, y, start=3)).loss() > 0
    with raises(IndexError, "target: expected class indices from 0 on, got -1 at position 0"):
        State.of(x, [-1, 0])
    with raises(TypeError, "start: expected an int, got 'a'"):
        State.of(x, y, start="a")
    with raises(ValueError, "start: expected an int >= 0, got -1"):
        State.of(x, y, start=-1)
    for name, value in (
        ("label_smoothing", 0.5),
        ("ignore_index", 7),
        ("z_loss", 0.5),
        ("softcap", 2.0),
        ("sample_weight", np.ones(2)),
    ):
        with raises(ValueError, f"other: expected {name}="):
            state | State.of(x, y, start=3, **{name: value})
    with raises(ValueError, "other: expected the temperature 1.0, got 2.0"):
        state | State.of(x, y, start=3, temperature=2)
    with raises(
        ValueError, "other: expected class indices, as the chunks before, got probabilities"
    ):
        state | State.of(x, x)
    with raises(TypeError, "unsupported operand"):
        state | state.normalizer
    with raises(ValueError, "reduction: expected one of mean, sum, none, got 'max'"):
        State.of(x, [0, 1]).loss("max")
    with raises(ValueError, "x: expected rows of shape"):
        state.gradient(np.ones((3, 3)), [0, 1, 2])
    with raises(ValueError, "x: expected 2 dimensions, as the chunks before, got 3"):
        state.gradient(np.ones((2, 3, 1)), y)
    with raises(ValueError, "x: expected a tensor that requires no gradient"):
        State.of(torch.ones(2, 3, requires_grad=True), torch.tensor(y))
    with raises(ValueError, "weight: expected shape"):
        State.of(x, y, weight=np.ones(5))
