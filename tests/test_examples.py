"""The examples run as a user runs them, reach their accuracy and draw their pictures."""

from __future__ import annotations

import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from budget import DIGITS_ACCURACY, DIGITS_DENSE, DIGITS_DIFFERENCES

from onesum.compare import compare

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPT = EXAMPLES / "digits.py"


def run(*arguments: str, cwd: Path, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG that is whole."""
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.rstrip().endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def errors(name: str, text: str) -> float:
    """The largest error that the table of the gradient check names."""
    found = re.search(name + r"\D*?(\d\.\de[-+]\d+)", text)
    assert found, text
    return float(found[1])


def test_digits(tmp_path: Path) -> None:
    result = run("--output", "pictures/digits.png", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr

    accuracy = re.search(r"accuracy\D*(0\.\d+)", result.stdout)
    assert accuracy, result.stdout
    assert float(accuracy[1]) >= DIGITS_ACCURACY
    assert errors("dense Jacobian", result.stdout) <= DIGITS_DENSE
    assert errors("central differences", result.stdout) <= DIGITS_DIFFERENCES

    width, height = size_of(tmp_path / "pictures" / "digits.png")
    assert width >= 800
    assert height >= 400


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """How the script ends, run in this process, and what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
    said = capsys.readouterr()
    return end.value.code, f"{said.out}{said.err}{end.value.code}"


def test_too_little_training_is_a_failure(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = refused(capsys, "--epochs", "1", "--learning-rate", "1e-6")
    assert code not in (0, None)
    assert str(DIGITS_ACCURACY) in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--epochs", "0"),
        ("--batch", "-1"),
        ("--learning-rate", "nan"),
        ("--output", "picture.doc"),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, capsys, name, value) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = refused(capsys, name, value)
    assert code == 2
    assert name in said
    assert value.lstrip("-") in said
    assert not list(tmp_path.iterdir())


def test_quantize(tmp_path: Path) -> None:
    """Its table says what the files hold: the fewer bits, the further apart."""
    result = run(cwd=tmp_path, script=EXAMPLES / "quantize.py")
    assert result.returncode == 0, result.stdout + result.stderr
    files = tmp_path / "build" / "quantize"
    full, labels = (np.load(files / f"{name}.npy") for name in ("full", "labels"))
    assert np.mean(full.argmax(axis=1) == labels) >= DIGITS_ACCURACY
    before = 0.0
    for bits in (8, 4, 3):
        other = compare(full, np.load(files / f"{bits}-bit.npy"), labels)
        kl, ratio = f"{other.kl.mean:.2g}", f"{other.perplexity_ratio:.4f}"
        assert re.search(rf"\b{bits} \S+ +{kl} ±.* {ratio} ±", result.stdout), result.stdout
        assert other.kl.mean > before
        before = other.kl.mean
    assert size_of(tmp_path / "build" / "quantize.png") == (1000, 400)
