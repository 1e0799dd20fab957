"""The command: the numbers are those of the functions, and a mistake is told in one line."""

from __future__ import annotations

import builtins
import errno
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import oracle
import oracle_losses
import pytest
from budget import CLI_STATISTICS
from measure import check
from numpy.testing import assert_array_equal
from stored_files import FORMATS, load, save

import onesum
from onesum._storage import region, targets
from onesum.cli import local, main

FUNCTIONS = {"softmax": "softmax", "log-softmax": "log_softmax", "logsumexp": "logsumexp"}


def logits(shape: tuple[int, ...], dtype: object = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 5, shape).astype(dtype)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The exit status, and what was written to stdout and stderr, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*argv: object) -> tuple[int, str, str]:
        status = main([str(a) for a in argv])
        return (status, *capsys.readouterr())

    return call


# --- softmax, log-softmax, logsumexp ---


@pytest.mark.parametrize("command", FUNCTIONS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("axis", ["-1", "0", "0,2", "none"])
def test_files_of_every_format(run, command, form, axis, tmp_path):
    """Whole rows have the bits of the function; rows in pieces are within its budget."""
    x = logits((3, 10, 4))
    axes = None if axis == "none" else tuple(map(int, axis.split(",")))
    function = FUNCTIONS[command]
    source = save(tmp_path, form, x)
    suffix = source.rpartition(".")[2]
    out = "out.npy" if axis == "none" else f"out.{suffix}"
    status, told, errors = run(command, source, out, "--axis", axis)
    assert (status, errors) == (0, "")
    assert told.startswith(f"{out}: {function} of ")
    assert_array_equal(load(out), getattr(onesum, function)(x, axes), strict=True)
    assert run(command, source, out, "--axis", axis, "--block=40", "--overwrite")[0] == 0
    check(load(out), getattr(oracle, function)(x, axes), function)


@pytest.mark.parametrize("command", FUNCTIONS)
@pytest.mark.parametrize("block", ["1MB", "80"])
@pytest.mark.parametrize("suffix", ["npy", "safetensors", "zarr"])
def test_options(run, command, block, suffix, tmp_path):
    x, function = logits((9, 11), np.float64), FUNCTIONS[command]
    for where in (np.arange(99).reshape(9, 11) % 3 > 0, np.arange(11) % 3 > 0):
        options = {"where": where, "temperature": 0.7}
        source, mask = save(tmp_path, "npy", x), save(tmp_path, "npy", where, "mask")
        argv = ["--temperature", 0.7, "--where", mask, "--block", block, "--overwrite"]
        assert run(command, source, f"out.{suffix}", *argv)[0] == 0
        wanted = getattr(oracle, function)(x, -1, **options)
        check(load(f"out.{suffix}"), wanted, function)


@pytest.mark.parametrize("block", ["1MB", "16"])
@pytest.mark.parametrize("given", ["i4", "?", "f2", ">f4", "f4", "f8", ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("wanted", [None, "float16", "bfloat16", "float32", "float64"])
def test_dtypes(run, given, wanted, block, tmp_path):
    x = logits((5, 8)).astype(given)
    source = save(tmp_path, "safetensors" if given == ml_dtypes.bfloat16 else "npy", x)
    argv = [] if wanted is None else ["--dtype", wanted]
    assert run("softmax", source, "out.safetensors", *argv, "--block", block)[0] == 0
    got = load("out.safetensors")
    plain = x.astype(x.dtype.newbyteorder("="))
    assert got.dtype == (wanted or onesum.softmax(plain).dtype)
    check(got, oracle.softmax(plain.astype(np.float64)), "softmax")


def test_a_tensor_by_its_name(run, tmp_path):
    x = logits((3, 4))
    save(tmp_path, "safetensors", x)
    assert run("softmax", "x.safetensors:logits", "out.safetensors:p")[0] == 0
    assert "p " in run("info", "out.safetensors")[1]
    assert_array_equal(load("out.safetensors"), onesum.softmax(x))


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1,)])
def test_arrays_of_nothing_and_of_one(run, shape, tmp_path):
    x = np.ones(shape, np.float32)
    for command, function in FUNCTIONS.items():
        assert run(command, save(tmp_path, "npy", x), "out.npy", "--overwrite")[0] == 0
        assert_array_equal(np.load("out.npy"), getattr(onesum, function)(x))


@pytest.mark.parametrize("block", ["1MB", "100", "16"])
@pytest.mark.parametrize("command", FUNCTIONS)
def test_nan_is_counted_and_told(run, command, block, tmp_path):
    """But not what is outside where, and not rows that are NaN for another reason."""
    x = logits((20, 9))
    x[7, 2] = x[7, 5] = x[13, 0] = math.nan
    x[3] = -math.inf
    source = save(tmp_path, "npy", x)
    status, _, errors = run(command, source, "out.npy", "--block", block)
    line = f"onesum: {source}: 2 rows have NaN logits, the first is row 7: their results are NaN\n"
    assert (status, errors) == (0, line)
    assert np.isnan(load("out.npy")[[7, 13]]).all()
    mask = save(tmp_path, "npy", np.arange(9) != 0, "mask")
    argv = ("--where", mask, "--block", block, "--overwrite")
    errors = run(command, source, "out.npy", *argv)[2]
    assert (
        errors == f"onesum: {source}: 1 row has NaN logits, the first is row 7: its result is NaN\n"
    )
    assert run(command, source, "out.npy", *argv, "--quiet")[1:] == ("", "")


def test_memory_does_not_grow_with_the_file(run, tmp_path):
    np.lib.format.open_memmap("x.npy", "w+", np.float32, (4096, 1024))[:] = 1  # 16 MB
    for argv in (["--axis=-1"], ["--axis=0"]):
        tracemalloc.start()
        assert run("softmax", "x.npy", "out.npy", *argv, "--block=64KiB", "--overwrite")[0] == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6
        os.unlink("out.npy")


def test_progress_is_shown_as_asked(run, tmp_path):
    source = save(tmp_path, "npy", logits((100, 10)))
    assert run("softmax", source, "a.npy")[2] == ""  # this is no terminal
    shown = run("softmax", source, "b.npy", "--progress")[2]
    assert "softmax" in shown
    assert "4.0/4.0 kB" in shown
    assert run("softmax", source, "c.npy", "--progress", "--quiet")[1:] == ("", "")


# --- going on ---


def full_disk(monkeypatch, blocks: int) -> None:
    """From so many writes on the disk has no room."""
    write, room, lock = region._write_at, [blocks], threading.Lock()

    def limited(file, memory, position):
        with lock:
            if not room[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= 1
        return write(file, memory, position)

    monkeypatch.setattr(region, "_write_at", limited)


@pytest.mark.parametrize("axis", ["-1", "0"])
@pytest.mark.parametrize("blocks", [0, 1, 30])
def test_a_full_disk(run, axis, blocks, tmp_path, monkeypatch):
    x = logits((100, 50))
    x[5, 7] = math.nan
    source, options = save(tmp_path, "npy", x), ("--block=400", "--axis", axis)
    assert run("softmax", source, "whole.npy", *options)[0] == 0
    with monkeypatch.context() as patch:
        full_disk(patch, blocks)
        status, told, errors = run("softmax", source, "out.npy", *options)
    assert (status, told) == (1, "")
    assert errors == (
        "onesum: out.npy.partial: No space left on device; "
        "out.npy.partial has what is done: --resume goes on with it\n"
    )
    assert not os.path.exists("out.npy")
    record = json.loads((tmp_path / "out.npy.partial.json").read_text())
    assert record["progress"]["done"] <= blocks
    status, _, errors = run("softmax", source, "out.npy", *options, "--resume")
    assert status == 0
    assert "1 row has NaN logits" in errors
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


def test_what_is_done_is_not_done_again(run, tmp_path, monkeypatch):
    source = save(tmp_path, "npy", logits((100, 50)))
    with monkeypatch.context() as patch:
        full_disk(patch, 30)
        assert run("softmax", source, "out.npy", "--block=400")[0] == 1
    with monkeypatch.context() as patch:
        full_disk(patch, 30)  # of 50
        assert run("softmax", source, "out.npy", "--block=400", "--resume")[0] == 0


CHANGED = {
    "an option": (("--temperature=2",), None, "another temperature: expected 1.0, got 2.0"),
    "the axis": (("--axis=0",), None, "another axis: "),
    "the dtype": (("--dtype=float64",), None, "another output: "),
    "the block": (("--block", "800"), None, "another block: "),
    "the input": ((), "x.npy", "another input: "),
    "where": (("--where=mask.npy",), None, "another where: expected null, got "),
}


@pytest.mark.parametrize("case", CHANGED)
def test_only_the_same_goes_on(run, case, tmp_path, monkeypatch):
    argv, touched, message = CHANGED[case]
    save(tmp_path, "npy", logits((100, 50)))
    save(tmp_path, "npy", np.ones(50, bool), "mask")
    with monkeypatch.context() as patch:
        full_disk(patch, 30)
        assert run("softmax", "x.npy", "out.npy", "--block=400")[0] == 1
    if touched:
        os.utime(touched, ns=(0, 10**18))
    block = () if "--block" in argv else ("--block=400",)
    status, _, errors = run("softmax", "x.npy", "out.npy", "--resume", *block, *argv)
    assert status == 2
    assert f"onesum: out.npy.partial: was begun with {message}" in errors
    assert run("softmax", "x.npy", "out.npy", "--overwrite", *block, *argv)[0] == 0


def test_nothing_to_go_on_with(run, tmp_path):
    """Then it begins: a script may always say --resume."""
    assert run("softmax", save(tmp_path, "npy", logits((3, 4))), "out.npy", "--resume")[0] == 0


def test_input_that_changes_meanwhile(run, tmp_path, monkeypatch):
    save(tmp_path, "npy", logits((100, 50)))
    write = targets.FileTarget.write

    def touching(self, box, block):
        os.utime("x.npy", ns=(0, 10**18))
        write(self, box, block)

    monkeypatch.setattr(targets.FileTarget, "write", touching)
    status, _, errors = run("softmax", "x.npy", "out.npy")
    assert status == 1
    assert errors == "onesum: x.npy: was changed while it was read: nothing is written\n"
    assert os.listdir(tmp_path) == ["x.npy"]


def test_what_could_not_be_brought_to_the_disk_is_not_recorded(run, tmp_path, monkeypatch):
    """The system tells of it once, to whoever asks first: the thread that makes the record."""
    save(tmp_path, "npy", logits((100, 50)))
    monkeypatch.setattr(local, "CHECKPOINT_SECONDS", 0.0)
    asked, fdatasync = [], os.fdatasync

    def failing(file):
        asked.append(file)
        if len(asked) == 1:
            raise OSError(errno.EIO, "Input/output error")
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", failing)
    status, _, errors = run("softmax", "x.npy", "out.npy", "--block=1000")
    assert status == 1
    assert errors.startswith("onesum: out.npy.partial: Input/output error; ")
    assert not os.path.exists("out.npy")
    assert run("softmax", "x.npy", "out.npy", "--block=1000", "--resume")[0] == 0
    assert_array_equal(np.load("out.npy"), onesum.softmax(np.load("x.npy")))


# --- what is refused ---

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
    "block of 0": ((*X, "--block=0"), "--block: expected a number of bytes"),
    "missing": (("softmax", "none.npy", "out.npy"), "none.npy: No such file or directory"),
    "pickle": (("softmax", "x.pt", "out.npy"), "x.pt: is a pickle, which runs code"),
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
    "resume by Dask": ((*X, "--engine=dask", "--resume"), "--resume: expected --engine local"),
    "labels of floats": (("loss", "x.npy", "x.npy"), "x.npy: expected integers, got dtype float32"),
    "labels of a length": (
        ("loss", "x.npy", "y5.npy"),
        "y5.npy: expected a label for each row of x.npy: shape (9,), got (5,)",
    ),
    "label": (("loss", "x.npy", "bad.npy"), "bad.npy: expected classes below 4, got 4 in row 6"),
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
def test_a_mistake_is_told_in_one_line(run, case, files):
    argv, message = MISTAKES[case]
    before = {path: path.stat() for path in sorted(files.rglob("*"))}
    status, told, errors = run(*(a.format(files.name) for a in argv))
    assert (status, told) == (2, "")
    assert errors.startswith("onesum: ")
    assert message in errors
    assert errors.count("\n") == 1
    after = {path: path.stat() for path in sorted(files.rglob("*"))}
    assert {p: (s.st_mtime_ns, s.st_size) for p, s in before.items()} == {
        p: (s.st_mtime_ns, s.st_size) for p, s in after.items() if p.is_file() or p in before
    }


def test_no_room_on_the_disk(run, files, monkeypatch):
    usage = SimpleNamespace(free=7)
    monkeypatch.setattr("onesum._storage.writable.shutil.disk_usage", lambda path: usage)
    status, told, errors = run(*X)
    assert (status, told) == (1, "")
    assert errors == "onesum: out.npy.partial: needs 144 bytes, 7 are free\n"
    assert not list(files.glob("out*"))


def test_no_room_for_the_record(run, files, monkeypatch):
    """What the disk refuses is no mistake of the user's."""
    pwrite = os.pwrite

    def refusing(file, content, position):
        if len(content) == 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(file, content, position)

    monkeypatch.setattr(os, "pwrite", refusing)
    status, told, errors = run(*X)
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
def test_without_what_a_file_needs(run, library, files, monkeypatch):
    save(files, "safetensors", logits((3, 4)))
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == library and (not args or args[0]["__name__"][:6] == "onesum"):
            raise ModuleNotFoundError(name=name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    source = "x.npy" if library == "dask" else f"x.{library}"
    engine = "dask" if library == "dask" else "local"
    status, _, errors = run("softmax", source, "out.npy", "--engine", engine)
    assert status == 2
    assert f"needs {library}" in errors
    assert "pip install" in errors
    assert not list(files.glob("out*"))


# --- Dask ---


@pytest.mark.parametrize(
    ("command", "suffix", "block"),
    [("softmax", "npy", "16"), ("log-softmax", "npy", "200"), ("logsumexp", "zarr", "200")],
)
def test_dask_has_the_same_numbers(run, command, suffix, block, tmp_path):
    x, mask = logits((12, 9)), np.arange(9) != 4
    x[3, 2] = math.nan
    source = save(tmp_path, "npy", x)
    where = save(tmp_path, "npy", mask, "mask")
    argv = ("--where", where, "--temperature=0.5", "--block", block, "--engine=dask")
    status, _, errors = run(command, source, f"out.{suffix}", *argv)
    assert status == 0
    assert "1 row has NaN logits: its result is NaN" in errors
    function = FUNCTIONS[command]
    rest = np.arange(12) != 3
    wanted = getattr(oracle, function)(x[rest], -1, where=mask, temperature=0.5)
    check(load(f"out.{suffix}")[rest], wanted, function)
    assert np.isnan(load(f"out.{suffix}")[3]).any()


def test_a_scheduler(run, tmp_path):
    from distributed import LocalCluster

    x = logits((12, 9))
    source = save(tmp_path, "npy", x)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        argv = ("--engine=dask", "--scheduler", address, "--block=200")
        assert run("softmax", source, "out.npy", *argv)[0] == 0
    check(load("out.npy"), oracle.softmax(x), "softmax")


def test_a_scheduler_that_does_not_answer(run, tmp_path):
    source = save(tmp_path, "npy", logits((12, 9)))
    argv = ("--engine=dask", "--scheduler=tcp://127.0.0.1:9", "--timeout=0.2")
    status, told, errors = run("softmax", source, "out.npy", *argv)
    assert (status, told) == (1, "")
    assert errors == "onesum: --scheduler: tcp://127.0.0.1:9 did not answer within 0.2 s\n"
    assert os.listdir(tmp_path) == ["x.npy"]


# --- loss ---


def evaluated(run, *argv: object) -> dict[str, float]:
    status, told, errors = run("loss", *argv, "--json")
    assert (status, errors) == (0, "")
    return json.loads(told)


def statistics(values: np.ndarray) -> tuple[float, float]:
    """Of exact numbers: the mean, and its standard error."""
    n = len(values)
    mean = values.sum() / n
    return mean, np.sqrt(((values - mean) ** 2).sum() / (n - 1) / n)


@pytest.mark.parametrize("block", ["1MB", "300", "16"])
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", ml_dtypes.bfloat16], ids=str)
def test_loss(run, block, axis, dtype, tmp_path):
    """Against exact losses, and ranks by sorting: of equal logits the lower class comes first."""
    x = np.round(logits((40, 11))).astype(dtype)  # with many that are equal
    y = np.random.default_rng(1).integers(0, 11, 40)
    y[4] = -100
    counted = y != -100
    source = save(tmp_path, "safetensors", x if axis else np.ascontiguousarray(x.T))
    labels = save(tmp_path, "npy", y.astype("i4"), "y")
    options = ("--temperature=0.5", "--ignore-index=-100", "--top-k=3", "--block", block)
    got = evaluated(run, source, labels, "--axis", axis, *options)

    wide = x.astype(np.float64)
    losses = oracle_losses.cross_entropy(
        wide, y, ignore_index=-100, temperature=0.5, reduction="none"
    ).loss.value[counted]
    order = np.argsort(-wide, axis=-1, kind="stable")
    rank = (order == y[:, None]).argmax(-1)[counted]
    loss, stderr = statistics(losses)
    perplexity = np.exp(loss)
    wanted = {"loss": loss, "loss_stderr": stderr, "perplexity": perplexity}
    wanted["perplexity_stderr"] = perplexity * stderr
    for name, hit in (("accuracy", rank < 1), ("top_k", rank < 3)):
        wanted[name], wanted[f"{name}_stderr"] = statistics(hit.astype(np.longdouble))
    assert got.pop("rows") == 39
    assert got.pop("k") == 3
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert abs(got[name] - value) <= CLI_STATISTICS * value, name


def test_loss_over_several_axes(run, tmp_path):
    x = logits((3, 5, 4))
    y = np.random.default_rng(1).integers(0, 12, 5)
    source, labels = save(tmp_path, "npy", x), save(tmp_path, "zarr 3", y, "y")
    wanted = onesum.cross_entropy(x.astype(float), y, (0, 2))
    for block in ("1MB", "16"):
        got = evaluated(run, source, labels, "--axis=0,2", "--block", block)
        assert abs(got["loss"] - wanted) <= CLI_STATISTICS * wanted


def test_the_table(run, tmp_path):
    source = save(tmp_path, "npy", np.zeros((4, 2)))
    status, told, _ = run("loss", source, save(tmp_path, "npy", np.array([0, 1, 0, 0]), "y"))
    assert status == 0
    lines = [line.split() for line in told.splitlines()]
    assert ["loss", "0.693147", "0"] in lines
    assert ["accuracy", "0.75", "0.25"] in lines
    assert ["top-5", "accuracy", "1", "0"] in lines
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("block", ["1MB", "16", "8"])
def test_one_row_and_infinite_loss(run, block, tmp_path):
    """JSON has neither NaN nor infinity."""
    for n in (3, 1):
        x, y = np.array([[0.0, -math.inf], [0, 0], [0, 0]])[:n], np.array([1, 1, 1])[:n]
        paths = [save(tmp_path, "npy", a, f"{name}{n}") for name, a in (("x", x), ("y", y))]
        status, told, errors = run("loss", *paths, "--json", "--block", block)
        got = json.loads(told, parse_constant=lambda name: pytest.fail(name))
        assert status == 0
        assert got["loss"] is None
        assert "the loss is infinite" in errors
    assert (got["loss"], got["perplexity"], got["loss_stderr"]) == (None, None, None)
    assert (got["accuracy"], got["accuracy_stderr"], got["top_k"], got["rows"]) == (0, None, 1, 1)


@pytest.mark.parametrize("block", ["1MB", "8"])
def test_loss_of_nan(run, block, tmp_path):
    x = logits((10, 4))
    x[7, 2] = x[8, 0] = math.nan
    source = save(tmp_path, "npy", x)
    y = save(tmp_path, "npy", np.zeros(10, int), "y")
    status, told, errors = run("loss", source, y, "--block", block)
    assert (status, told) == (1, "")
    assert errors == f"onesum: {source}: 2 rows have NaN logits, the first is row 7\n"
    x[7:9] = -math.inf
    os.unlink(source)
    assert run("loss", save(tmp_path, "npy", x), y, "--block", block)[::2] == (
        1,
        f"onesum: {source}: 2 rows have no probabilities (all logits -inf, or several inf), "
        "the first is row 7\n",
    )


# --- the others ---


def test_info(run, tmp_path):
    assert onesum.__version__ in run("info")[1]
    save(tmp_path, "npy in Fortran order", logits((3, 4)))
    save(tmp_path, "zarr 3", logits((3, 4)))
    assert "npy, Fortran order" in run("info", "x.npy")[1]
    assert "(3, 4)" in run("info", "x.npy")[1]
    assert "zarr, chunks (1, 1)" in run("info", "x.zarr")[1]
    save(tmp_path, "safetensors", logits((3, 4)))
    told = run("info", "x.safetensors")[1]
    assert all(word in told for word in ("logits", "float32", "48 bytes"))


def test_bench_has_its_own_options(run, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])
    assert ended.value.code == 0
    assert "usage: onesum bench" in capsys.readouterr().out


def test_the_three_have_the_same_options(run):
    """So that the document shows them once."""
    one, *others = (run(command, "--help")[1].partition("Arguments")[2] for command in FUNCTIONS)
    assert "--temperature" in one
    assert others == [one, one]


def test_version(run):
    assert run("--version")[:2] == (0, f"{onesum.__version__}\n")


def test_as_a_module():
    program = [sys.executable, "-m", "onesum", "--version"]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{onesum.__version__}\n"
