"""The libraries whose arrays live on a CUDA device: how arrays get there and back, and their own
functions beside ours.
"""

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import onesum
from onesum.bench import peers

Array = Any
SIXTEEN = ("float16", "bfloat16")


class Lane:
    """A library, with onesum's functions as attributes, which take NumPy's arrays there."""

    name: str
    dtypes: tuple[str, ...] = ("float32", *SIXTEEN, "float64")
    # So many times the bounds of tests/budget.py are allowed, where the core does not compute.
    allowed = 1.0
    flushes = False  # whether it takes subnormal numbers for 0
    compiles = False  # whether a function is compiled as a whole, for each shape and type

    def __init__(self, device: str):
        self.device = device

    def __getattr__(self, function: str) -> Callable[..., Any]:
        target = getattr(onesum, function)

        def call(*args: Any, **options: Any) -> Any:
            sent = [self.sent(a) for a in args]
            return target(*sent, **{key: self.sent(a) for key, a in options.items()})

        return call

    def sent(self, a: Any) -> Any:
        return self.send(a) if isinstance(a, np.ndarray) else a

    def send(self, a: np.ndarray) -> Array:
        raise NotImplementedError

    def back(self, a: Array) -> np.ndarray:
        raise NotImplementedError

    def is_there(self, a: Array) -> bool:
        """Whether an array is of this library, on the device."""
        raise NotImplementedError

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of arrays, as a whole."""
        return function

    def own(self, function: str, args: tuple[Array, ...]) -> tuple[Array, ...] | None:
        """What the library itself answers, if it has the function."""
        return None

    def versions(self) -> dict[str, Any]:
        raise NotImplementedError


class Torch(Lane):
    name, allowed = "torch", 16.0

    def __init__(self, device: str):
        import torch

        super().__init__(device)
        self.torch = torch
        if device == "cuda":
            torch.zeros(1, device=device)  # an error now rather than in every check

    def send(self, a: np.ndarray) -> Array:
        return peers.as_tensor(np.array(a)).to(self.device)

    def back(self, a: Array) -> np.ndarray:
        return np.asarray(peers.as_numpy(a.detach().cpu()))

    def is_there(self, a: Array) -> bool:
        return isinstance(a, self.torch.Tensor) and a.device.type == self.device

    def own(self, function: str, args: tuple[Array, ...]) -> tuple[Array, ...] | None:
        torch = self.torch
        first, *others = args
        if function in ("softmax", "log_softmax", "logsumexp"):
            return (getattr(torch, function)(first, -1),)
        if function in ("softmax_vjp", "log_softmax_vjp"):
            backward = getattr(torch, f"_{function[:-4]}_backward_data")
            return (backward(others[0], first, -1, first.dtype),)
        if function == "cross_entropy":
            leaf = first.detach().requires_grad_()
            losses = torch.nn.functional.cross_entropy(leaf, others[0], reduction="none")
            losses.sum().backward()
            return losses, leaf.grad
        return None

    def versions(self) -> dict[str, Any]:
        torch = self.torch
        name = torch.cuda.get_device_name() if self.device == "cuda" else "CPU"
        return {"torch": torch.__version__, "device": name, "cuda": torch.version.cuda}


class CompiledTorch(Torch):
    name, compiles = "torch.compile", True
    dtypes = ("float32", "bfloat16", "float64")

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.torch._dynamo.reset()  # the limit of variants is of a function's code
        return self.torch.compile(function, fullgraph=True, dynamic=False)


class Jax(Lane):
    name, allowed, x64 = "JAX", 4.0, False
    flushes = True
    dtypes = ("float32", *SIXTEEN)

    def __init__(self, device: str):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others are there, too
        import jax

        super().__init__(device)
        self.jax = jax
        jax.config.update("jax_enable_x64", self.x64)
        self.place = jax.devices(device)[0]
        jax.config.update("jax_default_device", self.place)

    def send(self, a: np.ndarray) -> Array:
        return self.jax.device_put(a, self.place)

    def back(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def is_there(self, a: Array) -> bool:
        return isinstance(a, self.jax.Array) and a.devices() == {self.place}

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.jax.jit(function)
        return compiled

    def own(self, function: str, args: tuple[Array, ...]) -> tuple[Array, ...] | None:
        jax = self.jax
        if function in ("softmax", "log_softmax", "logsumexp"):
            return (jax.jit(functools.partial(getattr(jax.nn, function), axis=-1))(*args),)
        if function == "cross_entropy":
            return tuple(jax.jit(self._own_loss)(*args))
        return None

    def _own_loss(self, x: Array, y: Array) -> tuple[Array, Array]:
        losses, pull = self.jax.vjp(lambda x: jax_losses(x, y), x)
        return losses, *pull(self.jax.numpy.ones_like(losses))

    def versions(self) -> dict[str, Any]:
        return {"jax": self.jax.__version__, "device": self.place.device_kind}


class WideJax(Jax):
    name, x64 = "JAX, x64", True
    dtypes = ("float64", "float32")


class Cupy(Lane):
    name = "CuPy"
    flushes = True
    dtypes = ("float32", "float16", "float64")

    def __init__(self, device: str):
        super().__init__(device)
        if device == "cpu":
            raise LeftOut("CuPy has no arrays on CPUs")
        for module in ("cupy", "array_api_compat"):
            if importlib.util.find_spec(module) is None:
                raise LeftOut(
                    f"{module} is not installed, without which onesum takes no CuPy array"
                )
        import cupy

        self.cupy = cupy

    def send(self, a: np.ndarray) -> Array:
        return self.cupy.asarray(a)

    def back(self, a: Array) -> np.ndarray:
        return np.asarray(self.cupy.asnumpy(a))

    def is_there(self, a: Array) -> bool:
        return isinstance(a, self.cupy.ndarray)

    def versions(self) -> dict[str, Any]:
        import array_api_compat

        name = self.cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        versions = {"cupy": self.cupy.__version__, "device": name}
        return {**versions, "array-api-compat": array_api_compat.__version__}


class LeftOut(Exception):  # noqa: N818 - it is no error
    """A lane that is not to be had here, and why."""


LANES = {lane.name: lane for lane in (Torch, CompiledTorch, Jax, WideJax, Cupy)}


def jax_losses(x: Array, y: Array) -> Array:
    """As optax's softmax_cross_entropy_with_integer_labels has it."""
    import jax

    chosen = jax.numpy.take_along_axis(x, y[:, None], -1)[:, 0]
    return jax.nn.logsumexp(x, -1) - chosen
