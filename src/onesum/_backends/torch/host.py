# mypy: allow-untyped-defs, allow-untyped-calls
"""The operations on CPU tensors: NumPy's backend on views of their memory.

Every operation, here, in the formulas and with derivatives, has its tensors before its options, the
class axis first among these. A view takes any strides and no copy. NumPy has no bfloat16: where a
call is plain the core takes its bits; otherwise it is widened to float32, and rounded once at the
end. A result keeps NumPy's array, and so the memory of large results.
"""

from functools import partial

import numpy as np
import torch

from .. import registry
from ..target import Target

NUMPY = {
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(np.float32),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
_SAME = frozenset(NUMPY) - {torch.bfloat16}  # NumPy has them


def call(function, operands, *others):
    """A function of NumPy's arrays, on operands that are tensors.

    Its results are tensors of their memory. NotImplemented comes back, and if an operand has no
    such view.
    """
    try:
        arrays = [x.numpy() if x.requires_grad is False else x.detach().numpy() for x in operands]
    except (TypeError, RuntimeError):
        return NotImplemented
    return tensor(function(*arrays, *others))


def array(x):
    """NumPy's view of a tensor; None and numbers are what they are."""
    return x.numpy(force=True) if isinstance(x, torch.Tensor) else x


def memory(x, dtype=None):
    """NumPy's view of a tensor, of its own memory if it has this type: None where there is none."""
    try:
        return x.detach().to(dtype).numpy()
    except (TypeError, RuntimeError):
        return None


def tensor(a):
    """A tensor of the memory of an array; the same for scalars, and for tuples of them."""
    if type(a) is np.ndarray:
        return torch.from_numpy(a)
    if type(a) is tuple:
        return tuple(map(tensor, a))
    return torch.from_numpy(np.asarray(a)) if isinstance(a, np.generic) else a


def widened(x):
    """What NumPy can view: float32 for bfloat16, and signs in memory as they are to be read."""
    if not isinstance(x, torch.Tensor):
        return x
    return x.float() if x.dtype is torch.bfloat16 else x.resolve_neg()


# The functions whose results lack the class axis.
_OF_ROWS = frozenset({"logsumexp", "logsumexp_jvp", "entropy"})
# Bytes of the results that torch gives the memory for. Smaller ones are not worth it, larger ones
# have memory of NumPy's backend, which is used again. In between torch has its pages at hand, where
# malloc, as NumPy calls it, may go to the system for each result and give it back.
OWN_MEMORY = range(1 << 16, 1 << 24)


def room_for(x, dtype):
    """A tensor for a result like x, or None if NumPy's backend is to make it."""
    size = x.numel() * dtype.itemsize
    return torch.empty_like(x, dtype=dtype) if size in OWN_MEMORY and dtype in _SAME else None


def direct(name, operands, axis, temperature, *keepdims):
    """NumPy's direct call of this name."""
    if operands[0].dtype is torch.bfloat16:
        return _direct_of_bits(name, operands, axis, temperature, None, *keepdims)
    function, x = getattr(registry.numpy_backend.direct, name), operands[0]
    room = None if name in _OF_ROWS else room_for(x, x.dtype)
    if room is None:
        return call(function, operands, axis, temperature, None, *keepdims)
    result = call(function, operands, axis, temperature, array(room), *keepdims)
    return result if result is NotImplemented else room


def _direct_of_bits(name, operands, *others):
    """The direct call for bfloat16, where the core serves, which takes uint16 for its bits."""
    functions = getattr(registry.numpy_backend, "direct_bfloat16", None)
    if functions is None or any(x.dtype is not torch.bfloat16 or x.is_neg() for x in operands):
        return NotImplemented
    bits = [x.detach().view(torch.uint16) for x in operands]
    result = call(getattr(functions, name), bits, *others)
    return result if result is NotImplemented else result.view(torch.bfloat16)


def _general(name, operands, axis, options, dtype):
    function, x = getattr(registry.numpy_backend, name), operands[0]
    room = None if name in _OF_ROWS or dtype not in _SAME else room_for(x, dtype)
    options = (*map(array, options), NUMPY[dtype], array(room))
    result = call(function, map(widened, operands), axis, *options)
    return result.to(dtype) if room is None else room


def _of_logits(name, x, where, temperature, axis, dtype, *keepdims):
    if where is None and x.dtype is dtype:
        result = direct(name, (x,), axis, temperature, *keepdims)
        if result is not NotImplemented:
            return result.to(dtype)
    return _general(name, (x,), axis, (where, temperature), dtype)


def _of_logits_and(name, x, v, where, temperature, axis, dtype, *, keepdims):
    if where is None and x.dtype is v.dtype is dtype:
        result = direct(name, (x, v), axis, temperature, keepdims)
        if result is not NotImplemented:
            return result.to(dtype)
    return _general(name, (x, v), axis, (where, temperature), dtype)


def _product(name, p, g, temperature, axis, dtype):
    if p.dtype is g.dtype is dtype:
        result = direct(name, (p, g), axis, temperature)
        if result is not NotImplemented:
            return result.to(dtype)
    return _general(name, (p, g), axis, (temperature,), dtype)


def _diagonal(name, p, temperature, axis, dtype):
    function = getattr(registry.numpy_backend, name)
    return call(function, (widened(p),), axis, array(temperature), NUMPY[dtype]).to(dtype)


softmax = partial(_of_logits, "softmax")
log_softmax = partial(_of_logits, "log_softmax")


def logsumexp(x, where, temperature, axis, dtype):
    return _of_logits("logsumexp", x, where, temperature, axis, dtype, False)


softmax_vjp = partial(_product, "softmax_vjp")
log_softmax_vjp = partial(_product, "log_softmax_vjp")
log_softmax_jvp = partial(_product, "log_softmax_jvp")
logsumexp_vjp = partial(_of_logits_and, "logsumexp_vjp", keepdims=True)
logsumexp_jvp = partial(_of_logits_and, "logsumexp_jvp", keepdims=False)
softmax_diagonal = partial(_diagonal, "softmax_diagonal")
log_softmax_diagonal = partial(_diagonal, "log_softmax_diagonal")


def signed_logsumexp(x, b, where, temperature, axis, dtype):
    function = registry.numpy_backend.signed_logsumexp
    options = array(where), array(temperature), NUMPY[dtype]
    results = call(function, (widened(x), widened(b)), axis, *options)
    return tuple(a.to(dtype) for a in results)


# --- losses ----------------------------------------------------------------------------------


def _target(classes, probabilities, weight, sample_weight, smoothing):
    probabilities = array(widened(probabilities))
    return Target(array(classes), probabilities, array(weight), smoothing, array(sample_weight))


def _losses(x, others, by, gradient):
    """The losses of the rows and their gradient, or None."""
    classes, probabilities, weight, sample_weight, *rest = others
    where, temperature, axis, smoothing, z_loss, softcap, dtype = rest
    options = axis, z_loss, softcap, array(where), array(temperature)
    room = array(room_for(x, dtype)) if gradient and dtype in _SAME else None
    function = registry.numpy_backend.cross_entropy
    target = _target(classes, probabilities, weight, sample_weight, smoothing)
    return call(function, (widened(x),), target, *options, by, gradient, NUMPY[dtype], room)


def cross_entropy(x, *others):
    return _losses(x, others, 1.0, False)[0]


def cross_entropy_gradient(x, by, *others):
    def gradient(by, dtype):
        return _losses(x, (*others[:-1], dtype), by, True)[1:]

    return _multiplied(gradient, by, others[6], others[-1])[0]


def cross_entropy_and_gradient(x, by, *others):
    """Both in one pass; `by` is a number."""
    losses, gradient = _losses(x, others, by, True)
    return losses, gradient.to(others[-1])


def cross_entropy_hvp(x, v, by, classes, probabilities, weight, sample_weight, where, temperature,
                      axis, smoothing, z_loss, softcap, dtype):  # fmt: skip
    target = _target(classes, probabilities, weight, sample_weight, smoothing)
    options = axis, z_loss, softcap, array(where), array(temperature)
    function = registry.numpy_backend.cross_entropy_hvp

    def product(by, dtype):
        v_ = array(widened(v))
        return (call(function, (widened(x),), target, v_, *options, by, NUMPY[dtype], None),)

    return _multiplied(product, by, axis, dtype)[0]


def entropy(x, where, temperature, axis, dtype):
    options = array(where), array(temperature), NUMPY[dtype]
    return call(registry.numpy_backend.entropy, (widened(x),), axis, *options).to(dtype)


def kl_divergence(x, y, where, temperature, axis, dtype):
    options = axis, array(where), array(temperature), 1.0, False, NUMPY[dtype]
    return call(registry.numpy_backend.kl_divergence, (widened(x), widened(y)), *options)[0]


def kl_divergence_gradient(x, y, by, where, temperature, axis, dtype):
    function = registry.numpy_backend.kl_divergence
    options = axis, array(where), array(temperature)

    def gradients(by, dtype):
        return call(function, (widened(x), widened(y)), *options, by, True, NUMPY[dtype])[1]

    return _multiplied(gradients, by, axis, dtype)


def kl_divergence_and_gradients(x, y, by, where, temperature, axis, dtype):
    """The values and both gradients; `by` is a number."""
    options = axis, array(where), array(temperature), by, True, NUMPY[dtype]
    function = registry.numpy_backend.kl_divergence
    values, gradients = call(function, (widened(x), widened(y)), *options)
    return values, tuple(a.to(dtype) for a in gradients)


def total(losses):
    number = call(registry.numpy_backend.total, (losses,))
    return torch.as_tensor(number, dtype=torch.float64, device="cpu")


def _multiplied(function, by, axis, dtype):
    """The results of a function of (by, dtype), where `by` has one number for each row."""
    number = single(by)
    if number is not None:
        results = function(number, dtype)
    else:
        results = function(1.0, torch.promote_types(dtype, torch.float32))
        for a in results:
            times(a, by, axis)
    return tuple(a.to(dtype) for a in results)


def single(by):
    """The number that all rows have, None if they have several. It is one of a reduced loss."""
    if by.ndim == 0:
        return by.item()
    if by.numel() > 0 and all(
        n == 1 or stride == 0 for n, stride in zip(by.shape, by.stride(), strict=True)
    ):
        return float(by[(0,) * by.ndim])
    return None


def times(a, by, axis):
    """a times a number for each row, in its place. What is 0 stays 0, as in rows to be ignored."""
    by = by.unsqueeze(axis)
    zero = None if bool(torch.isfinite(by).all()) else a == 0.0
    a.mul_(by)
    return a if zero is None else a.masked_fill_(zero, 0.0)
