"""The exact answers of a call, from the oracles for plain rows and from `limits` for the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import WIDE, Arithmetic

from . import composed, divergence, functions, losses
from .answers import Answers, Wanted
from .call import Call

FUNCTIONS = functions.FUNCTIONS | losses.FUNCTIONS | divergence.FUNCTIONS | composed.FUNCTIONS


def wanted(
    call: Call, values: dict[str, np.ndarray[Any, Any]], arithmetic: Arithmetic = WIDE
) -> list[Wanted]:
    """Everything that the call returns, in order."""
    with np.errstate(all="ignore"):
        return FUNCTIONS[call.function](Answers(call, values, arithmetic))
