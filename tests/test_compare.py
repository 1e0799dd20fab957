"""onesum.compare: every number against its definition, whatever the logits are read from."""

from __future__ import annotations

import json
import math
import threading
import tracemalloc

import dask.array
import jax.numpy
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from budget import COMPARED, LIKELIHOOD_FLOAT32
from scipy import stats

import onesum
from onesum._storage import open_array
from onesum.compare import Comparison, Distribution, LinearLogits, compare
from onesum.compare import _compare as module
from onesum.compare._logits import Logits

ROWS, CLASSES = 400, 30


def problem(seed=0, rows=ROWS, classes=CLASSES, dtype=np.float64, apart=0.3):
    """Logits, those of a worse copy, and labels that the first gives their probabilities."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 3, (rows, classes)).astype(dtype)
    other = (base + rng.normal(0, apart, base.shape)).astype(dtype)
    p = onesum.softmax(base.astype(np.float64))
    labels = (p.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return base, other, labels


@pytest.fixture(scope="module")
def given():
    return problem()


@pytest.fixture(scope="module")
def result(given):
    return compare(*given)


def close(got, wanted, factor=1):
    np.testing.assert_allclose(got, wanted, rtol=factor * COMPARED, atol=0)


# --- the numbers -----------------------------------------------------------------------------


def test_divergences_are_those_of_the_rows(given, result):
    base, other = (a.astype(np.float64) for a in given[:2])
    p, q = onesum.softmax(base), onesum.softmax(other)
    close(result.kl.values, onesum.kl_divergence(base, other, reduction="none"))
    close(result.reverse_kl.values, onesum.kl_divergence(other, base, reduction="none"))
    m = (p + q) / 2
    js = (p * np.log(p / m) + q * np.log(q / m)).sum(axis=1) / 2
    close(result.js.values, js)


def test_same_top(given, result):
    base, other, _ = given
    same = base.argmax(axis=1) == other.argmax(axis=1)
    assert 0 < result.same_top < 1
    assert result.same_top == same.mean()
    close(result.same_top_stderr, same.std(ddof=1) / math.sqrt(ROWS))
    ties = compare([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert ties.same_top == 1 / 3  # of equal ones the first


def test_what_labels_give(given, result):
    base, other, labels = given
    base, other = (
        onesum.log_softmax(a.astype(np.float64))[np.arange(ROWS), labels] for a in (base, other)
    )
    np.testing.assert_allclose(
        result.delta_p.values, np.exp(other) - np.exp(base), rtol=COMPARED, atol=2.0**-50
    )
    close(result.delta_p.rms, math.sqrt(np.mean((np.exp(other) - np.exp(base)) ** 2)))

    n = math.sqrt(ROWS)
    for got, error, ll in (
        (result.perplexity_base, result.perplexity_base_stderr, base),
        (result.perplexity_other, result.perplexity_other_stderr, other),
    ):
        close(got, math.exp(-ll.mean()))
        close(error, math.exp(-ll.mean()) * ll.std(ddof=1) / n)

    close(result.log_ratio, math.log(result.perplexity_other / result.perplexity_base), 100)
    covariance = np.cov(base, other)  # divides by n - 1
    spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    close(result.log_ratio_stderr, math.sqrt(spread) / n, 100)
    close(result.perplexity_ratio, result.perplexity_other / result.perplexity_base)
    close(result.perplexity_ratio_stderr, result.perplexity_ratio * result.log_ratio_stderr)
    close(result.correlation, stats.pearsonr(base, other).statistic)


def test_single_precision(given, result):
    """The divergences are those of float64; the likelihoods come from the float32 kernel."""
    base, other, labels = (*(a.astype(np.float32) for a in given[:2]), given[2])
    wide = compare(base.astype(np.float64), other.astype(np.float64), labels)
    same(compare(base, other, labels), wide, COMPARED, LIKELIHOOD_FLOAT32)


def test_no_labels(given):
    result = compare(*given[:2])
    for name in ("delta_p", "log_likelihood_base", "log_likelihood_other", "correlation"):
        assert getattr(result, name) is None
    for name in ("perplexity_base", "perplexity_other", "perplexity_ratio", "log_ratio"):
        assert getattr(result, name) is None
        assert getattr(result, f"{name}_stderr") is None
    assert result.rows == ROWS
    assert "perplexity" not in str(result)


def test_one_row():
    result = compare([0.0, 1.0], [0.0, 2.0], 1)
    assert result.rows == 1
    assert result.kl.mean == result.kl.min == result.kl.max == result.kl.percentile(37)
    assert math.isnan(result.kl.stderr)
    assert math.isnan(result.same_top_stderr)


def test_identical_logits(given):
    base, _, labels = given
    result = compare(base, base.copy(), labels)
    for d in (result.kl, result.reverse_kl, result.js, result.delta_p):
        assert d.min == d.max == d.mean == d.stderr == 0
    assert result.same_top == result.perplexity_ratio == 1
    assert result.log_ratio == 0
    close(result.correlation, 1)


def test_infinite_divergences():
    """They are told, and nothing warns of them."""
    inf = math.inf
    result = compare([[0.0, 0.0], [0.0, 0.0]], [[0.0, -inf], [0.0, 1.0]], [1, 0])
    assert result.kl.max == result.kl.mean == inf
    assert result.kl.infinite == 1
    assert result.reverse_kl.infinite == 0
    assert result.perplexity_other == inf
    assert result.delta_p.min == -0.5
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["kl"]["mean"] is None
    assert found["kl"]["infinite"] == 1
    assert "rows with inf" in str(result)
    result.figure()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_numbers(dtype):
    """Nothing warns of them."""
    large = np.finfo(dtype).max
    rows = [[large, -large], [large, 0], [0, 0], [-large, large / 2], [0, -math.inf]]
    a, b = (np.repeat(rows, 5, axis=0).astype(dtype), np.tile(rows, (5, 1)).astype(dtype))
    str(compare(a, b, np.zeros(25, int)))
    for bad in ([math.inf, math.inf], [-math.inf, -math.inf], [math.nan, 0]):
        for good in ([math.inf, 0], [large, -large]):
            with pytest.raises(ValueError, match=r"^other: expected rows of logits with a softmax"):
                compare(np.array([good], dtype), np.array([bad], dtype))
    hidden = LinearLogits(np.full((2, 3), large), np.ones((2, 3), dtype))
    with pytest.raises(ValueError, match=r"several inf in 2 of 2 rows"):
        compare(hidden, hidden)


def test_distribution():
    values = np.random.default_rng(3).normal(size=999) ** 3
    d = Distribution(values)
    for q in (0, 0.1, 1, 33.3, 50, 99.9, 100):
        close(d.percentile(q), np.percentile(values, q))
    assert (d.min, d.max) == (values.min(), values.max())
    close(d.mean, values.mean())
    close(d.stderr, values.std(ddof=1) / math.sqrt(999))
    assert Distribution([1.0, math.inf, math.inf]).percentile(100) == math.inf
    assert Distribution([1.0, math.inf, math.inf]).percentile(75) == math.inf
    assert Distribution([-math.inf, 0.0]).percentile(25) == -math.inf
    assert Distribution([-math.inf, 0.0]).percentile(100) == 0
    with pytest.raises(TypeError, match=r"^q: expected a number from 0 to 100, got 'a'$"):
        d.percentile("a")
    for q in (-1, 101, math.nan):
        with pytest.raises(ValueError, match=rf"^q: expected a number from 0 to 100, got {q}$"):
            d.percentile(q)
    with pytest.raises(ValueError, match=r"^values: expected at least one number, got none$"):
        Distribution([])


def test_to_dict(result):
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert next(iter(found)) == "rows"
    assert found["rows"] == ROWS
    for name in ("kl", "reverse_kl", "js", "delta_p"):
        d = getattr(result, name)
        for key in ("mean", "stderr", "rms", "min", "max", "infinite"):
            assert found[name][key] == getattr(d, key)
        percentiles = {f"{q:g}": d.percentile(q) for q in (99.9, 99, 95, 90, 50, 10, 5, 1)}
        assert found[name]["percentiles"] == percentiles
    for name in ("same_top", "perplexity_base", "perplexity_other", "log_ratio"):
        assert found[name] == getattr(result, name)
        assert found[f"{name}_stderr"] == getattr(result, f"{name}_stderr")
    assert found["correlation"] == result.correlation
    assert found["mass_error_base"] is None


def test_table_and_figure(result, tmp_path):
    text = str(result)
    assert repr(result) == text
    assert max(map(len, text.splitlines())) <= 79
    for number in (result.kl.mean, result.js.percentile(99), result.delta_p.min):
        assert f"{number:.4g}" in text
    assert f"{result.perplexity_ratio:.6g}" in text
    figure = result.figure()
    left, right = figure.axes
    counted = sum(patch.get_height() for patch in left.patches)
    assert counted == sum(patch.get_height() for patch in right.patches) == ROWS
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


# --- what logits are read from ----------------------------------------------------------------


def same(a: Comparison, b: Comparison, relative: float = 0, likelihood: float = 0) -> None:
    """Row by row; the log-likelihoods, which may be near 0, to within a number."""
    for name in ("kl", "reverse_kl", "js"):
        pair = [getattr(c, name).values for c in (a, b)]
        np.testing.assert_allclose(*pair, rtol=relative, atol=0, err_msg=name)
    for name in ("log_likelihood_base", "log_likelihood_other"):
        assert (getattr(a, name) is None) == (getattr(b, name) is None)
        if getattr(a, name) is not None:
            pair = [getattr(c, name).values for c in (a, b)]
            np.testing.assert_allclose(*pair, rtol=0, atol=likelihood, err_msg=name)
    assert a.same_top == b.same_top


def test_blocks_change_nothing(given, result, monkeypatch):
    for elements in (1, 7 * CLASSES, 10**9):
        monkeypatch.setattr(module, "BLOCK", elements)
        same(compare(*given), result)


@pytest.mark.parametrize("elements", [1, 40, 10**6])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axes(axis, elements, monkeypatch):
    """Rows are counted in C order, along all other axes."""
    base, other, _ = problem(rows=12 * 5)
    base, other = base.reshape(12, 5, CLASSES), other.reshape(12, 5, CLASSES)
    rows = [np.moveaxis(a, axis, -1) for a in (base, other)]
    labels = rows[0].argmin(axis=-1)
    flat = [a.reshape(-1, a.shape[-1]) for a in rows]
    wanted = compare(*flat, labels.reshape(-1))
    monkeypatch.setattr(module, "BLOCK", elements)
    same(compare(base, other, labels, axis), wanted)


class Counted:
    """Stored logits in chunks, and how often one was read."""

    def __init__(self, data, chunks):
        self.data, self.shape, self.dtype, self.chunks = data, data.shape, data.dtype, chunks
        self.reads = np.zeros([-(-n // c) for n, c in zip(data.shape, chunks, strict=True)], int)

    def __getitem__(self, box):
        touched = (
            slice(s.start // c, -(-s.stop // c)) for s, c in zip(box, self.chunks, strict=True)
        )
        self.reads[tuple(touched)] += 1
        return self.data[box]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("chunks", [(12, 5, 30), (4, 3, 10), (5, 1, 7)])
def test_chunks_are_read_once(chunks, axis, monkeypatch):
    """Blocks are of whole chunks, in whichever order that brings the rows."""
    base, other, _ = (a.reshape(12, 5, -1) for a in problem(rows=12 * 5))
    labels = base.argmin(axis=axis)
    wanted = compare(base, other, labels, axis)
    monkeypatch.setattr(module, "BLOCK", 40)
    counted = Counted(base, chunks)
    same(compare(counted, other, labels, axis), wanted)
    assert (counted.reads == 1).all()
    bad = Counted(base.copy(), chunks)
    bad.data[5:9, 1:4, 2:9] = np.nan
    first = {0: r"\(1, 2\)", 1: r"\(5, 2\)", 2: r"\(5, 1\)"}[axis]
    with pytest.raises(ValueError, match=rf"^base: .* the first of them row {first}$"):
        compare(bad, other, labels, axis)


@pytest.mark.parametrize("stored", [np.load, open_array])
def test_rows_side_by_side_are_read_in_pages(stored, tmp_path, monkeypatch):
    """In Fortran order a file has the rows' classes far apart, and the rows' numbers together."""
    base, other, labels = problem(rows=3000)
    np.save(tmp_path / "base.npy", np.asfortranarray(base))
    file = str(tmp_path / "base.npy")
    x = stored(file, mmap_mode="r") if stored is np.load else stored(file)
    monkeypatch.setattr(module, "BLOCK", 100 * CLASSES)
    told = []
    got = compare(x, other, labels, progress=lambda done, rows: told.append(done))
    assert told[0] >= 4096 // base.itemsize
    same(got, compare(base, other, labels))


def test_arrays_of_every_library(tmp_path):
    base, other, labels = problem(dtype=np.float32)
    result = compare(base, other, labels)
    np.save(tmp_path / "base.npy", base)
    mapped = np.load(tmp_path / "base.npy", mmap_mode="r")
    stored = zarr.create_array(tmp_path / "other.zarr", data=other, chunks=(64, CLASSES))
    frame = pd.DataFrame(base, columns=[f"class {i}" for i in range(CLASSES)])
    for a, b, y in (
        (mapped, stored, labels.astype(np.uint8)),
        (torch.tensor(base, requires_grad=True), jax.numpy.asarray(other), torch.tensor(labels)),
        (dask.array.from_array(base, chunks=50), other.tolist(), dask.array.asarray(labels)),
        (frame, np.asfortranarray(other), pd.Series(labels)),
        (base.astype(">f4"), np.ma.array(other), labels.tolist()),
    ):
        same(compare(a, b, y), result, COMPARED, LIKELIHOOD_FLOAT32)


def test_narrow_types_and_integers(given):
    base, other, labels = given
    for name, dtype in (("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)):
        a, b = (c.astype(dtype) for c in (base, other))
        wanted = compare(a.astype(np.float64), b.astype(np.float64), labels)
        same(compare(a, b, labels), wanted, COMPARED, LIKELIHOOD_FLOAT32)
        tensor = torch.tensor(np.asarray(a, np.float32)).to(getattr(torch, name))
        same(compare(tensor, b, labels), wanted, COMPARED, LIKELIHOOD_FLOAT32)
    a, b = (np.round(c).astype(np.int8) for c in (base, other))
    same(compare(a, b > 0), compare(a.astype(float), (b > 0).astype(float)))


class Watched:
    """Stored logits that say when they are read."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.reads, self.ahead = 0, threading.Event()

    def __getitem__(self, key):
        self.reads += 1
        if self.reads == 2:
            self.ahead.set()
        return self.data[key]


def test_the_next_block_is_read_meanwhile(given, monkeypatch):
    base, other, labels = given
    monkeypatch.setattr(module, "BLOCK", 100 * CLASSES)
    watched, told = Watched(base), []

    def progress(done, rows):
        told.append((done, rows))
        assert watched.ahead.wait(60)  # while this block is in hand

    same(compare(watched, other, labels, progress=progress), compare(base, other, labels))
    assert told == [(n, ROWS) for n in (100, 200, 300, 400)]
    assert watched.reads == 4


def test_mapped_files_are_read_by_the_thread_that_reads(tmp_path):
    """A block of one is a copy: else its pages would come in while it is computed with."""
    np.save(tmp_path / "a.npy", np.ones((20, 3)))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    block = Logits("base", mapped, -1).read((slice(4, 9), slice(None)))
    assert type(block) is np.ndarray
    assert not np.may_share_memory(block, mapped)


def test_memory_is_that_of_blocks(monkeypatch, tmp_path):
    base, other, labels = problem(rows=10_000, classes=50)
    for name, a in (("base", base), ("other", other)):
        np.save(tmp_path / f"{name}.npy", a)
    files = [np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in ("base", "other")]
    monkeypatch.setattr(module, "BLOCK", 2**12)
    compare(*(f[:100] for f in files), labels[:100])  # what is imported on the way
    tracemalloc.start()
    result = compare(*files, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = 6 * 8 * len(labels)
    assert peak < kept + 2**12 * 8 * 60  # some sixty float64 an element, in the definition
    assert peak < base.nbytes  # one of the files alone
    assert result.rows == 10_000


# --- hidden states ---------------------------------------------------------------------------


def hidden_problem(dtype=np.float32):
    rng = np.random.default_rng(8)
    hidden, head = rng.normal(size=(4, 60, 16)), rng.normal(size=(CLASSES, 16))
    coarse = np.round(head * 8) / 8
    return tuple(a.astype(dtype) for a in (hidden, head, coarse))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_hidden_states(dtype, monkeypatch):
    hidden, head, coarse = hidden_problem(dtype)
    wide = np.float64 if dtype is np.float64 else np.float32
    base, other = (hidden.astype(wide).reshape(-1, 16) @ w.astype(wide).T for w in (head, coarse))
    labels = base.argmax(axis=-1)
    wanted = compare(base, other, labels)
    lazy = LinearLogits(hidden, head)
    assert lazy.shape == (4, 60, CLASSES)
    assert lazy.dtype == wide
    # BLAS adds 16 products in another order for other shapes; KL is of their errors' square at
    # least, and of the errors times the square root of KL.
    factor = 1e-3 if wide is np.float32 else 1e-11
    labels = labels.reshape(4, 60)
    same(compare(lazy, LinearLogits(hidden, coarse), labels), wanted, factor, factor)
    same(compare(lazy, other.reshape(4, 60, -1), labels), wanted, factor, factor)
    monkeypatch.setattr("onesum.compare._linear._CHUNK", 16 * 7)  # classes, seven at a time
    np.testing.assert_allclose(
        lazy[1:3, 5:9, 3:20],
        base.reshape(4, 60, -1)[1:3, 5:9, 3:20],
        rtol=64 * np.finfo(wide).eps,
        atol=64 * np.finfo(wide).eps,
    )


def test_how_many_hidden_states_are_wanted():
    """Along whatever axes they are."""
    for batch, wanted in (((240,), (64,)), ((99, 4), (16, 4)), ((99, 5), (13, 5)), ((), ())):
        assert LinearLogits(np.ones((*batch, 2)), np.ones((3, 2))).chunks == (*wanted, 3)


def test_hidden_states_are_read_in_blocks(monkeypatch):
    """So many rows at one time that the head is not read for one alone."""
    hidden, head, coarse = hidden_problem()
    monkeypatch.setattr(module, "BLOCK", 1)
    told = []
    base, other = (LinearLogits(hidden.reshape(-1, 16), w) for w in (head, coarse))
    compare(base, other, progress=lambda done, rows: told.append(done))
    assert told == [64, 128, 192, 240]


# --- what is refused --------------------------------------------------------------------------


def test_rows_without_a_softmax(given, monkeypatch):
    base, other, labels = given
    monkeypatch.setattr(module, "BLOCK", 50 * CLASSES)
    bad = other.copy()
    bad[[7, 60, 399], 3] = np.nan
    wanted = r"^other: expected rows of logits with a softmax, got NaN in 3 of 400 rows, "
    with pytest.raises(ValueError, match=wanted + r"the first of them row 7$"):
        compare(base, bad, labels)
    with pytest.raises(ValueError, match=r"^base: .* NaN in 3 of 400 rows, .* row \(0, 7\)$"):
        compare(bad.reshape(8, 50, -1), other.reshape(8, 50, -1))
    bad = base.copy()
    bad[300], bad[5, :2] = -np.inf, np.inf
    wanted = r"several inf in 1 of 400 rows, .* row 5; nothing but -inf in 1 of .* row 300$"
    with pytest.raises(ValueError, match=r"^base: .*" + wanted):
        compare(bad, other)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "other: has 300 rows, base has 400", {"other": np.zeros((300, CLASSES))}),
        (ValueError, "other: has 29 classes, base has 30", {"other": np.zeros((400, 29))}),
        (
            ValueError,
            "other: expected the shape of base, (400, 30), got (20, 20, 30)",
            {"other": np.zeros((20, 20, 30))},
        ),
        (ValueError, "base: expected at least one row and one class", {"base": np.zeros((0, 3))}),
        (ValueError, "base: expected an array of at least one dimension", {"base": 3.0}),
        (TypeError, "base: expected float16, bfloat16, float32, float64", {"base": ["a"]}),
        (TypeError, "other: expected float16, bfloat16", {"other": np.zeros((400, 30), complex)}),
        (ValueError, "other: expected no masked elements", {"other": np.ma.masked_all((400, 30))}),
        (TypeError, "axis: expected an int, got 'x'", {"axis": "x"}),
        (np.exceptions.AxisError, "axis 2 is out of bounds", {"axis": 2}),
        (TypeError, "labels: expected integers, got dtype float64", {"labels": np.zeros(400)}),
        (ValueError, "labels: expected shape (400,), one per row, got (3,)", {"labels": [1, 2, 3]}),
        (
            IndexError,
            "labels: expected class indices from 0 to 29, got 30 in row 17",
            {"labels": np.where(np.arange(400) == 17, 30, 0)},
        ),
        (
            IndexError,
            "labels: expected class indices from 0 to 29, got -100 in row 0",
            {"labels": np.full(400, -100)},
        ),
    ],
)
def test_bad_arguments(given, error, message, change):
    arguments = {**dict(zip(("base", "other", "labels"), given, strict=True)), **change}
    with pytest.raises(error) as caught:
        compare(**arguments)
    assert message in str(caught.value)


def test_bad_hidden_states():
    hidden, head, _ = hidden_problem()
    for error, message, a, b in (
        (ValueError, "head: expected shape (classes, 16), for hidden", hidden, head.T),
        (ValueError, "head: expected shape (classes, features), got", hidden, head[0]),
        (TypeError, "hidden: expected float16, bfloat16", hidden.astype(int), head),
        (TypeError, "head: expected float16, bfloat16", hidden, head.astype(np.int8)),
    ):
        with pytest.raises(error) as caught:
            LinearLogits(a, b)
        assert message in str(caught.value)
