"""What ranks do and assert by themselves, each a function of its group and its rank."""

from __future__ import annotations

import os
import runpy
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from vocab_cases import COLLECTIVES, counted

from onesum.torch import vocab_parallel_cross_entropy, vocab_parallel_linear_cross_entropy
from onesum.torch.vocab_parallel import exchange
from onesum.torch.vocab_parallel import options as vocab_options

EXAMPLE = Path(__file__).parents[1] / "examples" / "vocab_parallel.py"


def small(rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """h, W and the logits of a rank, of 10 classes in all, and class indices."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    w = torch.randn(10, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(10, (6,), generator=generator)
    w = w[5 * rank : 5 * rank + 5] if rank < 2 else w
    return h, w, h @ w.T, y


def whole() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return small(2)


def as_it_is(group: Any, rank: int) -> None:
    """The results are torch's: in kind, on its tape, though not to be differentiated twice."""
    _, _, x, y = small(rank)
    x.requires_grad_()
    loss = vocab_parallel_cross_entropy(x, y, group)
    assert type(loss) is torch.Tensor
    assert loss.shape == ()
    assert (loss.dtype, loss.requires_grad) == (torch.float64, True)
    everything = whole()[2].requires_grad_()
    torch.nn.functional.cross_entropy(everything, y).mul(3).backward()
    with pytest.raises(RuntimeError, match=r"^vocab_parallel_cross_entropy: it has no second"):
        torch.autograd.grad(loss, x, create_graph=True)
    loss = vocab_parallel_cross_entropy(x, y, group)
    (grad,) = torch.autograd.grad(3 * loss, x)
    own = everything.grad[:, 5 * rank : 5 * rank + 5]
    torch.testing.assert_close(grad, own, rtol=1e-12, atol=1e-15)
    rows = vocab_parallel_cross_entropy(x.detach()[0], y[0], group, reduction="none")
    torch.testing.assert_close(rows, torch.nn.functional.cross_entropy(everything[0], y[0]))
    assert vocab_parallel_cross_entropy(x.detach()[:0], y[:0], group).isnan()
    half = vocab_parallel_cross_entropy(x.half(), y, group)
    assert half.dtype == torch.float16
    with torch.autocast("cpu"):
        low = x.detach().bfloat16().requires_grad_()
        loss = vocab_parallel_cross_entropy(low, y, group)
        assert loss.dtype == torch.float32
    loss.backward()
    assert low.grad.dtype == torch.bfloat16


def without_gradients(group: Any, rank: int) -> None:
    """Nothing is kept then; the value is the same, and so is what is sent."""
    h, w, x, y = small(rank)
    for function, *arrays in [
        (vocab_parallel_cross_entropy, x),
        (vocab_parallel_linear_cross_entropy, h, w),
    ]:
        with_gradient = function(*(a.requires_grad_() for a in arrays), y, group)
        sent: dict[str, int] = {}
        with ExitStack() as stack:
            for name in COLLECTIVES:
                stack.enter_context(mock.patch.object(dist, name, counted(name, sent)))
            stack.enter_context(torch.no_grad())
            without = function(*arrays, y, group)
        assert without.grad_fn is None
        assert torch.equal(without, with_gradient)
        assert sum(sent.values()) == 256 + 8 * 9 * 6


def dh_of_its_own(group: Any, rank: int) -> None:
    """reduce_dh=False leaves the sum over the ranks to the layer in front."""
    h, w, _, y = small(rank)
    h.requires_grad_()
    total = torch.autograd.grad(vocab_parallel_linear_cross_entropy(h, w, y, group), h)[0]
    loss = vocab_parallel_linear_cross_entropy(h, w, y, group, reduce_dh=False)
    (part,) = torch.autograd.grad(loss, h)
    assert not torch.allclose(part, total)
    dist.all_reduce(part, group=group)
    assert torch.equal(part, total)


def in_mesh(group: Any, rank: int) -> None:
    """DTensors, of a mesh of one dimension and of one of two."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    h, w, x, y = whole()
    x.requires_grad_()
    torch.nn.functional.cross_entropy(x, y, label_smoothing=0.1).backward()
    line, square = init_device_mesh("cpu", (4,)), init_device_mesh("cpu", (2, 2))
    for mesh, placements in [(line, [Shard(1)]), (square, [Replicate(), Shard(1)])]:
        logits = distribute_tensor(x.detach(), mesh, placements).requires_grad_()
        replicated = distribute_tensor(y, mesh, [Replicate()] * mesh.ndim)
        for target in (y, replicated):
            logits.grad = None
            loss = vocab_parallel_cross_entropy(logits, target, label_smoothing=0.1)
            loss.backward()
            assert isinstance(logits.grad, DTensor)
            grad = logits.grad.full_tensor()
            torch.testing.assert_close(grad, x.grad, rtol=1e-12, atol=1e-15)
        one_hot = torch.nn.functional.one_hot(y, 10).double()
        probabilities = distribute_tensor(one_hot, mesh, placements)
        again = vocab_parallel_cross_entropy(logits, probabilities, label_smoothing=0.1)
        torch.testing.assert_close(again, loss)

    layer = [a.detach().clone().requires_grad_() for a in (h, w, torch.ones(10).double())]
    torch.nn.functional.cross_entropy(layer[0] @ layer[1].T + layer[2], y).backward()
    placements = [[Replicate()], [Shard(0)], [Shard(0)]]
    for reduce_dh in (True, False):
        sharded = [
            distribute_tensor(a.detach(), line, p).requires_grad_()
            for a, p in zip(layer, placements, strict=True)
        ]
        loss = vocab_parallel_linear_cross_entropy(
            sharded[0], sharded[1], y, bias=sharded[2], reduce_dh=reduce_dh
        )
        loss.backward()
        for a, b in zip(sharded, layer, strict=True):
            torch.testing.assert_close(a.grad.full_tensor(), b.grad, rtol=1e-12, atol=1e-15)

    for wrong in ([Replicate()], [Shard(0)]):
        refused = distribute_tensor(x.detach(), line, wrong)
        with pytest.raises(ValueError, match=r"^logits: expected a DTensor with Shard\(1\)"):
            vocab_parallel_cross_entropy(refused, y)
    gathered = DTensor.from_local(x.detach(), line, [Shard(1)])
    with pytest.raises(ValueError, match=r"^logits: .* got the same on ranks 0, 1, 2, 3"):
        vocab_parallel_cross_entropy(gathered, y)
    sharded = distribute_tensor(x.detach(), line, [Shard(1)])
    with pytest.raises(ValueError, match=r"^group: expected None beside a DTensor"):
        vocab_parallel_cross_entropy(sharded, y, group)
    with pytest.raises(ValueError, match=r"^target: expected a DTensor that is replicated"):
        vocab_parallel_cross_entropy(sharded, distribute_tensor(y, line, [Shard(0)]))
    weight = distribute_tensor(torch.ones(10), square, [Replicate(), Shard(0)])
    with pytest.raises(ValueError, match=r"^weight: expected a DTensor of the mesh of logits"):
        vocab_parallel_cross_entropy(sharded, y, weight=weight)
    rows, classes = (distribute_tensor(a, line, [Shard(0)]) for a in (h, w))
    with pytest.raises(ValueError, match=r"^h: expected a DTensor that is replicated"):
        vocab_parallel_linear_cross_entropy(rows, classes, y)


def beside_dtensors(group: Any, rank: int) -> None:
    """DTensors among plain tensors, and what is wrong with a DTensor on one of the ranks alone."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (4,))
    h, w, x, y = whole()
    own = slice((0, 3, 6, 8)[rank], (3, 6, 8, 10)[rank])
    same = {"target": y, "temperature": torch.full((6,), 2.0), "h": h}
    classes = {"weight": torch.ones(10), "bias": torch.ones(10)}
    dtensors = {name: distribute_tensor(a, mesh, [Replicate()]) for name, a in same.items()}
    dtensors |= {name: distribute_tensor(a, mesh, [Shard(0)]) for name, a in classes.items()}
    logits = distribute_tensor(x, mesh, [Shard(1)])
    matrix = distribute_tensor(w, mesh, [Shard(0)])

    def loss(**given: Any) -> float:
        if "logits" in given:
            return vocab_parallel_cross_entropy(**given).item()
        return vocab_parallel_linear_cross_entropy(**given).item()

    plain = {"h": h, "weight_matrix": w[own], "target": y}
    for name, a in dtensors.items():
        with pytest.raises(TypeError, match=rf"^{name}: expected a plain .* {name}\.to_local\(\)$"):
            loss(**plain | {name: a})
    wanted = loss(logits=x[:, own], target=y, temperature=2.0)
    assert loss(logits=logits, target=y, temperature=dtensors["temperature"]) == wanted
    wanted = loss(**plain, temperature=2.0, bias=torch.ones(own.stop - own.start))
    del dtensors["weight"]
    assert loss(weight_matrix=matrix, **dtensors) == wanted

    tall = distribute_tensor(x, mesh, [Shard(0)])
    for alone, kind, text in [
        ({"dim": 7}, np.exceptions.AxisError, "^dim: axis 7"),
        ({"logits": tall}, ValueError, r"^logits: expected a DTensor with Shard\(1\)"),
        ({"group": group}, ValueError, "^group: expected None beside a DTensor"),
        ({"target": distribute_tensor(y, mesh, [Shard(0)])}, ValueError, "^target: expected a DT"),
    ]:
        expected = (kind, text) if rank == 3 else (ValueError, "^group: expected arguments on .*3$")
        with pytest.raises(expected[0], match=expected[1]):
            loss(**{"logits": logits, "target": y} | (alone if rank == 3 else {}))


def peak(group: Any, rank: int, label_smoothing: float) -> int:
    """Bytes of memory that a layer's loss and its gradients take: as far as Python knows of them,
    and NumPy asks it for all that a chunk takes.
    """
    h = torch.randn(1000, 4).requires_grad_()
    w = torch.randn(4000, 4).requires_grad_()
    y = torch.randint(4000, (1000,))
    tracemalloc.start()
    try:
        with mock.patch.object(vocab_options, "PIECE", 1 << 16):
            loss = vocab_parallel_linear_cross_entropy(
                h, w, y, group, label_smoothing=label_smoothing
            )
            loss.backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def called(group: Any, rank: int, args: dict[str, Any]) -> float:
    """The loss of logits, or of a layer, with these arguments; those that are None are left out."""
    args = {name: a for name, a in args.items() if a is not None}
    if "h" in args:
        return vocab_parallel_linear_cross_entropy(group=group, **args).item()
    return vocab_parallel_cross_entropy(group=group, **args).item()


def alone(group: Any, rank: int, when: str, timeout: float) -> float:
    """How long rank 0 waits for rank 1 until it has torch's error. That ends where it is waited
    for, or is late: before anything is told, where states are gathered, or in backward.
    """
    h, w, _, y = small(rank)
    if rank == 1:
        if when == "late":
            time.sleep(2 * timeout)
        elif when == "forward":
            exchange.gathered = lambda *_: os._exit(1)
        else:
            dist.all_reduce = lambda *_, **__: os._exit(1)
    begun = time.monotonic()
    try:
        vocab_parallel_linear_cross_entropy(h.requires_grad_(), w, y, group).backward()
    except RuntimeError:
        if rank == 0:
            return time.monotonic() - begun
        raise
    raise AssertionError("no error")


def changed_in_between(group: Any, rank: int) -> None:
    """What backward reads may not be changed before: torch says so of all, also through views."""
    h, w, x, y = small(rank)
    for function, arrays in [
        (vocab_parallel_cross_entropy, (x,)),
        (vocab_parallel_linear_cross_entropy, (h, w)),
    ]:
        for name in ("target", "weight", "temperature", "probabilities"):
            leaves = [a.clone().requires_grad_() for a in arrays]
            given = {"target": y.clone(), "weight": torch.ones(5).double()}
            given["temperature"] = torch.ones(6).double()
            if name == "probabilities":
                name, given["target"] = "target", torch.full((6, 5), 0.1).double()
            loss = function(*leaves, group=group, **given)
            given[name].detach()[0] = 3
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()


def trained(group: Any, rank: int) -> list[float]:
    """The losses of the example."""
    return runpy.run_path(str(EXAMPLE))["train"](group)
