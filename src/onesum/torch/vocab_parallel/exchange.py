# mypy: allow-untyped-calls
"""The one exchange of a call: the state of the rows, which each rank has of its own classes."""

from __future__ import annotations

from typing import Any

import torch

from ..._functions.cross_entropy_state import CrossEntropyState
from ..._functions.packed import numbers_of, state_of
from ..._library import namespace
from .agreement import Shards, gathered, gathered_error

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
    """That not all ranks have the same logits, as they would if these had been gathered.

    That shows in the normalizers: m and r of every row would be the same on all ranks. Rows of
    equal logits say nothing, for of these each rank may well have some: r is the number of the
    others there. And where vocab_size says how many classes there are, nothing is guessed.
    """
    sizes = {n for n in shards.sizes if n}
    if shards.declared or not shards.alike or len(sizes) > 1:
        return
    parts = numbers[[i for i, n in enumerate(shards.sizes) if n], ..., :3]
    m, r = parts[0, ..., 0], parts[0, ..., 1]
    telling = torch.isfinite(m) & torch.isfinite(r) & (r != max(sizes) - 1)
    same = (parts == parts[:1]).all(0).all(-1)
    if bool(telling.any()) and bool((same | ~telling).all()):
        got = f"the same on all {len(parts)} ranks"
        advice = "if they are the same by chance, say vocab_size"
        raise gathered_error(shards.name, f"{got} ({advice})")
