"""What is written stays when a run fails, and only a run of the same goes on with it."""

from __future__ import annotations

import errno
import json
import math
import os
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from stored_files import logits, save

import onesum
from onesum._storage import region, targets
from onesum.cli import local


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
def test_a_full_disk(cli, axis, blocks, tmp_path, monkeypatch):
    x = logits((100, 50))
    x[5, 7] = math.nan
    source, options = save(tmp_path, "npy", x), ("--block=400", "--axis", axis)
    assert cli("softmax", source, "whole.npy", *options)[0] == 0
    with monkeypatch.context() as patch:
        full_disk(patch, blocks)
        status, told, errors = cli("softmax", source, "out.npy", *options)
    assert (status, told) == (1, "")
    assert errors == (
        "onesum: out.npy.partial: No space left on device; "
        "out.npy.partial has what is done: --resume goes on with it\n"
    )
    assert not os.path.exists("out.npy")
    record = json.loads((tmp_path / "out.npy.partial.json").read_text())
    assert record["progress"]["done"] <= blocks
    status, _, errors = cli("softmax", source, "out.npy", *options, "--resume")
    assert status == 0
    assert "1 row has NaN logits" in errors
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("axis", ["-1", "0"])
def test_what_is_done_is_not_done_again(cli, axis, tmp_path, monkeypatch):
    """Also within rows that come in pieces."""
    source, options = save(tmp_path, "npy", logits((100, 50))), ("--block=1600", "--axis", axis)
    written, write = [], targets.FileTarget.write

    def counted(self, box, block):
        write(self, box, block)
        written.append(box)

    monkeypatch.setattr(targets.FileTarget, "write", counted)
    assert cli("softmax", source, "whole.npy", *options)[0] == 0
    every = sorted(written, key=lambda box: (box[1].start, box[0].start))
    with monkeypatch.context() as patch:
        full_disk(patch, 100 if axis == "0" else 6)  # four tasks are begun at most
        assert cli("softmax", source, "out.npy", *options)[0] == 1
    done = json.loads((tmp_path / "out.npy.partial.json").read_text())["progress"]["done"]
    assert 0 < done < len(every)
    written.clear()
    assert cli("softmax", source, "out.npy", *options, "--resume")[0] == 0
    assert sorted(map(str, written)) == sorted(map(str, every[done:]))


CHANGED = {
    "an option": (("--temperature=2",), None, "another temperature: expected 1.0, got 2.0"),
    "the axis": (("--axis=0",), None, "another axis: "),
    "the dtype": (("--dtype=float64",), None, "another output: "),
    "the block": (("--block", "800"), None, "another block: "),
    "the input": ((), "x.npy", "another input: "),
    "where": (("--where=mask.npy",), None, "another where: expected null, got "),
}


@pytest.mark.parametrize("case", CHANGED)
def test_only_the_same_goes_on(cli, case, tmp_path, monkeypatch):
    argv, touched, message = CHANGED[case]
    save(tmp_path, "npy", logits((100, 50)))
    save(tmp_path, "npy", np.ones(50, bool), "mask")
    with monkeypatch.context() as patch:
        full_disk(patch, 30)
        assert cli("softmax", "x.npy", "out.npy", "--block=400")[0] == 1
    if touched:
        os.utime(touched, ns=(0, 10**18))
    block = () if "--block" in argv else ("--block=400",)
    status, _, errors = cli("softmax", "x.npy", "out.npy", "--resume", *block, *argv)
    assert status == 2
    assert f"onesum: out.npy.partial: was begun with {message}" in errors
    assert cli("softmax", "x.npy", "out.npy", "--overwrite", *block, *argv)[0] == 0


def test_nothing_to_go_on_with(cli, tmp_path):
    """Then it begins: a script may always say --resume."""
    assert cli("softmax", save(tmp_path, "npy", logits((3, 4))), "out.npy", "--resume")[0] == 0


@pytest.mark.parametrize("engine", ["local", "dask"])
@pytest.mark.parametrize("touched", ["x.npy", "mask.npy"])
def test_input_that_changes_meanwhile(cli, touched, engine, tmp_path, monkeypatch):
    save(tmp_path, "npy", logits((100, 50)))
    save(tmp_path, "npy", np.ones(50, bool), "mask")
    write = targets.FileTarget.write

    def touching(self, box, block):
        os.utime(touched, ns=(0, 10**18))
        write(self, box, block)

    monkeypatch.setattr(targets.FileTarget, "write", touching)
    argv = ("--where=mask.npy", "--engine", engine)
    status, _, errors = cli("softmax", "x.npy", "out.npy", *argv)
    assert status == 1
    assert errors == f"onesum: {touched}: was changed while it was read: nothing is written\n"
    assert sorted(os.listdir(tmp_path)) == ["mask.npy", "x.npy"]


def test_what_could_not_be_brought_to_the_disk_is_not_recorded(cli, tmp_path, monkeypatch):
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
    status, _, errors = cli("softmax", "x.npy", "out.npy", "--block=1000")
    assert status == 1
    assert errors.startswith("onesum: out.npy.partial: Input/output error; ")
    assert json.loads((tmp_path / "out.npy.partial.json").read_text())["progress"] == {}
    assert not os.path.exists("out.npy")
    assert cli("softmax", "x.npy", "out.npy", "--block=1000", "--resume")[0] == 0
    assert_array_equal(np.load("out.npy"), onesum.softmax(np.load("x.npy")))
