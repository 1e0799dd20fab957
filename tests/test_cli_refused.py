"""A mistake is told in one line, and changes nothing."""

from __future__ import annotations

import builtins
import errno
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from stored_files import logits, save

X = ("softmax", "x.npy", "out.npy")
MISTAKES = {
    "no command of that name": (("sofmax",), 'Unknown command "sofmax"'),
    "no OUT": (("softmax", "x.npy"), "OUT requires an argument"),
    "too many": ((*X, "more"), "Unused Tokens: ['more']"),
    "no option of that name": ((*X, "--tmperature=1"), "Unknown option"),
    "no number": ((*X, "--temperature=x"), "Invalid value"),
    "dtype": ((*X, "--dtype=int8"), "Invalid value"),
    "temperature": ((*X, "--temperature=0"), "--temperature: expected a number above 0, got 0.0"),
    "nan": ((*X, "--temperature=nan"), "--temperature: expected a number above 0, got nan"),
    "axis out of range": ((*X, "--axis=2"), "--axis: expected from -2 to 1, got 2 for 2 dim"),
    "axis twice": ((*X, "--axis=0,0"), "--axis: expected a number, several different ones"),
    "axis of letters": ((*X, "--axis", "x"), "--axis: expected a number, several different ones"),
    "block": ((*X, "--block=3x"), "--block: expected a number of bytes, as 64M or 32MiB, got '3x'"),
    "block without end": ((*X, f"--block={'9' * 400}"), "--block: expected a number of bytes"),
    "block of 0": ((*X, "--block=0"), "--block: expected a number of bytes"),
    "missing": (("softmax", "none.npy", "out.npy"), "none.npy: No such file or directory"),
    "pickle": (("softmax", "x.pt", "out.npy"), "x.pt: is a pickle, which runs code"),
    "folder": (("softmax", "x.npy", ".."), "..: is a directory with x.npy in it, which is read"),
    "no name": (("softmax", "x.npy", "o.safetensors:"), "expected the name of a tensor after the"),
    "suffix of OUT": (("softmax", "x.npy", "out.csv"), "out.csv: expected a name that ends in"),
    "exists": (("softmax", "x.npy", "y.npy"), "y.npy: exists already; --overwrite replaces it"),
    "itself": (("softmax", "x.npy", "x.npy", "--overwrite"), "x.npy: expected another file than x"),
    "by a link": (("softmax", "x.npy", "soft.npy", "--overwrite"), "soft.npy: expected another f"),
    "by a hard link": (("softmax", "x.npy", "hard.npy", "--overwrite"), "hard.npy: expected anoth"),
    "by its folder": (("softmax", "x.npy", "../{}/x.npy", "--overwrite"), "expected another file"),
    "the mask": ((*X[:2], "m.npy", "--where=m.npy", "--overwrite"), "m.npy: expected another file"),
    "within the input": (("softmax", "x.zarr", "x.zarr/p.zarr"), "expected another file than x.za"),
    "what grows": (("softmax", "g.zarr.partial", "g.zarr"), "g.zarr: expected another file than"),
    "a pipe": (("softmax", "pipe.npy", "out.npy"), "pipe.npy: expected a file, got a directory or"),
    "read-only": (("softmax", "x.npy", "/sys/out.npy"), "/sys/out.npy: "),
    "no directory": (("softmax", "x.npy", "none/out.npy"), "there is no directory none"),
    "bfloat16": ((*X, "--dtype=bfloat16"), "out.npy: .npy has no bfloat16: expected a .safetens"),
    "where": (
        (*X, "--where=y.npy"),
        "--where: expected bools of a shape that broadcasts to (9, 4)",
    ),
    "where of a shape": ((*X, "--where=m5.npy"), "got bool (5,)"),
    "scheduler alone": ((*X, "--scheduler=tcp://h:1"), "--scheduler: expected --engine dask"),
    "scheduler of letters": (
        (*X, "--engine=dask", "--scheduler=h"),
        "--scheduler: expected an address as tcp://host:8786, got 'h'",
    ),
    "scheduler of no protocol": (
        (*X, "--engine=dask", "--scheduler=foo://127.0.0.1:9"),
        "--scheduler: expected an address as tcp://host:8786, got 'foo://127.0.0.1:9'",
    ),
    "two spaces": (("info", "a  b.npy"), "onesum: a  b.npy: No such file or directory"),
    "resume by Dask": ((*X, "--engine=dask", "--resume"), "--resume: expected --engine local"),
    "labels of floats": (("loss", "x.npy", "x.npy"), "x.npy: expected integers, got dtype float32"),
    "labels of a length": (
        ("loss", "x.npy", "y5.npy"),
        "y5.npy: expected shape (9,), one per row, got (5,)",
    ),
    "label": (("loss", "x.npy", "bad.npy"), "bad.npy: expected class indices from 0 to 3, got 4"),
    "label in pieces": (("loss", "x.npy", "bad.npy", "--block=4"), "got 4 in row 6"),
    "top-k": (("loss", "x.npy", "y.npy", "--top-k=0"), "--top-k: expected at least 1, got 0"),
    "no row": (("loss", "x.npy", "y.npy", "--ignore-index=1"), "expected a row that is counted"),
    "no class": (
        ("loss", "c0.npy", "y.npy"),
        "c0.npy: expected a class at least, got shape (9, 0)",
    ),
    "info": (("info", "none.npy"), "none.npy: No such file or directory"),
}


@pytest.fixture
def files(tmp_path):
    for name, x in {
        "x": logits((9, 4)),
        "y": np.ones(9, int),
        "y5": np.ones(5, int),
        "bad": np.array([0, 1, 2, 3, 0, 1, 4, -1, 0]),
        "m": np.ones(4, bool),
        "m5": np.ones(5, bool),
        "c0": np.ones((9, 0)),
    }.items():
        save(tmp_path, "npy", x, name)
    save(tmp_path, "zarr 3", logits((9, 4)))
    (tmp_path / "x.pt").write_bytes(b"\x80\x04N.")
    shutil.copytree(tmp_path / "x.zarr", tmp_path / "g.zarr.partial")
    os.mkfifo(tmp_path / "pipe.npy")
    os.symlink("x.npy", tmp_path / "soft.npy")
    os.link(tmp_path / "x.npy", tmp_path / "hard.npy")
    return tmp_path


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_one_line(cli, case, files):
    argv, message = MISTAKES[case]
    before = {path: path.stat() for path in sorted(files.rglob("*"))}
    status, told, errors = cli(*(a.format(files.name) for a in argv))
    assert (status, told) == (2, "")
    assert errors.startswith("onesum: ")
    assert message in errors
    assert errors.count("\n") == 1
    after = {path: path.stat() for path in sorted(files.rglob("*"))}
    assert after.keys() == before.keys()
    for path, was in before.items():
        assert (after[path].st_mtime_ns, after[path].st_size) == (was.st_mtime_ns, was.st_size)


def test_no_room_on_the_disk(cli, files, monkeypatch):
    usage = SimpleNamespace(free=7)
    monkeypatch.setattr("onesum._storage.writable.shutil.disk_usage", lambda path: usage)
    status, told, errors = cli(*X)
    assert (status, told) == (1, "")
    assert errors == "onesum: out.npy.partial: needs 144 bytes, 7 are free\n"
    assert not list(files.glob("out*"))


@pytest.mark.parametrize("out", ["out.npy", "out.zarr"])
def test_no_room_while_it_is_written(cli, out, files, monkeypatch):
    """The file is named, whoever writes it."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onesum._storage.region._write_at", full)
    monkeypatch.setattr("zarr.Array.__setitem__", full)
    status, _, errors = cli("softmax", "x.npy", out)
    assert status == 1
    assert errors.startswith(f"onesum: {out}.partial: No space left on device; ")


def test_no_room_for_the_record(cli, files, monkeypatch):
    """What the disk refuses is no mistake of the user's."""
    pwrite = os.pwrite

    def refusing(file, content, position):
        if len(content) == 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(file, content, position)

    monkeypatch.setattr(os, "pwrite", refusing)
    status, told, errors = cli(*X)
    assert (status, told) == (1, "")
    assert errors == "onesum: out.npy: No space left on device\n"
    assert not list(files.glob("out*"))


@pytest.mark.parametrize("library", ["cyclopts", "rich"])
def test_without_what_the_command_needs(library):
    program = f"""
import sys
sys.modules[{library!r}] = None
from onesum.cli import main
sys.exit(main(["--version"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    line = f"onesum: needs {library}, which is not installed: pip install 'onesum[cli]'\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)


@pytest.mark.parametrize("library", ["safetensors", "zarr", "dask"])
def test_without_what_a_file_needs(cli, library, files, monkeypatch):
    save(files, "safetensors", logits((3, 4)))
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == library and (not args or args[0]["__name__"][:6] == "onesum"):
            raise ModuleNotFoundError(name=name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    source = "x.npy" if library == "dask" else f"x.{library}"
    engine = "dask" if library == "dask" else "local"
    status, _, errors = cli("softmax", source, "out.npy", "--engine", engine)
    assert status == 2
    assert f"needs {library}" in errors
    assert "pip install" in errors
    assert not list(files.glob("out*"))
