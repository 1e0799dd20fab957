# mypy: allow-untyped-defs, allow-untyped-calls
"""PyTorch by the names of the array API standard, as far as the checks and formulas use them."""

import builtins
import math
from typing import Any

import torch

library = "torch"  # whose functions these are

inf, nan = math.inf, math.nan
# What has the same name and the same arguments there.
_SAME = (
    "abs arange argmax argsort bfloat16 broadcast_to cosh exp expm1 float16 float32 float64 full "
    "full_like int8 int64 isfinite isinf isnan log matmul ones ones_like reshape sign tanh where "
    "zeros zeros_like"
)
globals().update({name: getattr(torch, name) for name in _SAME.split()})

concat = torch.cat
max, min = torch.amax, torch.amin  # noqa: A001
permute_dims = torch.permute
result_type = torch.promote_types  # of two types

__array_api_version__ = "2024.12"


class __array_namespace_info__:  # noqa: N801
    """Which types a device has: not all of them have float64."""

    def dtypes(self, device=None, kind=None):
        if kind == "signed integer":
            return {"int64": torch.int64}
        if device is not None and device.type == "mps":
            return {"float32": torch.float32}
        return {"float32": torch.float32, "float64": torch.float64}


# --- what only tensors have -------------------------------------------------------------------


def dense(name: str, x: Any) -> Any:
    """A tensor with one memory and strides, as all others have it."""
    kind = "nested" if x.is_nested else "quantized" if x.is_quantized else None
    if kind is None and x.layout is torch.strided:
        if type(x).__name__ == "FakeTensor" and torch._C._len_torch_dispatch_stack() == 0:
            raise TypeError(f"{name}: expected a tensor, got a FakeTensor outside its mode")
        return x
    kind = kind or f"of layout {x.layout}"
    raise TypeError(f"{name}: expected a dense tensor, got one that is {kind}")


def need_own_memory(out):
    """Whether each element of `out` can be another number: not in an expanded tensor."""
    if builtins.any(n > 1 and step == 0 for n, step in zip(out.shape, out.stride(), strict=True)):
        wanted = "a tensor with memory for each element"
        raise ValueError(f"out: expected {wanted}, got an expanded one, of strides {out.stride()}")


def need_same_device(name, x, beside, other):
    if x.device != other.device:
        wanted = f"a tensor on {other.device}, as {beside} is"
        raise ValueError(f"{name}: expected {wanted}, got one on {x.device}")


def need_no_gradient(out, arguments):
    """What is written to `out` has no derivatives, as torch has it."""
    if not torch.is_grad_enabled():
        return
    if out.requires_grad:
        raise ValueError("out: expected a tensor that requires no gradient, got one that does")
    if builtins.any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments):
        wanted = "no argument that requires a gradient beside it"
        raise ValueError(
            f"out: expected {wanted}, for it can have no derivative; got one that does"
        )


def autocast(role, dtype, device):
    """The type of a result of this type under torch.autocast, whose lists are by device."""
    narrow = dtype in (torch.float16, torch.bfloat16)
    if not role or not narrow or device.type == "meta":  # which knows no autocast
        return dtype
    if not torch.is_autocast_enabled(device.type):
        return dtype
    return torch.float32 if role == "loss" or device.type != "cpu" else dtype


# --- what the standard has under another name, or with other arguments ------------------------


def astype(x, dtype, copy=True):
    return x.to(dtype, copy=copy)


def asarray(x, dtype=None, device=None, copy=None):
    if isinstance(
        x, torch.Tensor
    ):  # whose derivatives torch.asarray drops, or keeps with a warning
        return x.to(device, dtype, copy=bool(copy))
    return torch.asarray(x, dtype=dtype, device=device, copy=copy)


def expand_dims(x, axis):
    return torch.unsqueeze(x, axis)


def squeeze(x, axis):
    return torch.squeeze(x, axis)


def matrix_transpose(x):
    return x.mT


def take(x, indices, axis):
    return torch.index_select(x, axis, indices)


def take_along_axis(x, indices, axis):
    return torch.gather(x, axis, indices)


def put_along_axis(x, indices, values, axis):
    x.scatter_(axis, indices, values)


def nonzero(x):
    return torch.nonzero(x, as_tuple=True)


def sum(x, axis=None, keepdims=False):  # noqa: A001
    return torch.sum(x, dim=_axes(x, axis), keepdim=keepdims)


def any(x, axis=None, keepdims=False):  # noqa: A001
    return torch.any(x, dim=_axes(x, axis), keepdim=keepdims)


def all(x, axis=None, keepdims=False):  # noqa: A001
    return torch.all(x, dim=_axes(x, axis), keepdim=keepdims)


def _axes(x, axis):
    """Several axes, of which PyTorch takes none at all to be all of them."""
    return tuple(range(x.ndim)) if axis is None else axis
