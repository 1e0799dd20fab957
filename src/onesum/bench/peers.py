"""The same five operations from every library, each in its strongest ordinary form.

A peer takes an operation, its operands (NumPy arrays), the axis and an array for the result, and
prepares two calls without arguments: one that returns a fresh array, one that writes to the array
given. Where the library cannot do the latter there is None; where it lacks the operation there is
no answer at all.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import onesum

from . import host

Call = Callable[[], Any]


class Calls(NamedTuple):
    fresh: Call
    out: Call | None = None

    def ready(self) -> dict[str, Call]:
        """Those there are, by name."""
        return {name: call for name, call in self._asdict().items() if call is not None}


Peer = Callable[[str, tuple[Any, ...], int, Any], Calls | None]


def _onesum(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    function = partial(getattr(onesum, operation), *arrays, axis=axis)
    return Calls(function, partial(function, out=out))


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


_FORMULAS: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "softmax_vjp": _softmax_vjp,
    "log_softmax_vjp": _log_softmax_vjp,
}


def _numpy(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    function = partial(_FORMULAS[operation], *arrays, axis=axis)
    return Calls(function, partial(function, out=out))


def _scipy(operation: str, arrays: tuple[Any, ...], axis: int, _: Any) -> Calls | None:
    import scipy.special

    function = getattr(scipy.special, operation, None)
    return function and Calls(partial(function, *arrays, axis=axis))


def _torch(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls:
    """The derivatives are the kernels behind `backward`, without the tape."""
    import torch

    def tensor(a: Any) -> Any:
        if a.dtype.name == "bfloat16":
            return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(a)

    tensors = tuple(map(tensor, arrays))
    if operation.endswith("_vjp"):
        name = operation.removesuffix("_vjp")
        result, g = tensors
        backward = getattr(torch, f"_{name}_backward_data")
        function = partial(backward, g, result, axis, g.dtype)
        keyword = "grad_input" if name == "softmax" else "out"
    else:
        function = partial(getattr(torch, operation), *tensors, axis)
        keyword = "out"
    return Calls(function, partial(function, **{keyword: tensor(out)}))


def _jax(operation: str, arrays: tuple[Any, ...], axis: int, _: Any) -> Calls:
    """Compiled before it is timed; the derivatives are those that JAX derives, in terms of p."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    # Every call is waited for: faster without a queue in between.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    derivatives = {
        "softmax_vjp": lambda p, g: p * (g - (p * g).sum(axis, keepdims=True)),
        "log_softmax_vjp": lambda logp, g: g - jnp.exp(logp) * g.sum(axis, keepdims=True),
    }
    forward = partial(getattr(jax.nn, operation, None) or derivatives[operation])
    function = jax.jit(forward if operation in derivatives else partial(forward, axis=axis))
    on_device = tuple(map(jnp.asarray, arrays))
    return Calls(lambda: function(*on_device).block_until_ready())


def _onnxruntime(operation: str, arrays: tuple[Any, ...], axis: int, out: Any) -> Calls | None:
    """A model of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    operators = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "logsumexp": "ReduceLogSumExp"}
    if operation not in operators:
        return None
    (x,) = arrays
    reduces = operation == "logsumexp"
    shape = np.delete(x.shape, axis).tolist() if reduces else list(x.shape)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node(
        operators[operation],
        ["x", "axes"] if reduces else ["x"],
        ["y"],
        **({"keepdims": 0} if reduces else {"axis": axis}),
    )
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])
    graph = helper.make_graph(
        [node],
        operation,
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
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
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, x.dtype, shape, out.ctypes.data)

    def into() -> Any:
        session.run_with_iobinding(binding)
        return out

    return Calls(lambda: session.run(None, {"x": x})[0], into)


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


def missing() -> list[str]:
    return [name for name in NAMES if name not in installed()]


def as_numpy(answer: Any) -> Any:
    """An array of any of the libraries as NumPy's."""
    if type(answer).__module__ == "torch":
        import torch

        if answer.dtype == torch.bfloat16:
            import ml_dtypes

            return answer.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return answer.numpy()
    return np.asarray(answer)
