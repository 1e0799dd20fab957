"""The cross entropy of a linear layer's logits: as of logits that are all there, in less memory."""

from __future__ import annotations

from itertools import cycle, product
from typing import Any

import numpy as np
import pytest
import torch
from implementations import on_numpy, using
from measure import same_bits

import onesum

# Norm-wise, in units of the type's spacing at the largest term. A logit is a sum of d = 5 products,
# and T may be 1/2; its error is one of p and of the loss, and passes into sums over 6 rows or 7
# classes: 16 for each of these. Beside float64 all of it is float32's.
PRODUCTS = 16 * 16

K, D, N = 6, 5, 7
RNG = np.random.default_rng(0)
H = RNG.normal(0, 1, (2, 3, D))
W = RNG.normal(0, 1, (N, D))
B = RNG.normal(0, 1, N)
INDICES = np.array([[4, 0, -100], [6, 4, 2]])
PROBABILITIES = RNG.dirichlet(np.ones(N), (2, 3))
PER_ELEMENT = RNG.random((2, 3, N)) < 0.7
PER_ELEMENT[0, 0] = False  # nothing to choose from
PER_ELEMENT[1, 1, 4] = False  # not the row's own class
CHUNKS = [None, (1, N), (4, N), (4, 3), (1, 1), (100, 100), (K, 2)]
SOFTCAPS = [None, 2.0, 2.0, None]

OPTIONS: dict[str, list[Any]] = {
    "target": [INDICES, PROBABILITIES],
    "bias": [None, B],
    "weight": [None, RNG.uniform(0, 2, N)],
    "label_smoothing": [0.0, 0.25],
    "sample_weight": [None, np.array([[1.0, 0.5, 2.0], [0.0, 3.0, 1.0]])],
    "z_loss": [0.0, 0.125],
    "temperature": [0.5, np.linspace(0.5, 2, K).reshape(2, 3)],
    "where": [None, np.arange(N) != 6, PER_ELEMENT],
    "reduction": ["mean", "sum", "none"],
}


def composed(h, w, target, bias=None, **options) -> list[np.ndarray]:
    """The loss and its gradients from all logits, in float64."""
    h, w = np.asarray(h, np.float64), np.asarray(w, np.float64)
    x = h @ w.T + (0 if bias is None else np.asarray(bias, np.float64))
    loss, g = onesum.cross_entropy_value_and_grad(x, target, **options)
    g = g.reshape(-1, len(w))
    grads = [(g @ w).reshape(h.shape), g.T @ h.reshape(-1, h.shape[-1])]
    return [np.asarray(loss), *grads, *([] if bias is None else [g.sum(axis=0)])]


def flat(answer: tuple) -> list[np.ndarray]:
    """The loss and its gradients from one answer, without that of no bias."""
    loss, grads = answer
    return [np.asarray(a) for a in (loss, *grads) if a is not None]


def check(got: list, wanted: list, dtype: Any = np.float64, note: object = "") -> None:
    assert len(got) == len(wanted)
    for name, a, b in zip(("loss", "dh", "dw", "db"), got, wanted, strict=False):
        assert a.shape == b.shape, (name, note)
        assert a.dtype == dtype, (name, note)
        finite = np.isfinite(b)
        a = a.astype(np.float64)
        assert np.array_equal(a[~finite], b[~finite], equal_nan=True), (name, note, a, b)
        error = np.abs(a[finite] - b[finite]).max(initial=0.0)
        scale = np.abs(b[finite]).max(initial=1.0)
        allowed = PRODUCTS * float(np.finfo(dtype).eps) * scale
        assert error <= allowed, f"{name}: off by {error:.3g}, allowed {allowed:.3g}; {note}"


def combinations() -> list[tuple[dict, tuple[int, int] | None]]:
    """Every combination of options; chunks and softcaps in turn, so that each meets all of one."""
    chunks, softcaps = cycle(CHUNKS), cycle(SOFTCAPS)
    every = [dict(zip(OPTIONS, values, strict=True)) for values in product(*OPTIONS.values())]
    for options in every:
        options["ignore_index"] = -100 if options["target"] is INDICES else None
        options["softcap"] = next(softcaps)
    return [(options, next(chunks)) for options in every]


@pytest.mark.parametrize("name", sorted({on_numpy()[0], on_numpy()[-1]}))
def test_every_combination_of_options(name):
    """Every fifth, every eleventh over the reference: any two values of two options meet."""
    step = 5 if name == on_numpy()[-1] else 11
    with using(name) as api, np.errstate(all="ignore"):
        for options, chunk in combinations()[::step]:
            note = {k: v if np.ndim(v) == 0 else np.shape(v) for k, v in options.items()}
            got = api.linear_cross_entropy_value_and_grad(H, W, chunk=chunk, **options)
            check(flat(got), composed(H, W, **options), note=(chunk, note))
            loss = api.linear_cross_entropy(H, W, chunk=chunk, **options)
            assert same_bits(loss, got[0])
            assert (got[1][2] is None) == (options["bias"] is None)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_types(api, chunk, dtype):
    """16-bit types are computed in float32 and rounded once, however many parts add up."""
    h, w, b = (a.astype(dtype) for a in (H, W, B))
    options: dict[str, Any] = {"ignore_index": -100, "label_smoothing": 0.25, "reduction": "none"}
    got = flat(api.linear_cross_entropy_value_and_grad(h, w, INDICES, b, chunk=chunk, **options))
    wanted = composed(h, w, INDICES, b, **options)
    if dtype in ("float32", "float64"):
        check(got, wanted, np.dtype(dtype))
        return
    wide = api.linear_cross_entropy_value_and_grad(
        h, w, INDICES, b, chunk=chunk, dtype="float32", **options
    )
    check(flat(wide), wanted, np.dtype("float32"))
    for a, b in zip(got, flat(wide), strict=True):
        assert same_bits(a, b.astype(dtype))


@pytest.mark.parametrize("chunk", [None, (4, 3)])
@pytest.mark.parametrize("wide", ["h", "weight_matrix", "bias"])
def test_a_narrow_result_of_a_wide_array(api, wide, chunk):
    """Where one array is float64, all is computed in it, and rounded once."""
    arrays = {"h": H, "weight_matrix": W, "bias": B}
    arrays = {k: a if k == wide else a.astype("float32") for k, a in arrays.items()}
    options: dict[str, Any] = {"target": np.abs(INDICES) % N, "chunk": chunk, **arrays}
    for function in ("linear_cross_entropy", "linear_cross_entropy_value_and_grad"):
        call = getattr(api, function)
        got, exact = call(**options, dtype="float32"), call(**options)
        pairs = zip(flat(got), flat(exact), strict=True) if "grad" in function else [(got, exact)]
        assert all(same_bits(a, b.astype("float32")) for a, b in pairs)


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        (("float32", "float64", "float32"), "float64"),
        (("float32", "float32", "float64"), "float64"),
        (("float16", "float32", "float16"), "float32"),
        (("float16", "bfloat16", "float16"), "float32"),
        (("int8", "float32", "float32"), "float64"),
        (("float32", "int64", "float32"), "float64"),
        (("bool", "bool", "bool"), "float64"),
    ],
)
@pytest.mark.parametrize("chunk", [None, (4, 3)])
def test_mixed_types(api, types, wanted, chunk):
    h, w, b = (a.astype(dtype) for a, dtype in zip((H, W, B), types, strict=True))
    target = np.abs(INDICES) % N
    got = flat(api.linear_cross_entropy_value_and_grad(h, w, target, b, chunk=chunk))
    check(got, composed(h, w, target, b), np.dtype(wanted))
    half = api.linear_cross_entropy_value_and_grad(h, w, target, b, dtype="float16")
    assert {a.dtype.name for a in flat(half)} == {"float16"}


@pytest.mark.parametrize("chunk", [None, (1, N), (4, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_as_torch_has_it(chunk, smoothing, weighted, reduction):
    """torch.nn.functional.linear and cross_entropy, in float64, with the gradients of autograd."""
    weight = OPTIONS["weight"][1] if weighted else None
    h, w, b = (torch.tensor(a, requires_grad=True) for a in (H.reshape(K, D), W, B))
    target = INDICES.reshape(K)
    loss = torch.nn.functional.cross_entropy(
        torch.nn.functional.linear(h, w, b),
        torch.tensor(target),
        None if weight is None else torch.tensor(weight),
        ignore_index=-100,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    loss.backward()
    got = onesum.linear_cross_entropy_value_and_grad(
        H.reshape(K, D),
        W,
        target,
        B,
        weight=weight,
        ignore_index=-100,
        label_smoothing=smoothing,
        reduction=reduction,
        chunk=chunk,
    )
    check(flat(got), [a.detach().numpy() for a in (loss, h.grad, w.grad, b.grad)])


def test_the_chunk_changes_rounding_alone(api):
    """At a size where the products are cut: all shapes of chunks agree, and with the logits."""
    rng = np.random.default_rng(1)
    h, w = rng.normal(0, 1, (90, 16)), rng.normal(0, 1, (200, 16))
    target = rng.integers(0, 200, 90)
    wanted = composed(h, w, target)
    for chunk in [None, (1, 200), (70, 200), (90, 200), (64, 50), (90, 1), (7, 199)]:
        check(
            flat(api.linear_cross_entropy_value_and_grad(h, w, target, chunk=chunk)),
            wanted,
            note=chunk,
        )


@pytest.mark.parametrize("chunk", [None, (1, 3), (1, 1)])
def test_digits_of_classes_that_are_hardly_there(api, chunk):
    """Beside probabilities no class is taken out of the blocks and put back, which leaves none."""
    b, target = np.array([0.0, -50.0, -60.0, -70.0, 0.0]), np.array([[0.5, 0.0, 0.0, 0.0, 0.5]])
    _, (_, _, db) = api.linear_cross_entropy_value_and_grad(
        np.zeros((1, 2)), np.zeros((5, 2)), target, b, chunk=chunk
    )
    np.testing.assert_allclose(db[1:4], onesum.softmax(b)[1:4], rtol=1e-14)


@pytest.mark.parametrize("chunk", [None, (2, 3), (3, 1)])
def test_digits_next_to_certainty(api, chunk):
    """In blocks of classes too, the loss and gradient of a row that is all but sure are right."""
    h = np.array([[40.0, 0.0], [0.0, 36.0], [-30.0, 0.0]])
    w = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [-0.5, 0.0]])
    target, b = [0, 2, 3], np.zeros(4)
    loss, (_, _, db) = api.linear_cross_entropy_value_and_grad(
        h, w, target, b, reduction="none", chunk=chunk
    )
    x = h @ w.T
    wanted, g = onesum.cross_entropy_value_and_grad(x, target, reduction="none")
    assert 0 < wanted.min() < 1e-15
    np.testing.assert_allclose(loss, wanted, rtol=1e-14)
    np.testing.assert_allclose(db, g.sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_ignored_rows_may_hold_anything(api, chunk):
    """Their gradient is exactly 0, and neither W's nor that of another row knows of them."""
    h, target = H.reshape(K, D).copy(), np.array([3, -1, 0, -1, 6, -1])
    h[[1, 3, 5]] = [[np.nan], [np.inf], [-np.inf]]
    options: dict[str, Any] = {"chunk": chunk, "where": PER_ELEMENT[1, 0], "z_loss": 0.125}
    temperature, weight = np.linspace(0.5, 2, K), np.arange(1.0, K + 1)
    call = api.linear_cross_entropy_value_and_grad
    masked = np.ma.masked_less(target, 0)
    live = target >= 0
    wanted = composed(
        h[live],
        W,
        target[live],
        B,
        where=options["where"],
        z_loss=0.125,
        temperature=temperature[live],
        sample_weight=weight[live],
    )
    for indices, ignore in ((target, -1), (masked, None)):
        loss, (dh, dw, db) = call(
            h,
            W,
            indices,
            B,
            ignore_index=ignore,
            temperature=temperature,
            sample_weight=weight,
            **options,
        )
        assert np.all(dh[~live] == 0)
        check([np.asarray(loss), dh[live], dw, db], wanted)
    none = call(h, W, np.full(K, -1), B, ignore_index=-1, reduction="sum", **options)
    assert all(np.all(a == 0) for a in flat(none))
    mean, grads = call(h, W, np.full(K, -1), B, ignore_index=-1, **options)
    assert np.isnan(mean)
    assert all(np.all(g == 0) for g in grads)


@pytest.mark.parametrize("chunk", [None, (2, 3), (K, 1)])
def test_classes_that_a_bias_rules_out(api, chunk):
    """A bias of -inf, also for every class of a block: their gradients are exactly 0."""
    bias = np.where(np.arange(N) < 4, -np.inf, B)
    target = np.array([[4, 5, 6], [5, 5, 5]])
    with np.errstate(all="ignore"):
        for options in ({}, {"z_loss": 0.125, "reduction": "none"}, {"label_smoothing": 0.25}):
            got = api.linear_cross_entropy_value_and_grad(
                H, W, target, bias, chunk=chunk, **options
            )
            check(flat(got), composed(H, W, target, bias, **options))
            assert np.all(got[1][1][:4] == 0)
        certain = api.linear_cross_entropy(H, W, target * 0, bias, chunk=chunk)
        assert certain == np.inf
        nothing = api.linear_cross_entropy(H, W, target, bias - np.inf, chunk=chunk)
        assert np.isnan(nothing)


@pytest.mark.parametrize("chunk", [(4, N), (4, 3), (1, 1)])
def test_the_mean_of_no_weight(api, chunk):
    """NaN, but the gradient of a class that is no choice is 0, also in blocks that lie apart."""
    nothing = {"weight": np.zeros(N), "ignore_index": -100}
    bias, z_loss = np.where(np.arange(N) == 3, -np.inf, B), 0.125
    with np.errstate(all="ignore"):
        for options in ({}, {"label_smoothing": 0.25}, {"label_smoothing": 1, "z_loss": z_loss}):
            for where in (None, np.arange(N) != 6, PER_ELEMENT):
                options = {**options, **nothing, "where": where}
                got = api.linear_cross_entropy_value_and_grad(
                    H, W, INDICES, bias, chunk=chunk, **options
                )
                check(flat(got), composed(H, W, INDICES, bias, **options), note=options)
                assert np.isnan(got[0])
                assert np.all(got[1][1][3] == 0)
