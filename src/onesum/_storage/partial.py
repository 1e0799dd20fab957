"""A result that is not whole yet: beside its own name, with a record of how far it is.

Nothing is ever seen under the name of the result but the whole of it: it grows as `NAME.partial`
and takes its name at the end, at once. `NAME.partial.json` says what it is made of and what of it
is written. The record is one block of the disk, written over in place, so that it can be kept up
to date where the disk is full.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from .errors import StorageError
from .targets import sync_path

RECORD_BYTES = 4096
KIND = "onesum partial result, 1"

# What is added to the name of a result, for as long as it is not whole.
SUFFIXES = (".partial", ".partial.json", ".partial.old", ".partial.gone")

Progress = dict[str, Any]


class Partial:
    """The names of a result that grows.

    about : what it is made of, as JSON has it; only the same may go on with it.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about = json.loads(json.dumps(about))
        names = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
        self.data, self.record, self.old, self.gone = names
        self._record_file = -1
        self._lock = -1

    def begin(self, directory: bool) -> Progress:
        """Take the names, which nobody else has then."""
        try:
            if directory:
                self.data.mkdir()
            else:
                os.close(os.open(self.data, os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            raise StorageError(f"{self.data}: another process has just begun it") from None
        try:
            self.hold()
            self._record_file = os.open(self.record, os.O_RDWR | os.O_CREAT, 0o666)
            self.save({})
        except BaseException:
            self.remove()
            raise
        return {}

    def go_on(self) -> Progress:
        """How far an interrupted run was that made the same."""
        self.hold()
        try:
            progress = self._recorded()
            self._record_file = os.open(self.record, os.O_RDWR)
        except BaseException:
            self.close()
            raise
        return progress

    def _recorded(self) -> Progress:
        try:
            record = json.loads(self.record.read_bytes())
            kind, about, progress = record["kind"], record["about"], record["progress"]
        except (OSError, ValueError, KeyError, TypeError):
            kind, about, progress = None, {}, {}
        if kind != KIND or not self.data.exists():
            again = "--overwrite starts again"
            raise StorageError(f"{self.data}: its record is missing or damaged; {again}")
        for key in {**about, **self.about}:
            before, now = about.get(key), self.about.get(key)
            if before != now:
                was, wanted = json.dumps(before), json.dumps(now)
                raise StorageError(
                    f"{self.data}: was begun with another {key}: expected {was}, got {wanted}; "
                    "--overwrite starts again"
                )
        return dict(progress)

    def hold(self) -> None:
        """Keep other processes from going on with the same."""
        self._lock = os.open(self.data, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{self.data}: another process is writing it") from None

    def save(self, progress: Progress) -> None:
        record = {"kind": KIND, "about": self.about, "progress": progress}
        text = json.dumps(record, indent=1).encode()
        os.pwrite(self._record_file, text.ljust(RECORD_BYTES), 0)

    def take_name(self, overwrite: bool) -> None:
        """The data, which is on the disk by now, becomes the result."""
        if self.path.exists() and not overwrite:
            raise StorageError(f"{self.path}: exists by now; the result is in {self.data}")
        if self.data.is_dir() or self.path.is_dir():
            self._replace_directory()
        else:
            os.replace(self.data, self.path)
        sync_path(str(self.path.parent))
        self.close()
        self.record.unlink()

    def _replace_directory(self) -> None:
        """What was there goes when the new one has its place, and comes back if it cannot."""
        _remove(self.old)
        if self.path.exists():
            os.rename(self.path, self.old)
        try:
            os.rename(self.data, self.path)
        except OSError:
            if self.old.exists():
                os.rename(self.old, self.path)
            raise
        _remove(self.old)

    def remove(self) -> None:
        self.close()
        if self.data.is_dir():  # all at once, for whoever still writes into it
            _remove(self.gone)
            os.rename(self.data, self.gone)
        for path in (self.data, self.gone, self.record):
            _remove(path)

    def close(self) -> None:
        for file in (self._record_file, self._lock):
            if file >= 0:
                os.close(file)
        self._record_file = self._lock = -1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
