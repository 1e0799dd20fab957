# mypy: allow-untyped-calls
"""What is rare and not worth a kernel: the reference's, which is imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functions import Array, Temperature


def is_concrete(a: Any, /) -> bool:
    """Whether the values of an array can be looked at now."""
    return True


def softmax_diagonal(p: Array, axis: int, temperature: Temperature, dtype: Any) -> Any:
    from .. import reference

    return reference.softmax_diagonal(p, axis, temperature, dtype)


def log_softmax_diagonal(logp: Array, axis: int, temperature: Temperature, dtype: Any) -> Any:
    from .. import reference

    return reference.log_softmax_diagonal(logp, axis, temperature, dtype)


def signed_logsumexp(
    x: Array, b: Array, axis: int, where: Array | None, temperature: Temperature, dtype: Any
) -> Any:
    from .. import reference

    return reference.signed_logsumexp(x, b, axis, where, temperature, dtype)
