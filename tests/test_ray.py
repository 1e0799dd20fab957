"""The recipe of docs/scale.md for Ray, in Ray."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"

PROGRAM = """
import logging

import numpy as np
import ray

import onesum

{function}

rng = np.random.default_rng(0)
x, y = rng.normal(0, 3, (50, 20)).astype(np.float32), rng.integers(0, 20, 50)
quiet = {{"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}}
ray.init(num_cpus=1, **quiet)
rows = [{{"row": i, "logits": a, "label": b}} for i, (a, b) in enumerate(zip(x, y, strict=True))]
given = ray.data.from_items(rows, override_num_blocks=4)
found = given.map_batches(add_probabilities, batch_size=16).take_all()
ray.shutdown()
found.sort(key=lambda row: row["row"])
assert np.array_equal([row["p"] for row in found], onesum.softmax(x))
losses = onesum.cross_entropy(x, y, reduction="none")
assert np.array_equal([row["loss"] for row in found], losses)
"""


def test_ray():
    (function,) = re.findall(r"^def add_probabilities.*?(?=^\n^\n)", PAGE.read_text(), re.M | re.S)
    program = PROGRAM.format(function=function)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
