"""What tools/proofs states as proven: that it is for these sources, and on the page."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROOFS = ROOT / "tools" / "proofs"


@pytest.fixture
def prove(monkeypatch):
    monkeypatch.syspath_prepend(PROOFS)
    import prove

    return prove


def test_the_proofs_are_for_these_sources(prove):
    """After a change of exp.h, its table, log1p.h or the sums: `tools/proofs/prove.py --write`."""
    assert json.loads(prove.STATED.read_text())["proven for"] == prove.fingerprint()


def test_the_page_has_the_bounds_that_are_proven(prove):
    stated = json.loads(prove.STATED.read_text())["bounds"]
    assert prove.BLOCK.search(prove.PAGE.read_text())[0] == prove.table(stated)


def test_what_is_read_are_the_constants(prove):
    """2^(j / 8) and ln 2 in two words, as the C++ has them."""
    from constants import exp

    for j, (scale, correction) in enumerate(exp("float32").table):
        assert float(scale) * math.exp(correction) == pytest.approx(2 ** (j / 8), rel=1e-14)
    for dtype in ("float32", "float64"):
        c = exp(dtype)
        assert float((c.ln2_hi + c.ln2_lo) * c.n_log2e) == pytest.approx(1, rel=1e-7)
        assert float(c.q[1]) == pytest.approx(1 / 6, rel=1e-4)


def test_without_the_tools_their_packages_are_named(prove, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="apt-get install gappa sollya"):
        prove.main([])


needs_tools = pytest.mark.skipif(
    not (shutil.which("gappa") and shutil.which("sollya")), reason="no gappa or no sollya"
)


@pytest.mark.slow
@needs_tools
def test_all_is_proven():
    run = subprocess.run([sys.executable, PROOFS / "prove.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@needs_tools
def test_another_coefficient_has_another_bound(prove):
    """By one in the last bit of 12."""
    from constants import exp
    from exponential import exponential

    c = exp("float32")
    c.q[1] *= 1 + Fraction(1, 2**12)
    stated = json.loads(prove.STATED.read_text())["bounds"]["exp, before it is rounded"]["float32"]
    assert exponential(c, fused=True).parts > stated
