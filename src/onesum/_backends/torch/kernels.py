# mypy: allow-untyped-defs, allow-untyped-calls
"""Who computes: NumPy's backend for tensors that are there, in CPU memory; the formulas elsewhere.

What only stands for a tensor on a CPU (while torch compiles, or under a dispatch mode) goes through
an operator, behind which is the same again.
"""

import torch

from . import formulas, formulas_losses, host

PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})


def is_watched():
    """Whether torch is to see every operation: under a mode of dispatch, or while it traces."""
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def is_on_host(x):
    return x.is_cpu


def is_here(x):
    """Whether a tensor is plain memory that NumPy can see, and nobody watches."""
    return type(x) in PLAIN and is_on_host(x) and not is_watched()


# Elements: torch's compiler makes one function of the formulas of so few, and of what is around
# them, which takes less than to call an operator.
SMALL = 1 << 12


def _is_small(x):
    count = x.numel()
    return type(count) is int and count <= SMALL


def is_concrete(a):
    """Whether the values of a tensor are there to be looked at, and constant."""
    if torch.compiler.is_compiling() or type(a) not in PLAIN or a.is_meta or is_watched():
        return False
    return not (torch._C._functorch.is_functorch_wrapped_tensor(a) or is_differentiated(a))


def is_differentiated(a):
    """Whether something is derived by this argument."""
    if not isinstance(a, torch.Tensor):
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(a):
        if torch._C._functorch.is_gradtrackingtensor(a):
            return True
        a = torch._C._functorch.get_unwrapped(a)
    if a.requires_grad and torch.is_grad_enabled():
        return True
    return torch._VF._unpack_dual(a, level=0)[1] is not None


def formula(name):
    """The operation of this name in torch operations."""
    return getattr(formulas, name, None) or getattr(formulas_losses, name)


def kernel(name):
    """The operation of this name, without derivatives."""
    here, anywhere = getattr(host, name), formula(name)

    def call(*arguments):
        x = arguments[0]
        if is_on_host(x):
            if _any_batched(arguments):
                return anywhere(*arguments)
            if is_here(x):
                return here(*arguments)
            if not _is_small(x):
                from .operators import call as operator

                return operator(name, *arguments)
        return anywhere(*arguments)

    return call


def _any_batched(arguments):
    """Whether an operand is of several in one, as in torch.autograd.grad(is_grads_batched=True)."""
    legacy = torch._C._functorch.is_legacy_batchedtensor
    return any(isinstance(a, torch.Tensor) and legacy(a) for a in arguments[:3])
