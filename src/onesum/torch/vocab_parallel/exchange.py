# mypy: allow-untyped-calls
"""The one exchange of a call: the state of the rows, which each rank has of its own classes."""

from __future__ import annotations

from typing import Any

import torch

from ..._functions.cross_entropy_state import CrossEntropyState
from ..._functions.packed import numbers_of, state_of
from ..._library import namespace
from .agreement import Shards, gathered, gathered_error, hash_of, named

Tensor = Any


def of_all_ranks(state: CrossEntropyState, shards: Shards) -> CrossEntropyState:
    """The state of all classes: merged in their order, and so of the same bits on every rank.

    Neighbours are merged, all pairs of them at a time, until one is left.
    """
    own = numbers_of(state)
    numbers = gathered(torch.as_tensor(own), shards.group)
    _need_own_classes(numbers, shards)
    order = sorted(range(len(shards.sizes)), key=lambda i: (shards.starts[i], shards.sizes[i]))
    xp, numbers = namespace(own), numbers[order]
    numbers = numbers if isinstance(own, torch.Tensor) else numbers.numpy()
    while (even := len(numbers) // 2 * 2) > 0:
        left, right = (state_of(numbers[i:even:2], state, 0) for i in (0, 1))
        numbers = xp.concat([numbers_of(left | right), numbers[even:]], axis=0)
    return state_of(numbers[0], state, shards.vocab_size)


def _need_own_classes(numbers: Tensor, shards: Shards) -> None:
    """That no two ranks have the same logits, as they would if these had been gathered, or if the
    group had more ranks than share them.

    That shows in the normalizers: m and r of every row are the same then. Rows of equal logits say
    nothing, for of these each rank may well have some: r is the number of the others there. And
    where vocab_size says how many classes there are, nothing is guessed.
    """
    if shards.declared:
        return
    alike = list(zip(shards.sizes, shards.samples, strict=True))
    found: dict[tuple[int, ...], list[int]] = {}
    for rank, (size, sample) in enumerate(alike):
        if size and alike.count((size, sample)) > 1:
            normalizers = numbers[rank, ..., :3]
            m, r = normalizers[..., 0], normalizers[..., 1]
            telling = torch.isfinite(m) & torch.isfinite(r) & (r != size - 1)
            if bool(telling.any()):
                rows = torch.where(telling[..., None], normalizers, 0.0)
                found.setdefault((size, sample, hash_of(rows)), []).append(rank)
    for ranks in found.values():
        if len(ranks) > 1:
            advice = "if it is the same by chance, say vocab_size"
            raise gathered_error(shards.name, f"the same on {named(ranks)} ({advice})")
