# mypy: allow-untyped-defs, allow-untyped-calls
"""What Dynamo leaves alone: it puts calls of these functions into its graph as they are.

What is in them is traced by AOTAutograd, with the rules of the derivatives as they stand, though
Dynamo itself would drop a custom jvp. To import this imports Dynamo, which is there already while
something is compiled.
"""

import torch

from . import rules, rules_losses
from .differentiable import Operation


def _in_graph(operation):
    def call(*arguments):
        return operation.traced(*arguments)

    return torch.compiler.allow_in_graph(call)


for _module in (rules, rules_losses):
    for _operation in vars(_module).values():
        if isinstance(_operation, Operation) and _operation.in_graph is None:
            _operation.in_graph = _in_graph(_operation)
