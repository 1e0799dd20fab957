"""`onesum log-softmax`."""

from .transform import Input, Options, Output, run

DEFAULT = Options()


def log_softmax(source: Input, target: Output, /, *, options: Options = DEFAULT) -> int:
    """Logarithms of the probabilities of the logits in a file, in another file.

    Parameters
    ----------
    source
        Logits: a .npy file, a .safetensors file (FILE:NAME if it has several tensors), or a Zarr
        array. It may be larger than memory.
    target
        The result, in the format of its suffix: .npy, .safetensors or .zarr.
    """
    return run("log_softmax", source, target, options)
