"""The example runs as a user runs it, reaches its accuracy and draws its picture."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from budget import DIGITS_ACCURACY, DIGITS_DENSE, DIGITS_DIFFERENCES

SCRIPT = Path(__file__).parents[1] / "examples" / "digits.py"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


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

    picture = (tmp_path / "pictures" / "digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.rstrip().endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", picture[16:24])
    assert width >= 800
    assert height >= 400


def test_too_little_training_is_a_failure(tmp_path: Path) -> None:
    result = run("--epochs", "1", "--learning-rate", "1e-6", cwd=tmp_path)
    assert result.returncode != 0
    assert str(DIGITS_ACCURACY) in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--epochs", "0"), "--epochs"),
        (("--batch", "-1"), "--batch"),
        (("--learning-rate", "nan"), "--learning-rate"),
        (("--output", "picture.doc"), "--output"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: tuple[str, str], named: str) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert named in result.stderr
    assert arguments[1].lstrip("-") in result.stderr
    assert not list(tmp_path.iterdir())
