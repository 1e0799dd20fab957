"""The group of a vocabulary-parallel loss: what is none, and ranks of it that do not come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch
from process_group import own_ranks, shared_ranks
from vocab_on_ranks import alone, small, whole

import onesum
from onesum.torch import vocab_parallel_cross_entropy, vocab_parallel_linear_cross_entropy

H, W, X, Y = whole()
LOSS = torch.nn.functional.cross_entropy(X, Y).item()


def test_no_group():
    for call in (
        lambda: vocab_parallel_cross_entropy(X, Y),
        lambda: vocab_parallel_linear_cross_entropy(H, W, Y),
    ):
        with pytest.raises(ValueError, match=r"^group: expected torch.distributed to be initial"):
            call()
    assert onesum.torch.vocab_parallel_cross_entropy is vocab_parallel_cross_entropy


def test_what_is_no_group():
    answer = shared_ranks().call(other_groups, [()] * 4)
    assert answer == [None] * 4


def other_groups(group: Any, rank: int) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (4,))
    with pytest.raises(TypeError, match=r"^group: expected a process group or None, got DeviceMes"):
        vocab_parallel_cross_entropy(X, Y, mesh)
    with pytest.raises(TypeError, match=r"^group: expected a process group or None, got str$"):
        vocab_parallel_cross_entropy(X, Y, "gloo")
    pair = torch.distributed.new_group([0, 1])
    if rank > 1:
        with pytest.raises(ValueError, match=r"^group: expected one that this process belongs to"):
            vocab_parallel_cross_entropy(X, Y, pair)
    else:
        _, _, x, y = small(rank)
        assert vocab_parallel_cross_entropy(x, y, pair).item() == pytest.approx(LOSS, rel=1e-12)


TIMEOUT, MORE = timedelta(seconds=5), 30.0  # so much more than it a loaded machine may take


@pytest.mark.parametrize("when", ["forward", "backward", "late"])
def test_a_rank_that_does_not_come(when):
    """The others do not wait for ever: they have an error within the timeout of the group."""
    with own_ranks(2, TIMEOUT) as ranks:
        waited, other = ranks.call(alone, [(when, TIMEOUT.total_seconds())] * 2)
    assert not ranks.usable
    assert isinstance(waited, float), waited
    assert waited < TIMEOUT.total_seconds() + MORE
    assert other.kind is (RuntimeError if when == "late" else EOFError)
