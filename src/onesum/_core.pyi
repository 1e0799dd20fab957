from typing import Any

import numpy as np

isa: str
isas: tuple[str, ...]
built_isas: tuple[str, ...]

softmax: np.ufunc
softmax_where: np.ufunc
log_softmax: np.ufunc
log_softmax_where: np.ufunc
logsumexp: np.ufunc
logsumexp_where: np.ufunc
softmax_vjp: np.ufunc
log_softmax_vjp: np.ufunc
log_softmax_jvp: np.ufunc
logsumexp_vjp: np.ufunc
logsumexp_vjp_where: np.ufunc
logsumexp_jvp: np.ufunc
logsumexp_jvp_where: np.ufunc
normalizer: np.ufunc
normalizer_where: np.ufunc
shifted_exp: np.ufunc
shifted_exp_where: np.ufunc
shifted_logits: np.ufunc
shifted_logits_where: np.ufunc

def _compare(x: np.ndarray, y: np.ndarray, known: np.ndarray, sums: np.ndarray, /) -> None: ...

class direct:  # noqa: N801 - a module; each function answers NotImplemented to what is not plain
    @staticmethod
    def softmax(x: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    @staticmethod
    def log_softmax(x: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    @staticmethod
    def logsumexp(x: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /) -> Any: ...
    @staticmethod
    def softmax_vjp(p: Any, g: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    @staticmethod
    def log_softmax_vjp(logp: Any, g: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    @staticmethod
    def log_softmax_jvp(logp: Any, v: Any, axis: Any, temperature: Any, out: Any, /) -> Any: ...
    @staticmethod
    def logsumexp_vjp(
        x: Any, g: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /
    ) -> Any: ...
    @staticmethod
    def cross_entropy(*arguments: Any) -> Any: ...
    @staticmethod
    def logsumexp_jvp(
        x: Any, v: Any, axis: Any, temperature: Any, out: Any, keepdims: Any, /
    ) -> Any: ...

xla: dict[str, Any]  # by name, capsules of the functions that XLA calls on CPUs

direct_bfloat16 = direct  # the same functions, for arrays of uint16 that hold the bits of bfloat16

def _use_isa(name: str, /) -> None: ...
def _get_num_threads() -> int: ...
def _set_num_threads(n: int, /) -> None: ...
def _jobs() -> int: ...
def _release_memory() -> int: ...
def _move(
    target: np.ndarray[Any, Any] | None,
    sources: tuple[np.ndarray[Any, Any], ...],
    streaming: bool,
    /,
) -> int | None: ...
def _move_rows(
    target: np.ndarray[Any, Any],
    first: tuple[np.ndarray[Any, Any], ...],
    moved: tuple[np.ndarray[Any, Any], ...],
    row_bytes: int,
    streaming: bool,
    /,
) -> int: ...
def losses(*arguments: Any) -> tuple[Any, Any]: ...
def total(x: np.ndarray[Any, np.dtype[np.float64]], /) -> float: ...
