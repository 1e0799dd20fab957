"""Cases of the vocabulary-parallel losses, and what a rank does with its part of one."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

import ml_dtypes  # noqa: F401  (the name bfloat16, for NumPy)
import numpy as np
import pytest
import torch
import torch.distributed as dist

from onesum._functions.linear.call import LinearCall
from onesum.torch import vocab_parallel_cross_entropy, vocab_parallel_linear_cross_entropy
from onesum.torch.vocab_parallel import logits

Array = Any
COLLECTIVES = [
    name
    for name in ("all_gather_single", "all_gather_into_tensor", "all_gather", "all_reduce")
    if hasattr(dist, name)
]


class Case(NamedTuple):
    """A loss of all classes, and how they are sharded; they are along `axis` of logits."""

    arrays: dict[str, Array]  # x, or h, weight_matrix and perhaps bias
    target: Array
    axis: int
    sizes: tuple[int, ...]  # of the ranks' columns
    padding: int  # the last columns, which are none of the classes
    starts: bool  # whether vocab_start is given
    weight: Array | None
    options: dict[str, Any]
    g: Array  # what backward starts from
    chunk: tuple[int, int] | None  # of a linear layer: rows and classes at a time; else logits


class Outcome(NamedTuple):
    loss: Array
    grads: list[Array]  # of this rank's logits; or of h, W and b
    sent: dict[str, int]  # bytes by collective, of forward and backward


def tensor(a: Array) -> torch.Tensor:
    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(a))


def array(t: torch.Tensor) -> Array:
    if t.dtype == torch.bfloat16:
        return t.float().numpy().astype("bfloat16")
    return t.numpy()


def run(group: Any, rank: int, case: Case) -> Outcome:
    """The loss and the gradients of this rank."""
    columns = slice(sum(case.sizes[:rank]), sum(case.sizes[: rank + 1]))

    def own(a: Array, axis: int) -> torch.Tensor:
        return tensor(np.moveaxis(np.moveaxis(a, axis, 0)[columns], 0, axis))

    options: dict[str, Any] = dict(case.options)
    t = options["temperature"]
    options["temperature"] = t if isinstance(t, float) else tensor(t)
    options["vocab_start"] = columns.start if case.starts else None
    if case.padding:
        options["vocab_size"] = sum(case.sizes) - case.padding
    options["weight"] = None if case.weight is None else own(case.weight, 0)
    indices = case.target.dtype.kind in "iu"
    target = tensor(case.target) if indices else own(case.target, case.axis)
    sent: dict[str, int] = {}
    with ExitStack() as stack:
        for name in COLLECTIVES:
            stack.enter_context(mock.patch.object(dist, name, counted(name, sent)))
        if "h" in case.arrays:
            if case.chunk:
                chunk = mock.Mock(return_value=case.chunk)
                stack.enter_context(mock.patch.object(LinearCall, "_usual_chunk", chunk))
            leaves = [tensor(case.arrays["h"]), own(case.arrays["weight_matrix"], 0)]
            if "bias" in case.arrays:
                leaves.append(own(case.arrays["bias"], 0))
            h, w, *bias = (a.requires_grad_() for a in leaves)
            loss = vocab_parallel_linear_cross_entropy(
                h, w, target, group, bias=bias[0] if bias else None, **options
            )
        else:
            if case.chunk:
                stack.enter_context(mock.patch.object(logits, "_PIECE", np.prod(case.chunk)))
            leaves = [own(case.arrays["x"], case.axis).requires_grad_()]
            loss = vocab_parallel_cross_entropy(leaves[0], target, group, dim=case.axis, **options)
        loss.backward(tensor(case.g).to(loss.dtype))
    return Outcome(array(loss.detach()), [array(a.grad) for a in leaves], sent)


def counted(name: str, sent: dict[str, int]) -> Any:
    """A collective that counts the bytes of what this rank gives to it."""
    function = getattr(dist, name)

    def call(*arguments: Any, **options: Any) -> Any:
        given = arguments[0] if name == "all_reduce" else arguments[1]
        sent[name] = sent.get(name, 0) + given.numel() * given.element_size()
        return function(*arguments, **options)

    return call


# --- what ranks assert by themselves -----------------------------------------------------------


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


def peak(group: Any, rank: int, label_smoothing: float) -> int:
    """Bytes of memory that a layer's loss and its gradients take: as far as Python knows of them,
    and NumPy asks it for all that a chunk takes.
    """
    h = torch.randn(1000, 4).requires_grad_()
    w = torch.randn(4000, 4).requires_grad_()
    y = torch.randint(4000, (1000,))
    tracemalloc.start()
    try:
        loss = vocab_parallel_linear_cross_entropy(h, w, y, group, label_smoothing=label_smoothing)
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


def ended(group: Any, rank: int) -> float:
    """The last rank ends where the others wait for it: after they agreed."""
    _, _, x, y = small(rank)
    if rank == dist.get_world_size(group) - 1:
        from onesum.torch.vocab_parallel import exchange

        exchange.gathered = lambda *_: os._exit(1)
    return vocab_parallel_cross_entropy(x, y, group).item()


# --- drawn at random ---------------------------------------------------------------------------

SHARDINGS = [(6, 6), (5, 7), (3, 3, 3, 3), (7, 0, 1, 4), (12,), (0, 12), (1, 1, 6, 4)]
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def drawn(seed: int, dtype: str, linear: bool) -> Case:
    """Options, shards and rows; each option takes a value of its own in about half of the cases."""
    rng = np.random.default_rng([seed, DTYPES.index(dtype), linear])

    def perhaps(value: Any, usual: Any) -> Any:
        return value if rng.random() < 0.5 else usual

    sizes = SHARDINGS[seed % len(SHARDINGS)]
    padding = perhaps(int(rng.integers(1, 5)), 0)
    columns, n = sum(sizes), sum(sizes) - padding
    shape = [(7, columns), (columns,), (3, columns, 2), (2, 3, columns)][rng.integers(4)]
    if linear and len(shape) == 1:
        shape = (5, columns)
    axis = 1 if len(shape) == 3 and shape[1] == columns and not linear else len(shape) - 1
    if linear:
        shape = (*(m for m in shape if m != columns), columns)
        axis = len(shape) - 1
    batch = shape[:axis] + shape[axis + 1 :]
    spread = [1.0, 4.0, 30.0][rng.integers(3)] if not linear else 1.0
    if linear:
        d = 5
        arrays = {"h": rng.normal(size=(*batch, d)), "weight_matrix": rng.normal(size=(columns, d))}
        arrays |= perhaps({"bias": rng.normal(size=columns)}, {})
        for name in ("weight_matrix", "bias"):
            if padding and name in arrays:
                arrays[name][n:] = 50.0  # would have all of the mass
    else:
        x = rng.normal(0, spread, shape)
        if rng.random() < 0.3:
            np.moveaxis(x, axis, -1)[..., :n][rng.random((*batch, n)) < 0.1] = -np.inf
        np.moveaxis(x, axis, -1)[..., n:] = rng.choice([50.0, np.nan, np.inf])
        arrays = {"x": x}
    arrays = {name: a.astype(dtype) for name, a in arrays.items()}
    ignore = -100
    if rng.random() < 0.7:
        target = rng.integers(0, n, batch)
        ignore = [-100, int(target.flat[0]), columns - 1][rng.integers(3)]
        if rng.random() < 0.5:
            target.flat[:: 1 + rng.integers(1, 3)] = ignore
        target = target.astype(rng.choice(["int64", "int32"]))
    else:
        target = np.moveaxis(rng.dirichlet(np.ones(columns), batch), -1, axis).astype(dtype)
    reduction = str(rng.choice(["mean", "sum", "none"]))
    options = {
        "label_smoothing": perhaps(0.125, 0.0),
        "ignore_index": ignore,
        "z_loss": perhaps(0.25, 0.0),
        "softcap": perhaps(8.0, None),
        "temperature": perhaps(rng.choice([0.5, 2.0]).item(), perhaps(1 + rng.random(batch), 1.0)),
        "reduction": reduction,
    }
    g = rng.normal(size=batch) if reduction == "none" else np.array(perhaps(-1.5, 1.0))
    weight = perhaps(rng.uniform(0, 2, columns).astype("float32"), None)
    chunk = [None, (2, 2), (3, 12)][rng.integers(3)]
    return Case(
        arrays,
        target,
        axis,
        sizes,
        padding,
        bool(rng.random() < 0.5),
        weight,
        options,
        g.astype("float16"),
        chunk,
    )
