# mypy: allow-untyped-defs, allow-untyped-calls
"""The operations as functions that Dynamo leaves alone: what is in them, AOTAutograd traces.

So torch.compile gets the rules as they are, though Dynamo itself would drop a custom jvp. To import
this imports Dynamo, which is there already while something is compiled.
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
