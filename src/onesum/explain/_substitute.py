"""Numbers in the place of the symbols of a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import TypeVar

from ._layout import Case, Cases, Dots
from ._maths import Add, Index, Indexed, Log, Number, Partial, Sum, Symbol, number
from ._writing import Node

Of = Callable[..., Decimal]
T = TypeVar("T", bound=Node)
FEW = 4  # terms of a sum that are written out; of more the first ones and the last


@dataclass(frozen=True)
class Numbers:
    """What the symbols stand for: alone, with indices, and derivatives found in earlier steps."""

    classes: int
    alone: Mapping[str, Decimal]
    indexed: Mapping[str, Of]
    known: Mapping[Node, tuple[tuple[str, ...], Of]] = field(default_factory=dict)

    def __call__(self, node: Node, at: Mapping[str, int]) -> Node:
        """The node for certain indices, with numbers wherever they are known."""
        if node in self.known:
            names, value = self.known[node]
            return number(value(*(at[name] for name in names)))
        match node:
            case Symbol(name) if name in self.alone:
                return number(self.alone[name])
            case Indexed(Symbol(name), indices):
                found = tuple(_resolved(index, at) for index in indices)
                if name == "δ":
                    return Number(Decimal(int(found[0] == found[1])))
                if name in self.indexed:
                    return number(self.indexed[name](*found))
                return Indexed(node.base, found)
            case Sum():
                return self._written_out(node, at)
            case Cases(cases):
                return self(_holding(cases, at).value, at)
            case Partial(of, by):
                return Partial(_resolve(of, at), _resolve(by, at))
            case Log(argument, base):
                return Log(self(argument, at), None if base is None else self(base, at))
        return _over_parts(node, lambda part: self(part, at))

    def _written_out(self, node: Sum, at: Mapping[str, int]) -> Node:
        left_out = None if node.without is None else _resolved(node.without, at)
        places = [k for k in range(self.classes) if k != left_out]
        shown = places if len(places) <= FEW else [*places[: FEW - 1], places[-1]]
        terms: list[Node] = [self(node.body, {**at, node.index: k}) for k in shown]
        if len(places) > FEW:
            terms.insert(FEW - 1, Dots())
        if not terms:
            return Number(Decimal(0))
        return terms[0] if len(terms) == 1 else Add(tuple(terms))


def _resolved(index: Index, at: Mapping[str, int]) -> Index:
    return index if isinstance(index, int) else at.get(index, index)


def _resolve(node: Node, at: Mapping[str, int]) -> Node:
    """The node with its indices put in, and nothing else."""
    if isinstance(node, Indexed):
        return Indexed(node.base, tuple(_resolved(index, at) for index in node.indices))
    return _over_parts(node, lambda part: _resolve(part, at))


def _holding(cases: tuple[Case, ...], at: Mapping[str, int]) -> Case:
    return next(c for c in cases if (at[c.left] == at[c.right]) == c.same)


def _over_parts(node: T, change: Callable[[Node], Node]) -> T:
    """The same node of changed parts."""
    changed: dict[str, object] = {}
    for name in (f.name for f in fields(node)):  # type: ignore[arg-type]  # every node has fields
        part = getattr(node, name)
        if isinstance(part, Node):
            changed[name] = change(part)
        elif isinstance(part, tuple) and part and isinstance(part[0], Node):
            changed[name] = tuple(map(change, part))
    return replace(node, **changed) if changed else node  # type: ignore[type-var]
