"""The contract as one table: an input, and what every function answers to it, in every
implementation.

Three kinds of rows make the table: `Special` (one row of logits with values that are not plain
numbers), `Presented` (plain numbers in an unusual dtype, order or axis) and `Refused`. Every
call is watched by `Api`: no floating-point error, no warning, no input written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import oracle
import pytest
from implementations import Api, dtypes
from measure import check
from oracle import WIDE, Reference
from rows import DERIVATIVES, MASKABLE

INF, NAN = np.inf, np.nan
LOG2, LOG3 = np.log(np.longdouble(2)), np.log(np.longdouble(3))
LARGEST = "largest"  # stands for the dtype's largest number, with either sign

# The name each function's answer has in the table.
FIELDS = {
    "softmax": "p",
    "log_softmax": "logp",
    "logsumexp": "lse",
    "softmax_vjp": "vjp",
    "softmax_jvp": "vjp",
    "log_softmax_vjp": "log_vjp",
    "log_softmax_jvp": "log_jvp",
    "logsumexp_vjp": "lse_vjp",
    "logsumexp_jvp": "lse_jvp",
}


class Row:
    """A row of the table."""

    name: str
    portable = False  # also a row for arrays other than NumPy's

    def check(self, api: Api, function: str) -> None:
        raise NotImplementedError


@dataclass
class Special(Row):
    """Logits x, the second argument g, and the answers; those not given are the oracle's.

    The derivatives take p and logp as answered here, and logsumexp's VJP takes 1.
    """

    name: str
    x: list[Any]
    g: list[float]
    answers: dict[str, Any]
    where: list[bool] | None = None
    temperature: float = 1.0
    portable = True

    def arguments(self, function: str, dtype: Any) -> tuple[np.ndarray, ...]:
        x, g = self.values(self.x, dtype), np.array(self.g, dtype=dtype)
        if function.startswith("logsumexp_"):
            return (x, np.ones((), dtype) if function == "logsumexp_vjp" else g)
        if function in DERIVATIVES:
            first = "p" if function.startswith("softmax") else "logp"
            return (self.values(self.answers[first], dtype), g)
        return (x,)

    def options(self, function: str) -> dict[str, Any]:
        options: dict[str, Any] = {"temperature": self.temperature}
        if self.where is not None and function in MASKABLE:
            options["where"] = np.array(self.where)
        return options

    def check(self, api: Api, function: str) -> None:
        for dtype in dtypes(api.name):
            args, options = self.arguments(function, dtype), self.options(function)
            got = np.asarray(getattr(api, function)(*args, **options))
            assert got.dtype == np.dtype(dtype)
            if FIELDS[function] in self.answers:
                value = self.values(self.answers[FIELDS[function]], dtype, np.longdouble)
                wanted = Reference(value, np.abs(value))
            else:
                wanted = getattr(oracle, function)(*args, **options)
            check(got, wanted, function, self.name)

    @staticmethod
    def values(row: Any, dtype: Any, of: Any = None) -> np.ndarray:
        largest = LARGEST_NUMBER[np.dtype(dtype).name]
        if isinstance(row, list):
            return np.array(
                [{LARGEST: largest, f"-{LARGEST}": -largest}.get(v, v) for v in row], of or dtype
            )
        return np.array(largest if row == LARGEST else row, of or dtype)


LARGEST_NUMBER = {
    "float16": 65504.0,
    "bfloat16": 2.0**127 * (2 - 2.0**-7),
    "float32": 2.0**127 * (2 - 2.0**-23),
    "float64": 2.0**1023 * (2 - 2.0**-52),
}

ZEROS, NANS = [0.0] * 3, [NAN] * 3
ALL_NAN = {
    "p": NANS,
    "logp": NANS,
    "lse": NAN,
    "vjp": NANS,
    "log_vjp": NANS,
    "log_jvp": NANS,
    "lse_vjp": NANS,
    "lse_jvp": NAN,
}
NO_GRADIENT = {"vjp": ZEROS, "log_vjp": ZEROS, "log_jvp": ZEROS}
SECOND_OF_3 = {"p": [0.0, 1.0, 0.0], "logp": [-INF, 0.0, -INF], "lse_vjp": [0.0, 1.0, 0.0]}

SPECIALS = [
    Special(
        "a -inf entry",
        [0, -INF, 0],
        [1, NAN, 3],
        {
            "p": [0.5, 0, 0.5],
            "logp": [-LOG2, -INF, -LOG2],
            "lse": LOG2,
            "vjp": [-0.5, 0, 0.5],
            "lse_jvp": 2,
        },
    ),
    Special(
        "all but one -inf",
        [-INF, 2, -INF],
        [NAN, 5, INF],
        SECOND_OF_3 | NO_GRADIENT | {"lse": 2, "lse_jvp": 5},
    ),
    Special("all -inf", [-INF] * 3, NANS, ALL_NAN | {"lse": -INF, "lse_vjp": ZEROS, "lse_jvp": 0}),
    Special("NaN", [NAN, 1, 2], [1, 2, 3], ALL_NAN),
    Special("NaN last", [1, 2, NAN], [1, 2, 3], ALL_NAN),
    Special("NaN beside -inf", [-INF, NAN, 0], [1, 2, 3], ALL_NAN),
    Special("+inf", [1, INF, 2], [1, 5, 2], SECOND_OF_3 | NO_GRADIENT | {"lse": INF, "lse_jvp": 5}),
    Special(
        "+inf and -inf",
        [-INF, INF, 2],
        [1, 5, 2],
        SECOND_OF_3 | NO_GRADIENT | {"lse": INF, "lse_jvp": 5},
    ),
    Special("several +inf", [INF, 1, INF], [1, 2, 3], ALL_NAN | {"lse": INF}),
    Special("all +inf", [INF] * 3, [1, 2, 3], ALL_NAN | {"lse": INF}),
    Special("+inf and NaN", [INF, NAN, 0], [1, 2, 3], ALL_NAN),
    Special(
        "signed zeros",
        [0.0, -0.0, 0.0],
        [1, 2, 3],
        {"p": [1 / np.longdouble(3)] * 3, "logp": [-LOG3] * 3, "lse": LOG3},
    ),
    Special(
        "the largest numbers",
        [LARGEST, f"-{LARGEST}", 0],
        [1, 2, 4],
        {
            "p": [1, 0, 0],
            "logp": [0, -INF, f"-{LARGEST}"],
            "lse": LARGEST,
            "vjp": ZEROS,
            "lse_vjp": [1, 0, 0],
            "lse_jvp": 1,
        },
    ),
    Special(
        "the largest number twice",
        [LARGEST, -INF, LARGEST],
        [1, NAN, 3],
        {
            "p": [0.5, 0, 0.5],
            "logp": [-LOG2, -INF, -LOG2],
            "lse": LARGEST,
            "vjp": [-0.5, 0, 0.5],
            "lse_jvp": 2,
        },
    ),
    Special(
        "where, NaN behind it",
        [0, NAN, 0],
        [1, NAN, 3],
        {
            "p": [0.5, 0, 0.5],
            "logp": [-LOG2, -INF, -LOG2],
            "lse": LOG2,
            "vjp": [-0.5, 0, 0.5],
            "lse_jvp": 2,
        },
        where=[True, False, True],
    ),
    Special(
        "where, +inf behind it",
        [INF, 3, INF],
        [NAN, 5, NAN],
        SECOND_OF_3 | NO_GRADIENT | {"lse": 3, "lse_jvp": 5},
        where=[False, True, False],
    ),
    Special(
        "where, nothing left",
        [1, NAN, INF],
        [1, NAN, 3],
        NO_GRADIENT | {"p": ZEROS, "logp": [-INF] * 3, "lse": -INF, "lse_vjp": ZEROS, "lse_jvp": 0},
        where=[False] * 3,
    ),
    Special(
        "where, only -inf left",
        [-INF, 5, -INF],
        [1, 2, 3],
        ALL_NAN
        | {
            "p": [NAN, 0, NAN],
            "logp": [NAN, -INF, NAN],
            "lse": -INF,
            "lse_vjp": ZEROS,
            "lse_jvp": 0,
        },
        where=[True, False, True],
    ),
    Special(
        "where, NaN left",
        [NAN, 1, 2],
        [1, 2, 3],
        ALL_NAN | {"p": [NAN, NAN, 0], "logp": [NAN, NAN, -INF], "lse_vjp": [NAN, NAN, 0]},
        where=[True, True, False],
    ),
    Special(
        "where, all kept",
        [0, 0, -INF],
        [1, 3, NAN],
        {
            "p": [0.5, 0.5, 0],
            "logp": [-LOG2, -LOG2, -INF],
            "lse": LOG2,
            "vjp": [-0.5, 0.5, 0],
            "lse_jvp": 2,
        },
        where=[True] * 3,
    ),
    Special(
        "temperature",
        [4, 4, -INF],
        [1, 3, NAN],
        {
            "p": [0.5, 0.5, 0],
            "logp": [-LOG2, -LOG2, -INF],
            "lse": 8 + LOG2,
            "vjp": [-1, 1, 0],
            "lse_jvp": 4,
        },
        temperature=0.5,
    ),
    Special(
        "temperature, low",
        [1, 0, -1],
        [1, 2, 3],
        {
            "p": [1, 0, 0],
            "logp": [0, -8192, -16384],
            "lse": 8192,
            "vjp": ZEROS,
            "lse_vjp": [8192, 0, 0],
            "lse_jvp": 8192,
        },
        temperature=2.0**-13,
    ),
    Special(
        "temperature +inf",
        [1, 2, 3],
        [1, 2, 3],
        NO_GRADIENT
        | {
            "p": [1 / np.longdouble(3)] * 3,
            "logp": [-LOG3] * 3,
            "lse": LOG3,
            "lse_vjp": ZEROS,
            "lse_jvp": 0,
        },
        temperature=INF,
    ),
    Special(
        "temperature +inf and -inf",
        [1, -INF, 3],
        [1, NAN, 3],
        NO_GRADIENT
        | {
            "p": [0.5, 0, 0.5],
            "logp": [-LOG2, -INF, -LOG2],
            "lse": LOG2,
            "lse_vjp": ZEROS,
            "lse_jvp": 0,
        },
        temperature=INF,
    ),
]


# Plain numbers, presented in every way.

NUMBERS = np.random.default_rng(1).normal(0, 3, (4, 5, 6))
COTANGENT = np.random.default_rng(2).normal(0, 1, (4, 5, 6))


def same(a: np.ndarray) -> np.ndarray:
    return a


def unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.empty(a.nbytes + 1, dtype=np.uint8)[1:]
    b = memory.view(a.dtype).reshape(a.shape)
    b[...] = a
    assert not b.flags.aligned
    return b


def inside(a: np.ndarray) -> np.ndarray:
    """A slice of a larger array, with a step along every axis."""
    big = np.full([3 * s + 1 for s in a.shape], 99, dtype=a.dtype)
    view = big[tuple(slice(1, None, 3) for _ in a.shape)]
    view[...] = a
    return view


def backwards(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a[..., ::-1])[..., ::-1]


def upside_down(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a[::-1])[::-1]


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


def _rounded(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """The nearest integers that the dtype has; probabilities become 0 and 1."""

    def present(a: np.ndarray) -> np.ndarray:
        limits = np.iinfo("uint8" if dtype == "bool" else dtype)
        high = 1 if dtype == "bool" else min(limits.max, 2**62)
        return np.clip(np.rint(a), limits.min, high).astype(dtype)

    return present


@dataclass
class Presented(Row):
    """x (and p, log p, g) as `present` gives them; the answer is the oracle's on their values."""

    name: str
    present: Callable[[np.ndarray], Any] = same
    x: np.ndarray = field(default_factory=lambda: NUMBERS)
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    result: str | None = None  # the result's dtype, where it is not x's
    axis: Any = -1
    temperature: Any = 1.0
    portable: bool = False

    def check(self, api: Api, function: str) -> None:
        for dtype in self.dtypes if not self.portable else set(self.dtypes) & set(dtypes(api.name)):
            args = [self.present(a) for a in self.arguments(function, dtype)]
            plain = [np.asarray(a) for a in args]
            plain = [a.astype(np.float64) if a.dtype.kind in "biu" else a for a in plain]
            options = {"axis": self.axis, "temperature": self.temperature}
            got = np.asarray(getattr(api, function)(*args, **options))
            wanted = getattr(oracle, function)(*plain, **options, arithmetic=WIDE)
            check(got, wanted, function, f"{self.name}, {dtype}")
            assert got.dtype == np.dtype(self.result or dtype)
            assert got.dtype.isnative

    def arguments(self, function: str, dtype: str) -> list[np.ndarray]:
        x = self.x.astype(dtype)
        g = COTANGENT.ravel()[: x.size].reshape(x.shape).astype(dtype)
        if function == "logsumexp_vjp":
            return [
                x,
                np.asarray(oracle.logsumexp(x, self.axis, arithmetic=WIDE).value / 8).astype(dtype),
            ]
        if function.startswith("logsumexp_"):
            return [x, g]
        if function in DERIVATIVES:
            return [
                getattr(oracle, function[:-4])(x, self.axis, arithmetic=WIDE).value.astype(dtype),
                g,
            ]
        return [x]


def _integers(dtype: str, *x: Any) -> Presented:
    return Presented(
        f"{dtype} {list(x)}",
        _rounded(dtype),
        np.array(x, float),
        ("float64",),
        "float64",
        portable=dtype != "uint64",
    )


IEEE = ("float16", "float32", "float64")
SMALL_ROWS = np.random.default_rng(3).normal(0, 3, (7, 3))

PRESENTED = [
    _integers("uint8", 1, 2, 3),
    _integers("uint8", 0, 255, 254),
    _integers("int8", -128, 127),
    _integers("uint16", 1, 2, 3),
    _integers("int16", -32768, 32767, 32766),
    _integers("uint32", 1, 2, 3),
    _integers("int32", -5, 5, 4),
    _integers("uint64", 1, 2, 3),
    _integers("int64", -(2**40), 2**40, 2**40 - 1),
    _integers("bool", 1, 0, 1),
    Presented("list", lambda a: a.tolist(), dtypes=("float64",)),
    Presented("tuple of arrays", lambda a: tuple(a), dtypes=("float64", "float32")),
    Presented("C order", portable=True),
    Presented("Fortran order", np.asfortranarray),
    Presented("class axis backwards", backwards),
    Presented("batch axis backwards", upside_down),
    Presented("slices of a larger array", inside),
    Presented("one row for all (stride 0)", lambda a: np.broadcast_to(a[:1], a.shape)),
    Presented("one class for all (stride 0)", lambda a: np.broadcast_to(a[..., :1], a.shape)),
    Presented("not aligned", unaligned),
    Presented("the other byte order", swapped, dtypes=IEEE),
    Presented("the other byte order, not aligned", lambda a: unaligned(swapped(a)), dtypes=IEEE),
    Presented("read-only", read_only),
    Presented("a batch of tiny rows", x=SMALL_ROWS, portable=True),
    Presented("tiny rows inside a larger array", inside, x=SMALL_ROWS),
    *(
        Presented(f"axis {axis}", axis=axis, portable=True)
        for axis in [0, 1, 2, -3, -2, (0, 1), (0, 2), (2, 1), (-1, 0), (0, 1, 2), None, (1,)]
    ),
    Presented("axis ()", axis=(), portable=True),
    Presented("axis of NumPy's integers", axis=np.int64(1)),
    Presented("axis 0, Fortran order", np.asfortranarray, axis=0),
    Presented("axis 1, slices of a larger array", inside, axis=1),
    Presented("axis 0, backwards", upside_down, axis=0),
    Presented("axis (0, 2), backwards", backwards, axis=(0, 2)),
    Presented("axis 1, stride 0", lambda a: np.broadcast_to(a[:, :1], a.shape), axis=1),
    Presented("axis 1, the other byte order", swapped, axis=1, dtypes=IEEE),
    Presented("axis 0, not aligned", unaligned, axis=0),
    Presented("temperature 3 (an int)", temperature=3, portable=True),
    Presented("temperature of one element", temperature=np.float32(0.75)),
    Presented(
        "temperature (4, 5)", temperature=np.linspace(0.5, 2, 20).reshape(4, 5), portable=True
    ),
    Presented("temperature (5,)", temperature=np.linspace(0.5, 2, 5), portable=True),
    Presented("temperature (4, 1)", temperature=np.linspace(0.5, 2, 4)[:, None]),
    Presented("temperature (4, 1, 1)", temperature=np.linspace(0.5, 2, 4)[:, None, None]),
    Presented("temperature (4, 5, 1)", temperature=np.linspace(0.5, 2, 20).reshape(4, 5, 1)),
    Presented("temperature as a list", temperature=[0.5, 1.0, 1.5, 2.0, 3.0]),
    Presented("temperature of integers", temperature=np.array([1, 2, 3, 4, 5])),
    Presented(
        "temperature (4, 1, 6), axis 1",
        axis=1,
        temperature=np.linspace(0.5, 2, 24).reshape(4, 1, 6),
    ),
    Presented("temperature (6,), axis 1", axis=1, temperature=np.linspace(0.5, 2, 6)),
    Presented("temperature (5,), axis (0, 2)", axis=(0, 2), temperature=np.linspace(0.5, 2, 5)),
    Presented(
        "temperature (1, 5, 1), axis (0, 2)",
        axis=(0, 2),
        temperature=np.linspace(0.5, 2, 5)[None, :, None],
    ),
]


@dataclass
class Refused(Row):
    """A dtype that is not a number of ours, in the first argument or the second."""

    name: str
    x: np.ndarray
    word: str

    def check(self, api: Api, function: str) -> None:
        names = {"softmax_": ("p", "g"), "log_softmax_": ("logp", "g"), "logsumexp_": ("x", "g")}
        prefix, derivative = function[:-3], function[-3:]
        if derivative not in ("vjp", "jvp"):
            with pytest.raises(TypeError, match=self._message("x")):
                getattr(api, function)(self.x)
            return
        first, second = names[prefix][0], "g" if derivative == "vjp" else "v"
        good = np.ones(self.x.shape[:-1] if function == "logsumexp_vjp" else self.x.shape)
        with pytest.raises(TypeError, match=self._message(first)):
            getattr(api, function)(self.x, good)
        bad = self.x[..., 0] if function == "logsumexp_vjp" else self.x
        with pytest.raises(TypeError, match=self._message(second)):
            getattr(api, function)(np.ones(self.x.shape), bad)

    def _message(self, argument: str) -> str:
        return rf"(?s)(?=.*\b{argument}\b)(?=.*{self.word})"


REFUSED = [
    Refused("complex64", np.ones((2, 3), np.complex64), "complex64"),
    Refused("complex128", np.ones((2, 3), complex), "complex128"),
    Refused("object", np.full((2, 3), None), "object"),
    Refused("object that holds numbers", np.ones((2, 3), object), "object"),
    Refused("string", np.full((2, 3), "1.0"), "U3"),
    Refused("bytes", np.full((2, 3), b"1.0"), "S3"),
    Refused("datetime", np.full((2, 3), np.datetime64("2024-01-01")), "datetime64"),
    Refused("timedelta", np.full((2, 3), np.timedelta64(1, "s")), "timedelta64"),
    Refused("longdouble", np.ones((2, 3), np.longdouble), str(np.dtype(np.longdouble))),
    Refused("structured", np.zeros((2, 3), [("a", float)]), "a"),
]

EVERYWHERE: list[Row] = [row for row in [*SPECIALS, *PRESENTED] if row.portable]
