"""Whatever shares memory with `out`, in whatever way: all of it is read before it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from measure import same_bits
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided
from rows import DERIVATIVES, FUNCTIONS, MASKABLE, OPERATIONS, arguments, logits
from table import backwards


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_out_that_overlaps(api, function):
    """An out that shares memory with x but is not x."""
    memory = np.arange(40, dtype=np.float64) % 7
    x = memory[:30].reshape(5, 6)
    wanted = getattr(api, function)(x.copy())
    for out in [
        memory[4:34].reshape(5, 6),
        memory[:30].reshape(5, 6)[::-1],
        memory[:30].reshape(6, 5).T,
    ]:
        memory[:] = np.arange(40) % 7
        getattr(api, function)(memory[:30].reshape(5, 6), out=out)
        assert same_bits(out, wanted)


# Where out lies that shares memory with an argument, which has one row more on either side of it.
ELSEWHERE = {
    "a row before": lambda memory: memory[:-2],
    "a row after": lambda memory: memory[2:],
    "turned": lambda memory: memory[1:-1].T,
    "upside down": lambda memory: memory[-2:0:-1],
    "backwards": lambda memory: memory[1:-1, ::-1],
}


def operand_beside_out(operand: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The same operand, and an out of its shape in part of its memory."""
    memory = np.zeros((len(operand) + 2, *operand.shape[1:]), operand.dtype)
    memory[1:-1] = operand
    return memory[1:-1], ELSEWHERE[where](memory)


FULL = [f for f in OPERATIONS if f not in ("logsumexp", "logsumexp_jvp")]
MASKED = [(f, True) for f in FULL if f in MASKABLE]


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize(("function", "masked"), [*((f, False) for f in FULL), *MASKED])
def test_out_in_the_memory_of_an_operand(api, function, masked, where):
    """More than a kernel reads before it writes."""
    call = getattr(api, function)
    for dtype, n in (("float32", 131), ("float64", 40), ("bfloat16", 40)):
        args = arguments(function, logits("spread 3", n, n, dtype))
        options = {"where": np.eye(n) == 0} if masked else {}
        wanted = call(*args, **options)
        for i in [i for i, a in enumerate(args) if a.shape == wanted.shape]:
            operand, out = operand_beside_out(args[i], where)
            given = [operand if j == i else a for j, a in enumerate(args)]
            assert call(*given, **options, out=out) is out
            assert same_bits(out, wanted), (dtype, n, i)


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize(
    ("function", "names"),
    [("cross_entropy_value_and_grad", "xy"), ("cross_entropy_hvp", "xyv")],
)
def test_out_in_the_memory_of_an_operand_of_a_loss(api, function, names, where):
    """The logits, the probabilities, or the direction."""
    call = getattr(api, function)
    for dtype, k, n in [("float32", 131, 131), ("float64", 40, 40), ("float32", 9, 1000)]:
        if where == "turned" and k != n:
            continue
        args = [np.random.default_rng([n, i]).uniform(0.1, 2, (k, n)) for i in range(len(names))]
        args = [a.astype(dtype) for a in args]
        for options in ({}, {"where": np.arange(n) != 3}):
            wanted = call(*args, **options)
            for i, name in enumerate(names):
                operand, out = operand_beside_out(args[i], where)
                given = [operand if j == i else a for j, a in enumerate(args)]
                got = call(*given, **options, out=out)
                pairs = [(got, wanted)] if "v" in names else zip(got, wanted, strict=True)
                assert all(same_bits(a, b) for a, b in pairs), (name, dtype, k, n)


# Memory that is shared: a function that writes answers as it does without out.

DRAWS = 150  # per implementation and kind of memory


class Memory:
    """One block of numbers, and arrays that lie anywhere in it: turned round, reversed, spread."""

    def __init__(self, rng: np.random.Generator, numbers: np.ndarray):
        self.rng, self.numbers = rng, numbers
        self.out: np.ndarray | None = None

    def view(self, shape: tuple[int, ...]) -> np.ndarray:
        rng, n = self.rng, len(self.numbers)
        strides, reach, to_go = [0] * len(shape), 1, int(np.prod(shape))
        for axis in rng.permutation(len(shape)):
            step = reach * int(rng.integers(1, 3)) if 2 * reach * to_go <= n else reach
            strides[axis] = step * int(rng.choice([-1, 1]))
            reach, to_go = step * shape[axis], to_go // shape[axis]
        ends = [stride * (size - 1) for stride, size in zip(strides, shape, strict=True)]
        first = -sum(end for end in ends if end < 0)
        last = n - 1 - sum(end for end in ends if end > 0)
        start = self.numbers[int(rng.integers(first, last + 1)) :]
        size = self.numbers.itemsize
        return as_strided(start, shape, [stride * size for stride in strides])

    def argument(self, shape: tuple[int, ...], chance: float = 0.6) -> np.ndarray:
        """Somewhere in the memory, the array that is to be out, or apart."""
        if self.rng.random() > chance:
            return self.view(shape).copy()
        if self.out is not None and self.out.shape == shape and self.rng.random() < 0.4:
            return self.out
        return self.view(shape)


def drawn(rng: np.random.Generator, kind: str) -> tuple[str, list[Any], dict[str, Any]]:
    """A function, its arguments and its options, of which out is one; much of it in one memory."""
    function = str(rng.choice([*FUNCTIONS, "cross_entropy_value_and_grad", "cross_entropy_hvp"]))
    dtype = str(rng.choice(["float32", "float64"]))
    shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 4)))
    if rng.random() < 0.4:  # short rows go through other memory anyway
        shape = (*shape[:-1], int(rng.integers(16, 80)))
    axis = rng.choice([*range(len(shape)), None]) if rng.random() < 0.9 else ()
    axis = axis if axis is None or axis == () else int(axis)
    axes = tuple(range(len(shape))) if axis is None else axis if axis == () else (axis,)
    batch = tuple(n for i, n in enumerate(shape) if i not in axes)
    classes = int(np.prod([shape[i] for i in axes]))
    length = int(np.prod(shape)) * 3 // 2 + 4
    if kind == "numbers":
        numbers = rng.uniform(0.25, 3, length).astype(dtype)
        others = numbers
    elif kind == "bools":  # the same bytes; as numbers they are small
        others = rng.random(length * np.dtype(dtype).itemsize) < 0.5
        numbers = others.view(dtype)
    else:
        others = rng.integers(0, classes, length, "int32" if dtype == "float32" else "int64")
        numbers = others.view(dtype)
    memory, others = Memory(rng, numbers), Memory(rng, others)
    reduced = function in ("logsumexp", "logsumexp_jvp")
    keepdims = bool(rng.random() < 0.3) and function.startswith("logsumexp")
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    rows = kept if keepdims else batch
    memory.out = out = memory.view(rows if reduced else shape)
    args = [memory.argument(shape)]
    options: dict[str, Any] = {"axis": axis, "out": out}
    if function.startswith("logsumexp"):
        options["keepdims"] = keepdims
    if function in DERIVATIVES:
        args.append(memory.argument(rows if function == "logsumexp_vjp" else shape))
    if function == "logsumexp" and rng.random() < 0.4:
        options["b"] = memory.argument(shape)
    if function.startswith("cross"):
        options["reduction"] = str(rng.choice(["none", "sum", "mean"]))
        options["z_loss"] = float(rng.choice([0.0, 0.5]))
        options["softcap"] = None if rng.random() < 0.5 else 2.0
        if kind == "indices":
            args.append(others.view(batch))
        elif rng.random() < 0.5:
            args.append(rng.integers(0, classes, batch))
        else:
            args.append(memory.argument(shape))
        for name, size in (("weight", (classes,)), ("sample_weight", batch)):
            if rng.random() < 0.4:
                options[name] = memory.argument(size)
        if function == "cross_entropy_hvp":
            args.append(memory.argument(shape))
    if kind == "numbers" and rng.random() < 0.4:
        options["temperature"] = memory.argument(batch if rng.random() < 0.5 else kept)
    takes_where = function in MASKABLE or function.startswith("cross")
    if takes_where and (kind == "bools" or rng.random() < 0.2):
        options["where"] = others.view(shape) if kind == "bools" else rng.random(shape) < 0.7
    for i, a in enumerate(args):  # masks, of numbers that take part and of some that do not
        if rng.random() < 0.1 and a.dtype.kind == "f":
            args[i] = np.ma.array(a, mask=rng.random(a.shape) < 0.3)
    return function, args, options


def apart(value: Any) -> Any:
    """The same array, laid out alike, in memory of its own."""
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.array(apart(value.data), mask=value.mask.copy())
    if not isinstance(value, np.ndarray):
        return value
    low, high = byte_bounds(value)
    memory = np.zeros(high - low, np.uint8)[value.ctypes.data - low :]
    copy = as_strided(memory[: value.itemsize].view(value.dtype), value.shape, value.strides)
    copy[...] = value
    return copy


def same_numbers(a: Any, b: Any) -> bool:
    """The same bits, but for those of NaN."""
    a, b = np.asarray(a), np.asarray(b)
    alike = np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    signs = np.signbit(a) == np.signbit(b)
    return bool(alike and a.dtype == b.dtype and np.all(signs | np.isnan(a)))


@pytest.mark.parametrize("kind", ["numbers", "bools", "indices"])
def test_memory_that_is_shared(api, kind):
    """Whatever shares memory with out, in whatever way: all of it is read before it is written."""
    for seed in range(DRAWS):
        function, args, options = drawn(np.random.default_rng([seed, len(kind)]), kind)
        out = options.pop("out")
        call = getattr(api, function)
        alone = {name: apart(a) for name, a in options.items()}
        wanted = call(*map(apart, args), **alone, out=apart(out))
        got = call(*args, **options, out=out)
        if function == "cross_entropy_value_and_grad":
            (loss, got), (wanted_loss, wanted) = got, wanted
            assert same_numbers(loss, wanted_loss), (seed, function, options)
        assert got is out
        assert same_numbers(out, wanted), (seed, function, args, options)


OPTIONS_IN_OUT = {
    "weights of the classes": lambda x: {"weight": x[0]},
    "weights of the rows": lambda x: {"sample_weight": x[::-1, 0]},
    "temperature": lambda x: {"temperature": x[::-1, 0]},
    "all": lambda x: {
        "weight": x[2, ::-1],
        "sample_weight": x[:, 1],
        "temperature": x[::-1, 7],
        "reduction": "sum",
    },
}


@pytest.mark.parametrize("function", ["cross_entropy_value_and_grad", "cross_entropy_hvp"])
@pytest.mark.parametrize("take", OPTIONS_IN_OUT.values(), ids=OPTIONS_IN_OUT)
def test_options_in_the_memory_of_out(api, function, take):
    for present in (np.array, np.asfortranarray, backwards):
        x = present(np.random.default_rng(7).uniform(0.5, 2, (3, 70)))
        v = [np.linspace(-1, 1, 210).reshape(3, 70)] if function == "cross_entropy_hvp" else []
        call = getattr(api, function)
        wanted = call(x.copy(), [0, 2, 69], *v, **take(x.copy()))
        got = call(x, [0, 2, 69], *v, **take(x), out=x)
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        assert all(same_bits(a, b) for a, b in pairs)


def test_logits_that_are_weights_too(api):
    """One row: then even the weights of the classes have the shape of out."""
    x = np.linspace(0.5, 2, 70)
    y, options = np.array(1), {"label_smoothing": 0.5, "z_loss": 0.5}
    call = api.cross_entropy_value_and_grad
    wanted = call(x.copy(), y, weight=x.copy(), **options)
    assert all(map(same_bits, call(x, y, weight=x, **options, out=x), wanted))
