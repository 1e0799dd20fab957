"""The losses: what they answer to values that are not plain, their options, their targets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import oracle
import oracle_losses
import pytest
from implementations import dtypes
from measure import check, same_bits
from oracle import Reference
from rows import logits
from table import (
    COTANGENT,
    INF,
    LARGEST,
    LOG2,
    LOG3,
    NAN,
    NUMBERS,
    Special,
    backwards,
    inside,
    read_only,
    swapped,
    unaligned,
)

ZEROS, NANS = [0.0] * 3, [NAN] * 3
FIRST, MIDDLE, SIDES = [True, False, False], [False, True, False], [True, False, True]
NONE = [False] * 3


class Case(NamedTuple):
    """A row of logits, its target (a class or probabilities), and the answers."""

    name: str
    x: list[Any]
    target: Any
    loss: Any
    grad: list[Any]
    options: dict[str, Any] = {}  # noqa: RUF012

    def arguments(self, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        y = np.array(self.target)
        return Special.values(self.x, dtype), y if y.ndim == 0 else y.astype(dtype)


CASES = [
    Case("a -inf entry", [0, -INF, 0], 0, LOG2, [-0.5, 0, 0.5]),
    Case("the class is -inf", [0, -INF, 0], 1, INF, [0.5, 0, 0.5]),
    Case("the class is -inf, of weight 0", [0, -INF, 0], 1, 0, ZEROS, {"weight": [1, 0, 1]}),
    Case("the class is -inf, row of weight 0", [0, -INF, 0], 1, 0, ZEROS, {"sample_weight": 0.0}),
    Case("-inf, smoothed", [0, -INF, 0], 0, INF, [0, 0, 0.25], {"label_smoothing": 0.75}),
    Case("-inf where y is 0", [0, -INF, 0], [1.0, 0, 0], LOG2, [-0.5, 0, 0.5]),
    Case("-inf where y is not 0", [0, -INF, 0], [0.5, 0.5, 0], INF, [0, 0, 0.5]),
    Case(
        "-inf where y is not 0, row of weight 0",
        [0, -INF, 0],
        [0.5, 0.5, 0],
        0,
        ZEROS,
        {"sample_weight": 0.0},
    ),
    Case("no mass at all", [0, -INF, 0], [0.0, 0, 0], 0, ZEROS),
    Case("all -inf", [-INF] * 3, 1, NAN, ZEROS),
    Case("all -inf, probabilities", [-INF] * 3, [0.5, 0.5, 0], NAN, ZEROS),
    Case("NaN", [NAN, 1, 2], 1, NAN, NANS),
    Case("NaN last, probabilities", [1, 2, NAN], [0.5, 0.5, 0], NAN, NANS),
    Case("NaN beside -inf", [-INF, NAN, 0], 2, NAN, [0, NAN, NAN]),
    Case("NaN in y", [1, 2, 2], [NAN, 0, 0], NAN, NANS),
    Case("+inf is the class", [1, INF, 2], 1, 0, ZEROS),
    Case("+inf is another class", [1, INF, 2], 0, INF, [-1, 1, 0]),
    Case("+inf and -inf", [-INF, INF, 2], 2, INF, [0, 1, -1]),
    Case("+inf, smoothed", [1, INF, 2], 1, INF, [-0.25, 0.5, -0.25], {"label_smoothing": 0.75}),
    Case("+inf, temperature", [1, INF, 2], 0, INF, [-0.5, 0.5, 0], {"temperature": 2.0}),
    Case(
        "+inf, y, temperature", [1, INF, 2], [1.0, 0, 0], INF, [-0.5, 0.5, 0], {"temperature": 2.0}
    ),
    Case("+inf, z_loss", [1, INF, 2], 1, INF, [0, INF, 0], {"z_loss": 0.5}),
    Case("+inf, z_loss, another class", [-INF, INF, 2], 2, INF, [0, INF, -1], {"z_loss": 0.5}),
    Case("+inf, z_loss, weight 0", [1, INF, 2], 0, 0, ZEROS, {"z_loss": 0.5, "sample_weight": 0.0}),
    Case("several +inf", [INF, 1, INF], 0, NAN, NANS),
    Case("several +inf and -inf", [INF, -INF, INF], [1.0, 0, 0], NAN, [NAN, 0, NAN]),
    Case("+inf and NaN", [INF, NAN, 0], 0, NAN, NANS),
    Case("signed zeros", [0.0, -0.0, 0.0], 1, LOG3, [1 / 3, -2 / 3, 1 / 3]),
    Case("the largest numbers", [LARGEST, f"-{LARGEST}", 0], 0, 0, ZEROS),
    Case("the largest numbers, the last", [LARGEST, f"-{LARGEST}", 0], 1, INF, [1, -1, 0]),
    Case("the largest number away", [LARGEST, f"-{LARGEST}", 0], 2, LARGEST, [1, 0, -1]),
    Case("the largest number twice", [LARGEST, -INF, LARGEST], 2, LOG2, [0.5, 0, -0.5]),
    Case("where, NaN behind it", [0, NAN, 0], 2, LOG2, [0.5, 0, -0.5], {"where": SIDES}),
    Case("where, +inf behind it", [INF, 3, INF], 1, 0, ZEROS, {"where": MIDDLE}),
    Case("where, y NaN behind it", [0, 5, 0], [0.5, NAN, 0.5], LOG2, ZEROS, {"where": SIDES}),
    Case("where, the class outside", [0, 5, 0], 1, INF, [0.5, 0, 0.5], {"where": SIDES}),
    Case("where, nothing left", [1, NAN, INF], 0, INF, ZEROS, {"where": NONE}),
    Case("where, nothing left of y", [1, NAN, INF], [1.0, 0, 0], 0, ZEROS, {"where": NONE}),
    Case("where, only -inf left", [-INF, 5, -INF], 0, NAN, ZEROS, {"where": SIDES}),
    Case("where, one left", [-2, NAN, NAN], 0, 0, ZEROS, {"where": FIRST}),
    Case(
        "where, nothing left of weight",
        [1, NAN, INF],
        0,
        0,
        ZEROS,
        {"where": NONE, "weight": [0, 1, 1]},
    ),
    Case(
        "where, nothing left, all smoothed",
        [1, NAN, INF],
        0,
        0,
        ZEROS,
        {"where": NONE, "label_smoothing": 1},
    ),
    Case(
        "where, smoothed over what is inside",
        [0, 5, 0],
        0,
        LOG2,
        [-0.25, 0, 0.25],
        {"where": SIDES, "label_smoothing": 0.5},
    ),
    Case("softcap, all -inf", [-INF] * 3, 1, LOG3, ZEROS, {"softcap": 5.0}),
    Case("softcap, several +inf", [INF] * 3, 1, LOG3, ZEROS, {"softcap": 5.0}),
    Case("softcap, +inf and NaN", [INF, NAN, -INF], 0, NAN, [0, NAN, 0], {"softcap": 5.0}),
    Case("softcap, zeros", [0, 0, 0], 1, LOG3, [1 / 3, -2 / 3, 1 / 3], {"softcap": 1e-300}),
    Case("softcap, where", [0, NAN, 0], 2, LOG2, [0.5, 0, -0.5], {"softcap": 5.0, "where": SIDES}),
    Case("softcap, nothing left", [1, NAN, INF], 0, INF, ZEROS, {"softcap": 5.0, "where": NONE}),
    Case("softcap, ignored", [NAN, INF, 0], -1, 0, ZEROS, {"softcap": 5.0, "ignore_index": -1}),
    Case("temperature +inf", [1, 2, 3], 1, LOG3, ZEROS, {"temperature": INF}),
    Case("temperature +inf, -inf", [1, -INF, 3], 0, LOG2, ZEROS, {"temperature": INF}),
    Case("temperature +inf, class -inf", [1, -INF, 3], 1, INF, ZEROS, {"temperature": INF}),
    Case("ignored", [NAN, INF, -INF], -1, 0, ZEROS, {"ignore_index": -1}),
    Case("ignored, a class", [INF, NAN, INF], 1, 0, ZEROS, {"ignore_index": 1}),
    Case(
        "ignored, all options",
        [NAN] * 3,
        -100,
        0,
        ZEROS,
        {"ignore_index": -100, "z_loss": 0.5, "label_smoothing": 0.1, "weight": [1, 2, 3]},
    ),
]


def sent(options: dict[str, Any]) -> dict[str, Any]:
    """Masks and weights as arrays, for any library."""
    return {k: np.array(v) if isinstance(v, list) else v for k, v in options.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_special_values(any_api, case):
    for dtype in dtypes(any_api.name):
        x, y = case.arguments(dtype)
        loss, grad = any_api.cross_entropy_value_and_grad(
            x, y, **sent(case.options), reduction="sum"
        )
        assert np.asarray(loss).dtype == np.asarray(grad).dtype == np.dtype(dtype)
        wanted = Special.values(case.loss, dtype, np.longdouble)
        check(loss, Reference(wanted, np.abs(wanted)), "cross_entropy", dtype)
        alone = any_api.cross_entropy(x, y, **sent(case.options), reduction="none")
        check(alone, Reference(wanted, np.abs(wanted)), "cross_entropy", dtype)
        wanted = np.array(case.grad, np.longdouble)
        check(grad, Reference(wanted, np.abs(wanted)), "cross_entropy_grad", dtype)


OF_A_ROW = ("where", "temperature", "sample_weight")


@pytest.mark.parametrize("axis", [-1, 0])
def test_special_rows_touch_only_themselves(numpy_api, axis):
    """All rows of one kind in one batch: each answers with the bits it answers with alone."""
    groups: dict[str, list[Case]] = {}
    for case in CASES:
        common = {k: v for k, v in case.options.items() if k not in OF_A_ROW}
        groups.setdefault(f"{np.ndim(case.target)} {common}", []).append(case)
    for dtype in dtypes(numpy_api.name):
        for cases in groups.values():
            args = [case.arguments(dtype) for case in cases]
            common = {k: v for k, v in cases[0].options.items() if k not in OF_A_ROW}
            call = numpy_api.cross_entropy_value_and_grad
            each = [
                call(*a, **sent(case.options), reduction="none")
                for case, a in zip(cases, args, strict=True)
            ]
            of = [case.options for case in cases]
            x, y = (
                np.stack(c, axis=-1 - axis if c[0].ndim else 0) for c in zip(*args, strict=True)
            )
            got = call(
                x,
                y,
                axis,
                where=np.stack([o.get("where", [True] * 3) for o in of], axis=-1 - axis),
                temperature=np.array([o.get("temperature", 1.0) for o in of]),
                sample_weight=np.array([o.get("sample_weight", 1.0) for o in of]),
                reduction="none",
                **sent(common),
            )
            for i, case in enumerate(cases):
                assert np.array_equal(got[0][i], each[i][0], equal_nan=True), case.name
                grad = np.moveaxis(got[1], axis, -1)[i]
                assert np.array_equal(grad, each[i][1], equal_nan=True), f"{case.name}: {grad}"


HESSIANS = [
    # x, z_loss, v, and H v for the class 0
    ([0, -INF, 0], 0.0, [1, NAN, 3], [-0.5, 0, 0.5]),
    ([0, -2000, 0], 0.0, [1, NAN, 3], [-0.5, 0, 0.5]),
    ([1, INF, 2], 0.0, [1, 2, 3], ZEROS),
    ([1, INF, 2], 0.5, [1, 2, 3], [0, 2, 0]),
    ([INF, 1, INF], 0.5, [1, 2, 3], NANS),
    ([-INF] * 3, 0.5, NANS, ZEROS),
    ([NAN, -INF, 0], 0.0, [1, 2, 3], [NAN, 0, NAN]),
]


@pytest.mark.parametrize(("x", "z_loss", "v", "wanted"), HESSIANS)
def test_special_values_of_the_hessian(any_api, x, z_loss, v, wanted):
    for dtype in dtypes(any_api.name):
        wanted = np.array(wanted, np.longdouble)
        args = np.array(x, dtype), np.array(0), np.array(v, dtype)
        got = any_api.cross_entropy_hvp(*args, z_loss=z_loss)
        check(got, Reference(wanted, np.abs(wanted)), "cross_entropy_hvp", dtype)


def test_special_values_of_entropy(any_api):
    for dtype in dtypes(any_api.name):
        for x, value in [
            ([0, -INF, 0], LOG2),
            ([1, INF, 0], 0),
            ([INF, 1, INF], NAN),
            ([-INF] * 3, NAN),
            ([NAN, 1, 2], NAN),
        ]:
            wanted = np.array(value, np.longdouble)
            got = any_api.entropy(np.array(x, dtype))
            check(got, Reference(wanted, np.abs(wanted)), "entropy", f"{x} {dtype}")
        behind = np.array([0, NAN, 0], dtype)
        assert any_api.entropy(behind, where=np.array(NONE)) == 0
        assert any_api.entropy(behind, where=np.array(SIDES)) == np.array(LOG2, dtype)


DIVERGENCES = [
    # x, y, KL, and the gradients by x and by y
    ([0, -INF, 0], [0, 0, 0], np.log(np.longdouble(1.5)), ZEROS, [-1 / 6, 1 / 3, -1 / 6]),
    ([0, 0, 0], [0, -INF, 0], INF, NANS, [1 / 6, 0, 1 / 6]),
    ([0, -INF, 0], [0, -INF, 0], 0, ZEROS, ZEROS),
    ([INF, 0, -INF], [0, 0, -INF], LOG2, ZEROS, [-0.5, 0.5, 0]),
    ([INF, -INF, -INF], [5, -INF, -INF], 0, ZEROS, ZEROS),
    ([INF, 0, 0], [0, 0, 0], LOG3, ZEROS, [-2 / 3, 1 / 3, 1 / 3]),
    ([0, 0, 0], [INF, 0, 0], INF, NANS, [2 / 3, -1 / 3, -1 / 3]),
    ([INF, 0, 0], [INF, 0, 0], 0, ZEROS, ZEROS),
    ([-INF] * 3, [0, 0, 0], NAN, ZEROS, NANS),
    ([0, 0, 0], [-INF] * 3, NAN, NANS, ZEROS),
    ([NAN, 0, -INF], [0, 0, 0], NAN, [NAN, NAN, 0], NANS),
    ([0, 0, -INF], [0, NAN, 0], NAN, [NAN, NAN, 0], NANS),
    ([INF, INF, 0], [0, 0, 0], NAN, NANS, NANS),
]


@pytest.mark.parametrize(("x", "y", "value", "by_x", "by_y"), DIVERGENCES)
def test_special_values_of_the_divergence(any_api, x, y, value, by_x, by_y):
    for dtype in dtypes(any_api.name):
        got, grads = any_api.kl_divergence_value_and_grad(np.array(x, dtype), np.array(y, dtype))
        wanted = np.array(value, np.longdouble)
        check(got, Reference(wanted, np.abs(wanted)), "kl_divergence", dtype)
        for grad, answer in zip(map(any_api.back, grads), (by_x, by_y), strict=True):
            wanted = np.array(answer, np.longdouble)
            check(grad, Reference(wanted, np.abs(wanted)), "kl_divergence_grad", dtype)


def test_divergence_from_a_certain_class(any_api):
    """Where p is all at one class, for its logit is +inf, KL is the cross entropy of that class."""
    for dtype in dtypes(any_api.name):
        x, y = np.array([[INF, 0, 1]], dtype), np.array([[5, 0, 2]], dtype)
        value, (_, by_y) = any_api.kl_divergence_value_and_grad(x, y)
        wanted = oracle_losses.cross_entropy(y, [0], reduction="mean")
        check(value, wanted.loss, "kl_divergence", dtype)
        check(any_api.back(by_y), wanted.grad, "kl_divergence_grad", dtype)


def test_divergence_under_a_mask(any_api):
    """What is outside is as if it were not there, on both sides."""
    x, y = np.array([[0, NAN, 1.0, 2]]), np.array([[0, 3.0, NAN, 5]])
    where = np.array([[True, False, False, True]])
    got, grads = any_api.kl_divergence_value_and_grad(x, y, where=where)
    wanted = oracle_losses.kl_divergence(x[where], y[where])
    check(got, wanted.value, "kl_divergence")
    for grad, by in zip(map(any_api.back, grads), wanted[1:], strict=True):
        check(grad[where], by, "kl_divergence_grad")
        assert not np.any(grad[~where])
    got, grads = any_api.kl_divergence_value_and_grad(x, y, where=np.array(False))
    assert got == 0
    assert not any(map(np.any, map(any_api.back, grads)))


# Reductions and weights


def test_reductions(any_api):
    """Sums of what "none" gives; the mean by count, or by the weights of the classes."""
    x, y = NUMBERS[0], np.array([0, 5, 2, 5, 1])
    w, s = np.array([1, 2, 3, 4, 5, 0.5]), np.array([1, 0, 2, 1, 3.0])
    call = any_api.cross_entropy
    for options, count in [
        ({}, 5.0),
        ({"sample_weight": s}, 5.0),
        ({"ignore_index": 5}, 3.0),
        ({"weight": w}, 7.0),
        ({"weight": w, "ignore_index": 5, "sample_weight": s, "label_smoothing": 0.1}, 6.0),
    ]:
        each = call(x, y, reduction="none", **options)
        assert each.shape == (5,)
        total = np.sum(each, dtype=np.longdouble)
        check(call(x, y, reduction="sum", **options), Reference(total, total), "cross_entropy")
        mean = call(x, y, **options)
        check(mean, Reference(total / count, total / count), "cross_entropy")
        assert same_bits(mean, call(x, y, reduction="mean", **options))
    y = np.full((5, 6), 0.1)
    mean = np.mean(call(x, y, weight=w, reduction="none"), dtype=np.longdouble)
    check(call(x, y, weight=w), Reference(mean, mean), "cross_entropy")


@pytest.mark.parametrize("large", [1, 8, 15])
def test_what_one_large_loss_leaves_of_the_others(any_api, large):
    """Each is less than an ulp of it; all together they are many."""
    x = np.zeros((500, 2))
    x[large, 1] = 2.0**53
    y = np.zeros(500, int)
    each = any_api.cross_entropy(x, y, reduction="none")
    total = np.sum(each, dtype=np.longdouble)
    check(any_api.cross_entropy(x, y, reduction="sum"), Reference(total, total), "cross_entropy")
    weight = np.array([1.0, 2.0**53])
    y[large] = 1
    counted = np.longdouble(weight[y].sum(dtype=np.longdouble))
    each = any_api.cross_entropy(np.ones((500, 2)), y, weight=weight, reduction="none")
    mean = np.sum(each, dtype=np.longdouble) / counted
    got = any_api.cross_entropy(np.ones((500, 2)), y, weight=weight)
    check(got, Reference(mean, mean), "cross_entropy")


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_no_rows(any_api, reduction):
    """The mean of no rows is NaN, as is that of rows of weight 0; their gradient has no place."""
    x, none = np.zeros((0, 3)), np.zeros(0, int)
    for y in [none, x]:
        loss, grad = any_api.cross_entropy_value_and_grad(x, y, reduction=reduction)
        assert grad.shape == (0, 3)
        assert np.shape(loss) == ((0,) if reduction == "none" else ())
        assert reduction == "none" or np.array_equal(
            loss, NAN if reduction == "mean" else 0.0, equal_nan=True
        )
    assert any_api.cross_entropy_hvp(x, none, x, reduction=reduction).shape == (0, 3)
    assert any_api.entropy(x).shape == (0,)
    assert any_api.selective_log_softmax(x, none).shape == (0,)
    value, grads = any_api.kl_divergence_value_and_grad(x, x, reduction=reduction)
    assert np.shape(value) == ((0,) if reduction == "none" else ())
    assert [any_api.back(g).shape for g in grads] == [(0, 3)] * 2


def test_all_rows_ignored(any_api):
    x, y = np.full((4, 3), NAN), np.full(4, -1)
    for reduction, value in [("mean", NAN), ("sum", 0.0), ("none", np.zeros(4))]:
        options = {"ignore_index": -1, "reduction": reduction}
        loss, grad = any_api.cross_entropy_value_and_grad(x, y, **options)
        assert np.array_equal(loss, value, equal_nan=True)
        assert np.array_equal(grad, np.zeros((4, 3)))
        assert np.array_equal(any_api.cross_entropy_hvp(x, y, x, **options), np.zeros((4, 3)))


def test_weights_as_anything(numpy_api):
    """Lists, integers, other dtypes and orders; they are float64 before they are used."""
    x, y = NUMBERS[0], [0, 5, 2, 5, 1]
    w, s = np.array([1.0, 2, 3, 4, 0, 1]), np.array([1.0, 0, 2, 1, 3])
    wanted = numpy_api.cross_entropy_value_and_grad(x, y, weight=w, sample_weight=s)
    for present in [
        lambda a: a.tolist(),
        lambda a: a.astype(int),
        lambda a: a.astype("float16"),
        lambda a: a.astype("bfloat16"),
        backwards,
        inside,
        unaligned,
        swapped,
        read_only,
    ]:
        got = numpy_api.cross_entropy_value_and_grad(
            x, y, weight=present(w), sample_weight=present(s)
        )
        assert all(map(same_bits, got, wanted))


# Targets


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_integers_of_every_kind(any_api, dtype):
    """The dtype of an index bounds the classes it can name, not the classes there are."""
    x = logits("spread 3", 5, 1000, np.float64)
    y = np.array([0, 127, 5, 3, 100])
    wanted = any_api.cross_entropy_value_and_grad(x, y, reduction="none")
    got = any_api.cross_entropy_value_and_grad(x, y.astype(dtype), reduction="none")
    assert all(map(same_bits, got, wanted))
    some = any_api.cross_entropy(x, y.astype(dtype), ignore_index=127, reduction="none")
    assert same_bits(some, np.where(y == 127, 0, wanted[0]))
    logp = any_api.selective_log_softmax(x, y.astype(dtype))
    assert same_bits(logp, any_api.selective_log_softmax(x, y))
    few = any_api.cross_entropy(x[:, :128], y, reduction="none")
    for nothing in [2**63, 2**64, -(2**63) - 1, -1, 2**63 - 1, -128]:
        options = {"ignore_index": nothing, "reduction": "none"}
        got = any_api.cross_entropy(x[:, :128], y.astype(dtype), **options)
        assert same_bits(got, few), nothing


@pytest.mark.parametrize(
    ("dtype", "index"), [("uint8", 255), ("int8", -128), ("int64", -(2**63)), ("uint64", 2**64 - 1)]
)
def test_ignore_index_at_the_end_of_a_dtype(numpy_api, dtype, index):
    y = np.array([1, index], dtype)
    got = numpy_api.cross_entropy(np.zeros((2, 3)), y, ignore_index=index, reduction="none")
    check(got, Reference(np.array([LOG3, 0]), np.array([LOG3, 0])), "cross_entropy")


@pytest.mark.parametrize("index", [np.int64(1), np.uint8(1), True])
def test_ignore_index_of_numpy(numpy_api, index):
    got = numpy_api.cross_entropy(np.zeros((2, 3)), [0, 1], ignore_index=index, reduction="none")
    assert got[1] == 0 < got[0]


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), (2, 1), None, ()])
def test_several_class_axes(any_api, axis):
    """Their classes, and the weights of these, are counted in C order."""
    layout = oracle.Layout(NUMBERS.shape, axis)
    rows = np.ascontiguousarray(layout.rows(NUMBERS))
    rng = np.random.default_rng(6)
    options = {"weight": rng.random(layout.n), "label_smoothing": 0.1, "reduction": "none"}
    y = rng.integers(0, layout.n, len(rows))
    wanted = any_api.cross_entropy_value_and_grad(rows, y, **options)
    got = any_api.cross_entropy_value_and_grad(
        NUMBERS, layout.reduce(y.reshape(-1, 1)), axis, **options
    )
    assert same_bits(got[0], layout.reduce(wanted[0].reshape(-1, 1)))
    assert same_bits(got[1], np.ascontiguousarray(layout.unrow(wanted[1])))
    probabilities = rng.random(rows.shape)
    wanted = any_api.cross_entropy_value_and_grad(rows, probabilities, **options)
    got = any_api.cross_entropy_value_and_grad(
        NUMBERS, np.ascontiguousarray(layout.unrow(probabilities)), axis, **options
    )
    assert same_bits(got[1], np.ascontiguousarray(layout.unrow(wanted[1])))
    entropy = any_api.entropy(NUMBERS, axis)
    assert same_bits(entropy, layout.reduce(any_api.entropy(rows).reshape(-1, 1)))
    logp = any_api.selective_log_softmax(NUMBERS, layout.reduce(y.reshape(-1, 1)), axis)
    wanted = any_api.selective_log_softmax(rows, y)
    assert same_bits(logp, layout.reduce(wanted.reshape(-1, 1)))


@pytest.mark.parametrize("axis", [-1, 0, None, ()])
def test_one_class_without_an_axis(numpy_api, axis):
    """A 0-d array is one class, and certain."""
    loss, grad = numpy_api.cross_entropy_value_and_grad(5.0, 0, axis)
    assert loss == grad == numpy_api.entropy(5.0, axis) == 0
    assert numpy_api.cross_entropy_hvp(5.0, 0, 3.0, axis, z_loss=0.5) == 3
    assert numpy_api.selective_log_softmax(5, 0, axis) == 0
    assert numpy_api.kl_divergence(5.0, 3.0, axis) == 0


def test_several_classes_of_a_row(any_api):
    """Any number of indices along the class axis; one outside `where` has log p = -inf."""
    x, t = NUMBERS, np.linspace(0.5, 2, 20).reshape(4, 5)
    rng = np.random.default_rng(7)
    where = rng.random(x.shape) < 0.8
    where[0], where[:, 0], where[..., 0] = True, True, True
    for axis, shape, temperature in [(-1, (4, 5, 9), t), (0, (3, 5, 6), 0.7), (1, (4, 0, 6), 1.0)]:
        index = rng.integers(0, x.shape[axis], shape)
        for mask in [None, where]:
            options = {"temperature": temperature, "where": mask}
            got = any_api.selective_log_softmax(x, index, axis, **options)
            wanted = oracle.log_softmax(x, axis, **options)
            wanted = Reference(*(np.take_along_axis(a, index, axis) for a in wanted))
            check(got, wanted, "selective_log_softmax")


# dtype=


def test_dtypes(any_api):
    """The result has the dtype of x; v takes part in it, a target does not."""
    y = np.zeros((5, 6))
    y[:, 2] = 1 / 3  # no float16 number
    for dtype in dtypes(any_api.name):
        x = NUMBERS[0].astype(dtype)
        loss, grad = any_api.cross_entropy_value_and_grad(x, y, reduction="none")
        assert loss.dtype == grad.dtype == np.dtype(dtype)
        wanted = oracle_losses.cross_entropy(x, y)
        check(loss, wanted.loss, "cross_entropy", dtype)
        check(grad, wanted.grad, "cross_entropy_grad", dtype)
        index = np.full(5, 2)
        hv = any_api.cross_entropy_hvp(x, index, COTANGENT[0])
        assert hv.dtype == np.float64
        value, grads = any_api.kl_divergence_value_and_grad(x, COTANGENT[0])
        assert np.asarray(value).dtype == np.float64
        assert {any_api.back(g).dtype for g in grads} == {np.dtype(np.float64)}
        for result in ["float32", np.float64]:
            options = {"dtype": result, "reduction": "none"}
            loss, grad = any_api.cross_entropy_value_and_grad(x, index, **options)
            got = [
                loss,
                grad,
                any_api.cross_entropy(x, index, **options),
                any_api.cross_entropy_hvp(x, index, x, **options),
                any_api.entropy(x, dtype=result),
                any_api.selective_log_softmax(x, index, dtype=result),
                any_api.kl_divergence(x, x, **options),
            ]
            assert {a.dtype for a in got} == {np.dtype(result)}
            if np.dtype(result).itemsize >= x.dtype.itemsize:
                wanted = oracle_losses.cross_entropy(x, index)
                check(loss, wanted.loss, "cross_entropy", f"{dtype} to {result}")
                check(grad, wanted.grad, "cross_entropy_grad", f"{dtype} to {result}")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64"])
def test_integer_logits(any_api, dtype):
    x = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    y = np.array([0, 0])
    wanted = any_api.cross_entropy_value_and_grad(x.astype(float), y)
    got = any_api.cross_entropy_value_and_grad(x, y)
    assert all(map(same_bits, got, wanted))
