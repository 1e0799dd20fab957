"""Times and memory on a device: forward and backward by onesum beside the library's own functions.

Both compute in turns. On CUDA a turn is timed by the device's events, JAX's by the clock until its
results are ready. Memory is what torch's allocator held at most beyond what was there before.
"""

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import onesum
from onesum.bench.cases import shape_name

from .lanes import Jax, Lane, Torch, jax_losses

Call = Callable[[], Any]
SHAPES = ((4096, 1000), (512, 32000), (128, 128256), (4096, 128), (1, 10))
SMALL_SHAPES = ((1, 10), (64, 100))
OPERATIONS = ("softmax", "log_softmax", "cross_entropy")
DTYPES = ("float32", "bfloat16")
TURNS, TURN, MOST = 7, 4e-3, 200  # turns of each; seconds of a turn; calls in it


def measurements(lane: Lane, shapes: Any, deadline: float) -> Iterator[dict[str, Any]]:
    """One for each operation, shape and type, as long as there is time."""
    for dtype in DTYPES:
        for shape in shapes:
            for operation in OPERATIONS:
                about = {"operation": operation, "shape": shape_name(shape, -1), "dtype": dtype}
                if time.monotonic() > deadline:
                    yield {"kind": "left out", "what": about, "why": "no time was left"}
                    continue
                try:
                    yield {"kind": "time", **about, **_measured(lane, operation, shape, dtype)}
                except Exception as error:
                    why = f"{type(error).__name__}: {error}"[:400]
                    yield {"kind": "left out", "what": about, "why": why}


def _measured(lane: Lane, operation: str, shape: tuple[int, int], dtype: str) -> dict[str, Any]:
    operands = _operands(lane, operation, shape, dtype)
    prepare = _in_torch if isinstance(lane, Torch) else _in_jax
    calls = {own: prepare(lane, operation, own, *operands) for own in (True, False)}
    for call in calls.values():  # compiled, and warm
        call()
        call()
    timed = functools.partial(_turn, lane)
    once = max(min(timed(calls[True], 1), timed(calls[False], 1)), 1e-6)
    loops = int(min(max(TURN / once, 1), MOST))
    samples: dict[bool, list[float]] = {True: [], False: []}
    for i in range(TURNS):
        for own in (i % 2 == 0, i % 2 != 0):
            samples[own].append(timed(calls[own], loops))
    ours, theirs = (1e6 * statistics.median(samples[own]) for own in (True, False))
    found = {"onesum": round(ours, 2), "own": round(theirs, 2), "ratio": round(theirs / ours, 3)}
    if isinstance(lane, Torch) and lane.device == "cuda":
        peaks = {own: _peak(lane, call) for own, call in calls.items()}
        found |= {"memory": peaks[True], "own memory": peaks[False]}
    return found


def _operands(lane: Lane, operation: str, shape: tuple[int, int], dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = (3 * rng.standard_normal(shape, np.float32)).astype(dtype)
    if operation == "cross_entropy":
        return lane.send(x), lane.send(rng.integers(0, shape[1], shape[0]))
    return lane.send(x), lane.send(rng.standard_normal(shape, np.float32).astype(dtype))


def _in_torch(lane: Any, operation: str, own: bool, x: Any, other: Any) -> Call:
    functions = onesum if own else lane.torch.nn.functional
    function, loss = getattr(functions, operation), operation == "cross_entropy"
    if not loss and not own:
        function = functools.partial(function, dim=-1)
    function = lane.compiled(function)
    leaf = x.detach().requires_grad_()

    def call() -> Any:
        leaf.grad = None
        if loss:
            function(leaf, other).backward()
        else:
            function(leaf).backward(other)
        return leaf.grad

    return call


def _in_jax(lane: Any, operation: str, own: bool, x: Any, other: Any) -> Call:
    jax = lane.jax
    if operation == "cross_entropy":
        loss = onesum.cross_entropy if own else lambda x, y: jax_losses(x, y).mean()
        compiled = jax.jit(jax.value_and_grad(loss))
    else:
        function = getattr(onesum if own else jax.nn, operation)

        @jax.jit
        def compiled(x: Any, g: Any) -> Any:
            y, pull = jax.vjp(function, x)
            return y, pull(g)[0]

    return lambda: compiled(x, other)


def _turn(lane: Lane, call: Call, loops: int) -> float:
    """Seconds a call."""
    if isinstance(lane, Torch) and lane.device == "cuda":
        cuda = lane.torch.cuda
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        cuda.synchronize()
        start.record()
        for _ in range(loops):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / loops
    wait = lane.jax.block_until_ready if isinstance(lane, Jax) else lambda a: a
    begin = time.perf_counter()
    for _ in range(loops):
        answer = call()
    wait(answer)
    return (time.perf_counter() - begin) / loops


def _peak(lane: Any, call: Call) -> int:
    """Bytes."""
    cuda = lane.torch.cuda
    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    answer = call()
    cuda.synchronize()
    del answer
    return int(cuda.max_memory_allocated() - before)
