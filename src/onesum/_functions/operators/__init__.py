"""Lazy operators: batches of n by n matrices that are known by what they do."""

from .index import taken
from .operator import JacobianSum, Operator

__all__ = ["JacobianSum", "Operator", "taken"]
