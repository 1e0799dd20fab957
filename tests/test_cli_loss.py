"""`onesum loss`: against exact losses, and ranks by sorting."""

from __future__ import annotations

import json
import math
import os

import ml_dtypes
import numpy as np
import oracle_losses
import pytest
from budget import CLI_STATISTICS
from stored_files import logits, save

import onesum


def evaluated(cli, *argv: object) -> dict[str, float]:
    status, told, errors = cli("loss", *argv, "--json")
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
def test_loss(cli, block, axis, dtype, tmp_path):
    """Against exact losses, and ranks by sorting: of equal logits the lower class comes first."""
    x = np.round(logits((40, 11))).astype(dtype)  # with many that are equal
    y = np.random.default_rng(1).integers(0, 11, 40)
    y[4] = -100
    counted = y != -100
    source = save(tmp_path, "safetensors", x if axis else np.ascontiguousarray(x.T))
    labels = save(tmp_path, "npy", y.astype("i4"), "y")
    options = ("--temperature=0.5", "--ignore-index=-100", "--top-k=3", "--block", block)
    got = evaluated(cli, source, labels, "--axis", axis, *options)

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


def test_loss_over_several_axes(cli, tmp_path):
    x = logits((3, 5, 4))
    y = np.random.default_rng(1).integers(0, 12, 5)
    source, labels = save(tmp_path, "npy", x), save(tmp_path, "zarr 3", y, "y")
    wanted = onesum.cross_entropy(x.astype(float), y, (0, 2))
    for block in ("1MB", "16"):
        got = evaluated(cli, source, labels, "--axis=0,2", "--block", block)
        assert abs(got["loss"] - wanted) <= CLI_STATISTICS * wanted


def test_the_table(cli, tmp_path):
    source = save(tmp_path, "npy", np.zeros((4, 2)))
    status, told, _ = cli("loss", source, save(tmp_path, "npy", np.array([0, 1, 0, 0]), "y"))
    assert status == 0
    lines = [line.split() for line in told.splitlines()]
    assert ["loss", "0.693147", "0"] in lines
    assert ["accuracy", "0.75", "0.25"] in lines
    assert ["top-5", "accuracy", "1", "0"] in lines
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("block", ["1MB", "16", "8"])
def test_one_row_and_infinite_loss(cli, block, tmp_path):
    """JSON has neither NaN nor infinity."""
    for n in (3, 1):
        x, y = np.array([[0.0, -math.inf], [0, 0], [0, 0]])[:n], np.array([1, 1, 1])[:n]
        paths = [save(tmp_path, "npy", a, f"{name}{n}") for name, a in (("x", x), ("y", y))]
        status, told, errors = cli("loss", *paths, "--json", "--block", block)
        got = json.loads(told, parse_constant=lambda name: pytest.fail(name))
        assert status == 0
        assert got["loss"] is None
        assert "the loss is infinite" in errors
    assert (got["loss"], got["perplexity"], got["loss_stderr"]) == (None, None, None)
    assert (got["accuracy"], got["accuracy_stderr"], got["top_k"], got["rows"]) == (0, None, 1, 1)


@pytest.mark.parametrize("block", ["1MB", "8"])
def test_loss_of_nan(cli, block, tmp_path):
    x = logits((10, 4))
    x[7, 2] = x[8, 0] = math.nan
    source = save(tmp_path, "npy", x)
    y = save(tmp_path, "npy", np.zeros(10, int), "y")
    status, told, errors = cli("loss", source, y, "--block", block)
    assert (status, told) == (1, "")
    assert errors == f"onesum: {source}: 2 rows have NaN logits, the first is row 7\n"
    x[7:9] = -math.inf
    os.unlink(source)
    assert cli("loss", save(tmp_path, "npy", x), y, "--block", block)[::2] == (
        1,
        f"onesum: {source}: 2 rows have no probabilities (all logits -inf, or several inf), "
        "the first is row 7\n",
    )
