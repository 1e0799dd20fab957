"""The same operations from every library, each in its strongest ordinary form.

A peer takes an operation, its operands (NumPy arrays), the axis and an array for the result, and
prepares two calls without arguments: one that returns a fresh array, one that writes to the array
given. Where the library cannot do the latter there is None; where it lacks the operation there is
no answer at all.

A loss is the mean over all rows. With its gradient the answer is both, and the second call works in
place: the array given holds the logits, and then the gradient. Later calls take what is there for
logits. It is finite, and the time does not depend on the values: so nothing puts the logits back.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import onesum

from . import host
from .cases import LOSS, LOSSES, VALUE_AND_GRAD

Call = Callable[[], Any]


class Calls(NamedTuple):
    fresh: Call
    out: Call | None = None

    def ready(self) -> dict[str, Call]:
        """Those there are, by name."""
        return {name: call for name, call in self._asdict().items() if call is not None}


Peer = Callable[[str, tuple[Any, ...], int, Any], Calls | None]


def _onesum(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    function = getattr(onesum, operation)
    fresh = partial(function, *arrays, axis=axis)
    if operation == LOSS:
        return Calls(fresh)
    if operation == VALUE_AND_GRAD:
        x, y = arrays
        np.copyto(out, x)
        return Calls(fresh, partial(function, out, y, axis=axis, out=out))
    return Calls(fresh, partial(fresh, out=out))


# NumPy: the formula, with no temporary array that can be avoided.


def _softmax(x: Any, axis: int, out: Any = None) -> Any:
    out = np.subtract(x, x.max(axis, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, out.sum(axis, keepdims=True), out=out)


def _log_softmax(x: Any, axis: int, out: Any = None) -> Any:
    out = np.subtract(x, x.max(axis, keepdims=True), out=out)
    return np.subtract(out, np.log(np.exp(out).sum(axis, keepdims=True)), out=out)


def _logsumexp(x: Any, axis: int, out: Any = None) -> Any:
    m = x.max(axis, keepdims=True)
    e = x - m
    np.exp(e, out=e)
    return np.add(np.log(e.sum(axis), out=out), m.squeeze(axis), out=out)


def _softmax_vjp(p: Any, g: Any, axis: int, out: Any = None) -> Any:
    out = np.multiply(p, g, out=out)
    np.subtract(g, out.sum(axis, keepdims=True), out=out)
    return np.multiply(p, out, out=out)


def _log_softmax_vjp(logp: Any, g: Any, axis: int, out: Any = None) -> Any:
    out = np.exp(logp, out=out)
    np.multiply(out, g.sum(axis, keepdims=True), out=out)
    return np.subtract(g, out, out=out)


def _cross_entropy(x: Any, at: Any, axis: int) -> Any:
    """`at` is the index of every row's class."""
    out = x - x.max(axis, keepdims=True)
    chosen = out[at]
    np.exp(out, out=out)
    return np.mean(np.log(out.sum(axis)) - chosen)


def _cross_entropy_value_and_grad(x: Any, at: Any, axis: int, out: Any = None) -> Any:
    out = np.subtract(x, x.max(axis, keepdims=True), out=out)
    chosen = out[at]
    np.exp(out, out=out)
    total = out.sum(axis, keepdims=True)
    out /= total
    out[at] -= 1
    out /= chosen.size
    return np.mean(np.log(total.squeeze(axis)) - chosen), out


def _at(y: Any, axis: int) -> tuple[Any, ...]:
    """The index of every row's class, as in x[np.arange(k), y]."""
    index: list[Any] = list(np.ogrid[tuple(map(slice, y.shape))])
    index.insert(axis % (y.ndim + 1), y)
    return tuple(index)


_FORMULAS: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "softmax_vjp": _softmax_vjp,
    "log_softmax_vjp": _log_softmax_vjp,
    LOSS: _cross_entropy,
    VALUE_AND_GRAD: _cross_entropy_value_and_grad,
}


def _numpy(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    formula = _FORMULAS[operation]
    if operation in LOSSES:
        x, y = arrays
        at = _at(y, axis)
        fresh = partial(formula, x, at, axis)
        if operation == LOSS:
            return Calls(fresh)
        np.copyto(out, x)
        return Calls(fresh, partial(formula, out, at, axis, out))
    function = partial(formula, *arrays, axis=axis)
    return Calls(function, partial(function, out=out))


def _scipy(operation: str, arrays: tuple[Any, ...], axis: int, _: Any) -> Calls | None:
    import scipy.special

    if operation == LOSS:
        x, y = arrays
        at = _at(y, axis)
        return Calls(lambda: -np.mean(scipy.special.log_softmax(x, axis)[at]))
    function = getattr(scipy.special, operation, None)
    return function and Calls(partial(function, *arrays, axis=axis))


def _torch(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    """The derivatives are the kernels behind `backward`, without the tape; but of a loss, both."""
    import torch

    tensors = tuple(map(as_tensor, arrays))
    if operation in LOSSES:
        x, y = tensors
        return _torch_loss(operation, x, y, axis)
    if operation.endswith("_vjp"):
        name = operation.removesuffix("_vjp")
        result, g = tensors
        backward = getattr(torch, f"_{name}_backward_data")
        function = partial(backward, g, result, axis, g.dtype)
        keyword = "grad_input" if name == "softmax" else "out"
    else:
        function = partial(getattr(torch, operation), *tensors, axis)
        keyword = "out"
    return Calls(function, partial(function, **{keyword: as_tensor(out)}))


def as_tensor(a: Any) -> Any:
    """torch's view of a NumPy array."""
    import torch

    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def _torch_loss(operation: str, x: Any, y: Any, axis: int) -> Calls:
    from torch.nn.functional import cross_entropy

    classes_at = min(1, x.ndim - 1)  # where torch has them
    elsewhere = axis % x.ndim != classes_at

    def loss() -> Any:
        """Without a tape, as under no_grad(), unless x requires a gradient."""
        return cross_entropy(x.movedim(axis, classes_at) if elsewhere else x, y)

    def both() -> Any:
        x.grad = None  # otherwise backward() would add to it
        value = loss()
        value.backward()
        return value, x.grad

    if operation == LOSS:
        return Calls(loss)
    x.requires_grad_()
    return Calls(both)


def _jax(operation: str, arrays: tuple[Any, ...], axis: int, _: Any) -> Calls:
    """Compiled before it is timed; the derivatives are those that JAX derives, in terms of p."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    # Every call is waited for: faster without a queue in between.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if operation in LOSSES:
        x, y = arrays
        return _jax_loss(operation, x, y, axis)
    derivatives = {
        "softmax_vjp": lambda p, g: p * (g - (p * g).sum(axis, keepdims=True)),
        "log_softmax_vjp": lambda logp, g: g - jnp.exp(logp) * g.sum(axis, keepdims=True),
    }
    forward = partial(getattr(jax.nn, operation, None) or derivatives[operation])
    function = jax.jit(forward if operation in derivatives else partial(forward, axis=axis))
    on_device = tuple(map(jnp.asarray, arrays))
    return Calls(lambda: function(*on_device).block_until_ready())


def jax_losses(x: Any, y: Any, axis: int) -> Any:
    """The losses of all rows, as optax's softmax_cross_entropy_with_integer_labels has them."""
    import jax
    import jax.numpy as jnp

    chosen = jnp.take_along_axis(x, jnp.expand_dims(y, axis), axis).squeeze(axis)
    return jax.nn.logsumexp(x, axis) - chosen


def _jax_loss(operation: str, x: Any, y: Any, axis: int) -> Calls:
    """In place is a gradient whose operand is donated: the next call's logits."""
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(x), jnp.asarray(y, "int32")  # JAX's own type of integers

    def loss(x: Any, y: Any) -> Any:
        return jax_losses(x, y, axis).mean()

    if operation == LOSS:
        alone = jax.jit(loss)
        return Calls(lambda: alone(x, y).block_until_ready())
    both = jax.jit(jax.value_and_grad(loss))
    donating = jax.jit(jax.value_and_grad(loss), donate_argnums=0)
    own = jnp.array(x, copy=True)

    def in_place() -> Any:
        nonlocal own
        value, own = jax.block_until_ready(donating(own, y))
        return value, own

    return Calls(lambda: jax.block_until_ready(both(x, y)), in_place)


def _onnxruntime(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls | None:
    """A model of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    operators = {
        "softmax": "Softmax",
        "log_softmax": "LogSoftmax",
        "logsumexp": "ReduceLogSumExp",
        LOSS: "SoftmaxCrossEntropyLoss",
    }
    x = arrays[0]
    if operation not in operators or (operation == LOSS and axis % x.ndim != 1):
        return None  # classes have to be along axis 1 for a loss
    reduces = operation == "logsumexp"
    shape = np.delete(x.shape, axis).tolist() if reduces else list(x.shape)
    attributes = {"keepdims": 0} if reduces else {"axis": axis}
    if operation == LOSS:
        shape, attributes = [], {}
    given = dict(zip("xy", arrays, strict=False))

    def described(name: str, dtype: Any, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)

    node = helper.make_node(
        operators[operation], [*given, "axes"] if reduces else [*given], ["result"], **attributes
    )
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])
    graph = helper.make_graph(
        [node],
        operation,
        [described(name, a.dtype, a.shape) for name, a in given.items()],
        [described("result", x.dtype, shape)],
        [axes] if reduces else [],
    )
    opsets = [helper.make_opsetid("", 18)]
    oldest = helper.find_min_ir_version_for(opsets)  # which every ONNX Runtime reads
    model = helper.make_model(graph, opset_imports=opsets, ir_version=oldest)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = host.threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def fresh() -> Any:
        return session.run(None, given)[0]

    if operation == LOSS:
        return Calls(fresh)
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("result", "cpu", 0, x.dtype, shape, out.ctypes.data)

    def into() -> Any:
        session.run_with_iobinding(binding)
        return out

    return Calls(fresh, into)


ONESUM = "onesum"
_MODULES: dict[str, tuple[tuple[str, ...], Peer]] = {
    ONESUM: (("onesum",), _onesum),
    "NumPy": (("numpy",), _numpy),
    "SciPy": (("scipy",), _scipy),
    "torch": (("torch",), _torch),
    "JAX": (("jax",), _jax),
    "ONNX Runtime": (("onnx", "onnxruntime"), _onnxruntime),
}
NAMES = list(_MODULES)


def installed() -> dict[str, Peer]:
    return {
        name: peer for name, (modules, peer) in _MODULES.items() if all(map(find_spec, modules))
    }


def named(text: str) -> list[str]:
    """Installed libraries by their names, as in "onesum, torch, onnxruntime"; onesum is one."""
    names = {_plain(name): name for name in installed()}
    wanted = [_plain(part) for part in (ONESUM, *text.split(","))]
    for part in wanted:
        if part not in names:
            raise ValueError(f"expected some of {', '.join(installed())}, got {part!r}")
    return [name for plain, name in names.items() if plain in wanted]


def _plain(name: str) -> str:
    return name.replace(" ", "").lower()


def missing() -> list[str]:
    return [name for name in NAMES if name not in installed()]


def as_numpy(answer: Any) -> Any:
    """An array of any of the libraries as NumPy's."""
    if type(answer).__module__ == "torch":
        import torch

        answer = answer.detach()
        if answer.dtype == torch.bfloat16:
            import ml_dtypes

            return answer.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return answer.numpy()
    return np.asarray(answer)
