# mypy: allow-untyped-calls
"""What the ranks of a group tell one another before anything is computed.

A collective waits for all ranks. So a rank whose arguments are wrong does not stop at once: it
says so to the others, and then all of them stop, each with an error of its own. What has to be the
same everywhere is compared by a hash: a few hundred bytes for each rank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

Tensor = Any

_RECORD = 32  # numbers of a rank, a hash for each fact: as many as there may be at most
_MESSAGE = 512  # bytes of an error that the others are told


class Fact(NamedTuple):
    """What has to be the same on all ranks: the argument that says it, what it is, its value."""

    name: str
    what: str
    value: Any


class Columns(NamedTuple):
    """The columns of a rank, as its caller has them: all that are there, padding too."""

    name: str  # of the argument that has them
    sample: Tensor  # a corner of that argument
    number: int
    start: int | None
    vocab_size: int | None


class Shards(NamedTuple):
    """Which classes each rank of a group has."""

    name: str  # of the argument that has them
    group: Any
    rank: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]  # without padding
    vocab_size: int
    declared: bool  # whether the caller said how many classes there are
    samples: tuple[int, ...]  # hashes: those of ranks with the same numbers are the same

    @property
    def start(self) -> int:
        return self.starts[self.rank]

    @property
    def size(self) -> int:
        return self.sizes[self.rank]


class Prepared(NamedTuple):
    """What a rank has to say, once its own arguments are checked."""

    columns: Columns
    facts: Sequence[Fact]


P = TypeVar("P")


def need_group(group: Any) -> Any:
    """A process group that this process belongs to, or None for the default group."""
    if not dist.is_available() or not dist.is_initialized():
        wanted = "torch.distributed to be initialised, by init_process_group"
        raise ValueError(f"group: expected {wanted}; it is not")
    if group is not None and not isinstance(group, dist.ProcessGroup):
        if group is dist.GroupMember.NON_GROUP_MEMBER:
            raise ValueError("group: expected one that this process belongs to, got another")
        advice = " (mesh.get_group(name) is one)" if hasattr(group, "get_group") else ""
        raise TypeError(
            f"group: expected a process group or None, got {type(group).__name__}{advice}"
        )
    if dist.get_rank(group) < 0:
        raise ValueError("group: expected one that this process belongs to, got another")
    return group


def agree(
    group: Any, device: torch.device, prepare: Callable[[], tuple[P, Prepared]]
) -> tuple[P, Shards]:
    """Check the arguments here, by `prepare`, and then that they fit those of the other ranks.

    Raises on every rank if they do not, or if a rank refused its own.
    """
    error: Exception | None = None
    facts: Sequence[Fact] = ()
    own = None
    try:
        own, (columns, facts) = prepare()
        start = -1 if columns.start is None else columns.start
        record = [0, columns.number, start, hash_of(columns.sample), len(facts)]
        sent = _padded(record + [hash_of(fact.value) for fact in facts], device)
    except Exception as caught:
        error, sent = caught, _padded([1], device)
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    records = gathered(sent, group).tolist()
    refused = [i for i in range(ranks) if records[i][0]]
    if refused:
        _stop(group, device, refused, error)
    for j, fact in enumerate(facts):
        others = [i for i in range(ranks) if records[i][5 + j] != records[rank][5 + j]]
        if others:
            got = f"{_shown(fact.value)} here, on rank {rank}, and another on {named(others)}"
            raise ValueError(f"{fact.name}: expected {fact.what} on every rank, got {got}")
    assert own is not None
    return own, _shards(columns, group, rank, records)


def gathered(a: Tensor, group: Any) -> Tensor:
    """The tensors of all ranks, one below the other: of one shape and type on every rank."""
    ranks = dist.get_world_size(group)
    result = a.new_empty((ranks, *a.shape))
    # The name it has had since torch 2.13, and before.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(result.view(-1), a.contiguous().view(-1), group=group)
    return result


def _padded(numbers: list[int], device: torch.device) -> Tensor:
    padded = numbers + [0] * (_RECORD - len(numbers))
    return torch.tensor(padded, dtype=torch.int64, device=device)


def _stop(group: Any, device: torch.device, refused: list[int], error: Exception | None) -> None:
    """The error of this rank, or what the first of the others says."""
    text = f"{type(error).__name__}: {error}".encode()[:_MESSAGE] if error else b""
    sent = torch.zeros(_MESSAGE, dtype=torch.uint8, device=device)
    sent[: len(text)] = torch.tensor(list(text), dtype=torch.uint8, device=device)
    texts = gathered(sent, group)
    if error is not None:
        raise error
    told = bytes(texts[refused[0]].tolist()).rstrip(b"\0").decode(errors="ignore")
    got = f"{told} on {named(refused)}"
    raise ValueError(f"group: expected arguments on every rank that are right, got {got}")


def _shards(columns: Columns, group: Any, rank: int, records: list[list[int]]) -> Shards:
    """The ranges of the ranks, which are to have each class once."""
    name, vocab_size = columns.name, columns.vocab_size
    _, numbers, starts, samples, *_ = (list(numbers) for numbers in zip(*records, strict=True))
    ranks, given = range(len(numbers)), columns.start is not None
    holders = [i for i in ranks if numbers[i]]
    if len(holders) > 1:
        full = vocab_size is not None and all(numbers[i] >= vocab_size for i in holders)
        if len({(starts[i], numbers[i]) for i in holders}) == 1 if given else full:
            raise gathered_error(name, f"all {numbers[holders[0]]} on each of {named(holders)}")
    starts = starts if given else [sum(numbers[:i]) for i in ranks]
    ends = [start + n for start, n in zip(starts, numbers, strict=True)]
    there = max((ends[i] for i in holders), default=0)
    if there == 0:
        raise ValueError(f"{name}: expected at least one class on some rank, got none")
    if vocab_size is not None and vocab_size > there:
        wanted = f"at most {there}, for the columns of all ranks are so many"
        raise ValueError(f"vocab_size: expected {wanted}, got {vocab_size}")
    n = there if vocab_size is None else vocab_size
    sizes = [max(0, min(end, n) - start) for start, end in zip(starts, ends, strict=True)]
    end = 0
    for i in sorted((i for i in ranks if sizes[i]), key=lambda i: starts[i]):
        if starts[i] != end:
            break
        end += sizes[i]
    if end != n:
        ranges = ", ".join(f"{starts[i]} to {ends[i] - 1} on rank {i}" for i in holders)
        wanted = f"columns that are each of the classes from 0 to {n - 1} once"
        raise ValueError(f"vocab_start: expected {wanted}, got {ranges}")
    declared = vocab_size is not None
    return Shards(name, group, rank, tuple(starts), tuple(sizes), n, declared, tuple(samples))


def gathered_error(name: str, got: str) -> ValueError:
    """Of what more than one rank has: the loss would be off, by log(ranks) if all have it."""
    wanted = "that of this rank's own classes, which no other rank has"
    advice = "do not gather it before the loss, and pass the group that shares it"
    return ValueError(f"{name}: expected {wanted}, got {got}: {advice}")


def named(ranks: Sequence[int]) -> str:
    text = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"rank {text}" if len(ranks) == 1 else f"ranks {text}"


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{value!r:.60}"


def hash_of(value: Any) -> int:
    """64 bits of a value; of a tensor those of its numbers."""
    if isinstance(value, torch.Tensor):
        wide = torch.float64 if value.is_floating_point() else torch.int64
        data = value.detach().cpu().to(wide).contiguous()
        content = repr(tuple(data.shape)).encode() + data.numpy().tobytes()
    else:
        content = repr(value).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
