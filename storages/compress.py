"""Compression helpers under the names of django-storages, for code that imports them; the storages use streams.py."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings

from storages.streams import CHUNK_SIZE, ChunkReader, Spool, chunks_of, gzip_packer, gzipped, read_chunks
from storages.utils import to_bytes

SPOOL_LIMIT = 8 * 1024**2  # bytes in memory of a decompressed file


class GzipCompressionWrapper(io.RawIOBase):
    """A readable of the compressed bytes of ``raw``, which is read from where it stands."""

    def __init__(self, raw: Any, level: int = 9):
        chunks = iter(lambda: to_bytes(raw.read(CHUNK_SIZE)), b"")
        self._compressed = ChunkReader(gzipped(chunks, gzip_packer(level)))

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        return self._compressed.readinto(target)


class CompressStorageMixin:
    """Give a storage the method by which earlier releases compressed a content; one that a subclass makes is used."""

    def _compressed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if type(self)._compress_content is CompressStorageMixin._compress_content:
            return gzipped(chunks)
        return self._compressed_as_before(chunks)

    def _compressed_as_before(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with contextlib.closing(Spool(SPOOL_LIMIT, django_settings.FILE_UPLOAD_TEMP_DIR)) as content:
            for chunk in chunks:
                content.write(chunk)
            content.seek(0)
            yield from read_chunks(self._compress_content(content))

    def _compress_content(self, content: Any) -> GzipCompressionWrapper:
        """Return a readable of the compressed ``content``."""
        if hasattr(content, "chunks"):
            return GzipCompressionWrapper(ChunkReader(chunks_of(content)))
        return GzipCompressionWrapper(content)


class CompressedFileMixin:
    """Give a file the method by which earlier releases decompressed what they had read."""

    def _decompress_file(self, mode: str, file: Any, mtime: float = 0.0) -> Spool:
        """Return a seekable file of the decompressed bytes of ``file``."""
        spool = Spool(SPOOL_LIMIT, django_settings.FILE_UPLOAD_TEMP_DIR)
        with gzip.GzipFile(mode=mode, fileobj=file, mtime=mtime) as unzipped:
            for chunk in read_chunks(unzipped):
                spool.write(chunk)
        spool.seek(0)
        return spool
