"""What vocabulary-parallel losses refuse: on every rank, so that none waits for another."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from process_group import Failed, shared_ranks
from vocab_on_ranks import called, whole

from onesum.torch import vocab_parallel_cross_entropy

H, W, X, Y = whole()
LOSS = torch.nn.functional.cross_entropy(X, Y).item()


def shards(ranks: int = 2, layer: bool = False) -> list[dict[str, Any]]:
    """The arguments of each rank, which are right."""
    own = [slice(10 * i // ranks, 10 * (i + 1) // ranks) for i in range(ranks)]
    if layer:
        return [{"h": H, "weight_matrix": W[columns], "target": Y} for columns in own]
    return [{"logits": X[:, columns].contiguous(), "target": Y} for columns in own]


def answers(arguments: list[dict[str, Any]]) -> list[Any]:
    return shared_ranks().call(called, [(own,) for own in arguments])


def refused(arguments: list[dict[str, Any]], kind: type[Exception], texts: list[str]) -> None:
    """Every rank has its error; and afterwards the same group is of use."""
    ranks = shared_ranks()
    for answer, text in zip(answers(arguments), texts, strict=True):
        assert isinstance(answer, Failed), answer
        assert issubclass(answer.kind, kind), answer
        assert re.search(text, answer.text), (answer.text, text)
    assert shared_ranks() is ranks
    assert answers(shards()) == pytest.approx([LOSS] * 2, rel=1e-12)


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "rows": (
        {"logits": X[:4, :5], "target": Y[:4]},
        r"^logits: expected rows of one shape on every rank, got \(4,\) here, on rank 1, and "
        r"another on rank 0$",
    ),
    "dtype": ({"logits": X[:, 5:].float()}, "^logits: expected one dtype on every rank, got .*32"),
    "target": ({"target": Y.flip(0)}, "^target: expected the same class indices on every rank"),
    "gradient": ({"logits": X[:, 5:].clone().requires_grad_()}, "^logits: expected the same need"),
    "weight": ({"weight": torch.ones(5)}, "^weight: expected None, or the weights"),
    "smoothing": (
        {"label_smoothing": 0.1},
        r"^label_smoothing: expected the same option on every rank, got 0\.1 here, on rank 1",
    ),
    "ignore_index": ({"ignore_index": 3}, "^ignore_index: expected the same option"),
    "z_loss": ({"z_loss": 0.1}, "^z_loss: expected the same option on every rank"),
    "softcap": ({"softcap": 30.0}, "^softcap: expected the same option on every rank"),
    "temperature": ({"temperature": torch.full((6,), 2.0)}, "^temperature: expected the same"),
    "reduction": ({"reduction": "sum"}, "^reduction: expected the same option on every rank"),
    "vocab_start": ({"vocab_start": 5}, "^vocab_start: expected None, or a number, on every rank"),
    "vocab_size": ({"vocab_size": 9}, "^vocab_size: expected the same number on every rank, got 9"),
    "probabilities": (
        {"target": torch.full((6, 5), 0.1, dtype=torch.float64)},
        "^target: expected class indices, or probabilities, on every rank",
    ),
    "function": (
        {"logits": None, "h": H, "weight_matrix": W[5:]},
        "^weight_matrix: expected one function to be called on every rank",
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_between_the_ranks(what):
    own, text = DIFFERENT[what]
    first, second = shards()
    argument = "[a-z_]+" if what == "function" else re.match(r"\^(\w+)", text)[1]
    refused([first, second | own], ValueError, [f"^{argument}: expected .* on every rank", text])


def test_what_differs_between_layers():
    first, second = shards(layer=True)
    for own, text in [
        ({"bias": torch.ones(5)}, "^bias: expected one dtype, or None"),
        ({"reduce_dh": False}, "^reduce_dh: expected the same"),
        ({"h": H.clone().requires_grad_()}, "^h: expected the same need of a gradient"),
        ({"weight_matrix": W[5:].float()}, "^weight_matrix: expected one dtype"),
    ]:
        refused([first, second | own], ValueError, [text.partition(":")[0], text])


def test_axes_that_differ():
    square = {"logits": X[:5, :5], "target": torch.zeros(5).long()}
    text = "^dim: expected the same axis on every rank, got {} here, on rank {}, and another on"
    texts = [text.format(axis, axis) for axis in (0, 1)]
    refused([square | {"dim": 0}, square | {"dim": 1}], ValueError, texts)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "list": ({"logits": [[1.0]]}, TypeError, "^logits: expected a tensor, got list$"),
    "complex": ({"logits": X.to(torch.complex64)}, TypeError, "^logits: expected float16, "),
    "shape": ({"target": Y[:4]}, ValueError, "^target: expected class indices of shape"),
    "nothing": ({"logits": X[0, 0]}, ValueError, r"^logits: expected at least one axis, that of "),
    "last axis": (
        {"logits": X[None, :, :5], "target": Y[None]},
        ValueError,
        r"^target: expected class indices of shape \(1, 5\), .*, got \(1, 6\) \(dim=-1\?\)$",
    ),
    "string": (
        {"target": "1"},
        TypeError,
        "^target: expected numbers that torch can take, got '1'",
    ),
    "negative": ({"target": Y - 5}, IndexError, r"^target: expected class indices from 0 on, got "),
    "weight": ({"weight": torch.ones(6)}, ValueError, "^weight: expected shape"),
    "weights": ({"weight": -torch.ones(5)}, ValueError, "^weight: expected finite numbers >= 0"),
    "smoothing": ({"label_smoothing": 2}, ValueError, "^label_smoothing: expected a number from 0"),
    "reduction": ({"reduction": "max"}, ValueError, "^reduction: expected one of mean, sum, none"),
    "ignore_index": ({"ignore_index": 0.5}, TypeError, "^ignore_index: expected an int or None"),
    "softcap": ({"softcap": -1.0}, ValueError, "^softcap: expected a number > 0"),
    "z_loss": ({"z_loss": "x"}, TypeError, "^z_loss: expected a number, got 'x'"),
    "temperature": ({"temperature": 0.0}, ValueError, "^temperature: expected a number > 0, got 0"),
    "vocab_start": (
        {"vocab_start": -1},
        ValueError,
        "^vocab_start: expected an int from 0 to .* -1$",
    ),
    "huge": ({"vocab_start": 2**63}, ValueError, r"^vocab_start: .* to 2\*\*63 - 1, got 9223"),
    "vocab_size": ({"vocab_size": "9"}, TypeError, "^vocab_size: expected an int or None, got '9'"),
    "axis": ({"dim": 2}, np.exceptions.AxisError, "^dim: axis 2 is out of bounds"),
    "dim": ({"dim": (0, 1)}, TypeError, r"^dim: expected an int or None, got \(0, 1\)"),
    "derived": (
        {"temperature": torch.ones(6, requires_grad=True)},
        ValueError,
        "^temperature: expected a tensor that requires no gradient",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_on_one_rank(what):
    """It has the error of one process; the other is told of it."""
    own, kind, text = WRONG[what]
    first, second = shards()
    told = rf"^group: expected arguments on every rank that are right, got {kind.__name__}: .*on "
    both = answers([first, second | own])
    assert [f.kind for f in both] == [ValueError, kind]
    assert re.search(text, both[1].text)
    assert re.search(told + "rank 1$", both[0].text), both[0].text


def test_what_is_wrong_in_a_layer():
    first, second = shards(layer=True)
    for own, kind, text in [
        ({"h": H[:, :4]}, ValueError, r"^weight_matrix: expected shape \(classes, 4\)"),
        ({"bias": torch.ones(4)}, ValueError, r"^bias: expected shape \(5,\)"),
        ({"reduce_dh": 1}, TypeError, "^reduce_dh: expected True or False, got 1"),
        ({"weight_matrix": 1}, TypeError, "^weight_matrix: expected a tensor, got int"),
    ]:
        both = answers([first, second | own])
        assert [f.kind for f in both] == [ValueError, kind], both
        assert re.search(text, both[1].text)


def test_transforms():
    assert shared_ranks().call(transformed, [()]) == [None]


def transformed(group: Any, rank: int) -> None:
    """The derivatives of backward() are there, and no others; torch.compile leaves it alone."""

    def loss(x: torch.Tensor) -> torch.Tensor:
        return vocab_parallel_cross_entropy(2 * x, Y, group)

    text = r"^logits: expected a tensor that only backward\(\) derives by"
    with pytest.raises(TypeError, match=text):
        torch.func.grad(loss)(X)
    with pytest.raises(TypeError, match=text):
        torch.vmap(loss)(X[None])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(X, X)
        with pytest.raises(TypeError, match=text):
            loss(dual)
        t = torch.autograd.forward_ad.make_dual(torch.ones(6), torch.ones(6))
        with pytest.raises(ValueError, match=r"^temperature: expected a tensor that requires no"):
            vocab_parallel_cross_entropy(X, Y, group, temperature=t)
    x = X.clone().requires_grad_()
    compiled = torch.compile(lambda x: 3 * loss(x), backend="eager")
    (grad,) = torch.autograd.grad(compiled(x), x)
    (wanted,) = torch.autograd.grad(3 * loss(x), x)
    torch.testing.assert_close(grad, wanted)


# --- which classes the ranks have ---------------------------------------------------------------


def test_gathered_logits():
    """Megatron-LM issue 7452: the loss was off by exactly log(ranks)."""
    every = {"logits": X, "target": Y}
    text = "^logits: expected that of this rank's own classes, which no other rank has, got "
    the_same = text + "the same on ranks {} .*: do not gather it before the loss"
    refused([every] * 2, ValueError, [the_same.format("0, 1")] * 2)
    refused([every] * 4, ValueError, [the_same.format("0, 1, 2, 3")] * 4)
    placed = [every | {"vocab_start": 10 * rank} for rank in range(2)]
    refused(placed, ValueError, [the_same.format("0, 1")] * 2)
    both = text + "all 10 on each of ranks 0, 1: do not gather"
    refused([every | {"vocab_size": 10}] * 2, ValueError, [both] * 2)
    refused([every | {"vocab_start": 0}] * 2, ValueError, [both] * 2)
    layer = {"h": H, "weight_matrix": W, "target": Y}
    refused([layer] * 2, ValueError, ["^weight_matrix: expected that of this rank's own"] * 2)


def test_a_group_of_more_ranks_than_share_the_classes():
    """The default group, say, where only two of its four ranks have the whole vocabulary."""
    text = "^{}: expected that of .* got the same on ranks 0, 2 .* pass the group that shares it$"
    for layer, name in ((False, "logits"), (True, "weight_matrix")):
        refused(shards(layer=layer) * 2, ValueError, [text.format(name)] * 4)
    first, second = shards()
    third = first | {"logits": first["logits"] + 1}
    text = text.replace("0, 2", "1, 3")
    refused([first, second, third, second], ValueError, [text.format("logits")] * 4)


def test_equal_logits_that_were_not_gathered():
    """Of equal classes each rank may have some: as at the start of a training."""
    zeros = [{"logits": torch.zeros(6, 5), "target": Y}] * 2
    assert answers(zeros) == pytest.approx([np.log(10)] * 2, rel=1e-6)
    ones = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    apart = [{"logits": a[None], "target": torch.tensor([3])} for a in ones]
    assert answers(apart) == pytest.approx([np.log(2 + 2 * np.e) - 1] * 2, rel=1e-6)
    same = [{"logits": X[:, :5], "target": Y, "vocab_size": 10}] * 2
    twice = torch.nn.functional.cross_entropy(torch.cat([X[:, :5]] * 2, dim=1), Y).item()
    assert answers(same) == pytest.approx([twice] * 2, rel=1e-12)


def test_ranges():
    first, second = shards()

    def starting(*starts: int, **more: Any) -> list[dict[str, Any]]:
        both = zip((first, second), starts, strict=True)
        return [own | {"vocab_start": start, **more} for own, start in both]

    for starts in [(0, 3), (0, 6), (1, 6)]:
        text = (
            rf"^vocab_start: expected columns that .* got {starts[0]} to .* on rank 0, {starts[1]}"
        )
        refused(starting(*starts), ValueError, [text] * 2)
    assert answers(starting(0, 5)) == pytest.approx([LOSS] * 2, rel=1e-12)
    turned = torch.cat([X[:, 5:], X[:, :5]], dim=1)
    wanted = torch.nn.functional.cross_entropy(turned, Y).item()
    assert answers(starting(5, 0)) == pytest.approx([wanted] * 2, rel=1e-12)
    text = "^vocab_size: expected at most 10, for the columns of all ranks are so many, got 11"
    refused([own | {"vocab_size": 11} for own in (first, second)], ValueError, [text] * 2)
    nothing = {"logits": X[:, :0], "target": Y}
    text = "^logits: expected at least one class on some rank, got none"
    refused([nothing] * 2, ValueError, [text] * 2)


def test_classes_that_are_not_there():
    """A class index of none, or of padding: it is named with its row, on every rank."""
    y = Y.clone()
    y[4] = 10
    text = "^target: expected class indices from 0 to 9, got 10 at position 4$"
    refused([own | {"target": y} for own in shards()], IndexError, [text] * 2)
    refused([own | {"target": y} for own in shards(layer=True)], IndexError, [text] * 2)
    y[4] = 9
    text = "^target: expected class indices from 0 to 7, got 9 at position 4$"
    y[:4], y[5] = 0, 0
    padded = [own | {"target": y, "vocab_size": 8} for own in shards()]
    refused(padded, IndexError, [text] * 2)
