"""The file object that users hold."""

from __future__ import annotations

import codecs
import io
from typing import Any

from django.core.files.base import File

from storages.contract import Stat
from storages.writers import Writer


def parse_mode(mode: str) -> tuple[str, bool]:
    """Return the mode without ``b`` and ``t``, and whether it is text. Raises ValueError as open() does."""
    kinds = [letter for letter in mode if letter in "rwxa"]
    rest = sorted(mode.replace("".join(kinds), "", 1)) if kinds else None
    if len(kinds) != 1 or rest not in ([], ["+"], ["b"], ["t"], ["+", "b"], ["+", "t"]):
        raise ValueError(f"invalid mode: {mode!r}; use one of r, w, x, a with + and b or t as for open()")
    return kinds[0] + ("+" if "+" in rest else ""), "b" not in rest


class StorageFile(File):
    """What ``storage.open()`` gives: a Django File over a reader or a writer of one object.

    Leaving a ``with`` block by an exception publishes nothing; so does dropping the file without ``close()``.
    """

    file: Any
    name: str
    mode: str

    def __init__(
        self,
        name: str,
        mode: str,
        storage: Any,
        buffer_size: int | None = None,
        *,
        encoding: str | None = None,
        newline: str | None = None,
        errors: str | None = None,
    ):
        self._storage = storage
        self.buffer_size = buffer_size  # bytes of a part of a long write; None: the storage's part_size
        self._encoding = codecs.lookup(encoding or "utf-8").name  # an unknown one is told before anything is opened
        self._newline = newline
        self._errors = errors
        self._start(name, mode)

    def _start(self, name: str, mode: str) -> None:
        kind, text = parse_mode(mode)
        self._writer: Writer | None = None
        self.stat: Stat | None = None  # of the object as it was when opened; None for a new one
        if kind == "r":
            binary, self.stat = self._storage._reader(name)
        else:
            binary, self.stat = self._storage._writer(name, kind, self.buffer_size)
            self._writer = binary
        if text:
            binary = io.TextIOWrapper(binary, self._encoding, self._errors, self._newline)
        super().__init__(binary, name)
        self.mode = mode

    @property
    def size(self) -> int:
        """Return the size in bytes: of the object as stored for a reader, of what was written so far for a writer."""
        if self._writer is None:
            return self.stat.size if self.stat else 0
        self._flush_text()
        spooled = getattr(self._writer, "size", None)
        return self._writer.tell() if spooled is None else spooled

    def write(self, data: Any) -> int:
        """Write text or bytes, whichever the mode; text in the file's encoding. Raises io.UnsupportedOperation."""
        if self._writer is None:
            self.file.write("" if isinstance(self.file, io.TextIOBase) else b"")  # says why not
        text = isinstance(self.file, io.TextIOBase)
        if text and not isinstance(data, str):
            self._flush_text()
            return self.file.buffer.write(data)
        if not text and isinstance(data, str):
            data = data.encode(self._encoding)
        return self.file.write(data)

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``; line ends are the caller's."""
        for line in lines:
            self.write(line)

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> StorageFile:
        """Go back to the start, or after close() open again, in the same mode or another; return self."""
        if self.closed:
            self._start(self.name, mode or self.mode)
        elif self.file.seekable():
            self.seek(0)
        return self

    def close(self) -> None:
        """Close; a writer publishes. Raises what the service raises, and nothing is stored then."""
        if self.closed:
            return
        try:
            if self._writer is not None:
                self._flush_text()
                self._writer.commit()
        finally:
            self._drop()

    def discard(self) -> None:
        """Close without publishing: the object stays as it was."""
        if not self.closed:
            self._drop()

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.discard()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            if isinstance(self.file, io.TextIOBase):
                # What the text layer still holds after a failure has nowhere to go, and closing it would try again.
                self._writer.write = len  # type: ignore[method-assign]
        self.file.close()

    def _flush_text(self) -> None:
        if isinstance(self.file, io.TextIOBase):
            self.file.flush()
