"""`onesum info`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .. import show_config
from .._storage import Stored, open_array
from .._storage.formats import format_of
from .._storage.safetensors import split_name, tensors
from .table import show_table, size_text


def info(path: Annotated[str | None, Parameter(name="PATH")] = None, /) -> int:
    """Versions, backend and threads; or what a file holds.

    Parameters
    ----------
    path
        An array, as for the other commands.
    """
    if path is None:
        config = show_config(mode="dicts")
        config["isas"], config["built_isas"] = map(
            ", ".join, (config["isas"], config["built_isas"])
        )
        overrides = (f"{name}={value}" for name, value in config["overrides"].items())
        config["overrides"] = ", ".join(overrides)
        show_table("onesum", ["", ""], [[k, str(v) if v else "none"] for k, v in config.items()])
        return 0
    file, tensor = split_name(path)
    several = format_of(file) == ".safetensors" and tensor is None
    arrays: list[Stored] = [*tensors(file)] if several else [open_array(path)]
    show_table(path, ["array", "format", "dtype", "shape", "size"], [_row(a) for a in arrays])
    return 0


def _row(array: Stored) -> list[str]:
    name = getattr(array, "tensor", array.path.name)
    form = array.format
    if array.chunks is not None:
        form += f", {'chunks' if array.parts is None else 'shards'} {array.chunks}"
    elif array.ndim > 1 and array.order[0] != 0:
        form += ", Fortran order"
    return [name, form, str(array.dtype), str(array.shape), size_text(array.nbytes)]
