"""One part of the audit after another."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import shorten
from typing import Any

import numpy as np

from . import (
    _arrays,
    _backward,
    _backward_mistakes,
    _forward_mistakes,
    _gradient,
    _long,
    _losses,
    _regimes,
    _speed,
    _types,
)
from ._audit import Audit
from ._limit import TimeLimitError, need_limit
from ._profile import Profile, profile_of
from ._report import Evidence, Finding, Report
from ._subject import FORWARDS, KINDS, MOST_TOLD, NoAnswerError, Subject
from ._way import name_of

Part = Callable[[Audit], None]

_FORWARD: tuple[Part, ...] = (
    _regimes.regimes,
    _regimes.limits,
    _types.integers,
    _types.half_types,
    _types.result_type,
)
_BACKWARD: tuple[Part, ...] = (
    _backward.regimes,
    _backward.limits,
    _backward.integers,
    _backward.half_types,
)
_ALL: tuple[Part, ...] = (
    _arrays.axes,
    _arrays.layouts,
    _arrays.sizes,
    _arrays.masks,
    _arrays.batches,
)
_LOSS: tuple[Part, ...] = (_losses.gradients, _losses.long_rows)
_ARRAY: tuple[Part, ...] = (_gradient.gradients, _long.long_rows)


def check(
    function: Callable[..., Any],
    kind: str = "softmax",
    *,
    profile: str | Profile | None = None,
    limit: float = 10.0,
) -> Report:
    r"""Audit an implementation of softmax, or of what goes with it: anybody's.

    It is called with logits of every kind, and what it returns is compared with the exact result,

    .. math:: p_i = \frac{e^{x_i - m}}{1 + r}, \quad \log p_i = (x_i - m) - \log(1 + r),
        \quad \frac{\partial L}{\partial x_i} = p_i (g_i - p \cdot g),

    computed in decimal arithmetic of 60 digits. Errors are in ulps of the type of the arrays: for
    a derivative in those of :math:`p_i (|g_i - \mu| + \sum_j p_j |g_j - g_{j^*}|)`, with
    :math:`\mu = p \cdot g` and the likeliest class :math:`j^*`, which is what the roundings of p
    itself leave of it. Usual mistakes are recognised by what they return, and named.

    Parameters
    ----------
    function : callable
        It is called as ``function(x, axis=axis)``, with ``dim=`` if it has that, or as
        ``function(x)`` along the last axis if it takes no axis; a derivative as
        ``function(p, g, axis=axis)``, that of log_softmax with log p; a cross entropy as
        ``function(x, target)`` with x of shape (k, n) and k integers (or one-hot rows), for one
        number or k. It may take arrays of NumPy, torch or JAX, matrices alone, or one row at a
        time.
    kind : str, optional
        What it computes: "softmax", "log_softmax", "logsumexp", "cross_entropy", "softmax_vjp" or
        "log_softmax_vjp".
    profile : str or Profile, optional
        What is asked of it: "strict", onesum's own contract; "framework", what SciPy, torch and JAX
        fulfil; "numpy", "scipy", "torch", "jax", the same with the arrays of that library.
        By default that of strict, but mistakes that only 8- and 16-bit types show are not named.
    limit : float, optional
        Seconds that a call may take. One that takes longer is a fault; the fifth ends the audit.

    Returns
    -------
    report : Report
        With `ok`, and the names of the mistakes in `mistakes`. What the function raises or prints
        is in it too.

    Raises
    ------
    TypeError
        If function is not callable, or limit is no number.
    ValueError
        If kind or profile is none of these, or limit is not positive or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> from onesum import audit
    >>> audit.check(onesum.softmax).ok
    True
    >>> def softmax(x, axis=-1):
    ...     e = np.exp(x)
    ...     return e / e.sum(axis=axis, keepdims=True)
    >>> audit.check(softmax).mistakes
    ['no_max_shift']
    """
    if not callable(function):
        raise TypeError(f"function: expected a callable, got {function!r:.60}")
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    need_limit("limit", limit)
    asked = profile_of(profile)
    try:
        subject = Subject(function, kind, asked.library, limit)
    except (NoAnswerError, TimeLimitError) as error:
        return unusable(name_of(function), kind, asked, str(error))
    audit = Audit(subject, asked)
    try:
        answers = _answers(audit)
        name_mistakes(audit)
        parts = (_FORWARD if kind in FORWARDS else _BACKWARD) + _ALL
        parts += _LOSS if kind == "cross_entropy" else _ARRAY
        with np.errstate(all="ignore"):
            for part in (*parts, _speed.speed) if answers else ():
                part(audit)
    except TimeLimitError as error:
        audit.note("calls", "time", False, f"{error}; the audit ends here")
    finally:
        subject.limited.close()
    if subject.printed:
        told = shorten(subject.printed, MOST_TOLD, placeholder=" ...")
        audit.remark("calls", "output", f"prints {told!r}")
    return Report(
        subject.name,
        kind,
        asked,
        subject.library,
        tuple(audit.findings),
        tuple(audit.evidence),
        audit.speed,
    )


def name_mistakes(audit: Audit) -> None:
    forward = audit.subject.kind in FORWARDS
    _arrays.untouched(audit)
    with np.errstate(all="ignore"):
        (_forward_mistakes if forward else _backward_mistakes).recognise(audit)


def _answers(audit: Audit) -> bool:
    x = np.random.default_rng(40).normal(0, 1, (3, 4))
    return audit.ask("calls", "an ordinary call", *_arrays.operands(audit, x)) is not None


def unusable(name: str, kind: str, profile: Profile, told: str) -> Report:
    """Of a function that answers no call at all."""
    finding = Finding("calls", "an ordinary call", "fault", None, None, told)
    evidence: tuple[Evidence, ...] = ()
    return Report(name, kind, profile, profile.library or "numpy", (finding,), evidence, {})
