"""`onesum compare`: files in, a table, JSON or a picture out, and a line for every mistake."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import zarr
from budget import COMPARED
from llama_cpp_files import write
from safetensors.numpy import save_file

from onesum import _storage
from onesum.cli import main
from onesum.compare import LinearLogits, LlamaCppLogits, compare

ROWS, CLASSES = 27, 41


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(12)
    base = rng.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
    other = (base + rng.normal(0, 0.3, base.shape)).astype(np.float32)
    return {
        "base": base,
        "other": other,
        "labels": rng.integers(0, CLASSES, ROWS),
        "tokens": rng.integers(0, CLASSES, (3, 20)),
        "hidden": rng.normal(size=(ROWS, 8)).astype(np.float32),
        "head": rng.normal(size=(CLASSES, 8)).astype(np.float32),
    }


@pytest.fixture
def files(data, tmp_path, monkeypatch):
    """A directory with the arrays in it, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("base", "other", "labels", "hidden", "head"):
        np.save(f"{name}.npy", data[name])
    write(tmp_path / "base.kld", data["base"].reshape(3, 9, CLASSES), data["tokens"])
    return tmp_path


def run(capsys, *arguments):
    """The exit status, and what is on stdout and stderr."""
    status = main(["compare", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def found(capsys, *arguments):
    """The JSON of a run that goes well and says nothing else."""
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_json_is_the_comparison(files, data, capsys):
    got = found(capsys, "base.npy", "other.npy", "--labels", "labels.npy")
    assert got == compare(data["base"], data["other"], data["labels"]).to_dict()
    got = found(capsys, "base.npy", "other.npy")
    assert got == compare(data["base"], data["other"]).to_dict()
    assert got["delta_p"] is None


def test_axis(files, data, capsys):
    np.save("base_t.npy", data["base"].T)
    np.save("other_t.npy", data["other"].T)
    got = found(capsys, "base_t.npy", "other_t.npy", "--labels", "labels.npy", "--axis", "0")
    assert got == compare(data["base"], data["other"], data["labels"]).to_dict()


def test_every_format(files, data, capsys):
    narrow = data["base"].astype(ml_dtypes.bfloat16)
    save_file({"logits": narrow, "more": data["head"]}, "base.safetensors")
    zarr.create_array("other.zarr", data=data["other"], chunks=(5, CLASSES))
    got = found(capsys, "base.safetensors:logits", "other.zarr", "--labels", "labels.npy")
    assert got == compare(narrow, data["other"], data["labels"]).to_dict()


def test_llama_cpp(files, data, capsys):
    """Its labels, unless others are given; on either side."""
    file = LlamaCppLogits("base.kld")
    wanted = compare(file, data["other"])
    assert found(capsys, "base.kld", "other.npy") == wanted.to_dict()
    got = found(capsys, "base.kld", "other.npy", "--labels", "labels.npy")
    assert got == compare(file, data["other"], data["labels"]).to_dict()
    got = found(capsys, "other.npy", "base.kld")
    np.testing.assert_allclose(got["perplexity_other"], wanted.perplexity_base, rtol=COMPARED)
    assert found(capsys, "base.kld", "base.kld")["kl"]["max"] == 0
    status, out, _ = run(capsys, "base.kld", "other.npy")
    assert status == 0
    assert "stored mass - 1, base" in out


def test_hidden_states(files, data, capsys):
    hidden, head = data["hidden"], data["head"]
    coarse = np.round(head * 4) / 4
    np.save("coarse.npy", coarse)
    heads = "--base-head", "head.npy", "--other-head", "coarse.npy"
    got = found(capsys, "hidden.npy", "hidden.npy", *heads)
    assert got == compare(LinearLogits(hidden, head), LinearLogits(hidden, coarse)).to_dict()
    got = found(capsys, "base.npy", "hidden.npy", "--other-head", "head.npy")
    assert got == compare(data["base"], LinearLogits(hidden, head)).to_dict()
    assert got == found(capsys, "base.npy", "--hidden", "hidden.npy", "--head", "head.npy")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "OTHER: expected a file, or --hidden and --head; got neither"),
        (["--head", "head.npy"], "--hidden, --head: expected both or neither, got one"),
        (
            ["other.npy", "--hidden", "hidden.npy", "--head", "head.npy"],
            "OTHER, --other-head: expected neither beside --hidden, which is OTHER",
        ),
    ],
)
def test_other_in_one_way(files, capsys, given, message):
    status, out, err = run(capsys, "base.npy", *given)
    assert (status, out) == (2, "")
    assert err == f"onesum: {message}\n"


def test_table(files, data, capsys):
    status, out, err = run(capsys, "base.npy", "other.npy", "--labels", "labels.npy")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    result = compare(data["base"], data["other"], data["labels"])
    assert "other.npy against base.npy: 27 rows" in " ".join(out.split())
    for number in (
        *(f"{d.mean:.4g}" for d in (result.kl, result.reverse_kl, result.js, result.delta_p)),
        f"{result.kl.percentile(99.9):.4g}",
        f"{result.delta_p.rms:.4g}",
        f"{result.same_top:.4%}",
        f"{result.perplexity_base:.6g}",
        f"{result.log_ratio:.6g}",
    ):
        assert number in out


def test_figure(files, capsys):
    run(capsys, "base.npy", "other.npy", "--figure", "one.png", "--quiet")
    status, out, err = run(
        capsys, "base.npy", "other.npy", "--labels", "labels.npy", "--figure", "two.PNG", "--quiet"
    )
    assert (status, out, err) == (0, "", "")
    widths = []
    for name in ("one.png", "two.PNG"):
        picture = (files / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.rstrip().endswith(b"IEND\xaeB`\x82")
        widths.append(struct.unpack(">I", picture[16:20])[0])
    assert widths[1] == 2 * widths[0]  # the change of p beside KL
    assert not list(files.glob(".*"))


def test_a_figure_that_cannot_be_written_leaves_nothing(files, capsys, monkeypatch):
    (files / "old.png").write_bytes(b"what was there")

    def full(*arguments):
        raise OSError(28, "No space left on device", "old.png")

    monkeypatch.setattr(os, "replace", full)
    status, out, err = run(capsys, "base.npy", "other.npy", "--figure", "old.png")
    assert (status, err) == (1, "onesum: old.png: No space left on device\n")
    assert "same top class" in out  # what was computed is not lost
    assert (files / "old.png").read_bytes() == b"what was there"
    assert not list(files.glob(".*"))


def test_a_figure_without_matplotlib(files, capsys, monkeypatch):
    """It is told before anything is computed."""
    monkeypatch.setattr("onesum.cli.figure.find_spec", lambda name: None)
    status, out, err = run(capsys, "base.npy", "other.npy", "--figure", "a.png")
    assert (status, out) == (2, "")
    assert err.startswith("onesum: --figure: needs matplotlib, which is not installed")


def test_progress(files, capsys):
    _, _, quiet = run(capsys, "base.npy", "other.npy", "--progress", "--quiet")
    _, _, shown = run(capsys, "base.npy", "other.npy", "--progress")
    assert quiet == ""
    assert "compare" in shown
    assert "8.9/8.9 kB" in shown  # 27 x 41 float32 of either


def test_infinite(files, data, capsys):
    other = data["other"].copy()
    other[3, 4] = -np.inf
    np.save("inf.npy", other)
    status, out, err = run(capsys, "base.npy", "inf.npy", "--json")
    assert status == 0
    assert json.loads(out)["kl"]["infinite"] == 1
    assert json.loads(out)["kl"]["mean"] is None
    assert err.startswith("onesum: a divergence is infinite where")


def bad_arrays(data):
    nan = data["other"].copy()
    nan[[5, 20], 3] = np.nan
    np.save("nan.npy", nan)
    np.save("short.npy", data["other"][:20])
    np.save("narrow.npy", data["other"][:, :40])
    np.save("words.npy", np.array(["a", "b"]))
    np.save("bad_labels.npy", np.full(ROWS, CLASSES))
    np.save("few_labels.npy", np.zeros(3, int))
    np.save("floats.npy", np.zeros(ROWS))
    with open("base.kld", "rb") as whole, open("cut.kld", "wb") as cut:
        cut.write(whole.read()[:1000])
    with open("other.kld", "wb") as file:
        file.write(b"something else")


LABELS = ["base.npy", "other.npy", "--labels"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["base.npy", "short.npy"], 2, "short.npy: has 20 rows, base has 27"),
        (["base.npy", "narrow.npy"], 2, "narrow.npy: has 40 classes, base has 41"),
        (["nan.npy", "other.npy"], 1, "nan.npy: .* NaN in 2 of 27 rows, the first of them row 5"),
        (["base.npy", "nan.npy"], 1, "nan.npy: .* NaN in 2 of 27 rows, the first of them row 5"),
        (["base.npy", "words.npy"], 2, "words.npy: "),
        ([*LABELS, "bad_labels.npy"], 2, "bad_labels.npy: .* from 0 to 40, got 41 in row 0"),
        ([*LABELS, "few_labels.npy"], 2, r"few_labels.npy: expected shape \(27,\), .* got \(3,\)"),
        ([*LABELS, "floats.npy"], 2, "floats.npy: expected integers, got dtype float64"),
        (["cut.kld", "other.npy"], 2, "cut.kld: expected 2744 bytes, 27 rows .* got 1000 bytes"),
        (["other.kld", "other.npy"], 2, "other.kld: expected .*; nor .* llama.cpp's, with _logits"),
        (["none.npy", "other.npy"], 2, "none.npy: No such file or directory$"),
        (["base.npy", "other.npy", "--axis", "2"], 2, "--axis: expected from -2 to 1, got 2"),
        (["base.npy", "other.npy", "--axis", "x"], 2, ".*axis.*x"),
        (["base.npy", "other.npy", "--figure", "a.doc"], 2, "--figure: .* .png, .* got 'a.doc'"),
        (["base.npy", "other.npy", "--figure", "no/a.png"], 2, "--figure: no: no such directory"),
        (["hidden.npy", "base.npy", "--base-head", "base.npy"], 2, r"base.npy: .*\(classes, 8\)"),
        (["labels.npy", "base.npy", "--base-head", "head.npy"], 2, "labels.npy: expected float16"),
        (["base.npy"], 2, ".*OTHER"),
    ],
)
def test_mistakes(files, data, capsys, arguments, status, message):
    """A line on stderr that names the file or the option, and nothing written."""
    bad_arrays(data)
    before = sorted(files.iterdir())
    got, out, err = run(capsys, *arguments, "--quiet")
    assert (got, out) == (status, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert re.match(f"onesum: {message}", err), err
    assert sorted(files.iterdir()) == before


def test_a_file_that_is_cut_short_while_it_is_read(files, capsys, monkeypatch):
    """What the thread that reads meets ends the command."""

    def cut(self, box, buffer=None):
        raise _storage.StorageError(f"{self.name}: was cut short while it was read")

    monkeypatch.setattr(type(_storage.open_array("other.npy")), "read", cut)
    status, out, err = run(capsys, "base.npy", "other.npy")
    assert (status, out) == (2, "")
    assert err == "onesum: base.npy: was cut short while it was read\n"


def test_as_a_program(files, data):
    """The way a user starts it."""
    got = subprocess.run(
        [sys.executable, "-m", "onesum", "compare", "base.kld", "other.npy", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(got.stdout) == compare(LlamaCppLogits("base.kld"), data["other"]).to_dict()
    assert got.stderr == ""
