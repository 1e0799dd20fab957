# mypy: allow-untyped-calls
"""DTensors that are sharded along the classes: their group, and what of them is here."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

Tensor = Any


class Sharding(NamedTuple):
    """How the classes are sharded, and over what."""

    name: str  # of the argument that is so
    mesh: Any
    mesh_dim: int
    classes: int  # of all ranks


def is_dtensor(value: Any) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def sharding_of(name: str, value: Any, dim: int) -> Sharding:
    """That of an argument whose classes are along an axis."""
    dim %= value.ndim
    over = [i for i, p in enumerate(value.placements) if p.is_shard(dim)]
    good = len(over) == 1 and all(p.is_replicate() or p.is_shard(dim) for p in value.placements)
    if not good:
        wanted = f"a DTensor with Shard({dim}) in one dimension of its mesh"
        wanted += " and Replicate() in any other"
        advice = "redistribute() it, or pass local tensors and a group"
        raise ValueError(f"{name}: expected {wanted}, got {value.placements}: {advice}")
    return Sharding(name, value.device_mesh, over[0], value.shape[dim])


def group_of(sharding: Sharding, group: Any) -> Any:
    if group is not None:
        raise ValueError(f"group: expected None beside a DTensor, whose mesh has it, got {group!r}")
    return sharding.mesh.get_group(sharding.mesh_dim)


def local(name: str, value: Any, sharding: Sharding, dim: int | None) -> Any:
    """What is here of an argument that is sharded likewise along an axis; with None, of one that
    is the same on all ranks. Local tensors are what they are."""
    if not is_dtensor(value):
        return value
    if value.device_mesh != sharding.mesh:
        raise ValueError(f"{name}: expected a DTensor of the mesh of {sharding.name}, got another")
    if dim is None:
        if not all(p.is_replicate() for p in value.placements):
            wanted = "a DTensor that is replicated"
            got = f"{value.placements}: redistribute() it"
            raise ValueError(f"{name}: expected {wanted}, got {got}")
    elif sharding_of(name, value, dim).mesh_dim != sharding.mesh_dim:
        raise ValueError(f"{name}: expected it sharded as {sharding.name}, got {value.placements}")
    return value.to_local()


def local_input(name: str, value: Any, sharding: Sharding, summed: bool) -> Any:
    """The same of what goes into the layer: whether its gradient is there summed over the ranks."""
    if not is_dtensor(value):
        return value
    local(name, value, sharding, None)
    from torch.distributed.tensor import Partial, Replicate

    placements = [Replicate()] * sharding.mesh.ndim
    if not summed:
        placements[sharding.mesh_dim] = Partial()
    return value.to_local(grad_placements=placements)
