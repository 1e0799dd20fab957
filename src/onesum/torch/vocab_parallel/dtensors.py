# mypy: allow-untyped-calls
"""DTensors that are sharded along the classes: their group, and what of them is here."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from .agreement import need_group

Tensor = Any


class Sharding(NamedTuple):
    """How the classes are sharded, and over what: where a DTensor says so."""

    name: str  # of the argument that has the classes
    mesh: Any = None  # of a plain tensor
    mesh_dim: int = 0

    def local(self, name: str, value: Any, dim: int | None) -> Any:
        """What is here of an argument that is sharded likewise along an axis; with None, of one
        that is the same on all ranks. What is no DTensor is what it is.
        """
        if not is_dtensor(value):
            return value
        if self.mesh is None:
            advice = f"pass {name}.to_local()"
            wanted = f"a plain tensor, as {self.name} is one"
            raise TypeError(f"{name}: expected {wanted}, got a DTensor: {advice}")
        if value.device_mesh != self.mesh:
            raise ValueError(f"{name}: expected a DTensor of the mesh of {self.name}, got another")
        if dim is None:
            if not all(p.is_replicate() for p in value.placements):
                wanted = "a DTensor that is replicated"
                got = f"{value.placements}: redistribute() it"
                raise ValueError(f"{name}: expected {wanted}, got {got}")
        elif sharding_of(name, value, dim).mesh_dim != self.mesh_dim:
            raise ValueError(f"{name}: expected it sharded as {self.name}, got {value.placements}")
        return value.to_local()

    def local_input(self, name: str, value: Any, summed: bool) -> Any:
        """The same of what goes into the layer: whether its gradient is there summed over the
        ranks.
        """
        here = self.local(name, value, None)
        if here is value:
            return value
        from torch.distributed.tensor import Partial, Replicate

        placements = [Replicate()] * self.mesh.ndim
        if not summed:
            placements[self.mesh_dim] = Partial()
        return value.to_local(grad_placements=placements)


def is_dtensor(value: Any) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def group_of(columns: Any, group: Any) -> Any:
    """The group of a call: that of a DTensor over which it is sharded, along whatever axis.

    Nothing is refused here: whatever is wrong with a DTensor, the group has to be told of it.
    """
    if not is_dtensor(columns):
        return need_group(group)
    over = [i for i, p in enumerate(columns.placements) if p.is_shard()]
    return columns.device_mesh.get_group(over[0] if over else 0)


def sharding_of(name: str, value: Any, dim: int, group: Any = None) -> Sharding:
    """That of an argument whose classes are along an axis, counted from the front."""
    if not is_dtensor(value):
        return Sharding(name)
    if group is not None:
        raise ValueError(f"group: expected None beside a DTensor, whose mesh has it, got {group!r}")
    over = [i for i, p in enumerate(value.placements) if p.is_shard(dim)]
    good = len(over) == 1 and all(p.is_replicate() or p.is_shard(dim) for p in value.placements)
    if not good:
        wanted = f"a DTensor with Shard({dim}) in one dimension of its mesh"
        wanted += " and Replicate() in any other"
        advice = "redistribute() it, or pass local tensors and a group"
        raise ValueError(f"{name}: expected {wanted}, got {value.placements}: {advice}")
    return Sharding(name, value.device_mesh, over[0])
