"""`onesum logsumexp`."""

from .transform import Input, Options, Output, run

DEFAULT = Options()


def logsumexp(source: Input, target: Output, /, *, options: Options = DEFAULT) -> int:
    """Log of the sum of the exponentials of each row of a file, in another file.

    Parameters
    ----------
    source
        Logits: a .npy file, a .safetensors file (FILE:NAME if it has several tensors), or a Zarr
        array. It may be larger than memory.
    target
        The result, in the format of its suffix: .npy, .safetensors or .zarr.
    """
    return run("logsumexp", source, target, options)
