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

def _register_bfloat16(dtype: np.dtype[Any], /) -> None: ...
def _use_isa(name: str, /) -> None: ...
def _move(
    target: np.ndarray[Any, Any] | None,
    sources: tuple[np.ndarray[Any, Any], ...],
    streaming: bool,
    /,
) -> int | None: ...
