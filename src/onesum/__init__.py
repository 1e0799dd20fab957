"""Softmax and its derivatives: exact, fast, for every array."""

from ._config import show_config
from ._functions import (
    log_softmax,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    logsumexp_jvp,
    logsumexp_vjp,
    softmax,
    softmax_jvp,
    softmax_vjp,
)
from ._jacobian import (
    LogSoftmaxJacobian,
    SoftmaxJacobian,
    log_softmax_jacobian,
    softmax_jacobian,
)
from ._memory import release_memory
from ._threads import get_num_threads, register_threadpoolctl, set_num_threads
from .layers import LogSoftmax, Softmax

__version__ = "0.1.0"

__all__ = [
    "LogSoftmax",
    "LogSoftmaxJacobian",
    "Softmax",
    "SoftmaxJacobian",
    "get_num_threads",
    "log_softmax",
    "log_softmax_jacobian",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_jvp",
    "logsumexp_vjp",
    "register_threadpoolctl",
    "release_memory",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_jacobian",
    "softmax_jvp",
    "softmax_vjp",
]
