# mypy: allow-untyped-calls
"""The arguments of a loss over a group: checked as those of one process, and what is to agree."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch

from ..._arguments import Call
from ..._arguments.options import LossArguments, index_of, number_of, reduction_of
from ..._arguments.targets import loss_arguments
from ..._arguments.values import class_indices
from ..._backends.torch import kernels
from .agreement import Columns, Fact, Prepared, Shards
from .dtensors import Sharding, is_dtensor

Tensor = Any

# Logits at a time, where the kernels do not serve all of a loss: 8 MiB in each of some ten arrays
# of float64. Of more than 16 times as many a sixteenth, with which these are no larger than the
# logits.
PIECE, PIECES = 1 << 20, 16
_SAMPLE = 32  # along each axis: as much of the logits as is compared


class Options(NamedTuple):
    """What both losses take beside what the logits are made of, as it was given."""

    vocab_start: Any
    vocab_size: Any
    weight: Any
    label_smoothing: Any
    ignore_index: Any
    z_loss: Any
    softcap: Any
    temperature: Any
    reduction: Any


class Loss(NamedTuple):
    """A loss on a rank, checked: of its columns, padding too."""

    target: Tensor
    weight: Tensor | None
    of_all: dict[str, Any]  # the options that the ranks have in common, as a state takes them
    reduction: Any

    @property
    def has_classes(self) -> bool:
        return not bool(self.target.is_floating_point())

    def tensors(self) -> tuple[Tensor, ...]:
        """What backward reads: to be saved, so that torch knows if one is changed before that."""
        read = self.target, self.weight, self.of_all["temperature"]
        return tuple(a for a in read if isinstance(a, torch.Tensor))

    def height(self, rows: int, classes: int) -> int:
        """How many rows to take at a time: all, where the kernels serve all of the loss."""
        of_all = self.of_all
        if self.has_classes and not of_all["label_smoothing"] and of_all["softcap"] is None:
            return max(rows, 1)
        return max(1, PIECE // max(classes, 1), rows // PIECES)

    def of_rank(self, shards: Shards, axis: int) -> Loss:
        """The same without padding, with every class index one of the classes there are."""
        n, weight = shards.size, self.weight
        target = self.target if self.has_classes else self.target.narrow(axis, 0, n)
        return self._replace(target=target, weight=None if weight is None else weight[:n])


def prepared(
    function: str,
    call: Call,
    columns: Tensor,
    sharding: Sharding,
    target: Any,
    options: Options,
    facts: list[Fact],
) -> tuple[Loss, Prepared]:
    """The arguments of this rank, whose classes are those of `columns`, and what has to be the same
    on all.
    """
    probabilities = is_dtensor(target) and target.is_floating_point()
    target = sharding.local("target", target, call.axis if probabilities else None)
    weight = sharding.local("weight", options.weight, 0)
    temperature = sharding.local("temperature", options.temperature, None)
    need_no_gradient(target=target, weight=weight, temperature=temperature)
    target = call.converted("target", target)
    of_all: dict[str, Any] = {
        "label_smoothing": number_of("label_smoothing", options.label_smoothing),
        "ignore_index": index_of("ignore_index", options.ignore_index),
        "z_loss": number_of("z_loss", options.z_loss),
        "softcap": None if options.softcap is None else number_of("softcap", options.softcap),
        "temperature": temperature,
    }
    if target.is_floating_point():  # probabilities have no class to ignore
        of_all["ignore_index"] = None
    weight = None if weight is None else call.converted("weight", weight)
    given = LossArguments(weight=weight, sample_weight=None, where=None, **of_all)
    loss_arguments(call, target, given, chunk=True)
    reduction = reduction_of(options.reduction)
    of_all["temperature"] = call.temperature(temperature)
    vocab_start = _count("vocab_start", options.vocab_start, 0)
    vocab_size = _count("vocab_size", options.vocab_size, 1)
    everywhere = [
        Fact(call.name, "one function to be called", function),
        Fact(call.name, "rows of one shape", call.batch),
        Fact("target", "class indices, or probabilities,", str(_kind(target))),
        *facts,
        Fact("vocab_start", "None, or a number,", "None" if vocab_start is None else "a number"),
        Fact("vocab_size", "the same number", vocab_size),
        Fact("weight", "None, or the weights of its classes,", _given(weight)),
        *(Fact(name, "the same option", value) for name, value in of_all.items()),
        Fact("reduction", "the same option", reduction),
    ]
    if not target.is_floating_point():
        everywhere.append(Fact("target", "the same class indices", target))
    sample = columns.detach()[tuple(slice(_SAMPLE) for _ in columns.shape)]
    said = Columns(call.name, sample, call.classes, vocab_start, vocab_size)
    return Loss(target, weight, of_all, reduction), Prepared(said, everywhere)


def need_classes(call: Call, loss: Loss, shards: Shards) -> None:
    """That the target names classes that there are, which no rank knows before it asked."""
    if loss.has_classes:
        ignored = loss.of_all["ignore_index"]
        class_indices(call, "target", loss.target, shards.vocab_size, ignored, True)


def need_no_gradient(**tensors: Any) -> None:
    """The derivatives by these would need another exchange: none is computed."""
    for name, a in tensors.items():
        if kernels.is_differentiated(a):
            wanted = "a tensor that requires no gradient, for none is computed by it"
            raise ValueError(f"{name}: expected {wanted}; got one that does")


def _kind(target: Tensor) -> str:
    return "probabilities" if target.is_floating_point() else "class indices"


def _given(value: Any) -> str:
    return "None" if value is None else "weights"


def _count(name: str, value: Any, least: int) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except (TypeError, RuntimeError):
        raise TypeError(f"{name}: expected an int or None, got {value!r:.60}") from None
    if not least <= number < 2**63:  # as the ranks tell one another
        raise ValueError(f"{name}: expected an int from {least} to 2**63 - 1, got {number}")
    return number
