# mypy: allow-untyped-defs, allow-untyped-calls
"""An operation with its derivatives, in every way that torch can ask for them."""

from typing import Any

import torch
from torch.autograd import forward_ad

from .kernels import PLAIN, formula, is_differentiated, is_watched, kernel


class Operation:
    """The kernel of this name, with the rules of a class.

    Of the arguments, tensors come first, `tensors` of them, some perhaps None or a number; then the
    options, the class axis before the others. Of the tensors the first, `operands`, have rules. If
    another has a derivative, the formula is called in place of all this: torch derives it.

    The rules get what `kept(arguments, result)` has chosen:

        vjp(kept, options, needed, *cotangents)   a gradient, or None, for each of the operands
        jvp(kept, options, tangents)              the tangent of the result, or a tuple of them

    They are made of operations, so that their results have derivatives themselves. Where autograd
    asks for none of these, the operations in them are the kernels.
    """

    in_graph: Any = None  # the same for Dynamo: `graph.py`

    def __init__(self, name, rules):
        self.kernel, self.formula = kernel(name), formula(name)
        self._constants = slice(rules.operands, rules.tensors)
        self._full, plain = _functions(name, self, rules)
        # Function.apply looks at signatures, and for functorch, as `__call__` does.
        self._plain: Any = super(torch.autograd.Function, plain).apply  # type: ignore[misc]

    def __call__(self, *arguments):
        if torch.compiler.is_compiling():
            from . import graph  # noqa: F401 - it sets in_graph

            return self.in_graph(*arguments)
        if type(arguments[0]) not in PLAIN or is_watched():
            return self.traced(*arguments)
        if self._needs_formula(arguments):
            return self.formula(*arguments)
        if torch._C._are_functorch_transforms_active():
            return self._full.apply(*arguments)
        if _is_derived(arguments):
            return self._plain(*arguments)
        return self.kernel(*arguments)

    def is_bare(self, *arguments):
        """Whether the kernel is all there is to be done: nothing is derived, traced or mapped."""
        return not (
            torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()
            or self._needs_formula(arguments)
            or _is_derived(arguments)
        )

    def traced(self, *arguments):
        """The same in whatever transform it may be: where torch traces, it does not say."""
        run = self.formula if self._needs_formula(arguments) else self._full.apply
        return run(*arguments)

    def _needs_formula(self, arguments):
        for a in arguments[self._constants]:
            if a is not None and type(a) is not float and is_differentiated(a):
                return True
        return False


class Rules:
    """What most have in common."""

    operands = 1
    tensors: int
    constant: tuple[int, ...] = ()  # which of several results have no derivative
    shared: int | None = None  # which tensor has no rows

    @staticmethod
    def batched(operation, tensors, options):
        """The operation on tensors that have one more dimension, in front."""
        axis, *others = options
        return operation(*tensors, axis + 1, *others)


def _is_derived(arguments):
    if forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(
        isinstance(a, torch.Tensor) and a.requires_grad for a in arguments
    )


def _keep(ctx, values):
    tensors = [a if isinstance(a, torch.Tensor) else None for a in values]
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    ctx.numbers = [a if t is None else None for a, t in zip(values, tensors, strict=True)]


def _kept(ctx):
    return [n if t is None else t for n, t in zip(ctx.numbers, ctx.saved_tensors, strict=True)]


def _functions(name, operation, rules):
    """Two Functions: one that torch.func can transform, and one without what that costs."""
    run, constant = operation.kernel, rules.constant
    operands, tensors, shared = rules.operands, rules.tensors, rules.shared
    others = (None,) * (tensors - operands)

    def keep(ctx, arguments, result):
        ctx.options = arguments[tensors:]
        _keep(ctx, rules.kept(arguments, result))
        for i in constant:
            ctx.mark_non_differentiable(result[i])

    def forward(*arguments):
        return run(*arguments)

    def setup_context(ctx, inputs, output):
        keep(ctx, inputs, output)

    def forward_and_keep(ctx, *arguments):
        result = run(*arguments)
        keep(ctx, arguments, result)
        return result

    def backward(ctx, *cotangents):
        grads = rules.vjp(_kept(ctx), ctx.options, ctx.needs_input_grad, *cotangents)
        return (*grads, *others, *(None for _ in ctx.options))

    def jvp(ctx, *tangents):
        change = rules.jvp(_kept(ctx), ctx.options, tangents[:operands])
        if not constant:
            return change
        return tuple(None if i in constant else a for i, a in enumerate(change))

    def vmap(info, in_dims, *arguments):
        if shared is not None and in_dims[shared] is not None:
            return torch.vmap(operation.formula, in_dims)(*arguments), 0
        given = [
            a if i == shared else _batched(a, dim, info.batch_size)
            for i, (a, dim) in enumerate(zip(arguments[:tensors], in_dims, strict=False))
        ]
        results = rules.batched(operation, given, arguments[tensors:])
        return results, tuple(0 for _ in results) if isinstance(results, tuple) else 0

    def function(**methods):
        methods = {key: staticmethod(method) for key, method in methods.items()}
        return type(name, (torch.autograd.Function,), methods)

    return (
        function(
            forward=forward, setup_context=setup_context, vmap=vmap, backward=backward, jvp=jvp
        ),
        function(forward=forward_and_keep, backward=backward, jvp=jvp),
    )


def _batched(a, dim, size):
    """With the dimension in front; what has none is repeated along it, in no memory."""
    if not isinstance(a, torch.Tensor):
        return a
    return a.expand(size, *a.shape) if dim is None else a.movedim(dim, 0)
