"""A call: the function, its arrays and how they lie in memory, its options, and `out`.

`lines` is the call as Python source. The call that is made and the reproducer that is printed are
this same text: only the numbers are constants in the one and literals in the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

import onesum
from onesum import boosting

Array = np.ndarray[Any, Any]

# How an array lies in memory: an expression of its contiguous copy a.
LAYOUTS = {
    "contiguous": "a",
    "Fortran": "np.asfortranarray(a)",
    "backwards": "np.ascontiguousarray(a[..., ::-1])[..., ::-1]",
    "upside down": "np.ascontiguousarray(a[::-1])[::-1]",
    "classes apart": "np.repeat(a, 3, axis=-1)[..., ::3]",
    "rows apart": "np.repeat(a, 2, axis=0)[::2]",
    "Fortran, rows apart": "np.asfortranarray(np.repeat(a, 2, axis=0))[::2]",
    "not aligned": "np.ndarray(a.shape, a.dtype, bytearray(1) + a.tobytes(), 1)",
    "other byte order": "a.astype(a.dtype.newbyteorder())",
    "other byte order, backwards": "a.astype(a.dtype.newbyteorder())[..., ::-1].copy()[..., ::-1]",
    "read-only": "np.broadcast_to(a, a.shape)",
    "one row for all": "np.broadcast_to(a[:1], a.shape)",
    "one class for all": "np.broadcast_to(a[..., :1], a.shape)",
    "list": "a.tolist()",
}
OF_SCALARS = ("contiguous", "not aligned", "other byte order", "read-only", "list")
OF_OUT = (
    "contiguous",
    "Fortran",
    "backwards",
    "upside down",
    "classes apart",
    "rows apart",
    "Fortran, rows apart",
    "not aligned",
)


@dataclass(frozen=True)
class Operand:
    """An array argument."""

    values: Array
    layout: str = "contiguous"
    mask: Array | None = None  # that of numpy.ma


@dataclass(frozen=True)
class Out:
    """The argument `out`: new memory, or that of an argument, from `shift` elements on.

    The arguments `over` lie in its memory: at this byte, and the next number so many bytes on
    (0: as in a contiguous array).
    """

    shape: tuple[int, ...]
    dtype: str
    place: str = "new"
    layout: str = "contiguous"
    shift: int = 0
    over: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    function: str
    arrays: dict[str, Operand]
    options: dict[str, Any] = field(default_factory=dict)
    out: Out | None = None

    def plain(self, values: dict[str, Array] | None = None) -> Call:
        """The same call of contiguous arrays that share no memory, without `out`."""
        values = values or {name: a.values for name, a in self.arrays.items()}
        arrays = {name: Operand(values[name], mask=a.mask) for name, a in self.arrays.items()}
        return replace(self, arrays=arrays, out=None)


def call(function: str, out: Out | None = None, **arguments: Any) -> Call:
    """A call of arrays and numbers as they are."""
    arrays = {k: v for k, v in arguments.items() if isinstance(v, np.ndarray | Operand)}
    options = {k: v for k, v in arguments.items() if k not in arrays}
    operands = {k: v if isinstance(v, Operand) else Operand(v) for k, v in arrays.items()}
    return Call(function, operands, options, out)


# What is written for a function where that is not its name and its arguments.
_OPERATORS = {
    f"{name}{operation}": text.replace("J", f"onesum.{name}({{{first}}})")
    for name, first in (("softmax_jacobian", "p"), ("log_softmax_jacobian", "logp"))
    for operation, text in {
        " @ v": "J @ {v}",
        " @ matrix": "J @ {v}",
        ".T @ v": "J.T @ {v}",
        ".solve": "J.solve({b})",
        ".diagonal": "J.diagonal()",
        ".to_dense": "J.to_dense()",
    }.items()
}
EXPRESSIONS = _OPERATORS | {
    "g @ softmax_jacobian": "{g} @ onesum.softmax_jacobian({p})",
    "matrix @ softmax_jacobian": "{g} @ onesum.softmax_jacobian({p})",
    "g @ log_softmax_jacobian": "{g} @ onesum.log_softmax_jacobian({logp})",
    "matrix @ log_softmax_jacobian": "{g} @ onesum.log_softmax_jacobian({logp})",
    "Softmax": "(layer := onesum.Softmax({options}), layer({x}), layer.backward({dy}))[1:]",
    "LogSoftmax": "(layer := onesum.LogSoftmax({options}), layer({x}), layer.backward({dy}))[1:]",
    "CrossEntropyLoss": "(layer := onesum.CrossEntropyLoss({options}),"
    " layer({x}, {target}{rows}), layer.backward({dy}))[1:]",
    "boosting.gradient_and_curvature": "boosting.gradient_and_curvature({all})",
}
# The layers are held against the functions that they are made of.
SAME_AS = {
    "Softmax": "(y := onesum.softmax({x}, {options}), onesum.softmax_vjp(y, {dy}, {options}))",
    "LogSoftmax": "(y := onesum.log_softmax({x}, {options}),"
    " onesum.log_softmax_vjp(y, {dy}, {options}))",
    "CrossEntropyLoss": "((loss := onesum.cross_entropy_value_and_grad({x}, {target}{rows},"
    " {options}))[0], loss[1] * loss[1].dtype.type({dy}))",
}
FIRST = ("x", "p", "logp")  # the array that gives the shape
OF_A_LAYER_CALL = ("sample_weight", "where")


def expression(call: Call, forms: dict[str, str] = EXPRESSIONS) -> str:
    """The call alone."""
    names = [*call.arrays, *(["out"] if call.out else [])]
    options = [f"{k}={v!r}" for k, v in call.options.items() if k != "dy"]
    every = ", ".join([f"{name}={name}" for name in names] + options)
    form = forms.get(call.function)
    if form is None:
        return f"onesum.{call.function}({every})"
    given = [f"{name}={name}" for name in ("temperature", "weight") if name in call.arrays]
    rows = "".join(f", {name}={name}" for name in OF_A_LAYER_CALL if name in call.arrays)
    words = {name: name for name in names} | {"dy": repr(call.options.get("dy", 1.0))}
    words |= {"options": ", ".join([*given, *options]), "rows": rows, "all": every}
    words |= {name: ", ".join([name, *given, *options]) for name in ("p", "logp") if name in names}
    words |= {"dy": "dy"} if "dy" in names else {}
    return form.format(**words)


def lines(call: Call, constant: Callable[[str], str]) -> list[str]:
    """The statements that make the arrays of a call. `constant` is a contiguous array of values."""
    out, text = call.out, []
    inside = {} if out is None else out.over
    moved = out is not None and out.place != "new" and out.shift != 0
    for name, operand in call.arrays.items():
        if name in inside or (moved and name == out.place):
            continue
        if operand.layout == "contiguous":
            text.append(f"{name} = {constant(name)}")
        else:
            text.append(f"a = {constant(name)}")
            text.append(f"{name} = {LAYOUTS[operand.layout]}")
    if out is not None:
        if out.place == "new":
            full = f"np.full({out.shape}, 7, {out.dtype!r})"
            if out.layout == "contiguous":
                text.append(f"out = {full}")
            else:
                text += [f"a = {full}", f"out = {LAYOUTS[out.layout]}"]
        elif not moved:
            text.append(f"out = {out.place}")
        else:  # one memory, the argument before `out` or behind it
            size, ahead = int(np.prod(out.shape)), max(out.shift, 0)
            text.append(f"memory = np.zeros({size + abs(out.shift)}, {out.dtype!r})")
            for name, start in ((out.place, ahead - out.shift), ("out", ahead)):
                text.append(f"{name} = memory[{start}:{start + size}].reshape({out.shape})")
            text.append(f"{out.place}[...] = {constant(out.place)}")
        for name, (start, step) in inside.items():
            a = call.arrays[name].values
            memory = f"out.reshape(-1).view('u1'), {start}" + (f", ({step},)" if step else "")
            text.append(f"{name} = np.ndarray({a.shape}, {a.dtype.name!r}, {memory})")
            text.append(f"{name}[...] = {constant(name)}")
    for name, operand in call.arrays.items():
        if operand.mask is not None:
            text.append(f"{name} = np.ma.array({name}, mask={constant(name + '_mask')})")
    return text


@cache
def _compiled(text: str, mode: str) -> Any:
    return compile(text, "<fuzz>", mode)


def make(call: Call) -> dict[str, Any]:
    """The arrays of a call, by their names."""
    names: dict[str, Any] = {"np": np, "onesum": onesum, "boosting": boosting}
    for name, operand in call.arrays.items():
        names[f"{name}_values"] = operand.values
        names[f"{name}_mask_values"] = operand.mask
    text = "\n".join(lines(call, lambda name: f"np.array({name}_values)"))
    exec(_compiled(text, "exec"), names)
    return names


def answer(call: Call, names: dict[str, Any], forms: dict[str, str] = EXPRESSIONS) -> Any:
    """What the call returns, its arrays being made."""
    return eval(_compiled(expression(call, forms), "eval"), names)


def source(call: Call) -> str:
    """A program of its own that makes the call and prints the answer."""

    def literal(name: str) -> str:
        masked = name.endswith("_mask")
        operand = call.arrays[name.removesuffix("_mask") if masked else name]
        return _literal(operand.mask if masked else operand.values)

    body = lines(call, literal)
    needs_types = any("bfloat16" in line for line in body)
    head = ["import numpy as np", *(["import ml_dtypes"] if needs_types else []), "import onesum"]
    if call.function.startswith("boosting"):
        head.append("from onesum import boosting")
    numbers = [name for name in ("inf", "nan") if any(name in line for line in body)]
    if numbers:
        head.append(f"from numpy import {', '.join(numbers)}")
    return "\n".join([*head, "", *body, f"print({expression(call)})"])


def _literal(a: Array) -> str:
    shaped = f".reshape({a.shape})" if a.size == 0 else ""
    return f"np.array({_numbers(a)}, {a.dtype.name!r}){shaped}"


def _numbers(a: Any) -> Any:
    """The shortest numbers that round to those of the array."""
    if a.ndim:
        return [_numbers(row) for row in a]
    return a.item() if a.dtype.kind in "biu" else float(str(a[()]))
