"""Agreement with torch.nn.functional.cross_entropy, forward, backward and twice, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from budget import TORCH
from implementations import every
from torch.nn.functional import cross_entropy, kl_div, log_softmax

# Of x; its classes are along axis 1, or along the only one.
SHAPES = [(7, 5), (5,), (3, 5, 2, 4)]
CLASSES = 5
ABSENT = -100  # what PyTorch ignores unless told otherwise, and no target here holds


class Problem(NamedTuple):
    x: np.ndarray
    target: np.ndarray
    options: dict[str, Any]  # of onesum
    theirs: dict[str, Any]
    axis: int

    def all_ignored(self) -> bool:
        return bool(np.all(self.target == self.options["ignore_index"]))


def problems(probabilities: bool, shape: tuple[int, ...]) -> Iterator[Problem]:
    """Every combination that PyTorch has."""
    rng = np.random.default_rng(len(shape))
    axis = min(1, len(shape) - 1)
    batch = shape[:axis] + shape[axis + 1 :]
    x = rng.normal(0, 3, shape)
    index = rng.integers(0, CLASSES, batch)
    y = np.moveaxis(rng.dirichlet(np.ones(CLASSES), batch), -1, axis)
    weights = [None, rng.random(CLASSES) + 0.1]
    ignored = [None] if probabilities else [None, int(index.flat[0]), -1, "all"]
    for weight, smoothing, ignore, reduction in product(
        weights, [0.0, 0.1, 1.0], ignored, ["none", "sum", "mean"]
    ):
        target = y if probabilities else index.copy()
        if ignore == -1:
            target.flat[:: max(2, target.size // 3)] = -1
        if ignore == "all":
            target, ignore = np.full(batch, -1), -1
        theirs = {
            "weight": None if weight is None else torch.tensor(weight),
            "label_smoothing": smoothing,
            "reduction": reduction,
            "ignore_index": ABSENT if ignore is None else ignore,
        }
        options = theirs | {"weight": weight, "ignore_index": ignore}
        yield Problem(x, target, options, theirs, axis)


def close(got: Any, wanted: torch.Tensor) -> None:
    """To as many digits as PyTorch has, whose own sums cancel; NaN where it has NaN."""
    got, wanted = np.asarray(got), wanted.detach().numpy()
    assert got.shape == wanted.shape
    assert np.array_equal(np.isnan(got), np.isnan(wanted))
    size = 1 + np.nan_to_num(np.abs(wanted)).max(initial=0.0)
    assert np.all(np.isnan(got) | (np.abs(got - wanted) <= TORCH * size))


CASES = pytest.mark.parametrize(
    ("probabilities", "shape"),
    list(product([False, True], SHAPES)),
    ids=lambda v: {True: "probabilities", False: "classes"}.get(v, str(v)),
)


@CASES
def test_loss_and_gradient(probabilities, shape):
    for problem in problems(probabilities, shape):
        x = torch.tensor(problem.x, requires_grad=True)
        theirs = cross_entropy(x, torch.tensor(problem.target), **problem.theirs)
        theirs.sum().backward()
        args = problem.x, problem.target, problem.axis
        for api in every("float64", libraries=shape == SHAPES[0]):
            loss, grad = api.cross_entropy_value_and_grad(*args, **problem.options)
            close(loss, theirs)
            if problem.all_ignored():  # no row counts: here the gradient is 0 even of the mean
                assert not np.any(grad)
            else:
                close(grad, x.grad)


@CASES
def test_hessian(probabilities, shape):
    """PyTorch's own derivative of its gradient."""
    v = np.random.default_rng(9).normal(size=shape)
    for problem in problems(probabilities, shape):
        if problem.all_ignored():
            continue
        target = torch.tensor(problem.target)

        def loss(x, target=target, options=problem.theirs):
            return cross_entropy(x, target, **options).sum()

        _, wanted = torch.autograd.functional.hvp(loss, torch.tensor(problem.x), torch.tensor(v))
        args = problem.x, problem.target, v, problem.axis
        for api in every("float64"):
            close(api.cross_entropy_hvp(*args, **problem.options), wanted)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.3])
@pytest.mark.parametrize(("z_loss", "softcap"), [(0.0, None), (0.01, 2.0), (1.0, None)])
def test_what_pytorch_users_compose(any_api, z_loss, softcap, temperature):
    """Softcap, temperature, z_loss and weights of the rows, as PyTorch programs write them."""
    rng = np.random.default_rng(1)
    x, y, s = rng.normal(0, 3, (6, 4)), rng.integers(0, 4, 6), rng.random(6)
    v = rng.normal(size=x.shape)

    def loss(x):
        x = (x if softcap is None else softcap * torch.tanh(x / softcap)) / temperature
        each = cross_entropy(x, torch.tensor(y), reduction="none")
        each = each + z_loss * torch.logsumexp(x, -1) ** 2
        return (torch.tensor(s) * each).mean()

    at = torch.tensor(x, requires_grad=True)
    loss(at).backward()
    options = {
        "z_loss": z_loss,
        "softcap": softcap,
        "temperature": temperature,
        "sample_weight": s,
    }
    got = any_api.cross_entropy_value_and_grad(x, y, **options)
    close(got[0], loss(at))
    close(got[1], at.grad)
    _, wanted = torch.autograd.functional.hvp(loss, torch.tensor(x), torch.tensor(v))
    close(any_api.cross_entropy_hvp(x, y, v, **options), wanted)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.3])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_entropy_and_selected_classes(any_api, axis, temperature):
    x = np.random.default_rng(2).normal(0, 3, (3, 4, 5))
    logp = log_softmax(torch.tensor(x) / temperature, axis)
    close(any_api.entropy(x, axis, temperature=temperature), -(logp.exp() * logp).sum(axis))
    index = np.random.default_rng(3).integers(0, 3, np.delete(x.shape, axis))
    wanted = logp.gather(axis, torch.tensor(index).unsqueeze(axis)).squeeze(axis)
    close(any_api.selective_log_softmax(x, index, axis, temperature=temperature), wanted)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("axis", [-1, 0])
def test_divergence(any_api, axis, temperature, reduction):
    """kl_div takes log q first; its "batchmean" is a mean over rows."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 3, (6, 4)), rng.normal(0, 3, (6, 4))
    teacher, student = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
    log_p, log_q = (log_softmax(a / temperature, axis) for a in (teacher, student))
    wanted = kl_div(log_q, log_p, log_target=True, reduction="none").sum(axis)
    wanted = {"none": wanted, "sum": wanted.sum(), "mean": wanted.mean()}[reduction]
    wanted.sum().backward()
    options = {"temperature": temperature, "reduction": reduction}
    value, grads = any_api.kl_divergence_value_and_grad(x, y, axis, **options)
    close(value, wanted)
    close(any_api.kl_divergence(x, y, axis, **options), wanted)
    close(any_api.back(grads[0]), teacher.grad)
    close(any_api.back(grads[1]), student.grad)
