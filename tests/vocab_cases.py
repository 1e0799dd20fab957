"""Cases of the vocabulary-parallel losses, and what a rank does with its part of one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

import ml_dtypes  # noqa: F401  (the name bfloat16, for NumPy)
import numpy as np
import pytest
import torch
import torch.distributed as dist

from onesum._backends.torch import host, kernels
from onesum._functions.linear.call import LinearCall
from onesum.torch import vocab_parallel_cross_entropy, vocab_parallel_linear_cross_entropy
from onesum.torch.vocab_parallel import options as vocab_options

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
                stack.enter_context(mock.patch.object(vocab_options, "PIECE", np.prod(case.chunk)))
            leaves = [own(case.arrays["x"], case.axis).requires_grad_()]
            loss = vocab_parallel_cross_entropy(leaves[0], target, group, dim=case.axis, **options)
        loss.backward(tensor(case.g).to(loss.dtype))
    return Outcome(array(loss.detach()), [array(a.grad) for a in leaves], sent)


def run_elsewhere(group: Any, rank: int, case: Case) -> Outcome:
    """The same by torch operations alone, as of tensors on other devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "is_on_host", lambda x: False)
        patch.setattr(host, "call", lambda *arguments: NotImplemented)
        patch.setattr(host, "array", None)
        return run(group, rank, case)


def run_under_autocast(group: Any, rank: int, case: Case) -> Outcome:
    """The same with backward too under autocast, which is of float32 and its products alone."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return run_elsewhere(group, rank, case)


def counted(name: str, sent: dict[str, int]) -> Any:
    """A collective that counts the bytes of what this rank gives to it."""
    function = getattr(dist, name)

    def call(*arguments: Any, **options: Any) -> Any:
        given = arguments[0] if name == "all_reduce" else arguments[1]
        sent[name] = sent.get(name, 0) + given.numel() * given.element_size()
        return function(*arguments, **options)

    return call


# --- drawn at random ---------------------------------------------------------------------------

SHARDINGS = [(6, 6), (5, 7), (3, 3, 3, 3), (7, 0, 1, 4), (12,), (4, 5, 3), (1, 1, 6, 4)]
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
