"""What `explain` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._compared import Line, Values, worst
from ._floating import Results
from ._steps import Section, shown_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The derivation of softmax's derivatives with given numbers. Classes are counted from 0.

    `str` is all of it as text, `_repr_html_` what notebooks show.

    Attributes
    ----------
    x, g : numpy.ndarray
        The logits, and the cotangent dL/dp or None, of one floating dtype.
    target : int or None
        The class of the cross entropy.
    route : str
    exact : Values
        The results in a hundred digits, lists of decimal.Decimal: `p`, `jacobian` by rows,
        `gradient` (dL/dx), `loss` (the cross entropy) and its `target_gradient`. None where they
        are not asked for, NaN where there is none.
    naive, ours : Results
        The same as arrays: of the formulas as they are printed, and of onesum.
    sections : tuple of Section
        The derivation: each section has a `title` and its `steps`. Empty if `notes` say why.
    notes : tuple of str
        What is special about these numbers, in words.
    lines : list of Line
        Every number of the results, exact, naive and onesum's, with errors in ulps; of the Jacobian
        of more than 64 classes, the entries of those that are shown.

    Examples
    --------
    >>> from onesum.explain import explain
    >>> result = explain([40.0, 0.0], g=[1.0, 0.0])
    >>> [str(dx)[:10] for dx in result.exact.gradient], result.naive.gradient.tolist()
    (['4.24835425', '-4.2483542'], [0.0, -4.24835425529159e-18])
    >>> result.ours_ulps < 1 < result.naive_ulps
    True
    """

    x: Array
    g: Array | None
    target: int | None
    route: str
    exact: Values
    naive: Results
    ours: Results
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    lines: list[Line]

    @property
    def naive_ulps(self) -> float:
        """The largest error of the naive formulas; NaN if one of their results is NaN."""
        return worst(line.naive_ulps for line in self.lines if not line.exact.is_nan())

    @property
    def ours_ulps(self) -> float:
        """The largest error of onesum's results."""
        return worst(line.ours_ulps for line in self.lines if not line.exact.is_nan())

    @property
    def shown(self) -> list[int]:
        """The classes that are shown: all up to eight, of more some."""
        return shown_classes(self.x, self.target)

    def to_latex(self, *, document: bool = False) -> str:
        """The derivation as LaTeX, for the packages amsmath, booktabs and graphicx.

        Parameters
        ----------
        document : bool, optional
            A whole document that compiles as it is; by default a part of one.

        Returns
        -------
        str
            Beginning with the definition of a command that it needs.

        Examples
        --------
        >>> from onesum.explain import explain
        >>> explain([1.0, 2.0]).to_latex(document=True).splitlines()[0]
        '\\\\documentclass[11pt]{article}'
        """
        from ._tex import latex

        return latex(self, document)

    def to_dict(self) -> dict[str, Any]:
        """The results and the steps as JSON can hold them: None for what is not finite."""
        from ._json import as_dict

        return as_dict(self)

    def figure(self) -> Figure:
        """A matplotlib figure: p, J as a heat map, the gradients, the errors, the routes."""
        from ._figure import drawn

        return drawn(self)

    def _repr_html_(self) -> str:
        from ._html import html

        return html(self)

    def __str__(self) -> str:
        from ._text import text

        return text(self)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.x)} classes, {self.x.dtype.name}>"


def shown_classes(x: Array, target: int | None) -> list[int]:
    """All up to eight, of more some: the likeliest and the target too."""
    return shown_of(len(x), int(x.argmax()), target)
