"""The structures of XLA that csrc/python/xla_abi.h declares, beside the header that jaxlib has;
and what the core's functions answer to a caller whose structures are others.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from pathlib import Path

import pytest
from implementations import core

ffi = pytest.importorskip("jax").ffi
COMPILER = shutil.which(os.environ.get("CXX", "c++"))


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_the_structures_are_those_of_the_header():
    source = Path(__file__).with_name("xla_abi.cpp")
    ours = source.parents[1] / "csrc"
    folders = ["-I", ours, "-I", ffi.include_dir()]
    command = [COMPILER, "-std=c++20", "-fsyntax-only", *folders, source]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]


class Version(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("extensions", c_void_p),
        ("major", c_int),
        ("minor", c_int),
    )


class ErrorRequest(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("extensions", c_void_p),
        ("message", c_char_p),
        ("code", c_int),
    )


CREATE_ERROR = ctypes.CFUNCTYPE(c_void_p, POINTER(ErrorRequest))


class Api(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("extensions", c_void_p),
        ("version", Version),
        ("internal", c_void_p),
        ("create_error", CREATE_ERROR),
    )


class Metadata(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("version", Version),
        ("traits", c_uint32),
        ("state_type", ctypes.c_int64),
    )


class MetadataExtension(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("kind", c_int),
        ("next", c_void_p),
        ("metadata", POINTER(Metadata)),
    )


class Frame(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("extensions", c_void_p),
        ("api", POINTER(Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("rest", ctypes.c_byte * 400),
    )


def called(stage=3, size=None, major=0, minor=3, asked=False, metadata_size=36):
    """What a call with these structures is answered: the errors, and the metadata."""
    messages = []
    create = CREATE_ERROR(lambda request: messages.append(request.contents.message.decode()) or 1)
    api = Api(ctypes.sizeof(Api), None, Version(24, None, major, minor), None, create)
    metadata = Metadata(metadata_size, state_type=77)
    extension = MetadataExtension(24, 1, None, ctypes.pointer(metadata))
    at = ctypes.addressof(extension) if asked else None
    frame = Frame(size or ctypes.sizeof(Frame), at, ctypes.pointer(api), None, stage)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = c_void_p, (ctypes.py_object, c_char_p)
    function = ctypes.CFUNCTYPE(c_void_p, POINTER(Frame))(get(core().xla["softmax"], None))
    result = function(ctypes.pointer(frame))
    assert bool(result) == bool(messages)
    return messages, metadata


@pytest.mark.skipif(not core(), reason="no core")
def test_structures_that_are_others():
    assert "call frame" in called(size=64)[0][0]
    assert "stage" in called(stage=0)[0][0]
    assert "structures" in called()[0][0]  # all of them empty here
    assert "metadata" in called(asked=True, metadata_size=16)[0][0]


@pytest.mark.skipif(not core(), reason="no core")
@pytest.mark.parametrize(
    ("asking", "answer"), [((0, 1), (0, 1)), ((0, 9), (0, 9)), ((1, 0), (0, 3))]
)
def test_the_version(asking, answer):
    messages, metadata = called(major=asking[0], minor=asking[1], asked=True, stage=0)
    assert not messages
    assert (metadata.version.major, metadata.version.minor) == answer
    assert metadata.traits == 0
    assert metadata.state_type == (0 if asking >= (0, 3) and asking[0] == 0 else 77)
