"""Dask's schedulers: threads, processes, a cluster that loses a worker; what is held meanwhile."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask_sources
import distributed
import numpy as np
import pytest
from budget import DASK_CHUNKS
from numpy.testing import assert_allclose, assert_array_equal
from rows import logits

import onesum

K, N, WIDTH = 8, 96, 4
X = logits("spread 3", K, N, np.float64)
P = onesum.softmax(X)
BAND_LIMIT = "onesum.band-limit"


def cut(source: Any = None, *arguments: Any) -> da.Array:
    """In two blocks of rows, 24 of classes."""
    x = da.from_array(X, chunks=(K // 2, WIDTH))
    return x if source is None else x.map_blocks(source, *arguments, dtype=X.dtype, meta=X[:0, :0])


def close(got: Any, wanted: Any) -> None:
    assert_allclose(got, wanted, rtol=0, atol=DASK_CHUNKS * np.abs(wanted).max())


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_large_band_is_read_twice(scheduler):
    """One chunk for each thread is held, however many there are."""
    dask_sources.start()
    with dask.config.set({BAND_LIMIT: 1}):
        lazy = onesum.softmax(cut(dask_sources.counted))
    close(lazy.compute(scheduler=scheduler, num_workers=2), P)
    chunks = (K // 4) * (N // WIDTH)
    assert dask_sources.made == 2 * chunks
    # None a second time before the states are there, whatever a scheduler takes first.
    assert len(set(dask_sources.order[:chunks])) == chunks
    assert dask_sources.most <= (1 if scheduler == "sync" else 4)


def test_a_small_band_is_held():
    """And read once; one band at a time."""
    dask_sources.start()
    lazy = onesum.softmax(cut(dask_sources.counted))
    close(lazy.compute(scheduler="sync"), P)
    assert dask_sources.made == (K // 4) * (N // WIDTH)
    assert dask_sources.most == N // WIDTH


def test_what_is_shared_is_read_together():
    """Two arrays of one source, and all four passes of a divergence."""
    dask_sources.start()
    with dask.config.set({BAND_LIMIT: 1}):
        x = cut(dask_sources.counted)
        lazy = onesum.kl_divergence_value_and_grad(x, 1.5 * x, reduction="none")
    got = dask.compute(lazy[0], *lazy[1], scheduler="sync")
    value, grads = onesum.kl_divergence_value_and_grad(X, 1.5 * X, reduction="none")
    for a, b in zip(got, (value, *grads), strict=True):
        close(a, b)
    assert dask_sources.made == 4 * (K // 4) * (N // WIDTH)
    assert dask_sources.most <= 2


def test_what_is_persisted_is_not_read_again():
    dask_sources.start()
    x = cut(dask_sources.counted).persist(scheduler="sync")
    with dask.config.set({BAND_LIMIT: 1}):
        close(onesum.softmax(x).compute(scheduler="sync"), P)
    assert dask_sources.made == (K // 4) * (N // WIDTH)


def test_a_persisted_normalizer():
    """The state, and then the chunks, of which each is done by itself."""
    dask_sources.start()
    x = cut(dask_sources.counted)
    normalizer = onesum.Normalizer.of(x).persist(scheduler="sync")
    assert dask_sources.most == 1
    assert_array_equal(normalizer.compute().pivot, X.argmax(axis=1))
    close(normalizer.softmax(x).compute(scheduler="sync"), P)
    assert dask_sources.most == 1
    close(normalizer.logsumexp.compute(scheduler="sync"), onesum.logsumexp(X))
    close(normalizer.log_softmax(x).compute(scheduler="sync"), onesum.log_softmax(X))
    with pytest.raises(TypeError, match=r"^persist: expected a normalizer in arrays of dask"):
        onesum.Normalizer.of(X).persist()


# --- schedulers ---------------------------------------------------------------------------------


def test_tasks_are_small():
    """Each of a graph as it is sent: functions by name, no arrays but the chunks' own numbers."""
    x = da.zeros((400, 4000), chunks=(100, 100))
    for lazy in (onesum.softmax(x), onesum.kl_divergence(x, x)):
        tasks = dict(lazy.__dask_graph__())
        assert max(len(pickle.dumps(task)) for task in tasks.values()) < 3000


def test_processes():
    with dask.config.set({BAND_LIMIT: 1}):
        lazy = onesum.softmax(cut())
    close(lazy.compute(scheduler="processes", num_workers=2), P)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [before])]
    )
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    try:
        with distributed.LocalCluster(**options) as made, distributed.Client(made) as client:
            yield client
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def test_cluster(cluster):
    x = cut()
    close(onesum.softmax(x).compute(), P)
    loss, grad = onesum.cross_entropy_value_and_grad(x, da.from_array(np.arange(K), chunks=4))
    wanted = onesum.cross_entropy_value_and_grad(X, np.arange(K))
    for got, exact in zip(dask.compute(loss, grad), wanted, strict=True):
        close(got, exact)
    with dask.config.set({BAND_LIMIT: 1}):
        close(onesum.softmax(x.persist()).compute(), P)


def test_what_a_cluster_holds(cluster):
    """In each worker of one thread a chunk that is used, and one that comes next."""
    cluster.run(dask_sources.start)
    x = da.zeros((K, N), chunks=(K // 2, WIDTH)).map_blocks(dask_sources.counted, meta=X[:0, :0])
    with dask.config.set({BAND_LIMIT: 1}):
        lazy = onesum.softmax(x)
    close(lazy.compute(), np.full((K, N), 1 / N))
    told = cluster.run(dask_sources.told).values()
    assert sum(made for _, made in told) == 2 * (K // 4) * (N // WIDTH)
    assert max(most for most, _ in told) <= 4


def test_a_worker_is_lost(cluster, tmp_path):
    """Its chunks are made again, of the first reading and of the second."""
    with dask.config.set({BAND_LIMIT: 1}):
        lazy = onesum.softmax(cut(dask_sources.fatal_once, str(tmp_path / "dead")))
    close(lazy.compute(), P)
    assert (tmp_path / "dead").exists()


# --- array expressions --------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import dask
dask.config.set({"array.query-planning": True})
import test_dask_schedulers as t
t.test_a_large_band_is_read_twice("sync")
t.test_a_small_band_is_held()
t.test_what_is_shared_is_read_together()
t.test_what_is_persisted_is_not_read_again()
t.test_a_persisted_normalizer()
t.test_tasks_are_small()
import test_dask
for name in sorted(set(test_dask.CASES) - test_dask.NOT_OF_EXPRESSIONS):
    test_dask.test_classes_in_chunks(name)
for name in test_dask.NOT_OF_EXPRESSIONS:
    try:
        test_dask.test_classes_in_chunks(name)
    except NotImplementedError as error:
        assert str(error).startswith("linear_cross_entropy: expected dask.config")
import test_dask_axes
for axis in (None, (0, 2)):
    test_dask_axes.test_several_class_axes(axis)
test_dask_axes.test_states((0, 2), 0.0)
assert hasattr(t.cut(), "expr")
print("all of them")
"""


def test_array_expressions():
    """The other mode of dask.array, which holds for a whole process."""
    arguments = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(Path(__file__).parent)]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert run.stdout.split("\n")[-2:-1] == ["all of them"], run.stderr[-3000:]
