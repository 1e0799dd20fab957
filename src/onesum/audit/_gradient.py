"""The gradient that the function's library derives, beside the exact one."""

from __future__ import annotations

import numpy as np

from . import _exact
from ._audit import Audit
from ._profile import SMALL
from ._subject import NoAnswerError


def gradients(audit: Audit) -> None:
    """Of softmax and log_softmax of torch and JAX."""
    kind, library = audit.subject.kind, audit.subject.library
    if library not in ("torch", "jax") or kind not in ("softmax", "log_softmax"):
        return
    rng = np.random.default_rng(8)
    ordinary = rng.normal(0, 3, (4, 6)), rng.normal(0, 1, (4, 6))
    near = np.array([[40.0, 0.0], [0.0, 40.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for case, topic, (x, g) in (
        ("ordinary logits", "", ordinary),
        ("logits [40, 0], g = [1, 0]", SMALL, near),
    ):
        try:
            got = audit.subject.derivative(x, g=g)
        except NoAnswerError as refused:
            audit.note("gradient", case, False, str(refused))
            continue
        first = _exact.rounded(_exact.forward(kind, x))
        wanted = _exact.backward(f"{kind}_vjp", first, g)
        small = f"0 at the first class, where {float(wanted.value[0, 0]):.2g} is right"
        audit.compare("gradient", case, got, wanted, x.dtype, topic=topic, more=2.0,  # p is rounded
                      text="" if got[0, 0] else small)  # fmt: skip
