"""The tests of what is computed, for a Python that has NumPy and the tools of the group `core`.

`python tests/numpy_alone.py`, with any options of pytest: wheels are tested by it, on every system,
and so is the core that another compiler makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ANYWHERE = ("anywhere", "core")
# Where there is an np.longdouble that oracle.py can use.
EXACT = (
    "accuracy",
    "bits",
    "calls",
    "contract",
    "losses",
    "losses_accuracy",
    "losses_bits",
)

if __name__ == "__main__":
    names = ANYWHERE + (EXACT if np.finfo(np.longdouble).nmant >= 63 else ())
    tests = [str(Path(__file__).with_name(f"test_{name}.py")) for name in names]
    sys.exit(pytest.main([*sys.argv[1:], *tests]))
