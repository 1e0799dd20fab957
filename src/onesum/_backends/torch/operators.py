# mypy: allow-untyped-defs, allow-untyped-calls
"""The operations of `host.py` as operators of torch: torch.ops.onesum.

They are what is left of a call where tensors are not there yet: while torch compiles or exports, or
a mode watches what it does. Their results have the strides of `torch.empty_like`.
"""

from typing import Any

import torch

from . import host

_LOGITS = "Tensor? where, Tensor? temperatures, float temperature, int axis"
_PRODUCT = "Tensor? temperatures, float temperature, int axis, ScalarType dtype"
_TARGET = (
    "Tensor? classes, Tensor? probabilities, Tensor? weight, Tensor? sample_weight, "
    f"{_LOGITS}, float smoothing, float z_loss, float? softcap, ScalarType dtype"
)
# The answer: like an operand, without the axis, without the axis in the widest type; or several.
LIKE, ROWS, WIDE = "like", "rows", "wide"
SCHEMAS = {
    "softmax": (f"Tensor x, {_LOGITS}, ScalarType dtype", (LIKE,)),
    "log_softmax": (f"Tensor x, {_LOGITS}, ScalarType dtype", (LIKE,)),
    "logsumexp": (f"Tensor x, {_LOGITS}, ScalarType dtype", (ROWS,)),
    "signed_logsumexp": (f"Tensor x, Tensor b, {_LOGITS}, ScalarType dtype", (ROWS, ROWS)),
    "softmax_vjp": (f"Tensor p, Tensor g, {_PRODUCT}", (LIKE,)),
    "log_softmax_vjp": (f"Tensor logp, Tensor g, {_PRODUCT}", (LIKE,)),
    "log_softmax_jvp": (f"Tensor logp, Tensor v, {_PRODUCT}", (LIKE,)),
    "logsumexp_vjp": (f"Tensor x, Tensor g, {_LOGITS}, ScalarType dtype", (LIKE,)),
    "logsumexp_jvp": (f"Tensor x, Tensor v, {_LOGITS}, ScalarType dtype", (ROWS,)),
    "softmax_diagonal": (f"Tensor p, {_PRODUCT}", (LIKE,)),
    "log_softmax_diagonal": (f"Tensor logp, {_PRODUCT}", (LIKE,)),
    "cross_entropy": (f"Tensor x, {_TARGET}", (WIDE,)),
    "cross_entropy_gradient": (f"Tensor x, Tensor by, {_TARGET}", (LIKE,)),
    "cross_entropy_hvp": (f"Tensor x, Tensor v, Tensor by, {_TARGET}", (LIKE,)),
    "entropy": (f"Tensor x, {_LOGITS}, ScalarType dtype", (ROWS,)),
    "kl_divergence": (f"Tensor x, Tensor y, {_LOGITS}, ScalarType dtype", (WIDE,)),
    "kl_divergence_gradient": (
        f"Tensor x, Tensor y, Tensor by, {_LOGITS}, ScalarType dtype",
        (LIKE, LIKE),
    ),
    "total": ("Tensor losses", (WIDE,)),
}


def _define(library, name, schema, kinds):
    returns = "Tensor" if len(kinds) == 1 else "(" + ", ".join("Tensor" for _ in kinds) + ")"
    library.define(f"{name}({schema}) -> {returns}")
    operator = getattr(torch.ops.onesum, name).default
    names = [argument.name for argument in operator._schema.arguments]
    at = names.index("temperatures") if "temperatures" in names else None
    axis_at = names.index("axis") if "axis" in names else None
    dtype_at = names.index("dtype") if "dtype" in names else None
    function = getattr(host, name)

    def real(*arguments):
        given = arguments
        if at is not None:
            given = (*arguments[:at], _temperature(*arguments[at : at + 2]), *arguments[at + 2 :])
        results = function(*given)
        if len(kinds) == 1:
            return _laid_out(kinds[0], results, arguments[0])
        return tuple(_laid_out(k, a, arguments[0]) for k, a in zip(kinds, results, strict=True))

    def fake(*arguments):
        dtype = None if dtype_at is None else arguments[dtype_at]
        axis = None if axis_at is None else arguments[axis_at]
        results = tuple(_empty(kind, arguments[0], axis, dtype) for kind in kinds)
        return results[0] if len(kinds) == 1 else results

    _operators[name] = operator, at
    library.impl(name, real, "CPU")
    torch.library.register_fake(f"onesum::{name}", fake, lib=library)


def call(name, *arguments):
    """The operator of this name; its temperature is a number or a tensor."""
    operator, at = _operators[name]
    if at is not None:
        t = arguments[at]
        both = (t, 1.0) if isinstance(t, torch.Tensor) else (None, t)
        arguments = (*arguments[:at], *both, *arguments[at + 1 :])
    return operator(*arguments)


def _temperature(temperatures, temperature):
    return temperature if temperatures is None else temperatures


def _laid_out(kind, result, x):
    """The result with the strides that were announced."""
    if kind != LIKE:
        return result.contiguous()
    if result.is_contiguous() and x.is_contiguous():
        return result
    wanted = torch.empty_like(x, dtype=result.dtype)
    return result if result.stride() == wanted.stride() else wanted.copy_(result)


def _empty(kind, x, axis, dtype):
    if kind == LIKE:
        return torch.empty_like(x, dtype=dtype)
    shape = () if axis is None else x.shape[:axis] + x.shape[axis + 1 :]
    return x.new_empty(shape, dtype=torch.float64 if kind == WIDE else dtype)


_operators: dict[str, Any] = {}
_library = torch.library.Library("onesum", "DEF")
for _name, (_schema, _kinds) in SCHEMAS.items():
    _define(_library, _name, _schema, _kinds)
