"""What came out of an audit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._mistakes import MISTAKES
from ._profile import Profile

if TYPE_CHECKING:
    from rich.console import RenderableType

Verdict = Literal["ok", "remark", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    section, case : str
        What kind of input, and which.
    verdict : {"ok", "remark", "fault"}
    error, allowed : float or None
        The largest error found, and the largest that is none, in ulps.
    text : str
        What was seen, where that is not a number.

    Examples
    --------
    >>> from onesum.audit import Finding
    >>> Finding("spread", "float32, spread 3", "fault", error=67.6, allowed=2.0).verdict
    'fault'
    """

    section: str
    case: str
    verdict: Verdict
    error: float | None = None
    allowed: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Evidence:
    """A mistake that was recognised, and what shows it."""

    mistake: str
    shown: str


@dataclass(frozen=True, repr=False)
class Report:
    """What an audit found. `str` and rich's `print` tell it, and so does a notebook.

    Attributes
    ----------
    name, kind : str
        Of the function.
    profile : Profile
        What was asked of it.
    library : str
        Whose arrays it was given.
    findings : tuple of Finding
        All that was looked at, in order.
    evidence : tuple of Evidence
        The mistakes that were recognised, the most certain first, and what shows each.
    speed : dict of str to dict of str to float
        By size, the time of each library's function in microseconds; that audited is "".

    Examples
    --------
    >>> import onesum
    >>> from onesum import audit
    >>> report = audit.check(onesum.softmax)
    >>> report.ok, report.mistakes, report.faults
    (True, [], [])
    """

    name: str
    kind: str
    profile: Profile
    library: str
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    speed: dict[str, dict[str, float]]

    @property
    def ok(self) -> bool:
        """Whether there are no faults and no mistakes."""
        return not self.mistakes and not self.faults

    @property
    def mistakes(self) -> list[str]:
        """The names of the mistakes that were recognised, the most certain first."""
        return [e.mistake for e in self.evidence]

    @property
    def faults(self) -> list[Finding]:
        """What is wrong, beside the mistakes that have a name."""
        return [f for f in self.findings if f.verdict == "fault"]

    @property
    def remarks(self) -> list[Finding]:
        """What was seen and is no fault, by the profile."""
        return [f for f in self.findings if f.verdict == "remark"]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it: an error that is not finite is the text "inf"."""
        return {
            "function": self.name,
            "kind": self.kind,
            "profile": self.profile.name,
            "library": self.library,
            "ok": self.ok,
            "mistakes": [
                {**asdict(e), **asdict(MISTAKES[e.mistake].of(self.kind))} for e in self.evidence
            ],
            "findings": [
                {k: _plain(v) for k, v in asdict(f).items() if v not in (None, "")}
                for f in self.findings
            ],
            "microseconds": {
                size: {name or self.name: t for name, t in times.items()}
                for size, times in self.speed.items()
            },
        }

    def __str__(self) -> str:
        from ._show import text

        return text(self)

    __repr__ = __str__

    def __rich__(self) -> RenderableType:
        from ._show import rich

        return rich(self)

    def _repr_html_(self) -> str:
        from ._show import html

        return html(self)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
