"""The contract: table.py over every function and implementation, and the arguments beside it."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from implementations import arrays_of, dtypes
from measure import BFLOAT16, check, same_bits
from oracle import Reference
from rows import FUNCTIONS, MASKABLE, OPERATIONS
from table import (
    COTANGENT,
    EVERYWHERE,
    INF,
    LARGEST,
    LOG2,
    NAN,
    NUMBERS,
    PRESENTED,
    REFUSED,
    SPECIALS,
    Special,
)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("row", SPECIALS, ids=lambda row: row.name)
def test_special(numpy_api, row, function):
    row.check(numpy_api, function)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("row", PRESENTED, ids=lambda row: row.name)
def test_presented(api, row, function):
    row.check(api, function)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_refused(api, row, function):
    row.check(api, function)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("row", EVERYWHERE, ids=lambda row: row.name)
def test_table_elsewhere(library_api, row, function):
    row.check(library_api, function)


@pytest.mark.parametrize("row", [*SPECIALS, *PRESENTED], ids=lambda row: row.name)
def test_the_jvp_of_softmax_is_its_vjp(numpy_api, row):
    for dtype in getattr(row, "dtypes", dtypes(numpy_api.name)):
        p, g = row.arguments("softmax_vjp", dtype)
        options = {"temperature": row.temperature, "axis": getattr(row, "axis", -1)}
        there, back = numpy_api.softmax_jvp(p, g, **options), numpy_api.softmax_vjp(p, g, **options)
        assert same_bits(there, back)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("axis", [-1, 0])
def test_special_rows_touch_only_themselves(numpy_api, function, axis):
    """All special rows in one batch: each answers with the bits it answers with alone."""
    for masked in [True, False]:
        chosen = [row for row in SPECIALS if (row.where is not None) == masked]
        for dtype in dtypes(numpy_api.name):
            args = [row.arguments(function, dtype) for row in chosen]
            alone = [
                getattr(numpy_api, function)(*a, **row.options(function))
                for row, a in zip(chosen, args, strict=True)
            ]
            options = {"temperature": np.array([row.temperature for row in chosen])}
            if masked and function in MASKABLE:
                options["where"] = np.stack([row.where for row in chosen], axis=-1 - axis)
            batch = [
                np.stack(column, axis=-1 - axis if column[0].ndim else 0)
                for column in zip(*args, strict=True)
            ]
            got = getattr(numpy_api, function)(*batch, axis=axis, **options)
            if got.ndim == 2 and axis == 0:
                got = got.T
            for row, a, b in zip(chosen, got, alone, strict=True):
                assert np.array_equal(a, b, equal_nan=True), f"{row.name} {dtype}: {a}, alone {b}"


# Shapes without classes, without rows, without axes


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize(
    ("shape", "axis"), [((0,), 0), ((3, 0), 1), ((0, 3), 0), ((2, 0, 3), (1, 2)), ((0, 0), None)]
)
def test_no_classes(any_api, function, shape, axis):
    """An empty class axis: empty output, logsumexp -inf."""
    for dtype in dtypes(any_api.name):
        x = np.full(64, NAN, dtype)[:0].reshape(shape)  # what is beyond it must not be read
        lse = np.asarray(any_api.logsumexp(x, axis=axis))
        reduced = np.logaddexp.reduce(np.zeros(shape), axis=axis).shape if axis is not None else ()
        assert np.array_equal(lse, np.full(reduced, -INF))
        args = [x] if function in FUNCTIONS[:3] else [x, lse if function == "logsumexp_vjp" else x]
        got = np.asarray(getattr(any_api, function)(*args, axis=axis))
        assert got.dtype == np.dtype(dtype)
        if function == "logsumexp_jvp":
            assert np.array_equal(got, np.zeros(reduced))
        elif function != "logsumexp":
            assert got.shape == shape


@pytest.mark.parametrize("function", OPERATIONS)
def test_no_rows(any_api, function):
    for dtype in dtypes(any_api.name):
        x, row = np.zeros((0, 3), dtype), np.zeros((0,), dtype)
        args = [x] if function in FUNCTIONS[:3] else [x, row if function == "logsumexp_vjp" else x]
        got = np.asarray(getattr(any_api, function)(*args))
        assert got.dtype == np.dtype(dtype)
        assert got.shape == ((0,) if function in ("logsumexp", "logsumexp_jvp") else (0, 3))


@pytest.mark.parametrize("axis", [-1, 0, None, ()])
@pytest.mark.parametrize("x", [5.0, 5, np.float64(5), np.array(5.0)], ids=repr)
def test_one_class_without_an_axis(api, x, axis):
    """A 0-d array is one class: p = 1."""
    wanted = {
        "softmax": (1, [x]),
        "log_softmax": (0, [x]),
        "logsumexp": (5, [x]),
        "softmax_vjp": (0, [1.0, 3.0]),
        "softmax_jvp": (0, [1.0, 3.0]),
        "log_softmax_vjp": (0, [0.0, 3.0]),
        "log_softmax_jvp": (0, [0.0, 3.0]),
        "logsumexp_vjp": (3, [x, 3.0]),
        "logsumexp_jvp": (3, [x, 3.0]),
    }
    for function, (value, args) in wanted.items():
        got = np.asarray(getattr(api, function)(*args, axis=axis))
        assert got.shape == ()
        assert got.dtype == np.float64
        assert got == value


# dtype=, keepdims=, return_sign=


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("source", ["uint8", "float16", "bfloat16", "float32", "float64"])
def test_dtype(api, function, source):
    """Computed in the wider of the two types, and rounded once."""
    x = (NUMBERS * 8).astype(source)
    call = getattr(api, function)
    for target in ["float16", BFLOAT16, "float32", np.float64]:
        got = call(x, dtype=target)
        assert got.dtype == np.dtype(target)
        wide = x.astype(np.float64) if source == "uint8" else x
        if wide.dtype.itemsize < got.dtype.itemsize:
            assert same_bits(got, call(wide.astype(target)))
        check(got, getattr(oracle, function)(wide), function, f"{source} to {target}")
        if wide.dtype == np.float64:
            assert same_bits(got, call(wide).astype(target))
    assert call(x, dtype=float).dtype == np.float64


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
def test_options_leave_the_dtype(any_api, source):
    """Weights and temperatures of a wider type do not widen the result."""
    if source not in dtypes(any_api.name):
        return
    x, rows, y = NUMBERS[0].astype(source), np.linspace(0.5, 2, 5), np.arange(5)
    where = np.arange(6) != 3
    weights = {"weight": np.linspace(0, 2, 6), "sample_weight": rows, "z_loss": 0.5}
    t = {"temperature": rows, "where": where}
    results = [
        any_api.softmax(x, **t),
        any_api.log_softmax(x, **t),
        any_api.logsumexp(x, **t),
        any_api.logsumexp(x, b=x, **t),
        any_api.logsumexp(x[0], b=2.0),
        *any_api.logsumexp(x, b=x, return_sign=True, keepdims=True, **t),
        *any_api.logsumexp(x, return_sign=True, **t),
        any_api.softmax_vjp(x, x, temperature=rows),
        any_api.log_softmax_jvp(x, x, temperature=rows),
        any_api.logsumexp_jvp(x, x, **t),
        any_api.selective_log_softmax(x, y, **t),
        any_api.entropy(x, **t),
        any_api.kl_divergence(x, x, **t),
        any_api.cross_entropy_hvp(x, y, x, **weights, **t),
    ]
    for reduction in ("none", "sum", "mean"):
        options = {"reduction": reduction, **weights, **t}
        results += any_api.cross_entropy_value_and_grad(x, y, **options)
        results += any_api.cross_entropy_value_and_grad(x, np.full((5, 6), 0.25), **options)
    assert [np.asarray(a).dtype.name for a in results] == [source] * len(results)


PROMOTED = [
    ("float32", "float64", "float64"),
    ("float64", "float32", "float64"),
    ("float16", "float32", "float32"),
    ("bfloat16", "float32", "float32"),
    ("float32", "int8", "float64"),
    ("uint8", "float16", "float64"),
]


@pytest.mark.parametrize(("first", "second", "result"), PROMOTED)
def test_two_dtypes(api, first, second, result):
    """A pair is computed in the type both promote to, integers counting as float64."""
    p, g = np.array([[0, 1, 1], [1, 0, 0]], first), np.array([[3, 2, 1], [1, 5, 7]], second)
    for function in FUNCTIONS[3:]:
        b = g[:, 0] if function == "logsumexp_vjp" else g
        got = getattr(api, function)(p, b)
        assert got.dtype == np.dtype(result)
        assert same_bits(got, getattr(api, function)(p.astype(result), b.astype(result)))


@pytest.mark.parametrize(
    ("function", "count", "options"),
    [
        ("logsumexp", 2, {}),
        ("kl_divergence", 2, {"reduction": "none"}),
        ("kl_divergence_value_and_grad", 2, {}),
        ("cross_entropy", 2, {"reduction": "none"}),
        ("cross_entropy_value_and_grad", 2, {}),
        ("cross_entropy_hvp", 3, {}),
    ],
)
def test_a_narrow_result_of_a_wide_argument(api, function, count, options):
    """A type beyond that of the result, in any argument: computed in it, and rounded once."""
    rng = np.random.default_rng(5)
    first = rng.normal(0, 1, (200, 6)).astype("float32")
    for wide in range(count):
        args = [first] * count
        # So near to the others that float32 does not tell them apart.
        args[wide] = first + rng.normal(0, 1e-9, (200, 6))
        if function.startswith("cross_entropy"):
            args[1] = np.abs(args[1])
        given = {**options, "b": args.pop()} if function == "logsumexp" else options
        got, exact = (getattr(api, function)(*args, dtype=d, **given) for d in (np.float32, float))
        for a, b in zip(arrays_of(got), arrays_of(exact), strict=True):
            assert same_bits(a, b.astype("float32")), wide


@pytest.mark.parametrize("axis", [-1, 1, (0, 2), None, ()])
def test_keepdims(any_api, axis):
    x = NUMBERS
    kept = any_api.logsumexp(x, axis=axis, keepdims=True)
    lse = np.asarray(any_api.logsumexp(x, axis=axis))
    axes = tuple(range(3)) if axis is None else axis
    assert same_bits(kept, np.expand_dims(lse, axes))
    flat = any_api.logsumexp_vjp(x, lse, axis=axis)
    assert same_bits(any_api.logsumexp_vjp(x, kept, axis=axis, keepdims=True), flat)
    jvp = np.asarray(any_api.logsumexp_jvp(x, COTANGENT, axis=axis))
    assert same_bits(
        any_api.logsumexp_jvp(x, COTANGENT, axis=axis, keepdims=True), np.expand_dims(jvp, axes)
    )


SIGNED = [
    # x, b, log abs(sum b exp x), its sign
    ([0, 0], None, LOG2, 1),
    ([-INF, -INF], None, -INF, 0),
    ([0, NAN], None, NAN, NAN),
    ([INF, 0], None, INF, 1),
    ([0, 0], [1, 1], LOG2, 1),
    ([0, 0], [-1, -1], LOG2, -1),
    ([0, 0], [1, -1], -INF, 0),
    ([0, 0], [3, -1], LOG2, 1),
    ([0, 0], [1, -3], LOG2, -1),
    ([0, NAN], [2, 0], LOG2, 1),
    ([0, INF], [2, 0], LOG2, 1),
    ([0, -INF], [2, 5], LOG2, 1),
    ([1, 2], [0, 0], -INF, 0),
    ([0, 0], [True, True], LOG2, 1),
    ([LARGEST, LARGEST], [1, -1], -INF, 0),
    ([0, INF], [2, -3], INF, -1),
    ([INF, INF], [2, 1], INF, 1),
    ([INF, INF], [-2, -1], INF, -1),
    ([INF, INF], [1, -1], NAN, NAN),  # inf - inf has no value, and no sign
    ([INF, INF, 0], [2, -1, 1], NAN, NAN),
    ([0, NAN], [1, -1], NAN, NAN),
]


@pytest.mark.parametrize(("x", "b", "value", "sign"), SIGNED)
def test_weights_and_signs(any_api, x, b, value, sign):
    """A sum below zero has no logarithm, unless its sign is asked for."""
    for dtype in dtypes(any_api.name):
        row = Special.values(x, dtype)
        weights = None if b is None else np.array(b, dtype=None if b[0] is True else dtype)
        dtype = "float64" if b and b[0] is True else dtype
        size, sign_of = any_api.logsumexp(row, b=weights, return_sign=True)
        wanted = np.array(value, np.longdouble)
        name = "logsumexp" if b is None else "signed_logsumexp"
        check(size, Reference(wanted, np.abs(wanted)), name)
        assert np.array_equal(np.asarray(sign_of, float), sign, equal_nan=True)
        assert np.asarray(sign_of).dtype == np.asarray(size).dtype == np.dtype(dtype)
        plain = np.asarray(any_api.logsumexp(row, b=weights))
        assert plain.dtype == np.dtype(dtype)
        assert np.isnan(plain) if sign == -1 else np.array_equal(plain, size, equal_nan=True)


def test_weights_broadcast(api):
    b = np.linspace(0.5, 2, 6)
    full = api.logsumexp(NUMBERS, b=np.broadcast_to(b, NUMBERS.shape).copy())
    assert same_bits(api.logsumexp(NUMBERS, b=b), full)
    assert same_bits(api.logsumexp(NUMBERS, b=b.tolist()), full)
    kept = api.logsumexp(NUMBERS, b=b, keepdims=True, return_sign=True)
    assert [a.shape for a in kept] == [(4, 5, 1)] * 2
