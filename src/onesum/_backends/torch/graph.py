# mypy: allow-untyped-defs, allow-untyped-calls
"""What Dynamo leaves alone: it puts calls of these functions into its graph as they are.

What is in them is traced by AOTAutograd, with the rules of the derivatives as they stand, though
Dynamo itself would drop a custom jvp. To import this imports Dynamo, which is there already while
something is compiled.
"""

import torch

from ..one_operation import operation_of
from . import rules, rules_losses
from .differentiable import Operation

_PLAIN = (torch.Tensor, torch.dtype, bool, int, float, str, type(None))


def takes(arguments):
    """Whether a call with these arguments can stand in the graph: a tensor that may stand for an
    axis cannot, for its value is not known there."""
    return all(
        isinstance(a, _PLAIN)
        and not (isinstance(a, torch.Tensor) and a.ndim == 0 and not a.is_floating_point())
        for a in arguments
    )


@torch.compiler.allow_in_graph
def run(name, *arguments):
    """What `one_operation` has registered by this name; numbers are constants of the graph."""
    return operation_of(name)(*map(_constant, arguments))


def _constant(a):
    """With dynamic shapes Dynamo has symbols in the place of numbers, too."""
    if isinstance(a, torch.SymFloat):
        return float(a)
    return int(a) if isinstance(a, torch.SymInt) else a


def _in_graph(operation):
    def call(*arguments):
        return operation.traced(*map(_constant, arguments))

    return torch.compiler.allow_in_graph(call)


for _module in (rules, rules_losses):
    for _operation in vars(_module).values():
        if isinstance(_operation, Operation) and _operation.in_graph is None:
            _operation.in_graph = _in_graph(_operation)
