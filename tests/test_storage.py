"""Arrays in files: what is read is what was written, in every format, and what cannot be is refused
before anything is lost."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import shutil
import tracemalloc
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import zarr
from numpy.testing import assert_array_equal
from stored_files import FORMATS, load, pickling_zarr, save

from onesum._storage import StorageError, create_array, open_array
from onesum._storage.blocks import blocks_of

SHAPES = [(7,), (5, 6), (3, 4, 5)]
KEYS = [
    (),
    (slice(1, 3),),
    (Ellipsis, slice(-2, None)),
    (-1,),
    (slice(2, 2),),
    (slice(0, 2), Ellipsis, 1),
]


def numbers(shape: tuple[int, ...], dtype: object = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 9, shape).astype(dtype)


# --- reading ---


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_read_is_what_is_there(form, shape, tmp_path):
    x = numbers(shape)
    stored = open_array(save(tmp_path, form, x))
    assert (stored.shape, stored.dtype, stored.ndim) == (x.shape, x.dtype, x.ndim)
    assert (stored.size, stored.nbytes) == (x.size, x.nbytes)
    for key in KEYS:
        if len([k for k in key if k is not Ellipsis]) <= x.ndim:
            assert_array_equal(stored[key], x[key], strict=True)
    assert_array_equal(pickle.loads(pickle.dumps(stored))[...], x)


@pytest.mark.parametrize("form", ["npy", "npy in Fortran order", "safetensors"])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0)])
def test_arrays_of_nothing_and_of_one(form, shape, tmp_path):
    x = numbers(shape) if shape else np.array(3.0)
    assert_array_equal(open_array(save(tmp_path, form, x))[...], x, strict=True)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i8", ">i4", "f2", "f8", ">f4", ml_dtypes.bfloat16], ids=str
)
def test_dtypes(dtype, tmp_path):
    dtype = np.dtype(dtype)
    x = numbers((4, 5)).astype(dtype)
    forms = ["safetensors"] if dtype == ml_dtypes.bfloat16 else ["npy", "zarr 2"]
    for form in forms:
        stored = open_array(save(tmp_path, form, x))
        assert stored.dtype == dtype
        assert_array_equal(stored[1:3], x[1:3])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_npy(version, tmp_path):
    x = numbers((5, 6))
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, x, version=version)
    assert_array_equal(open_array(str(tmp_path / "x.npy"))[...], x, strict=True)


def test_one_tensor_of_several(tmp_path):
    path = str(tmp_path / "model.safetensors")
    a, b = numbers((2, 3)), numbers((4,), np.float64)
    safetensors.numpy.save_file({"a": a, "b/c": b}, path)
    assert_array_equal(open_array(f"{path}:b/c")[...], b, strict=True)
    with pytest.raises(StorageError, match=r"expected one tensor, .*NAME\), got 2: a, b/c$"):
        open_array(path)
    with pytest.raises(StorageError, match=r":d: no such tensor; there is a, b/c$"):
        open_array(f"{path}:d")


@pytest.mark.parametrize("key", [(0, 0, 0), (slice(0, 4, 2),), (7,), ("a",), (None,)])
def test_indices_that_are_none(key, tmp_path):
    with pytest.raises(IndexError, match="expected"):
        open_array(save(tmp_path, "npy", numbers((5, 6))))[key]


def test_nothing_of_the_file_is_kept(tmp_path):
    """16 MB, in blocks of 1 MB."""
    path = str(tmp_path / "x.npy")
    np.lib.format.open_memmap(path, "w+", np.float32, (4096, 1024))[:] = 1
    stored = open_array(path)
    tracemalloc.start()
    total = sum(float(stored[i : i + 256].sum()) for i in range(0, 4096, 256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == stored.size
    assert peak < 3e6


@pytest.mark.parametrize(
    ("form", "key", "reads"),
    [
        ("npy", (slice(1, 4),), 1),
        ("npy", (slice(1, 4), slice(0, 3)), 3),
        ("npy", (2, slice(1, 3)), 1),
        ("npy in Fortran order", (slice(1, 4),), 6),
        ("npy in Fortran order", (Ellipsis, slice(1, 4)), 1),
    ],
)
def test_what_lies_together_is_read_at_once(form, key, reads, tmp_path, monkeypatch):
    stored = open_array(save(tmp_path, form, numbers((5, 6))))
    asked, preadv = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *a: (asked.append(a), preadv(*a))[1])
    stored[key]
    assert len(asked) == reads


# --- what is refused ---


def with_bytes(folder, name, content):
    (folder / name).write_bytes(content)
    return str(folder / name)


def npy_of(folder, x, **options):
    np.save(folder / "bad.npy", x, **options)
    return str(folder / "bad.npy")


def cut(path: str, n: int) -> str:
    os.truncate(path, os.path.getsize(path) - n)
    return path


REFUSED = {
    "missing": (lambda d: str(d / "x.npy"), "No such file or directory$"),
    "missing Zarr": (lambda d: str(d / "x.zarr"), "No such file or directory$"),
    "empty": (lambda d: with_bytes(d, "x.npy", b""), "got an empty file$"),
    "no array": (lambda d: with_bytes(d, "x.npy", b"hello" * 99), "got something else"),
    "damaged": (lambda d: with_bytes(d, "x.npy", b"\x93NUMPY\x01\0\x09\0{'descr':"), "damaged$"),
    "negative": (
        lambda d: with_bytes(
            d,
            "x.npy",
            b"\x93NUMPY\x01\0\x46\0"
            + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }".ljust(69)
            + b"\n",
        ),
        "damaged$",
    ),
    "cut": (lambda d: cut(save(d, "npy", numbers((5, 6))), 1), "expected 248 bytes, got 247"),
    "cut safetensors": (lambda d: cut(save(d, "safetensors", numbers((5, 6))), 1), "expected a sa"),
    "empty safetensors": (lambda d: with_bytes(d, "x.safetensors", b""), "expected a safetensors"),
    "objects": (lambda d: npy_of(d, np.array([{}])), "Python objects, which are not loaded$"),
    "complex": (lambda d: npy_of(d, np.ones(2, complex)), "got dtype complex128$"),
    "text": (lambda d: npy_of(d, np.array(["a"])), "got dtype <U1$"),
    "records": (lambda d: npy_of(d, np.zeros(2, "f4,f4")), "got dtype"),
    "long": (lambda d: npy_of(d, np.ones(2, np.longdouble)), "got dtype float128$"),
    "no name": (lambda d: npy_of(d, np.ones(2, ml_dtypes.bfloat16)), "save them as .safetensors$"),
    "archive": (lambda d: str(d / "x.npz"), "save it as .npy$"),
    "suffix": (lambda d: str(d / "x.csv"), r"ends in .npy, .safetensors, .zarr, got .csv$"),
    "no suffix": (lambda d: str(d / "x"), "got no suffix$"),
    "directory": (lambda d: str(d), "expected a Zarr array, got a directory without one$"),
    "group": (
        lambda d: (save(d, "zarr 3", numbers((3,)), "g.zarr/a"), str(d / "g.zarr"))[1],
        r"got a group; its arrays: .*g\.zarr/a\.zarr$",
    ),
    "pickled chunks": (pickling_zarr, "got pickled objects, which are not read$"),
    **{
        suffix: (lambda d, s=suffix: with_bytes(d, f"x{s}", b"\x80\x04N."), "is a pickle, which")
        for suffix in (".pt", ".pth", ".bin", ".pkl")
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read(name, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("something was unpickled"))
    made, message = REFUSED[name]
    path = made(tmp_path)
    with pytest.raises(StorageError, match=message) as caught:
        open_array(path)
    assert str(tmp_path) in str(caught.value)


def test_cut_while_it_is_read(tmp_path):
    stored = open_array(save(tmp_path, "npy", numbers((5, 6))))
    cut(str(tmp_path / "x.npy"), 100)
    with pytest.raises(StorageError, match=r"was cut short while it was read$"):
        stored[...]


# --- writing ---

RESULTS = ["out.npy", "out.safetensors", "out.zarr"]


@pytest.mark.parametrize("name", [*RESULTS, "out.zarr/"])
@pytest.mark.parametrize("like", FORMATS)
def test_what_is_written_is_there(name, like, tmp_path):
    x = numbers((6, 7))
    stored = open_array(save(tmp_path, like, x))
    with create_array(f"{tmp_path}/{name}", x.shape, x.dtype, like=stored) as out:
        out[4:] = x[4:]
        out[:4, 3:] = x[:4, 3:]
        out[:4, :3] = x[:4, :3]
        assert not (tmp_path / name).exists()
        out.finish()
    assert_array_equal(load(tmp_path / name), x, strict=True)
    if (like, name) == ("npy in Fortran order", "out.npy"):
        assert np.load(tmp_path / name).flags.f_contiguous
    if like == "safetensors" and name.endswith("safetensors"):
        assert safetensors.numpy.load_file(tmp_path / name).keys() == {"logits"}
    if (like, name) == ("zarr 2", "out.zarr"):
        assert (tmp_path / name / ".zarray").exists()
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("form", ["zarr 2", "zarr 3"])
def test_every_chunk_is_written(form, tmp_path):
    """Of zeros too: to look for them takes Zarr longer than all else."""
    stored = open_array(save(tmp_path, form, numbers((6, 7))))
    path, dtype = str(tmp_path / "o.zarr"), np.dtype("f4")
    with create_array(path, (6, 7), dtype, like=stored, chunks=(2, 7)) as out:
        out[...] = np.zeros((6, 7), np.float32)
        out.finish()
    names = {"0.0", "1.0", "2.0"} if form == "zarr 2" else {"c/0/0", "c/1/0", "c/2/0"}
    assert all((tmp_path / "o.zarr" / name).is_file() for name in names)


@pytest.mark.parametrize("name", RESULTS)
def test_an_interrupted_result_is_gone_on_with(name, tmp_path):
    path, x = str(tmp_path / name), numbers((6, 7))
    about = {"temperature": 1.0}
    with create_array(path, x.shape, x.dtype, chunks=(3, 7), about=about) as out:
        out[:3] = x[:3]
        out.checkpoint({"done": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{name}.partial", f"{name}.partial.json"]
    assert os.path.getsize(f"{path}.partial.json") == 4096
    with pytest.raises(StorageError, match="interrupted run: --resume goes on, --overwrite starts"):
        create_array(path, x.shape, x.dtype, about=about)
    with pytest.raises(StorageError, match=r"another temperature: expected 1.0, got 2.0; --over"):
        create_array(path, x.shape, x.dtype, about={"temperature": 2.0}, resume=True)
    with pytest.raises(StorageError, match="another output"):
        create_array(path, x.shape, np.dtype("f8"), about=about, resume=True)
    with create_array(path, x.shape, x.dtype, about=about, resume=True) as out:
        assert out.progress == {"done": 1}
        with pytest.raises(StorageError, match=r"another process is writing it$"):
            create_array(path, x.shape, x.dtype, about=about, resume=True)
        out[3:] = x[3:]
        out.finish()
    assert_array_equal(load(path), x)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("damage", ["", "{}", '{"kind": "another"}', "[1]"])
def test_a_damaged_record(damage, tmp_path):
    path, x = tmp_path / "out.npy", numbers((3,))
    create_array(str(path), x.shape, x.dtype).close()
    record = tmp_path / "out.npy.partial.json"
    record.write_text(damage)
    with pytest.raises(StorageError, match="its record is missing or damaged; --overwrite starts"):
        create_array(str(path), x.shape, x.dtype, resume=True)
    with create_array(str(path), x.shape, x.dtype, overwrite=True) as out:
        out[...] = x
        out.finish()
    assert_array_equal(np.load(path), x)


@pytest.mark.parametrize("name", RESULTS)
def test_what_exists_stays_until_the_result_is_whole(name, tmp_path):
    path, old, new = str(tmp_path / name), numbers((3, 4)), numbers((5,), np.float64)
    with create_array(path, old.shape, old.dtype) as out:
        out[...] = old
        out.finish()
    with pytest.raises(StorageError, match=r"exists already; --overwrite replaces it$"):
        create_array(path, new.shape, new.dtype)
    with create_array(path, new.shape, new.dtype, overwrite=True) as out:
        out[...] = new
        assert_array_equal(load(path), old)
        out.finish()
    assert_array_equal(load(path), new, strict=True)
    with create_array(path, new.shape, new.dtype, overwrite=True) as out:
        out.discard()
    assert_array_equal(load(path), new, strict=True)
    assert os.listdir(tmp_path) == [name]


def test_what_came_meanwhile_is_not_replaced(tmp_path):
    path, x = tmp_path / "out.npy", numbers((3,))
    with create_array(str(path), x.shape, x.dtype) as out:
        out[...] = x
        path.write_text("another's")
        with pytest.raises(StorageError, match=r"exists by now; the result is in .*\.partial$"):
            out.finish()
    assert path.read_text() == "another's"
    assert_array_equal(np.load(f"{path}.partial", allow_pickle=False), x)


def test_a_directory_that_is_no_array_is_not_replaced(tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "thesis.txt").write_text("all of it")
    with pytest.raises(StorageError, match=r"is not replaced$"):
        create_array(str(tmp_path / "out.zarr"), (3,), np.dtype("f4"), overwrite=True)
    assert (tmp_path / "out.zarr" / "thesis.txt").read_text() == "all of it"
    (tmp_path / "out.npy").mkdir()
    with pytest.raises(StorageError, match=r"out.npy: is a directory: it is not replaced$"):
        create_array(str(tmp_path / "out.npy"), (3,), np.dtype("f4"), overwrite=True)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("below", ["a group", "an array"])
def test_other_arrays_are_not_replaced(version, below, tmp_path):
    """A group, and an array that others were put into: all would go with the directory."""
    path = tmp_path / "g.zarr"
    if below == "a group":
        zarr.open_group(path, mode="w", zarr_format=version)
        message = "g.zarr: expected a Zarr array, got a group; its arrays: .*a.zarr: it is not rep"
    else:
        save(tmp_path, f"zarr {version}", numbers((3,)), "g")
        message = "g.zarr: has .*a.zarr in it: it is not replaced$"
    kept = save(tmp_path, f"zarr {version}", numbers((3,)), "g.zarr/a")
    for overwrite in (True, False):
        with pytest.raises(StorageError, match=message):
            create_array(str(path), (3,), np.dtype("f4"), overwrite=overwrite)
    assert_array_equal(load(kept), numbers((3,)))


NOT_WRITTEN = {
    "read-only": ("/sys/x.npy", "f4", "/sys/x.npy: (Permission denied|Read-only file system)"),
    "no directory": ("{}/none/x.npy", "f4", "there is no directory {}/none$"),
    "suffix": ("{}/x.csv", "f4", "expected a name that ends in .npy, .safetensors, .zarr$"),
    "no name": ("{}/x.safetensors:", "f4", "expected the name of a tensor .*, got ''$"),
    "metadata": ("{}/x.safetensors:__metadata__", "f4", "expected .*, got '__metadata__'$"),
    "bfloat16 in .npy": ("{}/x.npy", ml_dtypes.bfloat16, ".npy has no bfloat16: .*--dtype float32"),
    "bfloat16 in Zarr": ("{}/x.zarr", ml_dtypes.bfloat16, ".zarr has no bfloat16: "),
}


@pytest.mark.parametrize("case", NOT_WRITTEN)
def test_what_is_not_written(case, tmp_path):
    name, dtype, message = NOT_WRITTEN[case]
    with pytest.raises(StorageError, match=message.format(tmp_path)):
        create_array(name.format(tmp_path), (3,), np.dtype(dtype))
    assert not os.listdir(tmp_path)


def test_no_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OSError, match=r"needs 400 bytes, 100 are free") as caught:
        create_array(str(tmp_path / "x.npy"), (100,), np.dtype("f4"))
    assert caught.value.errno == errno.ENOSPC
    assert not os.listdir(tmp_path)


# --- blocks ---

CUTS = [
    ((40, 30), (1,), "npy"),
    ((40, 30), (0,), "npy"),
    ((40, 30), (0,), "npy in Fortran order"),
    ((40, 30), (0, 1), "npy"),
    ((6, 50, 8), (1,), "npy"),
    ((6, 50, 8), (0, 2), "npy"),
    ((6, 50, 8), (1,), "zarr 3"),
    ((40, 30), (1,), "zarr 3"),
    ((2000, 3), (0,), "npy"),
]


@pytest.mark.parametrize("nbytes", [4, 100, 2000, 10**6])
@pytest.mark.parametrize(("shape", "axes", "form"), CUTS)
def test_blocks_are_all_of_it_once(shape, axes, form, nbytes, tmp_path):
    stored = open_array(save(tmp_path, form, np.zeros(shape, np.float32)))
    blocks = blocks_of(stored, axes, nbytes)
    seen = np.zeros(shape, int)
    chunk = math.prod(stored.chunks) if stored.chunks else 1
    for rows in blocks.rows():
        for axis in axes:
            assert rows[axis] == slice(0, shape[axis])
        for box in blocks.pieces(rows):
            seen[box] += 1
            assert seen[box].nbytes // seen.itemsize <= max(nbytes // 4, chunk)
    assert (seen == 1).all()
    assert blocks.elements <= max(nbytes // 4, chunk)
    if nbytes == 10**6:
        assert blocks.whole
        assert len(list(blocks.rows())) == 1


def test_rows_in_bits_of_a_page_come_in_pieces(tmp_path):
    """Rows side by side in a file: read whole, each block would be a touch of every page."""
    stored = open_array(save(tmp_path, "npy", np.zeros((3000, 500), np.float32)))
    blocks = blocks_of(stored, (0,), 400_000)
    assert not blocks.whole
    assert blocks.take == (200, 500)
    assert blocks_of(stored, (0,)).whole


def test_the_record_names_what_it_is_of(tmp_path):
    """What --resume compares: size, time and header of the input."""
    stored = open_array(save(tmp_path, "npy", numbers((3, 4))))
    first = stored.identity()
    assert json.loads(json.dumps(first)) == first
    os.utime(tmp_path / "x.npy", ns=(0, 10**18))
    assert {k for k, v in stored.identity().items() if first[k] != v} == {"modified"}
    for form in ("safetensors", "zarr 3"):
        identity = open_array(save(tmp_path, form, numbers((3, 4)))).identity()
        other = open_array(save(tmp_path, form, numbers((4, 3)), "y")).identity()
        assert identity["header"] != other["header"]


# --- in other processes ---


def test_a_worker_that_does_not_see_the_file(tmp_path):
    """It makes none of its own, and writes into no other."""
    path = tmp_path / "x.npy.partial"
    with create_array(str(tmp_path / "x.npy"), (4,), np.dtype("f4")) as out:
        there = pickle.dumps(out.target)
        pickle.loads(there)[:] = np.ones(4, "f4")
        out.finish()
    assert_array_equal(np.load(tmp_path / "x.npy"), np.ones(4, "f4"))
    message = r"x.npy.partial: is not seen by the worker that is to write to it$"
    with pytest.raises(StorageError, match=message):
        pickle.loads(there)
    assert not path.exists()
    path.write_bytes(b"another's")
    with pytest.raises(StorageError, match=message):
        pickle.loads(there)
    assert path.read_bytes() == b"another's"


def test_a_worker_that_still_writes_leaves_nothing(tmp_path):
    with create_array(str(tmp_path / "x.zarr"), (4, 3), np.dtype("f4")) as out:
        worker = pickle.loads(pickle.dumps(out.target))
        worker[:2] = numbers((2, 3))
        out.discard()
    worker[2:] = numbers((2, 3))
    assert not os.listdir(tmp_path)


def test_a_file_that_is_cut_while_it_is_written_is_not_finished(tmp_path):
    with create_array(str(tmp_path / "x.npy"), (4,), np.dtype("f4")) as out:
        cut(str(out.partial.data), 1)
        with pytest.raises(StorageError, match=r"expected 144 bytes, got 143: cut short$"):
            out.finish()


def test_a_chunk_that_is_being_written_while_others_are_synced(tmp_path, monkeypatch):
    """Zarr renames it: then the name that was listed is gone, and all others are synced."""
    synced = []
    monkeypatch.setattr(
        "os.fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    with create_array(str(tmp_path / "x.zarr"), (4, 3), np.dtype(np.float32)) as out:
        out[:] = numbers((4, 3)).astype(np.float32)
        whole = os.walk(out.target.path)
        listed = [(folder, names, ["gone.partial", *files]) for folder, names, files in whole]
        monkeypatch.setattr("os.walk", lambda path: iter(listed))
        out.target.sync()
    assert {os.path.join(f, n) for f, _, files in listed for n in files[1:]} <= set(synced)


def test_half_a_chunk_is_not_kept(tmp_path):
    """What Zarr was writing when the process was killed."""
    name, zeros = str(tmp_path / "x.zarr"), np.zeros((4, 3), np.float32)
    with create_array(name, (4, 3), zeros.dtype) as out:
        out.checkpoint({})
        (out.partial.data / "0.1b2c.partial").write_bytes(b"half")
    with create_array(name, (4, 3), zeros.dtype, resume=True) as out:
        out[:] = zeros
        out.finish()
    assert_array_equal(open_array(name)[:], zeros)
    assert not list(tmp_path.rglob("*.partial*"))
