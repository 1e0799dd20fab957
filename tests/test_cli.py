"""The command: the numbers are those of the functions."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import threading
import time
import tracemalloc

import ml_dtypes
import numpy as np
import oracle
import pytest
import zarr
from measure import check
from numpy.testing import assert_array_equal
from stored_files import FORMATS, load, logits, save

import onesum
from onesum.cli import main

FUNCTIONS = {"softmax": "softmax", "log-softmax": "log_softmax", "logsumexp": "logsumexp"}


# --- softmax, log-softmax, logsumexp ---


@pytest.mark.parametrize("command", FUNCTIONS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("axis", ["-1", "0", "0,2", "none"])
def test_files_of_every_format(cli, command, form, axis, tmp_path):
    """Whole rows have the bits of the function; rows in pieces are within its budget."""
    x = logits((3, 10, 4))
    axes = None if axis == "none" else tuple(map(int, axis.split(",")))
    function = FUNCTIONS[command]
    source = save(tmp_path, form, x)
    suffix = source.rpartition(".")[2]
    out = "out.npy" if axis == "none" else f"out.{suffix}"
    status, told, errors = cli(command, source, out, "--axis", axis)
    assert (status, errors) == (0, "")
    assert told.startswith(f"{out}: {function} of ")
    assert_array_equal(load(out), getattr(onesum, function)(x, axes), strict=True)
    assert cli(command, source, out, "--axis", axis, "--block=40", "--overwrite")[0] == 0
    check(load(out), getattr(oracle, function)(x, axes), function)


@pytest.mark.parametrize("engine", ["local", "dask"])
@pytest.mark.parametrize("command", ["softmax", "logsumexp"])
def test_shards_stay_shards(cli, command, engine, tmp_path):
    """Which are files: of chunks alone there would be many."""
    x = logits((20, 6))
    zarr.create_array("x.zarr", data=x, chunks=(2, 3), shards=(8, 6))
    assert "zarr, shards (8, 6)" in cli("info", "x.zarr")[1]
    argv = ("--block=80", "--engine", engine)
    assert cli(command, "x.zarr", "out.zarr", *argv)[0] == 0
    out, reduces = zarr.open_array("out.zarr"), command == "logsumexp"
    assert (out.shards, out.chunks) == (((8,), (2,)) if reduces else ((8, 6), (2, 3)))
    assert len([p for p in (tmp_path / "out.zarr" / "c").rglob("*") if p.is_file()]) == 3
    check(out[...], getattr(oracle, command)(x), command)


@pytest.mark.parametrize("command", FUNCTIONS)
@pytest.mark.parametrize("block", ["1MB", "80"])
@pytest.mark.parametrize("suffix", ["npy", "safetensors", "zarr"])
def test_options(cli, command, block, suffix, tmp_path):
    x, function = logits((9, 11), np.float64), FUNCTIONS[command]
    for where in (np.arange(99).reshape(9, 11) % 3 > 0, np.arange(11) % 3 > 0):
        options = {"where": where, "temperature": 0.7}
        source, mask = save(tmp_path, "npy", x), save(tmp_path, "npy", where, "mask")
        argv = ["--temperature", 0.7, "--where", mask, "--block", block, "--overwrite"]
        assert cli(command, source, f"out.{suffix}", *argv)[0] == 0
        wanted = getattr(oracle, function)(x, -1, **options)
        check(load(f"out.{suffix}"), wanted, function)


@pytest.mark.parametrize("block", ["1MB", "16"])
@pytest.mark.parametrize("given", ["i4", "?", "f2", ">f4", "f4", "f8", ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("wanted", [None, "float16", "bfloat16", "float32", "float64"])
def test_dtypes(cli, given, wanted, block, tmp_path):
    x = logits((5, 8)).astype(given)
    source = save(tmp_path, "safetensors" if given == ml_dtypes.bfloat16 else "npy", x)
    argv = [] if wanted is None else ["--dtype", wanted]
    assert cli("softmax", source, "out.safetensors", *argv, "--block", block)[0] == 0
    got = load("out.safetensors")
    plain = x.astype(x.dtype.newbyteorder("="))
    assert got.dtype == (wanted or onesum.softmax(plain).dtype)
    check(got, oracle.softmax(plain.astype(np.float64)), "softmax")


def test_a_tensor_by_its_name(cli, tmp_path):
    x = logits((3, 4))
    save(tmp_path, "safetensors", x)
    assert cli("softmax", "x.safetensors:logits", "out.safetensors:p")[0] == 0
    assert "p " in cli("info", "out.safetensors")[1]
    assert_array_equal(load("out.safetensors"), onesum.softmax(x))


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1,)])
def test_arrays_of_nothing_and_of_one(cli, shape, tmp_path):
    x = np.ones(shape, np.float32)
    for command, function in FUNCTIONS.items():
        assert cli(command, save(tmp_path, "npy", x), "out.npy", "--overwrite")[0] == 0
        assert_array_equal(np.load("out.npy"), getattr(onesum, function)(x))


@pytest.mark.parametrize("block", ["1MB", "100", "16"])
@pytest.mark.parametrize("command", FUNCTIONS)
def test_nan_is_counted_and_told(cli, command, block, tmp_path):
    """But not what is outside where, and not rows that are NaN for another reason."""
    x = logits((20, 9))
    x[7, 2] = x[7, 5] = x[13, 0] = math.nan
    x[3] = -math.inf
    source = save(tmp_path, "npy", x)
    status, _, errors = cli(command, source, "out.npy", "--block", block)
    line = f"onesum: {source}: 2 rows have NaN logits, the first is row 7: their results are NaN\n"
    assert (status, errors) == (0, line)
    assert np.isnan(load("out.npy")[[7, 13]]).all()
    mask = save(tmp_path, "npy", np.arange(9) != 0, "mask")
    argv = ("--where", mask, "--block", block, "--overwrite")
    errors = cli(command, source, "out.npy", *argv)[2]
    assert (
        errors == f"onesum: {source}: 1 row has NaN logits, the first is row 7: its result is NaN\n"
    )
    assert cli(command, source, "out.npy", *argv, "--quiet")[1:] == ("", "")


def test_memory_does_not_grow_with_the_file(cli, tmp_path):
    np.lib.format.open_memmap("x.npy", "w+", np.float32, (4096, 1024))[:] = 1  # 16 MB
    for argv in (["--axis=-1"], ["--axis=0"]):
        tracemalloc.start()
        assert cli("softmax", "x.npy", "out.npy", *argv, "--block=64KiB", "--overwrite")[0] == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6
        os.unlink("out.npy")


def test_progress_is_shown_as_asked(cli, tmp_path):
    source = save(tmp_path, "npy", logits((100, 10)))
    assert cli("softmax", source, "a.npy")[2] == ""  # this is no terminal
    shown = cli("softmax", source, "b.npy", "--progress")[2]
    assert "softmax" in shown
    assert "4.0/4.0 kB" in shown
    assert cli("softmax", source, "c.npy", "--progress", "--quiet")[1:] == ("", "")


# --- Dask ---


@pytest.mark.parametrize(
    ("command", "suffix", "block"),
    [("softmax", "npy", "16"), ("log-softmax", "npy", "200"), ("logsumexp", "zarr", "200")],
)
def test_dask_has_the_same_numbers(cli, command, suffix, block, tmp_path):
    x, mask = logits((12, 9)), np.arange(9) != 4
    x[3, 2] = math.nan
    source = save(tmp_path, "npy", x)
    where = save(tmp_path, "npy", mask, "mask")
    argv = ("--where", where, "--temperature=0.5", "--block", block, "--engine=dask")
    status, _, errors = cli(command, source, f"out.{suffix}", *argv)
    assert status == 0
    assert "1 row has NaN logits, the first is row 3: its result is NaN" in errors
    function = FUNCTIONS[command]
    rest = np.arange(12) != 3
    wanted = getattr(oracle, function)(x[rest], -1, where=mask, temperature=0.5)
    check(load(f"out.{suffix}")[rest], wanted, function)
    assert np.isnan(load(f"out.{suffix}")[3]).any()


@pytest.mark.parametrize("axis", ["0", "1", "none"])
def test_dask_finds_the_first_nan(cli, axis, tmp_path):
    x = logits((5, 6, 4))
    x[3, 1, 2] = x[3, 4, 1] = x[4, 0, 0] = math.nan
    source = save(tmp_path, "npy", x)
    told = []
    for engine in ("local", "dask"):
        argv = ("--axis", axis, "--block=80", "--engine", engine, "--overwrite")
        told.append(cli("softmax", source, "out.npy", *argv)[2])
    assert "the first is row" in told[0]
    assert told[1] == told[0]
    for shape in ((), (0, 3), (3, 0)):
        source = save(tmp_path, "npy", np.ones(shape))
        assert cli("logsumexp", source, "out.npy", "--engine=dask", "--overwrite")[0] == 0


def test_no_thread_of_dask_outlives_a_failure(cli, tmp_path, monkeypatch):
    """What is in hand ends before the file goes."""
    begun, ended, second = [], [], threading.Event()

    def write(self, box, block):
        begun.append(box)
        if len(begun) == 1:
            second.wait(10)
            raise OSError(errno.ENOSPC, "No space left on device")
        second.set()
        time.sleep(0.1)
        ended.append(box)

    monkeypatch.setattr("onesum._storage.targets.FileTarget.write", write)
    monkeypatch.setattr("dask.system.CPU_COUNT", 2)
    source = save(tmp_path, "npy", logits((12, 9)))
    assert cli("softmax", source, "out.npy", "--engine=dask", "--block=80")[0] == 1
    assert len(begun) == len(ended) + 1
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_scheduler(cli, tmp_path):
    from distributed import LocalCluster

    x = logits((12, 9))
    source = save(tmp_path, "npy", x)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        argv = ("--engine=dask", "--scheduler", address, "--block=200")
        assert cli("softmax", source, "out.npy", *argv)[0] == 0
    check(load("out.npy"), oracle.softmax(x), "softmax")


def test_a_scheduler_that_does_not_answer(cli, tmp_path):
    source = save(tmp_path, "npy", logits((12, 9)))
    argv = ("--engine=dask", "--scheduler=tcp://127.0.0.1:9", "--timeout=0.2")
    status, told, errors = cli("softmax", source, "out.npy", *argv)
    assert (status, told) == (1, "")
    assert errors == "onesum: --scheduler: tcp://127.0.0.1:9 did not answer within 0.2 s\n"
    assert os.listdir(tmp_path) == ["x.npy"]


# --- the others ---


def test_info(cli, tmp_path):
    assert onesum.__version__ in cli("info")[1]
    save(tmp_path, "npy in Fortran order", logits((3, 4)))
    save(tmp_path, "zarr 3", logits((3, 4)))
    assert "npy, Fortran order" in cli("info", "x.npy")[1]
    assert "(3, 4)" in cli("info", "x.npy")[1]
    assert "zarr, chunks (1, 1)" in cli("info", "x.zarr")[1]
    save(tmp_path, "safetensors", logits((3, 4)))
    told = cli("info", "x.safetensors")[1]
    assert all(word in told for word in ("logits", "float32", "48 bytes"))


def test_bench_has_its_own_options(cli, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])
    assert ended.value.code == 0
    assert "usage: onesum bench" in capsys.readouterr().out


def test_the_three_have_the_same_options(cli):
    """So that the document shows them once."""
    one, *others = (cli(command, "--help")[1].partition("Arguments")[2] for command in FUNCTIONS)
    assert "--temperature" in one
    assert others == [one, one]


def test_version(cli):
    assert cli("--version")[:2] == (0, f"{onesum.__version__}\n")


def test_as_a_module():
    program = [sys.executable, "-m", "onesum", "--version"]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{onesum.__version__}\n"
