"""Every bad input: its own exception, naming the argument and the value; nothing is written."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.exceptions import AxisError
from rows import DERIVATIVES, FUNCTIONS, MASKABLE
from table import read_only

import onesum

X = np.random.default_rng(1).normal(size=(2, 3))
G = np.ones((2, 3))
ROW = np.ones(2)

FIRST = dict.fromkeys(FUNCTIONS, "x")
FIRST |= dict.fromkeys(("softmax_vjp", "softmax_jvp"), "p")
FIRST |= dict.fromkeys(("log_softmax_vjp", "log_softmax_jvp"), "logp")
SECOND = {f: "g" if f.endswith("vjp") else "v" for f in DERIVATIVES}


class Bad(NamedTuple):
    """An option that is wrong, the exception, and words its message must have."""

    name: str
    options: dict[str, Any]
    exception: type[Exception]
    words: tuple[str, ...]


EVERY = [
    Bad("axis 2", {"axis": 2}, AxisError, ("axis", "2")),
    Bad("axis -3", {"axis": -3}, AxisError, ("axis", "-3")),
    Bad("axis (0, 5)", {"axis": (0, 5)}, AxisError, ("axis", "5")),
    Bad("axis twice", {"axis": (0, 0)}, ValueError, ("axis", "(0, 0)")),
    Bad("axis twice, from both ends", {"axis": (1, -1)}, ValueError, ("axis", "(1, -1)")),
    Bad("axis 1.0", {"axis": 1.0}, TypeError, ("axis", "1.0")),
    Bad("axis 'last'", {"axis": "last"}, TypeError, ("axis", "last")),
    Bad("axis (0, 1.5)", {"axis": (0, 1.5)}, TypeError, ("axis", "1.5")),
    Bad("temperature 0", {"temperature": 0}, ValueError, ("temperature", "0")),
    Bad("temperature -0.0", {"temperature": -0.0}, ValueError, ("temperature", "0")),
    Bad("temperature -2.5", {"temperature": -2.5}, ValueError, ("temperature", "-2.5")),
    Bad("temperature NaN", {"temperature": np.nan}, ValueError, ("temperature", "nan")),
    Bad("temperature -inf", {"temperature": -np.inf}, ValueError, ("temperature", "-inf")),
    Bad("temperature 10^400", {"temperature": 10**400}, ValueError, ("temperature", "float64")),
    Bad("temperature -10^5000", {"temperature": -(10**5000)}, ValueError, ("temperature", "bits")),
    Bad("temperature [1, 0]", {"temperature": [1.0, 0.0]}, ValueError, ("temperature", "0")),
    Bad(
        "temperature [1, NaN]",
        {"temperature": np.array([1, np.nan])},
        ValueError,
        ("temperature", "nan"),
    ),
    Bad("temperature 'hot'", {"temperature": "hot"}, TypeError, ("temperature", "hot")),
    Bad("temperature None", {"temperature": None}, TypeError, ("temperature", "None")),
    Bad("temperature 1j", {"temperature": 1j}, TypeError, ("temperature", "complex128")),
    Bad(
        "temperature per class",
        {"temperature": np.ones(3)},
        ValueError,
        ("temperature", "(3,)", "(2,)"),
    ),
    Bad(
        "temperature (1, 3)",
        {"temperature": np.ones((1, 3))},
        ValueError,
        ("temperature", "(1, 3)"),
    ),
    Bad(
        "temperature (2, 3)",
        {"temperature": np.ones((2, 3))},
        ValueError,
        ("temperature", "(2, 3)"),
    ),
    Bad(
        "temperature (4, 1)",
        {"temperature": np.ones((4, 1))},
        ValueError,
        ("temperature", "(4, 1)"),
    ),
    Bad(
        "temperature (1, 1, 1)",
        {"temperature": np.ones((1, 1, 1))},
        ValueError,
        ("temperature", "(1, 1, 1)"),
    ),
    Bad("out of another shape", {"out": np.full((3, 2), 7.0)}, ValueError, ("out", "(3, 2)")),
    Bad("out that broadcasts", {"out": np.full((4, 2, 3), 7.0)}, ValueError, ("out", "(4, 2, 3)")),
    Bad("out, a list", {"out": [[7.0] * 3] * 2}, ValueError, ("out", "list")),
    Bad("out, a number", {"out": 7.0}, ValueError, ("out", "float")),
]

TAKES_WHERE = [
    Bad("where of integers", {"where": np.ones((2, 3), int)}, TypeError, ("where", "int64")),
    Bad("where of floats", {"where": np.ones((2, 3))}, TypeError, ("where", "float64")),
    Bad("where 1", {"where": 1}, TypeError, ("where", "int64")),
    Bad("where 'yes'", {"where": "yes"}, TypeError, ("where", "U3")),
    Bad(
        "where of another shape",
        {"where": np.ones(2, bool)},
        ValueError,
        ("where", "(2,)", "(2, 3)"),
    ),
    Bad(
        "where that enlarges",
        {"where": np.ones((4, 2, 3), bool)},
        ValueError,
        ("where", "(4, 2, 3)"),
    ),
]

TAKES_DTYPE = [
    Bad("dtype int32", {"dtype": np.int32}, TypeError, ("dtype", "int32")),
    Bad("dtype complex", {"dtype": complex}, TypeError, ("dtype", "complex")),
    Bad(
        "dtype longdouble",
        {"dtype": np.longdouble},
        TypeError,
        ("dtype", "longdouble"),
    ),
    Bad("dtype 'banana'", {"dtype": "banana"}, TypeError, ("dtype", "banana")),
    Bad("dtype 3", {"dtype": 3}, TypeError, ("dtype", "3")),
]

WEIGHTS = [
    Bad("b of another shape", {"b": np.ones(2)}, ValueError, ("b", "(2,)", "(2, 3)")),
    Bad("b complex", {"b": np.ones((2, 3), complex)}, TypeError, ("b", "complex128")),
    Bad("b of strings", {"b": ["1", "2", "3"]}, TypeError, ("b", "U1")),
]

NOT_NUMBERS = {
    "None": (None, TypeError),
    "an object": (object(), TypeError),
    "a string": ("1.0", TypeError),
    "a dict": ({"a": 1.0}, TypeError),
    "a set": ({1.0, 2.0}, TypeError),
    "a ragged list": ([[1.0, 2.0], [3.0]], ValueError),
    "a list with None": ([1.0, None], TypeError),
    "a list of strings": (["1", "2"], TypeError),
}


def valid(function: str) -> list[np.ndarray]:
    if function not in DERIVATIVES:
        return [X]
    return [X, ROW if function == "logsumexp_vjp" else G]


def refuses(api, function: str, args: list[Any], bad: Bad, out: np.ndarray | None = None) -> None:
    options = dict(bad.options)
    if out is not None and "out" not in options:
        options["out"] = out
    before = np.array(options["out"]) if "out" in options else None
    with pytest.raises(bad.exception) as caught:
        getattr(api, function)(*args, **options)
    # An AxisError is a ValueError: what is meant to be one of the two must not be the other.
    assert isinstance(caught.value, AxisError) == (bad.exception is AxisError)
    message = str(caught.value)
    for word in bad.words:
        pattern = rf"\b{word}\b" if word.isidentifier() else re.escape(word)
        assert re.search(pattern, message), f"{word!r} is not in {message!r}"
    if before is not None:
        assert np.array_equal(np.array(options["out"]), before), "out was written to"


def sentinel(function: str) -> np.ndarray:
    return np.full((2,) if function in ("logsumexp", "logsumexp_jvp") else (2, 3), 7.0)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", EVERY, ids=lambda bad: bad.name)
def test_every_function(api, function, bad):
    refuses(api, function, valid(function), bad, sentinel(function))


@pytest.mark.parametrize("function", MASKABLE)
@pytest.mark.parametrize("bad", TAKES_WHERE, ids=lambda bad: bad.name)
def test_where(api, function, bad):
    refuses(api, function, valid(function), bad, sentinel(function))


@pytest.mark.parametrize("function", FUNCTIONS[:3])
@pytest.mark.parametrize("bad", TAKES_DTYPE, ids=lambda bad: bad.name)
def test_dtype(api, function, bad):
    refuses(api, function, valid(function), bad, sentinel(function))


@pytest.mark.parametrize("bad", WEIGHTS, ids=lambda bad: bad.name)
def test_weights(api, bad):
    refuses(api, "logsumexp", [X], bad, sentinel("logsumexp"))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("value", "exception"), NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_not_numbers(api, function, value, exception):
    """Neither argument may be anything but numbers; the message names which one it was."""
    first = Bad("", {}, exception, (FIRST[function],))
    refuses(api, function, [value, *valid(function)[1:]], first, sentinel(function))
    if function in DERIVATIVES:
        second = Bad("", {}, exception, (SECOND[function],))
        refuses(api, function, [X, value], second, sentinel(function))


@pytest.mark.parametrize("function", DERIVATIVES)
@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 4), (1, 2, 3), ()])
def test_second_argument_of_another_shape(api, function, shape):
    """Shapes are equal or refused: nothing is broadcast."""
    wanted = "(2,)" if function == "logsumexp_vjp" else "(2, 3)"
    bad = Bad("", {}, ValueError, (SECOND[function], str(shape), wanted))
    refuses(api, function, [X, np.ones(shape)], bad, sentinel(function))


def test_cotangent_of_logsumexp_with_keepdims(api):
    bad = Bad("", {"keepdims": True}, ValueError, ("g", "(2,)", "(2, 1)"))
    refuses(api, "logsumexp_vjp", [X, ROW], bad)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", ">f4"])
def test_out_of_another_dtype(api, function, dtype):
    out = np.ones(sentinel(function).shape, dtype)
    bad = Bad("", {"out": out}, ValueError, ("out", str(out.dtype), "float64"))
    refuses(api, function, valid(function), bad)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_out_that_is_read_only(api, function):
    bad = Bad("", {"out": read_only(sentinel(function))}, ValueError, ("out", "read-only"))
    refuses(api, function, valid(function), bad)


@pytest.mark.parametrize("function", DERIVATIVES)
def test_libraries_by_their_names(function):
    """As the user imported them, not as array-api-compat has them."""
    x, second = torch.ones((2, 3)), torch.ones((2,) if function == "logsumexp_vjp" else (2, 3))
    bad = Bad("", {}, TypeError, (f"array of torch, as {FIRST[function]} is, got numpy",))
    refuses(onesum, function, [x, second.numpy()], bad)
    bad = Bad("", {}, TypeError, ("array of numpy", "got torch"))
    refuses(onesum, function, [x.numpy(), second], bad)
    with pytest.raises(
        TypeError, match="where: expected numbers that torch can take, got dtype obj"
    ):
        onesum.softmax(x, where=np.ones((2, 3), object))


def test_a_0d_array_has_no_axis_1(api):
    for axis in [1, -2, (0, 1)]:
        with pytest.raises(AxisError, match="axis"):
            api.softmax(5.0, axis=axis)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_options_are_keyword_only(function):
    with pytest.raises(TypeError, match="positional"):
        getattr(onesum, function)(*valid(function), -1, None)


@pytest.mark.parametrize("function", ["softmax_jacobian", "log_softmax_jacobian"])
@pytest.mark.parametrize(
    "bad", [b for b in EVERY if "out" not in b.options], ids=lambda bad: bad.name
)
def test_jacobians(api, function, bad):
    refuses(api, function, [X], bad)


@pytest.mark.parametrize("layer", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    "bad", [b for b in EVERY if "out" not in b.options], ids=lambda bad: bad.name
)
def test_layers(api, layer, bad):
    """At construction or at the first call."""
    with pytest.raises(bad.exception) as caught:
        getattr(onesum, layer)(**bad.options)(X)
    for word in bad.words:
        assert word in str(caught.value)
