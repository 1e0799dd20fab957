"""numpy.ma: what is masked takes no part, in whatever argument of whatever function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from measure import same_bits
from rows import FUNCTIONS, MASKABLE, OPERATIONS
from table import NUMBERS, Presented
from test_linear import check as check_products
from test_linear import composed

import onesum

DRAWS = 30  # for each function and implementation
LOSSES = ("cross_entropy", "cross_entropy_value_and_grad", "cross_entropy_hvp")
DIVERGENCES = ("kl_divergence", "kl_divergence_value_and_grad")
OTHERS = (*OPERATIONS, "selective_log_softmax", "entropy")
LINEAR = ("linear_cross_entropy", "linear_cross_entropy_value_and_grad")
TAKES_WHERE = (*MASKABLE, "selective_log_softmax", "entropy", *LOSSES, *DIVERGENCES)
POSITIONAL = ("x", "p", "logp", "h", "weight_matrix", "target", "index", "y", "g", "v")

# What lies under a mask: no check and no sum may meet it.
GARBAGE = {"f": [np.nan, -np.inf, 1e30, -7.0], "i": [-100, 2**40, -1, 99], "b": [False, True]}


class Draw:
    """A call on arrays of shape (2, 3, 4), some of them masked in places.

    `mask` says which elements of x take no part, by the rule that the guide gives.
    """

    shape = (2, 3, 4)

    def __init__(self, seed: int, function: str):
        self.rng, self.function = np.random.default_rng([seed, len(function)]), function
        self.linear = function in LINEAR
        self.axis = -1 if self.linear else [-1, 0, 1, (0, 2), None][seed % 5]
        axes = {None: (0, 1, 2), -1: (2,), (0, 2): (0, 2)}.get(self.axis, (self.axis,))
        self.axes = axes
        self.order = [i for i in range(3) if i not in axes] + list(axes)
        self.kept = tuple(1 if i in axes else n for i, n in enumerate(self.shape))
        self.batch = tuple(n for i, n in enumerate(self.shape) if i not in axes)
        self.n = int(np.prod([self.shape[i] for i in axes]))
        self.mask, self.chosen = np.zeros(self.shape, bool), np.zeros(self.batch, bool)
        self.plain: dict[str, Any] = {}  # without masks: something that is allowed in their place
        self.given: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self._draw()

    def _draw(self) -> None:
        rng, function, shape = self.rng, self.function, self.shape
        dtype = "float64" if self.linear else rng.choice(["float32", "float64"])
        x = rng.normal(0, 3, shape).astype(dtype)
        if self.linear:
            self.plain |= {"h": x, "weight_matrix": rng.normal(0, 1, (4, 4)).astype(x.dtype)}
        elif function.startswith(("softmax_", "log_softmax_")):
            name = "p" if function.startswith("softmax_") else "logp"
            self._add(name, getattr(onesum, function[:-4])(x, self.axis), "elements")
        else:
            self._add("x", x, "elements")
        if function == "logsumexp_vjp":
            self._add("g", rng.uniform(0.5, 2, self.batch), "rows")
        elif function.endswith(("vjp", "jvp", "hvp")):
            self._add("v", rng.normal(0, 1, shape), "elements")
        elif function == "selective_log_softmax":
            self.plain["index"] = index = rng.integers(0, self.n, self.batch)
            self.chosen = rng.random(self.batch) < 0.3
            self.given["index"] = self._garbage(index, self.chosen)
        elif function == "logsumexp" and rng.random() < 0.5:
            self._add("b", rng.uniform(0.5, 2, shape), "elements")
        elif function in DIVERGENCES:
            self._add("y", rng.normal(0, 3, shape), "elements")
        if function in LOSSES + LINEAR:
            if rng.random() < 0.5:
                self._add("target", rng.integers(0, self.n, self.batch), "rows")
            else:
                self._add("target", rng.uniform(0, 1, shape), "elements")
            if rng.random() < 0.5:
                self._add("weight", rng.uniform(0.5, 2, self.n), "classes")
            if rng.random() < 0.5:
                self._add("sample_weight", rng.uniform(0.5, 2, self.batch), "rows")
            self.plain["z_loss"] = float(rng.choice([0.0, 0.5]))
            self.plain["softcap"] = None if rng.random() < 0.5 else 2.0
            self.plain["label_smoothing"] = float(rng.choice([0.0, 0.25]))
        if rng.random() < 0.4:
            self._add("temperature", rng.uniform(0.5, 2, self.kept), "rows")
        if function in TAKES_WHERE + LINEAR and rng.random() < 0.4:
            self._add("where", rng.random(shape) < 0.7, "elements")
        self.given = self.plain | self.given

    def _add(self, name: str, values: Any, kind: str) -> None:
        self.kinds[name] = kind
        if self.rng.random() < 0.5:
            self.plain[name] = values
            return
        values = np.asarray(values)
        mask = self.rng.random(values.shape) < self.rng.choice([0.0, 0.3, 0.6])
        if kind == "elements" and self.rng.random() < 0.5:  # a whole row of it
            rows = self.rng.random(self.kept) < 0.3
            mask = mask | rows
        self.given[name] = self._garbage(values, mask)
        allowed = np.zeros if values.dtype.kind == "i" else np.ones
        self.plain[name] = np.where(mask, allowed((), values.dtype), values)
        sizes = tuple(n if i in self.axes else 1 for i, n in enumerate(self.shape))
        self.mask |= mask.reshape({"elements": self.shape, "rows": self.kept}.get(kind, sizes))

    def _garbage(self, values: np.ndarray, mask: np.ndarray) -> np.ma.MaskedArray:
        hidden = self.rng.choice(GARBAGE[values.dtype.kind], values.shape)
        return np.ma.array(np.where(mask, hidden.astype(values.dtype), values), mask=mask)

    @property
    def is_masked(self) -> bool:
        return any(isinstance(a, np.ma.MaskedArray) for a in self.given.values())

    @property
    def ignored(self) -> np.ndarray:
        return self.mask.all(axis=self.axes)

    def again(self) -> dict[str, Any]:
        """The same call with other garbage."""
        return {
            name: self._garbage(a.data, a.mask) if isinstance(a, np.ma.MaskedArray) else a
            for name, a in self.given.items()
        }

    def explicit(self) -> dict[str, Any]:
        """The same call without masks, by `where`; or, as there is none, with p = 0."""
        options = dict(self.plain)
        for name, nothing in (("p", 0), ("logp", -np.inf)):
            if name in options:
                options[name] = options[name].copy()
                options[name][self.mask] = nothing
                return options
        return options | {"where": options.get("where", True) & ~self.mask}

    def rows(self, a: Any, kind: str) -> np.ndarray:
        """Of an array the rows that are not ignored, one after the other."""
        keep = ~self.ignored.ravel()
        if kind == "rows":
            return np.reshape(a, -1)[keep]
        return np.transpose(a, self.order).reshape(len(keep), self.n)[keep]

    def explicit_rows(self) -> dict[str, Any]:
        """The explicit call of the rows that are not ignored."""
        kinds = self.kinds | {"where": "elements"}
        return {
            name: self.rows(a, kinds[name]) if kinds.get(name) in ("elements", "rows") else a
            for name, a in self.explicit().items()
        }

    def check(self, result: Any, note: Any) -> None:
        """Its mask."""
        if np.ndim(result) == 0 and not isinstance(result, np.ma.MaskedArray):
            assert note[2] in ("mean", "sum"), note
            return
        mask = self.mask if result.shape == self.shape else self.ignored
        assert isinstance(result, np.ma.MaskedArray), note
        assert np.array_equal(np.ma.getmaskarray(result), mask), note


def call(api: Any, function: str, arguments: dict[str, Any], **options: Any) -> list[Any]:
    """All results in line."""
    first = [arguments[name] for name in POSITIONAL if name in arguments]
    rest = {name: a for name, a in arguments.items() if name not in POSITIONAL}
    answer = getattr(api, function)(*first, **rest, **options)
    answer = answer if isinstance(answer, tuple) else (answer,)
    return [b for a in answer for b in (a if isinstance(a, tuple) else (a,)) if b is not None]


def draws(function: str) -> Iterator[tuple[Draw, dict[str, Any], tuple[Any, ...]]]:
    for seed in range(DRAWS):
        draw = Draw(seed, function)
        options = {} if draw.linear else {"axis": draw.axis}
        if function in LOSSES + DIVERGENCES + LINEAR:
            options["reduction"] = ("none", "sum", "mean")[seed % 3]
        yield draw, options, (function, seed, options.get("reduction"), draw.given)


@pytest.mark.parametrize("function", [*OTHERS, *LOSSES, *DIVERGENCES, *LINEAR])
def test_what_is_hidden_is_not_read(api, function):
    for draw, options, note in draws(function):
        first = call(api, function, draw.given, **options)
        second = call(api, function, draw.again(), **options)
        for a, b in zip(first, second, strict=True):
            assert same_bits(np.ma.getdata(a), np.ma.getdata(b)), note


@pytest.mark.parametrize("function", OTHERS)
def test_as_without_it(api, function):
    for draw, options, note in draws(function):
        if not draw.is_masked:
            continue
        (got,) = call(api, function, draw.given, **options)
        (wanted,) = call(api, function, draw.explicit(), **options)
        if function == "selective_log_softmax":
            classes = np.transpose(draw.mask, draw.order).reshape(*draw.batch, draw.n)
            mask = np.take_along_axis(classes, draw.plain["index"][..., None], -1)[..., 0]
            seen = ~(draw.chosen | mask)
            assert np.array_equal(np.ma.getmaskarray(got), ~seen), note
            assert same_bits(got.data[seen], np.asarray(wanted)[seen]), note
        else:
            assert same_bits(got.data, wanted), note
            draw.check(got, note)


@pytest.mark.parametrize("function", [*LOSSES, *DIVERGENCES])
def test_as_without_the_rows(api, function):
    """A row with nothing left gives 0 and is not counted."""
    for draw, options, note in draws(function):
        if not draw.is_masked:
            continue
        got = call(api, function, draw.given, **options)
        wanted = call(api, function, draw.explicit_rows(), **options | {"axis": -1})
        if function != "cross_entropy_hvp" and options["reduction"] != "none":
            loss, wanted_loss = got.pop(0), wanted.pop(0)
            assert type(loss) is type(wanted_loss), note
            assert same_bits(loss, wanted_loss) or np.isnan([loss, wanted_loss]).all(), note
        for a, b in zip(got, wanted, strict=True):
            draw.check(a, note)
            per_row = a.shape == draw.batch
            assert same_bits(draw.rows(a.data, "rows" if per_row else "elements"), b), note
            ignored = draw.ignored if per_row else draw.ignored.reshape(draw.kept)
            assert not np.any(a.data, where=ignored), note


@pytest.mark.parametrize("function", LINEAR)
def test_linear(api, function):
    """The gradients are no masked arrays: none of them has the shape of the logits."""
    for draw, options, note in draws(function):
        if not draw.is_masked:
            continue
        loss, *grads = call(api, function, draw.given, **options)
        draw.check(loss, note)
        rows = draw.explicit_rows()
        h = draw.rows(rows.pop("h"), "elements")
        wanted = composed(h, rows.pop("weight_matrix"), rows.pop("target"), **rows, **options)
        if np.ndim(loss):
            loss = draw.rows(loss.data, "rows")
        got = [np.asarray(loss), *grads]
        if grads:
            assert not np.any(got[1][draw.ignored]), note
            got[1] = draw.rows(got[1], "elements")
        check_products(got, wanted[: len(got)], note=note)


# What masks mean beside what they leave out.


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_a_mask(api, function):
    """A masked array of which nothing is masked is still one, and so is the result."""
    args = Presented("").arguments(function, "float64")
    wanted = getattr(api, function)(*args)
    for at in range(len(args)):
        masked = [np.ma.array(a) if i == at else a for i, a in enumerate(args)]
        got = getattr(api, function)(*masked)
        assert isinstance(got, np.ma.MaskedArray)
        assert not np.ma.getmaskarray(got).any()
        assert same_bits(got.data, wanted)


def test_masks_that_broadcast(api):
    """Of where, b and a temperature for some of the batch axes."""
    x = NUMBERS  # (4, 5, 6)
    columns = np.array([0, 1, 0, 0, 1, 0], bool)
    rows = np.array([0, 1, 0, 0, 1], bool)
    for b in (None, np.ones(6)):
        where = np.ma.array(np.ones((5, 1), bool), mask=rows[:, None])
        got = api.logsumexp(x, where=where, b=None if b is None else np.ma.array(b, mask=columns))
        left = ~rows[:, None] & (True if b is None else ~columns)
        assert same_bits(got.data, api.logsumexp(x, where=left, b=b))
        assert np.array_equal(np.ma.getmaskarray(got), np.broadcast_to(rows, (4, 5)))
    t = np.ma.array([1.0, -1.0, 1.0, 1.0, np.nan], mask=rows)
    got = api.softmax(x, temperature=t)
    assert same_bits(got.data, api.softmax(x, where=~rows[:, None]))
    nothing = onesum.logsumexp(x, b=np.ma.masked)
    assert np.ma.getmaskarray(nothing).all()


def test_weights_of_classes_on_several_axes(api):
    x, y = NUMBERS, np.zeros(5, int)
    mask = np.arange(24) % 5 == 1
    weight = np.ma.array(np.where(mask, -1.0, 1.0), mask=mask)
    got = api.cross_entropy_value_and_grad(x, y, axis=(0, 2), weight=weight)
    where = ~mask.reshape(4, 1, 6)
    wanted = api.cross_entropy_value_and_grad(x, y, axis=(0, 2), where=where)
    assert same_bits(got[0], wanted[0])
    assert same_bits(got[1].data, wanted[1])


def test_a_class_that_is_masked_is_no_target(api):
    """Its loss is inf, as outside `where`; a masked index, though, is a row to ignore."""
    x = np.zeros((2, 3))
    for options in (
        {"weight": np.ma.array([1.0, 1.0, 5.0], mask=[0, 0, 1])},
        {"where": np.ma.array(np.ones(3, bool), mask=[0, 0, 1])},
    ):
        got = api.cross_entropy(x, [0, 2], reduction="none", **options)
        assert same_bits(got.data, np.array([np.log(2), np.inf]))
        assert api.cross_entropy(x, [0, 2], **options) == np.inf
        index = np.ma.array([0, 2], mask=[0, 1])
        assert same_bits(api.cross_entropy(x, index, **options), np.log(2))


def test_nothing_at_all(api):
    """The mean of nothing is NaN, the sum 0; a single row is one masked number."""
    x, y = np.ma.array(np.ones((2, 3)), mask=True), [0, 9]
    y = np.ma.array(y, mask=[0, 1])
    for function, second in (("cross_entropy", y), ("kl_divergence", np.ones((2, 3)))):
        answer = getattr(api, function)
        assert np.isnan(answer(x, second))
        assert answer(x, second, reduction="sum") == 0
        assert np.ma.getmaskarray(answer(x, second, reduction="none")).all()
        one = answer(x[0], second[0], reduction="none")
        assert one.shape == ()
        assert one.mask
    grad = api.cross_entropy_value_and_grad(x, y)[1]
    assert not np.any(grad.data)


def test_out(api):
    """A masked out gets the mask, not that of another array; any other the numbers beneath."""
    mask = NUMBERS > 1
    x = np.ma.array(NUMBERS, mask=mask)
    plain = np.full(x.shape, 7.0)
    assert api.softmax(x, out=plain) is plain
    theirs = np.zeros(x.shape, bool)
    out = np.ma.array(np.full(x.shape, 7.0), mask=theirs)
    assert api.softmax(x, out=out) is out
    assert same_bits(out.data, plain)
    assert same_bits(plain, api.softmax(NUMBERS, where=~mask))
    assert np.array_equal(out.mask, mask)
    assert not theirs.any()
    assert api.softmax(NUMBERS, out=out) is out
    assert not np.ma.getmaskarray(out).any()


def test_results_do_not_share_a_mask(api):
    x = np.ma.array(NUMBERS, mask=NUMBERS > 1)
    _, (dx, dy) = api.kl_divergence_value_and_grad(x, NUMBERS)
    dx.mask[...] = True
    assert np.array_equal(dy.mask, NUMBERS > 1)
    assert np.array_equal(x.mask, NUMBERS > 1)


@pytest.mark.parametrize("name", ["temperature", "z_loss", "softcap", "label_smoothing"])
@pytest.mark.usefixtures("api")
def test_a_number_may_not_be_masked(name):
    for value in (np.ma.masked, np.ma.array(1.0, mask=True)):
        with pytest.raises(ValueError, match=rf"\b{name}\b.*masked"):
            onesum.cross_entropy(np.zeros((2, 3)), [0, 1], **{name: value})


def test_other_libraries(library_api):
    """They have no masks: what NumPy's leave out is left out, and the results are plain."""
    y = np.ma.array([0, 99, 2], mask=[0, 1, 0])
    weight = np.ma.array([1.0, -1.0, 2.0], mask=[0, 1, 0])
    x = np.arange(9.0).reshape(3, 3) % 4
    ours = library_api.convert(x)
    got = map(library_api.back, onesum.cross_entropy_value_and_grad(ours, y, weight=weight))
    wanted = onesum.cross_entropy_value_and_grad(x, y, weight=weight)
    for a, b in zip(got, wanted, strict=True):
        assert not isinstance(a, np.ma.MaskedArray)
        np.testing.assert_array_equal(a, np.ma.getdata(b))
