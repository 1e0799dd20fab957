"""Which format a name stands for."""

import os

FORMATS = (".npy", ".safetensors", ".zarr")
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")


def format_of(path: str) -> str:
    """The suffix that says the format; that of an array within a Zarr group is its group's."""
    form = os.path.splitext(path.rstrip(os.sep))[1].lower()
    if form in FORMATS + PICKLES:
        return form
    above = os.path.normpath(path).split(os.sep)[:-1]
    if os.path.isdir(path) or any(part.lower().endswith(".zarr") for part in above):
        return ".zarr"
    return form
