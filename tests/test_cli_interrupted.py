"""SIGINT, SIGTERM and SIGKILL at any moment: nothing under the name of the result that is not the
whole of it, and --resume makes the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from stored_files import load, save

import onesum
from onesum.cli import main, signals

# The command, which stops for the test to send a signal, as its part number `at` is to be written:
# or as the result is to be finished.
PROGRAM = """
import itertools, sys, threading, time
from onesum._storage import targets, writable
from onesum.cli import local, main

at, *argv = sys.argv[1:]
number, once = itertools.count(), threading.Lock()

def stop():
    if once.acquire(blocking=False):
        print("now", flush=True)
        time.sleep(0.3)

def stopping(cls, name, last=False):
    original = getattr(cls, name)
    def method(self, *args):
        if last or next(number) == int(at):
            stop()
        original(self, *args)
    setattr(cls, name, method)

local.CHECKPOINT_SECONDS = 0.0
if at == "finish":
    stopping(writable.Writable, "finish", last=True)
elif at == "begin":
    original = writable.create_array
    from onesum.cli import transform
    def create(*args, **kwargs):
        stop()
        return original(*args, **kwargs)
    transform.create_array = create
elif at == "import":
    class Stopping:
        @staticmethod
        def find_spec(name, *_):
            if name == "dask":
                stop()
    sys.meta_path.insert(0, Stopping)
else:
    stopping(targets.FileTarget, "write")
    stopping(targets.ZarrTarget, "write")
sys.exit(main(argv))
"""
OPTIONS = ("--block=2000", "--quiet")


def interrupted(at: object, signum: int, *argv: str) -> tuple[int, str]:
    """The exit status, and what it said last."""
    program = [sys.executable, "-c", PROGRAM, str(at), *argv, *OPTIONS]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        assert line == "now\n", process.stderr.read()
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.fixture
def x(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    save(tmp_path, "npy", x)
    return x


@pytest.mark.parametrize(
    ("at", "signum", "argv"),
    [
        (0, signal.SIGINT, ("softmax", "x.npy", "out.npy")),
        (11, signal.SIGTERM, ("softmax", "x.npy", "out.npy")),
        (19, signal.SIGINT, ("softmax", "x.npy", "out.npy")),
        (7, signal.SIGINT, ("log-softmax", "x.npy", "out.safetensors", "--axis=0")),
        (7, signal.SIGTERM, ("softmax", "x.npy", "out.zarr")),
        (13, signal.SIGKILL, ("softmax", "x.npy", "out.npy")),
    ],
)
def test_it_ends_and_goes_on(at, signum, argv, x, tmp_path):
    command, source, out, *options = argv
    status, errors = interrupted(at, signum, *argv)
    assert not os.path.exists(out)
    assert os.path.exists(f"{out}.partial")
    if signum == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 128 + signum
        kept = f"{out}.partial has what is done: --resume goes on with it"
        assert errors == f"onesum: interrupted; {kept}\n"
    assert main([command, source, out, *options, *OPTIONS, "--resume"]) == 0
    assert main([command, source, f"whole.{out}", *options, *OPTIONS]) == 0
    np.testing.assert_array_equal(load(out), load(f"whole.{out}"), strict=True)
    if os.path.isfile(out):
        assert (tmp_path / out).read_bytes() == (tmp_path / f"whole.{out}").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize(
    ("at", "out"), [(5, "out.npy"), (5, "out.zarr"), ("import", "out.npy"), ("begin", "out.zarr")]
)
def test_dask_leaves_nothing(at, out, x, tmp_path):
    argv = ("softmax", "x.npy", out, "--engine=dask")
    assert interrupted(at, signal.SIGTERM, *argv) == (143, "onesum: interrupted\n")
    assert os.listdir(tmp_path) == ["x.npy"]


def test_the_end_is_not_interrupted(x):
    """Once all is written, the result takes its name."""
    assert interrupted("finish", signal.SIGINT, "softmax", "x.npy", "out.npy") == (0, "")
    np.testing.assert_array_equal(np.load("out.npy"), onesum.softmax(x))


def test_before_there_is_anything(x):
    """What is not begun is begun, and left at its first part."""
    status, errors = interrupted("begin", signal.SIGTERM, "softmax", "x.npy", "out.npy")
    assert status == 128 + signal.SIGTERM
    assert errors.startswith("onesum: interrupted; ")
    assert main(["softmax", "x.npy", "out.npy", *OPTIONS, "--resume"]) == 0
    np.testing.assert_array_equal(np.load("out.npy"), onesum.softmax(x))


def test_elsewhere_it_ends_at_once(x, monkeypatch, capsys):
    handlers = [signal.getsignal(s) for s in signals.SIGNALS]
    monkeypatch.setattr(
        "onesum.cli.info.show_config", lambda mode: signal.raise_signal(signal.SIGTERM)
    )
    assert main(["info"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "onesum: interrupted\n"
    assert [signal.getsignal(s) for s in signals.SIGNALS] == handlers


def test_while_the_command_is_loaded():
    """Which takes longer than many a command."""
    program = """
import signal, sys
from onesum.cli import main

class Interrupting:
    @staticmethod
    def find_spec(name, *_):
        if name == "cyclopts":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
sys.exit(main(["info"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "onesum: interrupted\n")


def test_the_second_signal_does_not_wait(monkeypatch):
    with signals.handled(), signals.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(signals.Interrupted):
            signal.raise_signal(signal.SIGINT)
