"""Every bad input of the losses: its own exception, naming the argument; nothing is written."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from measure import BFLOAT16, same_bits
from table import read_only
from test_errors import EVERY, NOT_NUMBERS, TAKES_DTYPE, TAKES_WHERE, Bad, refuses

import onesum

X = np.random.default_rng(1).normal(size=(2, 3))
V = np.ones((2, 3))
INDEX = np.array([0, 2])
NAN, INF = np.nan, np.inf

VALID: dict[str, list[Any]] = {
    "cross_entropy": [X, INDEX],
    "cross_entropy_value_and_grad": [X, INDEX],
    "cross_entropy_hvp": [X, INDEX, V],
    "selective_log_softmax": [X, INDEX],
    "entropy": [X],
    "kl_divergence": [X, V],
    "kl_divergence_value_and_grad": [X, V],
}
ALL = tuple(VALID)
TARGETED = ALL[:3]
INDEXED = ALL[:4]
REDUCED = (*TARGETED, *ALL[5:])
WRITING = ALL[1:3]


def named(bads: list[Bad]) -> Any:
    return pytest.mark.parametrize("bad", bads, ids=lambda bad: bad.name)


def refused(api, function: str, bad: Bad, at: int | None = None, value: Any = None) -> None:
    """With the argument at this place replaced; and where there is an out, in place too."""
    args = list(VALID[function])
    if at is not None:
        args[at] = value
    refuses(api, function, args, bad, np.full((2, 3), 7.0) if function in WRITING else None)
    x = args[0]
    if function in WRITING and "out" not in bad.options and type(x) is np.ndarray:
        x = args[0] = np.array(x)
        before = x.tobytes()
        with pytest.raises(bad.exception):
            getattr(api, function)(*args, **bad.options, out=x)
        assert x.tobytes() == before, "x was written to"


WITHOUT_OUT = [bad for bad in EVERY if "out" not in bad.options]


@pytest.mark.parametrize("function", ALL)
@named([*WITHOUT_OUT, *TAKES_WHERE, *TAKES_DTYPE])
def test_every_function(api, function, bad):
    refused(api, function, bad)


@pytest.mark.parametrize("function", WRITING)
@named([bad for bad in EVERY if "out" in bad.options])
def test_out(api, function, bad):
    refused(api, function, bad)


@pytest.mark.parametrize("function", WRITING)
def test_out_that_does_not_fit(api, function):
    for dtype in ["float32", "int64", "bool", ">f4"]:
        out = np.ones((2, 3), dtype)
        bad = Bad("", {"out": out}, ValueError, ("out", str(out.dtype), "float64"))
        refused(api, function, bad)
    bad = Bad("", {"out": read_only(np.ones((2, 3)))}, ValueError, ("out", "read-only"))
    refused(api, function, bad)
    with pytest.raises(ValueError, match=r"\bout\b.*Tensor"):
        getattr(api, function)(*VALID[function], out=torch.ones((2, 3), dtype=torch.float64))


@pytest.mark.parametrize("function", [f for f in ALL if f not in WRITING])
def test_no_out(function):
    with pytest.raises(TypeError, match="out"):
        getattr(onesum, function)(*VALID[function], out=np.ones((2, 3)))


@pytest.mark.parametrize("function", ALL)
def test_options_are_keyword_only(function):
    with pytest.raises(TypeError, match="positional"):
        getattr(onesum, function)(*VALID[function], -1, None)


# x, v and y


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(("value", "exception"), NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_not_numbers(api, function, value, exception):
    refused(api, function, Bad("", {}, exception, ("x",)), 0, value)
    if function == "cross_entropy_hvp":
        refused(api, function, Bad("", {}, exception, ("v",)), 2, value)
    if function.startswith("kl"):
        refused(api, function, Bad("", {}, exception, ("y",)), 1, value)
    if function in INDEXED:
        name = "index" if function not in TARGETED else "target"
        refused(api, function, Bad("", {}, exception, (name,)), 1, value)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 4), (1, 2, 3), ()])
@pytest.mark.parametrize(
    ("function", "at", "name"),
    [("cross_entropy_hvp", 2, "v"), ("kl_divergence", 1, "y"), (ALL[-1], 1, "y")],
)
def test_second_array_of_another_shape(api, function, at, name, shape):
    """Shapes are equal or refused: nothing is broadcast."""
    bad = Bad("", {}, ValueError, (name, str(shape), "(2, 3)"))
    refused(api, function, bad, at, np.ones(shape))


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("shape", "axis"), [((0,), 0), ((2, 0), 1), ((0, 2), 0), ((2, 0, 3), (1, 2)), ((0, 0), None)]
)
def test_no_classes(api, function, shape, axis):
    """A loss of no classes is not defined, even where there are no rows."""
    x = np.zeros(shape)
    rest = np.logaddexp.reduce(x, axis=axis).shape if axis is not None else ()
    args = [x if a.ndim == 2 else np.zeros(rest, int) for a in VALID[function]]
    refuses(api, function, args, Bad("", {"axis": axis}, ValueError, ("x", str(shape))))


# Targets


BAD_INDICES: list[tuple[str, Any, type[Exception], tuple[str, ...]]] = [
    ("3", np.array([0, 3]), IndexError, ("from 0 to 2", "3", "position 1")),
    ("-1", np.array([-1, 0]), IndexError, ("from 0 to 2", "-1", "position 0")),
    ("-3", [-3, 0], IndexError, ("-3", "position 0")),
    ("the first of two", [7, 8], IndexError, ("7", "position 0")),
    ("uint8 255", np.array([0, 255], "uint8"), IndexError, ("255", "position 1")),
    ("uint64 2^64 - 1", np.array([2**64 - 1, 0], "uint64"), IndexError, (str(2**64 - 1),)),
    ("int8 -128", np.array([0, -128], "int8"), IndexError, ("-128", "position 1")),
    ("int64 -2^63", np.array([0, -(2**63)]), IndexError, (str(-(2**63)),)),
    ("int64 2^32", np.array([0, 2**32]), IndexError, (str(2**32),)),
    ("another byte order", np.array([0, 3], ">i4"), IndexError, ("3", "position 1")),
    ("floats", np.array([0.0, 2.0]), TypeError, ("float64",)),
    ("float32", np.array([0, 2], "float32"), TypeError, ("float32",)),
    ("bool", np.array([True, False]), TypeError, ("bool",)),
    ("complex", np.array([0, 2j]), TypeError, ("complex128",)),
    ("objects", np.array([0, 2], object), TypeError, ("object",)),
    ("datetimes", np.array([0, 2], "datetime64[s]"), TypeError, ("datetime64",)),
    ("one too many", [0, 1, 2], ValueError, ("(3,)", "(2,)")),
    ("one too few", [0], ValueError, ("(1,)", "(2,)")),
    ("none", np.zeros(0, int), ValueError, ("(0,)", "(2,)")),
    ("a number", 0, ValueError, ("()", "(2,)")),
    ("too deep", [[[0], [1]]], ValueError, ("(1, 2, 1)", "(2,)")),
]


@pytest.mark.parametrize("function", INDEXED)
@pytest.mark.parametrize(
    ("value", "exception", "words"), [b[1:] for b in BAD_INDICES], ids=[b[0] for b in BAD_INDICES]
)
def test_indices(api, function, value, exception, words):
    name = "target" if function in TARGETED else "index"
    refused(api, function, Bad("", {}, exception, (name, *words)), 1, value)


@pytest.mark.parametrize("function", TARGETED)
def test_indices_beside_ignored_ones(api, function):
    """One index is ignored; another one that is no class is not. Nor does -1 wrap round."""
    for ignore, value, word in [
        (-1, [-1, 3], "3"),
        (-1, [-1, -2], "-2"),
        (3, [-1, 3], "-1"),
        (0, [0, -1], "-1"),
        (255, [-1, 255], "-1"),
    ]:
        bad = Bad("", {"ignore_index": ignore}, IndexError, ("target", word))
        for dtype in [None, "int64", "int32"]:  # a list; and arrays that the core takes as they are
            refused(api, function, bad, 1, np.array(value, dtype) if dtype else value)
    bad = Bad("", {"ignore_index": -1}, IndexError, ("target", "255"))
    refused(api, function, bad, 1, np.array([0, 255], "uint8"))


def test_position_in_a_batch(api):
    x, index = np.zeros((2, 2, 3)), np.array([[0, 1], [2, 7]])
    bad = Bad("", {}, IndexError, ("target", "7", "(1, 1)"))
    refuses(api, "cross_entropy", [x, index], bad)
    refuses(api, "cross_entropy", [np.zeros(3), 3], Bad("", {}, IndexError, ("target", "3")))
    bad = Bad("", {"axis": 1}, IndexError, ("index", "2", "(1, 0)"))
    refuses(api, "selective_log_softmax", [x, [[0, 1, 0], [2, 0, 1]]], bad)


@pytest.mark.parametrize("function", TARGETED)
def test_the_index_that_torch_ignores(api, function):
    """Whoever comes from there is told how; who has named another index knows."""
    with pytest.raises(IndexError, match="ignore_index=-100"):
        getattr(api, function)(X, [0, -100], *VALID[function][2:])
    with pytest.raises(IndexError, match=r"got -100 at position 1$"):
        getattr(api, function)(X, [-1, -100], *VALID[function][2:], ignore_index=-1)
    with pytest.raises(IndexError, match=r"index: .* got -100 at position 1$"):
        api.selective_log_softmax(X, [0, -100])


@pytest.mark.parametrize("function", INDEXED)
def test_no_rows(api, function):
    """A list of nothing is a target of no rows; an array of no floats is not."""
    rest = [np.zeros((0, 3))] if function == "cross_entropy_hvp" else []
    call = getattr(api, function)
    wanted = call(np.zeros((0, 3)), np.zeros(0, int), *rest)
    got = call(np.zeros((0, 3)), [], *rest)
    pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
    assert all(same_bits(a, b) for a, b in pairs)
    assert call(np.zeros((2, 0, 3)), [[], []], *[np.zeros((2, 0, 3))] * len(rest)) is not None
    name = "target" if function in TARGETED else "index"
    bad = Bad("", {}, TypeError, (name, "float64"))
    refuses(api, function, [np.zeros((0, 3)), np.zeros(0), *rest], bad)


@pytest.mark.parametrize("function", TARGETED)
@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (2, 1), (1, 3), (3,), (1, 2, 3), ()])
def test_probabilities_of_another_shape(api, function, shape):
    bad = Bad("", {}, ValueError, ("target", str(shape), "(2, 3)"))
    refused(api, function, bad, 1, np.ones(shape))


@pytest.mark.parametrize("function", TARGETED)
def test_probabilities_that_are_none(api, function):
    whole = Bad("", {}, ValueError, ("target", "(2, 3)", "(2,)"))
    refused(api, function, whole, 1, np.eye(2, 3, dtype=int))
    for dtype in ["bool", "complex128", "object", "longdouble"]:
        word = str(np.dtype(dtype))
        refused(api, function, Bad("", {}, TypeError, ("target", word)), 1, np.ones((2, 3), dtype))


@pytest.mark.parametrize("function", TARGETED)
@pytest.mark.parametrize("ignore", [-100, -1, 0])
def test_probabilities_with_ignore_index(api, function, ignore):
    bad = Bad("", {"ignore_index": ignore}, ValueError, ("ignore_index", str(ignore), "None"))
    refused(api, function, bad, 1, V / 3)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2), (2, 3, 1), (1, 2), (1, 3)])
def test_several_classes_of_a_row(api, shape):
    bad = Bad("", {}, ValueError, ("index", str(shape), "(2,)"))
    refuses(api, "selective_log_softmax", [X, np.zeros(shape, int)], bad)
    bad = Bad("", {"axis": None}, ValueError, ("index", str(shape), "()"))
    refuses(api, "selective_log_softmax", [X, np.zeros(shape, int)], bad)


# Options


def _weights(name: str, length: int) -> list[Bad]:
    good = [1.0] * length
    return [
        *(
            Bad(f"{name} {bad} {made.__name__}", {name: made([bad, *good[1:]])}, ValueError, words)
            for bad in [-1.0, -0.25, NAN, INF, -INF]
            for words in [(name, str(bad))]
            for made in [list, np.array]  # which Python brings to one form, and as the core has it
        ),
        Bad(
            f"{name} bfloat16 nan",
            {name: np.full(length, NAN, BFLOAT16)},
            ValueError,
            (name, "nan"),
        ),
        *(
            Bad(f"{name} {shape}", {name: np.ones(shape)}, ValueError, (name, str(shape)))
            for shape in [(length + 1,), (length - 1,), (1, length), (length, 1), ()]
        ),
        Bad(f"{name} per entry", {name: np.ones((2, 3))}, ValueError, (name, "(2, 3)")),
        Bad(f"{name} complex", {name: np.ones(length, complex)}, TypeError, (name, "complex128")),
        Bad(f"{name} of strings", {name: ["1"] * length}, TypeError, (name, "U1")),
        Bad(f"{name} of objects", {name: np.full(length, None)}, TypeError, (name, "object")),
        Bad(f"{name} ragged", {name: [[1.0], [1.0, 2.0]]}, ValueError, (name,)),
        Bad(f"{name} of another library", {name: torch.ones(length)}, TypeError, (name, "torch")),
    ]


def _numbers(name: str, beyond: list[float]) -> list[Bad]:
    others = ["0.1", b"1", None, [0.1], np.array([0.1, 0.2]), 0.1j, np.complex64(0.1), {}]
    return [
        *(
            Bad(f"{name} {value}", {name: value}, ValueError, (name, str(value)))
            for value in [*beyond, NAN, INF, -INF]
        ),
        Bad(f"{name} 10^400", {name: 10**400}, ValueError, (name, "float64")),
        *(Bad(f"{name} {v!r}", {name: v}, TypeError, (name, repr(v))) for v in others),
    ]


@pytest.mark.parametrize("function", TARGETED)
@named(
    [
        *_weights("weight", 3),
        *_weights("sample_weight", 2),
        *_numbers("label_smoothing", [-0.1, 1.5, -1e-300, 2.0]),
        *_numbers("z_loss", [-1.0, -1e-300]),
        *(bad for bad in _numbers("softcap", [0.0, -1.0]) if bad.options["softcap"] is not None),
        *(
            Bad(f"ignore_index {v!r}", {"ignore_index": v}, TypeError, ("ignore_index", repr(v)))
            for v in [1.0, "1", [1], np.array([1, 2]), np.float64(1), 1j]
        ),
    ]
)
def test_options_of_targets(api, function, bad):
    refused(api, function, bad)
    if not bad.name.startswith("ignore_index"):  # with probabilities just the same
        refused(api, function, bad, 1, V / 3)


@pytest.mark.parametrize("function", REDUCED)
@pytest.mark.parametrize(
    "value", ["average", "", "MEAN", None, 1, b"mean", ["mean"], np.array(["sum", "mean"]), np.mean]
)
def test_reduction(api, function, value):
    bad = Bad("", {"reduction": value}, ValueError, ("reduction", "mean, sum, none"))
    refused(api, function, bad)


@pytest.mark.parametrize("function", ["selective_log_softmax", "entropy"])
def test_no_reduction(function):
    with pytest.raises(TypeError, match="reduction"):
        getattr(onesum, function)(*VALID[function], reduction="sum")


# Libraries


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("function", [f for f in ALL if len(VALID[f]) > 1])
def test_two_libraries_do_not_mix(api, xp, function):
    """An array of another library is refused; only NumPy's own is brought to that of x."""
    for at in range(1, len(VALID[function])):
        name = {
            "cross_entropy_hvp": ("x", "target", "v"),
            "selective_log_softmax": ("x", "index"),
        }.get(function, ("x", "y" if function.startswith("kl") else "target"))[at]
        bad = Bad("", {}, TypeError, (name, xp.__name__))
        refused(api, function, bad, at, xp.asarray(VALID[function][at]))


def test_unsigned_indices_of_other_libraries(library_api):
    """2^64 - 1 is not -1, and not ignored with it."""
    bad = Bad("", {"ignore_index": -1}, IndexError, ("target", str(2**64 - 1), "position 1"))
    refused(library_api, "cross_entropy", bad, 1, np.array([0, 2**64 - 1], "uint64"))


@pytest.mark.parametrize("function", TARGETED)
def test_indices_of_other_libraries(library_api, function):
    args = VALID[function]
    for value, exception, words in [b[1:] for b in BAD_INDICES if isinstance(b[1], np.ndarray)]:
        if value.dtype.kind in "OM" or value.dtype.byteorder == ">":
            continue
        with pytest.raises(exception, match="target") as caught:
            getattr(library_api, function)(args[0], value, *args[2:])
        for word in words[: 1 if exception is TypeError else None]:
            word = word.removeprefix("complex").removeprefix("float")
            assert word in str(caught.value)


# The layer


@named([*WITHOUT_OUT, *_numbers("label_smoothing", [1.5]), *_weights("weight", 3)])
def test_the_layer(api, bad):
    """When it is made, or where only the logits tell at the first call."""
    with pytest.raises(bad.exception) as caught:
        onesum.CrossEntropyLoss(**bad.options)(X, INDEX)
    for word in bad.words:
        assert word in str(caught.value)
