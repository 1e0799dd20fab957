# mypy: allow-untyped-defs
"""PyTorch by the names of the array API standard, as far as the checks and formulas use them."""

import math
from types import SimpleNamespace

import torch

library = "torch"  # whose functions these are

inf, nan = math.inf, math.nan
# What has the same name and the same arguments there.
_SAME = (
    "abs arange argmax asarray argsort bfloat16 broadcast_to exp expm1 float16 float32 float64 full "
    "full_like int8 int64 isfinite isinf isnan log matmul ones ones_like reshape sign where zeros "
    "zeros_like"
)
globals().update({name: getattr(torch, name) for name in _SAME.split()})

concat = torch.cat
max, min = torch.amax, torch.amin  # noqa: A001
permute_dims = torch.permute
result_type = torch.promote_types  # of two types

__array_api_version__ = "2024.12"


def __array_namespace_info__():
    """Which types a device has; not all of them have float64."""

    def dtypes(device=None, kind=None):
        names = ["float32"] if torch.device(device).type == "mps" else ["float32", "float64"]
        return {name: getattr(torch, name) for name in names}

    return SimpleNamespace(dtypes=dtypes)


def astype(x, dtype, copy=True):
    return x.to(dtype, copy=copy)


def expand_dims(x, axis):
    return torch.unsqueeze(x, axis)


def squeeze(x, axis):
    return torch.squeeze(x, axis)


def matrix_transpose(x):
    return x.mT


def take(x, indices, axis):
    return torch.index_select(x, axis, indices)


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
