# mypy: allow-untyped-defs, allow-untyped-calls
"""Chunks of the class axis, without derivatives: NumPy's backend on views of CPU tensors, elsewhere
the formulas of the reference in torch operations.
"""

import torch

from .. import reference, registry
from . import host
from .kernels import is_here


def normalizer(x, axis, where, temperature):
    if not _are_here(x, where, temperature):
        return reference.normalizer(x, axis, where, temperature)
    others = axis, host.array(where), host.array(temperature)
    return host.call(registry.numpy_backend.normalizer, (host.widened(x),), *others)


def shifted_exp(x, *others):
    return _shifted("shifted_exp", x, *others)


def shifted_logits(x, *others):
    return _shifted("shifted_logits", x, *others)


def _shifted(name, x, axis, where, temperature, m, words, dtype, out):
    if not _are_here(x, where, temperature, m, *words):
        return getattr(reference, name)(x, axis, where, temperature, m, words, dtype, out)
    room = None if dtype is torch.bfloat16 else host.room_for(x, dtype)
    options = *map(host.array, (where, temperature, m)), tuple(map(host.array, words))
    function = getattr(registry.numpy_backend, name)
    result = host.call(
        function, (host.widened(x.detach()),), axis, *options, host.NUMPY[dtype], host.array(room)
    )
    return result.to(dtype) if room is None else room


def _are_here(x, *others):
    """Whether NumPy can see them all: what torch.func maps or derives only stands for tensors."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    tensors = x, *(a for a in others if isinstance(a, torch.Tensor))
    return is_here(x) and not any(wrapped(a) for a in tensors)
