"""Softmax and its derivatives: exact, fast, for every array."""

import importlib
import typing

from ._functions.log_softmax import log_softmax, log_softmax_jvp, log_softmax_vjp
from ._functions.logsumexp import logsumexp, logsumexp_jvp, logsumexp_vjp
from ._functions.losses import cross_entropy, cross_entropy_value_and_grad
from ._functions.softmax import softmax, softmax_jvp, softmax_vjp
from ._runtime import (
    get_num_threads,
    register_threadpoolctl,
    release_memory,
    set_num_threads,
    show_config,
)

if typing.TYPE_CHECKING:
    from ._functions.cross_entropy_state import CrossEntropyState
    from ._functions.hessian import cross_entropy_hvp
    from ._functions.information import (
        entropy,
        kl_divergence,
        kl_divergence_value_and_grad,
        selective_log_softmax,
    )
    from ._functions.jacobian import (
        LogSoftmaxJacobian,
        SoftmaxJacobian,
        log_softmax_jacobian,
        softmax_jacobian,
    )
    from ._functions.linear import linear_cross_entropy, linear_cross_entropy_value_and_grad
    from ._functions.normalizer import Normalizer
    from .layers import CrossEntropyLoss, LogSoftmax, Softmax

__version__ = "0.1.0"

__all__ = [
    "CrossEntropyLoss",
    "CrossEntropyState",
    "LogSoftmax",
    "LogSoftmaxJacobian",
    "Normalizer",
    "Softmax",
    "SoftmaxJacobian",
    "cross_entropy",
    "cross_entropy_hvp",
    "cross_entropy_value_and_grad",
    "entropy",
    "get_num_threads",
    "kl_divergence",
    "kl_divergence_value_and_grad",
    "linear_cross_entropy",
    "linear_cross_entropy_value_and_grad",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_jvp",
    "logsumexp_vjp",
    "register_threadpoolctl",
    "release_memory",
    "selective_log_softmax",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]

# Imported when they are asked for: an import of onesum is to cost little beside that of NumPy.
_LATER = {
    name: module
    for module, names in {
        "._functions.cross_entropy_state": ("CrossEntropyState",),
        "._functions.hessian": ("cross_entropy_hvp",),
        "._functions.information": (
            "entropy",
            "kl_divergence",
            "kl_divergence_value_and_grad",
            "selective_log_softmax",
        ),
        "._functions.jacobian": (
            "LogSoftmaxJacobian",
            "SoftmaxJacobian",
            "log_softmax_jacobian",
            "softmax_jacobian",
        ),
        "._functions.linear": ("linear_cross_entropy", "linear_cross_entropy_value_and_grad"),
        "._functions.normalizer": ("Normalizer",),
        ".layers": ("CrossEntropyLoss", "LogSoftmax", "Softmax"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"importlib", "typing"})
