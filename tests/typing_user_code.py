"""What a user may write, and on the lines that end in `# error` what not.

`test_typing.py` lets mypy and pyright look at this file, and runs it, a statement at a time: a
marked one is refused by all three, and whatever assert_type says of another is so. To mypy, which
does not read PyTorch here, a tensor may be anything.
"""

from typing import Any, assert_type

import array_api_strict as xp
import lightgbm
import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
import xgboost
from array_api_strict._array_object import Array as StrictArray

import onesum
from onesum.boosting import CURVATURES, SoftmaxObjective, gradient_and_curvature, log_loss

half = np.zeros((2, 3), np.float16)
single = np.zeros((2, 3), np.float32)
double = np.zeros((2, 3))
ints = np.zeros((2, 3), np.int64)
brain = np.zeros((2, 3), ml_dtypes.bfloat16)
masked = np.ma.masked_array(single, mask=ints > 0)
nested = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
rows = np.zeros(2, np.int64)
tensor = torch.zeros((2, 3))
strict = xp.zeros((2, 3))
per_row: npt.NDArray[np.float32] = np.ones(2, np.float32)

# --- answers in kind ---
assert_type(onesum.softmax(half), npt.NDArray[np.float16])
assert_type(onesum.softmax(single), npt.NDArray[np.float32])
assert_type(onesum.softmax(single, dtype=None, where=ints > 1), npt.NDArray[np.float32])
assert_type(onesum.softmax(masked), npt.NDArray[np.float32])
assert_type(onesum.softmax(ints), npt.NDArray[Any])
assert_type(onesum.softmax(brain), npt.NDArray[Any])
assert_type(onesum.softmax(nested), npt.NDArray[Any])
assert_type(onesum.softmax([[1.0, 2.0], (True, np.float32(2))]), npt.NDArray[Any])
assert_type(onesum.softmax([single, single]), npt.NDArray[Any])
assert_type(onesum.softmax(3.0), Any)
assert_type(onesum.softmax(np.int64(3)), Any)
assert_type(onesum.softmax(strict), StrictArray)
assert_type(onesum.softmax(tensor), torch.Tensor)
assert_type(onesum.log_softmax(single), npt.NDArray[np.float32])
assert_type(onesum.log_softmax(tensor, 0), torch.Tensor)
assert_type(onesum.softmax_vjp(single, single), npt.NDArray[np.float32])
assert_type(onesum.softmax_vjp(single, ints), npt.NDArray[Any])
assert_type(onesum.softmax_vjp(g=nested, p=nested), npt.NDArray[Any])
assert_type(onesum.softmax_vjp(strict, nested), StrictArray)
assert_type(onesum.softmax_jvp(tensor, nested), torch.Tensor)
assert_type(onesum.log_softmax_vjp(double, double, out=double), npt.NDArray[np.float64])
assert_type(onesum.log_softmax_jvp(double, nested), npt.NDArray[Any])
assert_type(onesum.logsumexp_vjp(single, per_row), npt.NDArray[np.float32])
assert_type(onesum.logsumexp_vjp(per_row, np.float32(2.0)), npt.NDArray[np.float32])
assert_type(onesum.logsumexp_vjp(single, [1, 2]), npt.NDArray[Any])
assert_type(onesum.logsumexp_jvp(single, single), Any)
assert_type(onesum.logsumexp_jvp(strict, strict, keepdims=True), StrictArray)
assert_type(onesum.selective_log_softmax(single, rows), Any)
assert_type(onesum.selective_log_softmax(strict, [0, 2]), StrictArray)
assert_type(onesum.entropy(single), Any)
assert_type(onesum.entropy(tensor), torch.Tensor)

# --- what all functions take ---
onesum.softmax(single, axis=(0, np.int64(1)))
onesum.softmax(single, axis=None, temperature=np.float32(2.0))
onesum.softmax(double, where=False, temperature=[1, 2], dtype="float16", out=half)
onesum.softmax(tensor, dtype=torch.float64)
onesum.softmax(single, dtype=ml_dtypes.bfloat16)
onesum.softmax(single, dtype=np.dtype("float64"))
onesum.softmax(single, dtype=double.dtype)
onesum.softmax("logits")  # error
onesum.softmax(None)  # error
onesum.softmax(single, 0.5)  # error
onesum.softmax(single, axis=1.0)  # error
onesum.softmax(single, axis=[0, 1])  # error
onesum.softmax(single, 0, ints > 1)  # error
onesum.softmax(single, temperature="1")  # error
onesum.softmax(single, temprature=1.0)  # error
onesum.softmax(single, dtype="int8")  # error
onesum.softmax(strict, dtype="int8")  # error
onesum.softmax(single, dtype=1)  # error
onesum.softmax(single, out=[[0.0]])  # error
onesum.log_softmax(single, where="all")  # error
onesum.softmax_vjp(single)  # error
onesum.softmax_vjp(single, single, where=ints > 1)  # error
onesum.softmax_jvp(single, "v")  # error
onesum.log_softmax_vjp(single, single, 0.5)  # error
onesum.log_softmax_jvp(single, v=None)  # error
onesum.logsumexp_vjp(single, per_row, axis=0.5)  # error
onesum.logsumexp_jvp(single, single, out=0.0)  # error
onesum.entropy(single, dtype="double precision")  # error
onesum.selective_log_softmax(single, "first")  # error

# --- logsumexp ---
assert_type(onesum.logsumexp(single), Any)
assert_type(onesum.logsumexp(strict, b=[1, 2, 3]), StrictArray)
assert_type(onesum.logsumexp(single, return_sign=True), tuple[Any, Any])
assert_type(onesum.logsumexp(single, return_sign=False, keepdims=True), Any)
assert_type(onesum.logsumexp(single, return_sign=bool(ints[0, 0])), Any)
value, sign = onesum.logsumexp(single, b=[1, 2, -3], return_sign=True)
onesum.logsumexp(single, b="factors")  # error
onesum.logsumexp(single, axis=0.5, return_sign=True)  # error

# --- losses ---
assert_type(onesum.cross_entropy(single, rows), np.float32)
assert_type(onesum.cross_entropy(single, rows, reduction="sum", ignore_index=-1), np.float32)
assert_type(onesum.cross_entropy(single, rows, reduction="none"), Any)
assert_type(onesum.cross_entropy(single, rows, dtype="float64"), Any)
assert_type(onesum.cross_entropy(nested, [0, 1], weight=[1, 2, 3], z_loss=1), Any)
assert_type(onesum.cross_entropy(single, rows, softcap=30), np.float32)
assert_type(onesum.cross_entropy(single, rows, softcap=None), np.float32)
assert_type(onesum.cross_entropy(strict, [0, 1], sample_weight=per_row), StrictArray)
assert_type(onesum.cross_entropy(tensor, [0, 1], reduction="none"), torch.Tensor)
loss, grad = onesum.cross_entropy_value_and_grad(single, rows, label_smoothing=0.1)
assert_type(loss, np.float32)
assert_type(grad, npt.NDArray[np.float32])
losses, grad_of_sum = onesum.cross_entropy_value_and_grad(single, rows, reduction="none")
assert_type(grad_of_sum, npt.NDArray[Any])
assert_type(onesum.cross_entropy_value_and_grad(strict, rows), tuple[StrictArray, StrictArray])
hv = onesum.cross_entropy_hvp(single, rows, single, reduction="none", temperature=2)
assert_type(hv, npt.NDArray[np.float32])
assert_type(onesum.kl_divergence(double, double), np.float64)
divergence, (by_x, by_y) = onesum.kl_divergence_value_and_grad(single, single)
assert_type(by_x, npt.NDArray[np.float32])
assert_type(onesum.kl_divergence(strict, strict, reduction="none"), StrictArray)
assert_type(onesum.linear_cross_entropy(single, single, rows, chunk=(1, 2)), np.float32)
assert_type(onesum.linear_cross_entropy(strict, strict, rows), StrictArray)
linear, (dh, dw, db) = onesum.linear_cross_entropy_value_and_grad(single, single, rows)
assert_type(dh, npt.NDArray[np.float32])
assert_type(db, npt.NDArray[np.float32] | None)
onesum.cross_entropy(single, rows, reduction="avg")  # error
onesum.cross_entropy(strict, rows, reduction="avg")  # error
onesum.cross_entropy(single, rows, axis=0.5)  # error
onesum.cross_entropy(single, rows, label_smoothing="0.1")  # error
onesum.cross_entropy(single, rows, label_smoothing=None)  # error
onesum.cross_entropy(single, rows, ignore_index=0.5)  # error
onesum.cross_entropy(single, rows, z_loss=[0.1])  # error
onesum.cross_entropy(single, rows, softcap="30")  # error
onesum.cross_entropy(single, rows, sample_weight="rows")  # error
onesum.cross_entropy(single, rows, out=single)  # error
onesum.cross_entropy(single)  # error
onesum.cross_entropy_value_and_grad(single, rows, reduction=None)  # error
onesum.cross_entropy_hvp(single, rows, single, reduction="avg")  # error
onesum.kl_divergence(single, single, reduction="batchmean")  # error
onesum.kl_divergence_value_and_grad(single, single, reduction=True)  # error
onesum.linear_cross_entropy(single, single, rows, reduction="avg")  # error
onesum.linear_cross_entropy(single, single, rows, chunk=2)  # error
onesum.linear_cross_entropy_value_and_grad(single, single, rows, chunk=(1, 2, 3))  # error

# --- Jacobians ---
p = onesum.softmax(single)
jacobian = onesum.softmax_jacobian(p)
assert_type(jacobian, onesum.SoftmaxJacobian[npt.NDArray[Any]])
assert_type(onesum.softmax_jacobian(strict), onesum.SoftmaxJacobian[StrictArray])
assert_type(onesum.LogSoftmaxJacobian(tensor), onesum.LogSoftmaxJacobian[torch.Tensor])
assert_type(jacobian @ single, npt.NDArray[Any])
assert_type(nested @ jacobian, npt.NDArray[Any])
vjp = single @ jacobian
assert_type(jacobian.solve(single), npt.NDArray[Any])
assert_type(onesum.softmax_jacobian(strict).to_dense(), StrictArray)
assert_type(onesum.log_softmax_jacobian(tensor).diagonal(), torch.Tensor)
assert_type(-2 * jacobian[0].T / 3, onesum.SoftmaxJacobian[npt.NDArray[Any]])
assert_type(jacobian.shape, tuple[int, ...])
both = jacobian + onesum.log_softmax_jacobian(p)
assert_type(both.T[..., :1] @ single[:1], npt.NDArray[Any])
onesum.softmax_jacobian(p, axis=0.5)  # error
onesum.log_softmax_jacobian("p")  # error
onesum.SoftmaxJacobian(p, temperature="1")  # error
jacobian * "2"  # error
jacobian * [2.0]  # error
jacobian / [2.0]  # error
jacobian + 1.0  # error
jacobian["first"]  # error
jacobian @ "v"  # error

# --- layers ---
layer = onesum.Softmax(axis=-1, temperature=[1.0, 2.0])
assert_type(layer(single), npt.NDArray[np.float32])
assert_type(layer.forward(single), npt.NDArray[np.float32])
assert_type(layer.backward(single), npt.NDArray[Any])
assert_type(layer.jacobian(), onesum.SoftmaxJacobian[Any])
assert_type(onesum.LogSoftmax()(strict), StrictArray)
assert_type(onesum.LogSoftmax()(tensor), torch.Tensor)
criterion = onesum.CrossEntropyLoss(reduction="none", ignore_index=-1, weight=[1, 2, 3])
criterion(single, rows, sample_weight=per_row)
criterion.backward(per_row)
onesum.Softmax("x")
onesum.Softmax(0.5)  # error
onesum.LogSoftmax(temperature="1")  # error
onesum.CrossEntropyLoss(reduction="avg")  # error
onesum.CrossEntropyLoss(label_smoothing="0.1")  # error
onesum.CrossEntropyLoss(-1, per_row)  # error
layer()  # error
layer(single, single)  # error
layer(single, temperature=1.0)  # error
layer.forward("x")  # error
layer.backward()  # error
criterion(single)  # error
criterion(single, rows, reduction="sum")  # error
criterion(single, rows, per_row)  # error
criterion.backward("1")  # error

# --- the rest ---
g, h = gradient_and_curvature(single, rows, curvature=CURVATURES[-1])
assert_type(g, npt.NDArray[Any])
assert_type(log_loss(nested, [0, 1], gamma=2), float)
objective = SoftmaxObjective(3, curvature="upper_bound")
assert_type(objective.xgboost_sklearn(rows, double)[0], npt.NDArray[np.float32])
assert_type(objective.log_loss(rows, double), float)
lightgbm.LGBMClassifier(objective=objective.lightgbm_sklearn)
table, labels = np.arange(99.0)[:, None], np.arange(99) % 3
dataset = lightgbm.Dataset(table, labels)
quiet = {"objective": objective.lightgbm, "num_class": 3, "verbose": -1}
lightgbm.train(quiet, dataset, 1, valid_sets=[dataset], feval=objective.lightgbm_metric)
metric = objective.xgboost_sklearn_metric
xgboost.XGBClassifier(objective=objective.xgboost_sklearn, eval_metric=metric)
matrix = xgboost.DMatrix(table, labels)
on, by = objective.xgboost_metric, objective.xgboost
xgboost.train({"num_class": 3}, matrix, 1, evals=[(matrix, "")], obj=by, custom_metric=on)
assert_type(onesum.show_config("dicts"), dict[str, Any])
assert_type(onesum.get_num_threads(), int)
onesum.set_num_threads(np.int64(onesum.get_num_threads()))
gradient_and_curvature(single, rows, curvature="exact")  # error
gradient_and_curvature(single, rows, gamma="2")  # error
log_loss(single, rows, sample_weight="rows")  # error
SoftmaxObjective(3.0)  # error
SoftmaxObjective(3, curvature="exact")  # error
objective.xgboost(single, rows)  # error
onesum.show_config("json")  # error
onesum.set_num_threads(1.0)  # error
onesum.set_num_threads("all")  # error
