"""An audit under way: what it asks, and what it notes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _exact
from ._profile import Profile
from ._report import Evidence, Finding, Verdict
from ._subject import NoAnswerError, Subject

Array = Any


class Audit:
    """The function, what is asked of it, and what was found so far."""

    def __init__(self, subject: Subject, profile: Profile) -> None:
        self.subject, self.profile = subject, profile
        self.findings: list[Finding] = []
        self.evidence: list[Evidence] = []
        self.speed: dict[str, dict[str, float]] = {}
        self.refused: NoAnswerError | None = None  # why the last call had no answer

    @property
    def exact_kind(self) -> str:
        """Whose formula the answers have."""
        kind = self.subject.kind
        return "log_softmax" if kind == "cross_entropy" else kind

    def note(
        self,
        section: str,
        case: str,
        right: bool,
        text: str = "",
        *,
        topic: str = "",
        error: float | None = None,
        allowed: float | None = None,
    ) -> bool:
        verdict: Verdict = "ok" if right else "fault"
        if not right and {section, topic} & self.profile.remarks:
            verdict = "remark"
        self.findings.append(Finding(section, case, verdict, error, allowed, text))
        return right

    def remark(self, section: str, case: str, text: str) -> None:
        self.findings.append(Finding(section, case, "remark", None, None, text))

    def ask(
        self, section: str, case: str, *arrays: Array, topic: str = "", **options: Any
    ) -> Array | None:
        """Its answer; None, and a fault, if there is none."""
        try:
            return self.subject(*arrays, **options)
        except NoAnswerError as error:
            self.note(section, case, False, str(error), topic=topic)
            return None

    def answer(self, *arrays: Array, as_they_are: bool = False, **options: Any) -> Array | None:
        """Its answer in float64, or None: for recognising mistakes, which notes nothing."""
        self.refused = None
        ask = self.subject.as_they_are if as_they_are else self.subject
        try:
            copies = (a.copy() for a in arrays)  # it may write to them
            return np.asarray(ask(*copies, **options), dtype=np.float64)
        except NoAnswerError as error:
            self.refused = error
            return None

    def arithmetic_error(self) -> str:
        """What the last call raised, if Python's own arithmetic does where NumPy's gives inf."""
        error = self.refused and self.refused.__cause__
        return str(self.refused) if isinstance(error, (ArithmeticError, ValueError)) else ""

    def exact(self, *arrays: Array, **options: Any) -> _exact.Exact:
        return _exact.of(self.exact_kind, *arrays, **options)

    def judge(
        self,
        section: str,
        case: str,
        *arrays: Array,
        axis: int = -1,
        topic: str = "",
        floor: bool = True,
        wanted: _exact.Exact | None = None,
        **options: Any,
    ) -> Array | None:
        """Ask, and compare with the exact result, in ulps of what the arrays are of."""
        copies = (a.copy() for a in arrays)  # it may write to them
        got = self.ask(section, case, *copies, axis=axis, topic=topic, **options)
        if got is None:
            return None
        wanted = wanted or self.exact(*arrays, axis=axis)
        if self.profile.by_terms and not {section, topic} & self.profile.remarks:
            wanted = _exact.by_terms(self.exact_kind, wanted, arrays, axis)
        dtype = arrays[0].dtype if arrays[0].dtype.kind not in "iub" else got.dtype
        self.compare(section, case, got, wanted, dtype, topic=topic, floor=floor)
        return got

    def compare(
        self,
        section: str,
        case: str,
        got: Array,
        wanted: _exact.Exact,
        dtype: Any,
        *,
        topic: str = "",
        floor: bool = True,
        more: float = 0.0,
        text: str = "",
    ) -> None:
        """In ulps of the dtype; `more` of them are allowed than the profile says. The text tells
        what a fault is."""
        error = _exact.ulps(got, wanted, dtype, floor)
        allowed = self.profile.allowed(section, dtype) + more
        right = error <= allowed
        told = "" if right else text
        self.note(section, case, right, told, topic=topic, error=error, allowed=allowed)

    def accuse(self, mistake: str, shown: str, *, topic: str = "") -> None:
        """A mistake that was recognised. One of a topic that is not to be named is a finding."""
        if mistake in (e.mistake for e in self.evidence):
            return
        if topic in self.profile.unnamed and topic:
            self.note("mistakes", mistake, False, shown, topic=topic)
        else:
            self.evidence.append(Evidence(mistake, shown))
