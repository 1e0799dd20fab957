"""Lazy operators: batches of n by n matrices that are known by what they do."""

from ._index import taken
from ._operator import JacobianSum, Operator

__all__ = ["JacobianSum", "Operator", "taken"]
