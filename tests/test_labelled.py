"""pandas and xarray: labels come back, and arguments are matched by them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import onesum

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 3)) * 3
G = RNG.normal(size=(4, 3))
Y = np.array([0, 2, 1, 1])
ROWS, CLASSES = list("abcd"), ["u", "v", "w"]
DF = pd.DataFrame(X, index=ROWS, columns=CLASSES)
CUBE = RNG.normal(size=(2, 3, 4))
DA = xr.DataArray(
    CUBE,
    dims=("time", "kind", "place"),
    coords={"time": [10, 20], "kind": CLASSES, "height": ("place", [1.0, 2.0, 3.0, 4.0])},
    attrs={"units": "nats"},
    name="logits",
)


def frame(a: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(a, index=ROWS, columns=CLASSES)


def rows(a: np.ndarray) -> pd.Series:
    return pd.Series(a, index=ROWS)


# What is computed of the logits alone, and whether the class axis is left.
OF_LOGITS = {
    "softmax": True,
    "log_softmax": True,
    "logsumexp": False,
    "entropy": False,
}
OF_TWO = {
    "softmax_vjp": True,
    "softmax_jvp": True,
    "log_softmax_vjp": True,
    "log_softmax_jvp": True,
    "logsumexp_jvp": False,
}


@pytest.mark.parametrize("function", [*OF_LOGITS, *OF_TWO])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_comes_back(function, dtype):
    x, g = DF.astype(dtype), frame(G).astype(dtype)
    given = (x, g) if function in OF_TWO else (x,)
    got = getattr(onesum, function)(*given)
    wanted = getattr(onesum, function)(*(np.asarray(a) for a in given))
    if {**OF_LOGITS, **OF_TWO}[function]:
        pd.testing.assert_frame_equal(got, frame(wanted), check_exact=True)
    else:
        pd.testing.assert_series_equal(got, rows(wanted), check_exact=True)


def test_the_other_axes_of_a_table():
    pd.testing.assert_frame_equal(onesum.softmax(DF, axis=0), frame(onesum.softmax(X, axis=0)))
    got = onesum.logsumexp(DF, axis=0)
    pd.testing.assert_series_equal(got, pd.Series(onesum.logsumexp(X, axis=0), index=CLASSES))
    assert onesum.logsumexp(DF, axis=None) == onesum.logsumexp(X, axis=None)
    kept = onesum.logsumexp(DF, keepdims=True)
    assert kept.shape == (4, 1)
    assert list(kept.index) == ROWS


def test_a_series_is_one_row():
    series = pd.Series(X[0], index=CLASSES, name="scores")
    series.attrs["source"] = "model"
    got = onesum.softmax(series)
    pd.testing.assert_series_equal(
        got, pd.Series(onesum.softmax(X[0]), index=CLASSES, name="scores")
    )
    assert got.attrs == {"source": "model"}
    assert onesum.logsumexp(series) == onesum.logsumexp(X[0])
    assert onesum.cross_entropy(series, 1) == onesum.cross_entropy(X[0], 1)


def test_losses_of_a_table():
    loss, grad = onesum.cross_entropy_value_and_grad(DF, rows(Y), weight=[1.0, 2.0, 0.5])
    wanted = onesum.cross_entropy_value_and_grad(X, Y, weight=[1.0, 2.0, 0.5])
    assert loss == wanted[0]
    pd.testing.assert_frame_equal(grad, frame(wanted[1]), check_exact=True)
    each = onesum.cross_entropy(DF, rows(Y), reduction="none")
    pd.testing.assert_series_equal(each, rows(onesum.cross_entropy(X, Y, reduction="none")))
    chosen = onesum.selective_log_softmax(DF, rows(Y))
    pd.testing.assert_series_equal(chosen, rows(onesum.selective_log_softmax(X, Y)))
    value, (dx, dy) = onesum.kl_divergence_value_and_grad(DF, frame(G))
    wanted = onesum.kl_divergence_value_and_grad(X, G)
    assert value == wanted[0]
    pd.testing.assert_frame_equal(dx, frame(wanted[1][0]), check_exact=True)
    pd.testing.assert_frame_equal(dy, frame(wanted[1][1]), check_exact=True)
    hv = onesum.cross_entropy_hvp(DF, rows(Y), frame(G))
    pd.testing.assert_frame_equal(hv, frame(onesum.cross_entropy_hvp(X, Y, G)), check_exact=True)


def test_arguments_are_matched_by_their_labels():
    """As pandas does it: in whatever order the labels are."""
    shuffled = list("dbca")
    wanted = onesum.cross_entropy(X, Y, weight=[1.0, 2.0, 3.0], sample_weight=[1, 2, 3, 4])
    got = onesum.cross_entropy(
        DF,
        rows(Y).loc[shuffled],
        weight=pd.Series([3.0, 1.0, 2.0], index=["w", "u", "v"]),
        sample_weight=rows(np.array([1, 2, 3, 4])).loc[shuffled],
    )
    assert got == wanted
    got = onesum.softmax_vjp(DF, frame(G).loc[shuffled, ["v", "w", "u"]])
    pd.testing.assert_frame_equal(got, frame(onesum.softmax_vjp(X, G)), check_exact=True)
    t = rows(np.array([1.0, 2.0, 0.5, 4.0]))
    got = onesum.softmax(DF, temperature=t.loc[shuffled], where=DF.loc[shuffled] > -1)
    wanted = onesum.softmax(X, temperature=t.to_numpy(), where=X > -1)
    pd.testing.assert_frame_equal(got, frame(wanted), check_exact=True)
    got = onesum.logsumexp(DF, b=pd.Series([1.0, 2.0, 3.0], index=["w", "v", "u"]))
    pd.testing.assert_series_equal(got, rows(onesum.logsumexp(X, b=[3.0, 2.0, 1.0])))
    got = onesum.logsumexp_vjp(DF, t.loc[shuffled])
    pd.testing.assert_frame_equal(got, frame(onesum.logsumexp_vjp(X, t.to_numpy())))


def test_without_labels_arguments_go_by_position():
    assert onesum.cross_entropy(DF, Y) == onesum.cross_entropy(X, Y)
    assert onesum.cross_entropy(X, rows(Y)) == onesum.cross_entropy(X, Y)
    assert isinstance(onesum.softmax_vjp(X, frame(G)), np.ndarray)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (list("abce"), "target: expected the 4 labels of x along its index, got no 'd'"),
        (list("abcc"), "target: expected the 4 labels of x along its index, got others"),
        (list("abc"), "target: expected the 4 labels of x along its index, got 3 labels"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        onesum.cross_entropy(DF, pd.Series(Y[: len(labels)], index=labels))


def test_the_first_label_that_is_missing():
    """As x has them, not as they would be sorted: of different kinds they have no order."""
    x = pd.DataFrame(X, index=["d", 7, "a", "c"], columns=CLASSES)
    with pytest.raises(ValueError, match=r"along its index, got no 'd'$"):
        onesum.cross_entropy(x, pd.Series(Y, index=["u", "v", "w", "c"]))


def test_columns_that_are_no_numbers():
    with pytest.raises(TypeError, match=r"^x: expected numbers, got dtype str in column 'name'$"):
        onesum.softmax(pd.DataFrame({"score": [1.0], "name": pd.array(["a"], dtype="str")}))
    with pytest.raises(TypeError, match=r"^p: expected numbers, got dtype object$"):
        onesum.softmax_vjp(pd.Series([None, "a"], dtype=object), [0.0, 1.0])


def test_nullable_columns():
    """What is missing is NaN, which is its row's."""
    table = pd.DataFrame({"u": pd.array([1, None], dtype="Int64"), "v": [0.0, 0.0]})
    got = onesum.softmax(table)
    assert got.iloc[1].isna().all()
    np.testing.assert_array_equal(got.iloc[0], onesum.softmax([1.0, 0.0]))
    whole = pd.DataFrame({"u": pd.array([1, 2], dtype="Int64"), "v": [True, False]})
    np.testing.assert_array_equal(onesum.softmax(whole), onesum.softmax([[1, 1], [2, 0]]))
    narrow = pd.DataFrame({"u": pd.array([1, None], dtype="Float32"), "v": np.float32([0, 0])})
    assert set(onesum.softmax(narrow).dtypes) == {np.dtype(np.float32)}


def test_operators_and_layers_of_a_table():
    jacobian = onesum.softmax_jacobian(onesum.softmax(DF))
    plain = onesum.softmax_jacobian(onesum.softmax(X))
    pd.testing.assert_frame_equal(jacobian @ frame(G), frame(plain @ G), check_exact=True)
    pd.testing.assert_frame_equal(jacobian.diagonal(), frame(plain.diagonal()), check_exact=True)
    np.testing.assert_array_equal(jacobian.to_dense(), plain.to_dense())
    layer = onesum.CrossEntropyLoss(weight=pd.Series([1.0, 2.0, 0.5], index=CLASSES))
    layer(DF, rows(Y))
    assert isinstance(layer.backward(2.0), pd.DataFrame)
    softmax = onesum.Softmax()
    pd.testing.assert_frame_equal(softmax(DF), frame(onesum.softmax(X)), check_exact=True)
    assert list(softmax.backward(frame(G)).columns) == CLASSES


def test_a_linear_layer_of_tables():
    """The labels of h are those of the rows, its columns are features."""
    w = RNG.normal(size=(5, 3))
    h, targets = DF, rows(Y)
    got = onesum.linear_cross_entropy(h, w, targets, reduction="none")
    wanted = onesum.linear_cross_entropy(X, w, Y, reduction="none")
    pd.testing.assert_series_equal(got, rows(wanted), check_exact=True)
    weight = pd.Series(np.arange(5.0), index=list("pqrst"))
    got = onesum.linear_cross_entropy(h, pd.DataFrame(w), targets, weight=weight)
    assert got == onesum.linear_cross_entropy(X, w, Y, weight=np.arange(5.0))


# --- xarray ----------------------------------------------------------------------------------


def same(got: xr.DataArray, wanted: np.ndarray, like: xr.DataArray) -> None:
    assert got.dims == like.dims
    assert got.attrs == {"units": "nats"}
    assert got.name == "logits"
    xr.testing.assert_identical(got.coords.to_dataset(), like.coords.to_dataset())
    np.testing.assert_array_equal(got.values, wanted)


@pytest.mark.parametrize("axis", ["kind", 1, -2])
def test_a_data_array_comes_back(axis):
    same(onesum.softmax(DA, axis=axis), onesum.softmax(CUBE, axis=1), DA)
    reduced = DA.isel(kind=0, drop=True)
    same(onesum.logsumexp(DA, axis=axis), onesum.logsumexp(CUBE, axis=1), reduced)
    kept = onesum.logsumexp(DA, axis=axis, keepdims=True)
    assert kept.dims == DA.dims
    assert "kind" not in kept.coords


def test_several_dimensions():
    axes = ("place", "kind")
    same(onesum.log_softmax(DA, axis=axes), onesum.log_softmax(CUBE, axis=(1, 2)), DA)
    got = onesum.logsumexp(DA, axis=axes)
    assert got.dims == ("time",)
    assert set(got.coords) == {"time"}
    assert onesum.logsumexp(DA, axis=None).item() == onesum.logsumexp(CUBE, axis=None)


def test_arguments_are_matched_by_their_dimensions():
    g = DA.transpose("place", "time", "kind") * 2
    p = onesum.softmax(DA, axis="kind")
    wanted = onesum.softmax_vjp(p.values, CUBE * 2, axis=1)
    same(onesum.softmax_vjp(p, g, axis="kind"), wanted, DA)
    t = xr.DataArray([[1.0, 2.0]] * 4, dims=("place", "time"))
    wanted = onesum.softmax(CUBE, axis=1, temperature=np.transpose(t.values))
    same(onesum.softmax(DA, axis="kind", temperature=t), wanted, DA)
    where = xr.DataArray([True, False, True], dims="kind", coords={"kind": CLASSES})
    wanted = onesum.softmax(CUBE, axis=1, where=np.reshape(where.values, (3, 1)))
    same(onesum.softmax(DA, axis="kind", where=where), wanted, DA)
    target = xr.DataArray([[0, 1]] * 4, dims=("place", "time"))
    weight = xr.DataArray([1.0, 2.0, 3.0], dims="kind")
    got = onesum.cross_entropy(DA, target, axis="kind", weight=weight)
    assert got == onesum.cross_entropy(CUBE, target.values.T, axis=1, weight=weight.values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: onesum.softmax(DA, axis="class"), "axis: expected one of the dimensions"),
        (
            lambda: onesum.softmax_vjp(DA, DA.rename(kind="class"), axis="kind"),
            "g: expected the dimensions",
        ),
        (
            lambda: onesum.softmax_vjp(DA, DA.assign_coords(kind=list("xyz")), axis="kind"),
            "g: expected the labels of p along 'kind', in their order, got",
        ),
        (
            lambda: onesum.cross_entropy(DA, DA.isel(kind=0, time=0), axis="kind"),
            "target: expected the dimensions",
        ),
    ],
)
def test_what_does_not_match(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_names_need_a_data_array():
    with pytest.raises(TypeError, match=r"^axis: expected an int, a tuple of ints or None, got 'k"):
        onesum.softmax(CUBE, axis="kind")
    with pytest.raises(TypeError, match=r"^x: expected a DataArray, got a Dataset"):
        onesum.softmax(DA.to_dataset())


def test_layers_take_the_name_of_a_dimension():
    layer = onesum.Softmax(axis="kind")
    same(layer(DA), onesum.softmax(CUBE, axis=1), DA)
    assert layer.backward(DA).dims == DA.dims
    assert layer.jacobian().shape == (2, 4, 3, 3)


@pytest.mark.parametrize("chunks", [{"kind": 1, "place": 2}, {"time": 1}])
def test_dask_within_stays_lazy(chunks):
    lazy = DA.chunk(chunks)
    target = np.array([[0, 1, 2, 0], [1, 1, 0, 2]])
    p = onesum.softmax(lazy, axis="kind")
    for got, wanted in [
        (p, onesum.softmax(CUBE, axis=1)),
        (onesum.logsumexp(lazy, axis="kind"), onesum.logsumexp(CUBE, axis=1)),
        (
            onesum.softmax_vjp(p, lazy, axis="kind"),
            onesum.softmax_vjp(onesum.softmax(CUBE, axis=1), CUBE, axis=1),
        ),
        (
            onesum.cross_entropy(lazy, target, axis="kind", reduction="none"),
            onesum.cross_entropy(CUBE, target, axis=1, reduction="none"),
        ),
    ]:
        assert type(got.data).__module__.startswith("dask"), got
        np.testing.assert_allclose(got.values, wanted, rtol=1e-14, atol=1e-16)
