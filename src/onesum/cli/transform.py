"""softmax, log_softmax or logsumexp of a stored array, into another: what the commands share."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from .. import __version__, log_softmax, logsumexp, softmax
from .._storage import Stored, create_array, open_array
from .._storage.blocks import Blocks, blocks_of
from .._storage.numbers import bfloat16
from .._storage.partial import SUFFIXES
from .._storage.region import Box
from .._storage.safetensors import split_name
from .._storage.stored import Identity
from .._storage.writable import Writable
from . import signals
from .errors import FailedError, UserError, say
from .values import axes_of, bytes_of, temperature_of

Array = NDArray[Any]
Name = Literal["softmax", "log_softmax", "logsumexp"]
FUNCTIONS: dict[str, Any] = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
DTypeName = Literal["float16", "bfloat16", "float32", "float64"]

Input = Annotated[str, Parameter(name="IN")]
Output = Annotated[str, Parameter(name="OUT")]
Flag = Parameter(negative="", show_default=False)


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What all three commands take."""

    axis: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-1"
    """The class axis: a number, several with commas, or none for all."""
    temperature: float = 1.0
    """T > 0: the logits are divided by it."""
    dtype: DTypeName | None = None
    """Type of the result; by default that of IN, float64 for integers."""
    where: str | None = None
    """Array of bools: the classes that take part."""
    block: str | None = None
    """Bytes that each thread works on at one time, as 8MiB; by default from 1MiB to 32MiB."""
    resume: Annotated[bool, Flag] = False
    """Go on where a run with the same IN and options was interrupted."""
    overwrite: Annotated[bool, Flag] = False
    """Replace OUT, or what an interrupted run left of it."""
    engine: Literal["local", "dask"] = "local"
    """What computes: this process, or Dask."""
    scheduler: str | None = None
    """Address of a Dask scheduler; without one Dask's threads compute."""
    timeout: float = 10.0
    """Seconds to wait for the scheduler."""
    progress: Annotated[bool | None, Parameter(show_default=False)] = None
    """Show how far it is; by default on a terminal."""
    quiet: Annotated[bool, Flag] = False
    """Say nothing but errors."""


class Transform(NamedTuple):
    """One function of one array, with its options brought to one form."""

    name: Name
    x: Stored
    axes: tuple[int, ...]
    temperature: float
    where: Stored | None
    dtype: np.dtype[Any]
    blocks: Blocks
    identities: tuple[Identity | None, ...]  # of x and where, before anything is read

    @property
    def reduces(self) -> bool:
        """Whether the result has one element per row."""
        return self.name == "logsumexp"

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.x.shape
        return tuple(shape[i] for i in self.blocks.batch) if self.reduces else shape

    def target(self, box: Box) -> Box:
        """Where in the result the rows of a box go."""
        return self.blocks.of_rows(box) if self.reduces else box

    def mask(self, box: Box) -> Array | None:
        """`where` in a box: an axis of size 1 stands for all."""
        if self.where is None:
            return None
        shape = self.where.shape
        last = box[len(box) - len(shape) :]
        part = (s if n != 1 else slice(0, 1) for s, n in zip(last, shape, strict=True))
        return self.where.read(tuple(part))


def run(name: Name, source: str, target: str, options: Options) -> int:
    """One of the commands."""
    x = open_array(source)
    where = None if options.where is None else open_array(options.where)
    transform = _transform(name, x, where, options)
    for stored in (x, where):
        if stored is not None:
            need_apart(stored, target)
    if options.engine == "local":
        from .local import compute

        with signals.deferred():
            out = _create(transform, target, options)
            nan = compute(transform, out, False if options.quiet else options.progress)
    else:
        from .through_dask import compute_by_dask, connected

        with connected(options.scheduler, options.timeout) as client, signals.deferred():
            out = _create(transform, target, options)
            nan = compute_by_dask(transform, out, client)
    if not options.quiet:
        if nan.number:
            results = "its result is" if nan.number == 1 else "their results are"
            say(f"{x.name}: {nan.text('NaN logits')}: {results} NaN")
        rows = math.prod(x.shape[i] for i in transform.blocks.batch)
        of = f"{name} of {rows} row{'s' * (rows != 1)}"
        print(f"{out.path.name}: {of}, {transform.shape} {transform.dtype}")
    return 0


def _transform(name: Name, x: Stored, where: Stored | None, options: Options) -> Transform:
    axes = axes_of(options.axis, x.ndim)
    if where is not None:
        fits = len(where.shape) <= x.ndim and all(
            n in (1, m) for n, m in zip(where.shape[::-1], x.shape[::-1], strict=False)
        )
        if where.dtype != np.bool_ or not fits:
            wanted = f"bools of a shape that broadcasts to {x.shape}"
            raise UserError(f"--where: expected {wanted}, got {where.dtype} {where.shape}")
    if options.engine == "local" and options.scheduler is not None:
        raise UserError("--scheduler: expected --engine dask beside it")
    if options.engine == "dask" and options.resume:
        raise UserError("--resume: expected --engine local, which keeps what is done")
    dtype = _dtype(x, options.dtype)
    blocks = blocks_of(x, axes, bytes_of("--block", options.block), dtype.itemsize)
    temperature = temperature_of(options.temperature)
    identities = x.identity(), None if where is None else where.identity()
    return Transform(name, x, axes, temperature, where, dtype, blocks, identities)


def _dtype(x: Stored, name: str | None) -> np.dtype[Any]:
    """The type of the result, in native order."""
    if name is None:
        floating = x.dtype.kind not in "biu"
        return x.dtype.newbyteorder("=") if floating else np.dtype(np.float64)
    if name != "bfloat16":
        return np.dtype(name)
    return bfloat16("--dtype")


def need_apart(stored: Stored, target: str) -> None:
    """Refuse to write over, or into, what is read."""
    source, path = Path(os.path.realpath(stored.path)), os.path.realpath(split_name(target)[0])
    for written in (Path(path + suffix) for suffix in ("", *SUFFIXES)):
        same = written.exists() and os.path.samefile(source, written)
        if written in source.parents:
            raise UserError(f"{target}: is a directory with {stored.name} in it, which is read")
        if same or source in written.parents:
            raise UserError(f"{target}: expected another file than {stored.name}, which is read")


def finish(transform: Transform, out: Writable) -> None:
    """Give the result its name, if what it is made of is still what it was."""
    for stored, before in zip((transform.x, transform.where), transform.identities, strict=True):
        if stored is not None and stored.identity() != before:
            out.discard()
            raise FailedError(f"{stored.name}: was changed while it was read: nothing is written")
    out.finish()


def _create(transform: Transform, target: str, options: Options) -> Writable:
    """The array to write, which only a run of the same may go on with."""
    x, where, blocks = transform.x, transform.where, transform.blocks
    of_x, of_where = transform.identities
    about = {
        "version": __version__,
        "function": transform.name,
        "input": {"shape": x.shape, "dtype": x.dtype.str, **(of_x or {})},
        "axis": transform.axes,
        "temperature": transform.temperature,
        "where": None if where is None else {"shape": where.shape, **(of_where or {})},
        "block": blocks.take,
    }
    chunks = x.chunks or tuple(min(t, n) for t, n in zip(blocks.take, blocks.shape, strict=True))

    def of_result(lengths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(lengths[i] for i in blocks.batch) if transform.reduces else lengths

    return create_array(
        target,
        transform.shape,
        transform.dtype,
        like=x,
        chunks=of_result(chunks),
        parts=None if x.parts is None else of_result(x.parts),
        about=about,
        overwrite=options.overwrite,
        resume=options.resume,
    )
