"""What the first bytes of a file tell of its type, beside what was claimed.

The signatures are those of mimesniff.spec.whatwg.org, and of the formats' own descriptions.
"""

from __future__ import annotations

import mimetypes
import posixpath
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

HEAD = 4096  # bytes that are looked at

OCTETS = "application/octet-stream"

# What a browser runs or renders as a document, under whichever pattern it would come: to be named in full.
ACTIVE_TYPES = frozenset(
    (
        *("application/mathml+xml", "application/xhtml+xml", "application/xml", "application/xslt+xml"),
        *("image/svg+xml", "text/html", "text/javascript"),
    )
)


# Extensions that servers have such a type for, and that not every machine's list of types has, or has so.
_ACTIVE_EXTENSIONS = {
    **dict.fromkeys((".shtm", ".shtml"), "text/html"),
    **dict.fromkeys((".xht", ".xhtml"), "application/xhtml+xml"),
    **dict.fromkeys((".mathml", ".mml"), "application/mathml+xml"),
    **{f".{name}": f"application/{name}+xml" for name in ("atom", "rdf", "rss", "xslt")},
    ".xbl": "application/xml",
    ".xul": "application/vnd.mozilla.xul+xml",
    ".svgz": "image/svg+xml",  # packed, which servers then say
}

_SCRIPT_NAMES = ("ecmascript", "javascript", "x-ecmascript", "x-javascript")

# Other names of a type: what browsers, Pillow and old lists say.
ALIASES = {
    # mimesniff.spec.whatwg.org/#javascript-mime-type: a browser runs a script of any of them.
    **{f"{top}/{name}": "text/javascript" for top in ("application", "text") for name in _SCRIPT_NAMES},
    **dict.fromkeys((f"text/javascript1.{minor}" for minor in range(6)), "text/javascript"),
    **dict.fromkeys(("text/jscript", "text/livescript"), "text/javascript"),
    **dict.fromkeys(("text/xml", "text/xsl"), "application/xml"),
    **dict.fromkeys(("image/jpg", "image/pjpeg", "image/mpo"), "image/jpeg"),  # mpo: of phones with two lenses
    "image/x-png": "image/png",
    **dict.fromkeys(("image/x-ms-bmp", "image/x-bmp"), "image/bmp"),
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-photoshop": "image/vnd.adobe.photoshop",
    **dict.fromkeys(("audio/mp3", "audio/x-mpeg"), "audio/mpeg"),
    **dict.fromkeys(("audio/wave", "audio/x-wav", "audio/vnd.wave"), "audio/wav"),
    **dict.fromkeys(("audio/x-m4a", "audio/m4a"), "audio/mp4"),
    **dict.fromkeys(("audio/x-midi", "audio/mid"), "audio/midi"),
    **{f"audio/x-{name}": f"audio/{name}" for name in ("aac", "aiff", "flac")},
    **dict.fromkeys(("video/avi", "video/msvideo"), "video/x-msvideo"),
    "application/x-pdf": "application/pdf",
    **dict.fromkeys(("text/rtf", "application/x-rtf", "text/richtext"), "application/rtf"),
    **dict.fromkeys(("application/x-zip-compressed", "application/x-zip"), "application/zip"),
    **dict.fromkeys(("application/x-gzip", "application/x-compressed-tar"), "application/gzip"),
    **dict.fromkeys(("application/x-bzip", "application/bzip2"), "application/x-bzip2"),
    **dict.fromkeys(("application/x-rar-compressed", "application/x-rar"), "application/vnd.rar"),
    **dict.fromkeys(("application/vnd.ms-opentype", "application/x-font-otf"), "font/otf"),
    "application/font-woff": "font/woff",
    "application/x-font-ttf": "font/ttf",
    "application/x-sqlite3": "application/vnd.sqlite3",
    **dict.fromkeys(
        ("application/x-msdownload", "application/x-dosexec"), "application/vnd.microsoft.portable-executable"
    ),
    "text/x-markdown": "text/markdown",
}


class Signature(NamedTuple):
    """Bytes with which all files of some types begin; ``.`` stands for any byte."""

    pattern: bytes
    types: tuple[str, ...]
    container: bool = False  # also of formats that are nowhere in this table


_HEIF = ("image/avif", "image/avif-sequence", "image/heic", "image/heic-sequence", "image/heif", "image/heif-sequence")
_MP4 = (
    *("video/mp4", "audio/mp4", "audio/aac", "video/x-m4v", "application/mp4"),
    *("video/quicktime", "video/3gpp", "audio/3gpp", "video/3gpp2", "audio/3gpp2"),
)
_OLE = ("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook")

SIGNATURES = (
    Signature(rb"\x89PNG\r\n\x1a\n", ("image/png", "image/apng", "image/vnd.mozilla.apng")),
    Signature(rb"\xff\xd8\xff", ("image/jpeg",)),
    Signature(rb"GIF8[79]a", ("image/gif",)),
    Signature(rb"RIFF....WEBP", ("image/webp",)),
    Signature(rb"BM....\x00\x00\x00\x00", ("image/bmp",)),
    Signature(rb"\x00\x00[\x01\x02]\x00", ("image/vnd.microsoft.icon",)),
    Signature(rb"II\*\x00|MM\x00\*", ("image/tiff",), container=True),  # so do the raw files of cameras
    Signature(rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a", ("image/jxl",)),
    Signature(rb"\x00\x00\x00\x0cjP  \r\n\x87\n", ("image/jp2", "image/jpx", "image/jpm")),
    Signature(rb"8BPS\x00\x01", ("image/vnd.adobe.photoshop",)),
    Signature(rb"\x00...ftyp(?:avi[fs]|hei[cfmsx]|hev[cx]|mif1|msf1)", _HEIF),
    Signature(rb"\x00...ftyp(?!avi[fs]|hei[cfmsx]|hev[cx]|mif1|msf1)", _MP4),
    Signature(rb"\x00...(?:moov|mdat|wide|free|skip)", ("video/quicktime",)),
    Signature(
        rb"\x1aE\xdf\xa3", ("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska", "video/matroska")
    ),
    Signature(rb"OggS\x00", ("audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/vorbis")),
    Signature(rb"fLaC\x00", ("audio/flac",)),
    Signature(rb"ID3[\x02-\x04]", ("audio/mpeg", "audio/aac")),
    Signature(rb"\xff[\xf2\xf3\xfa\xfb]", ("audio/mpeg",)),
    Signature(rb"\xff[\xf0\xf1\xf8\xf9]", ("audio/aac", "audio/aacp")),
    Signature(rb"RIFF....WAVE", ("audio/wav",)),
    Signature(rb"RIFF....AVI ", ("video/x-msvideo",)),
    Signature(rb"FORM....AIF[CF]", ("audio/aiff",)),
    Signature(rb"MThd\x00\x00\x00\x06", ("audio/midi",)),
    Signature(rb"FLV\x01", ("video/x-flv",)),
    Signature(
        rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ("video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"), container=True
    ),
    Signature(rb"\x00\x00\x01[\xb3\xba]", ("video/mpeg",)),
    Signature(rb"(?:\xef\xbb\xbf)?\s*%PDF-", ("application/pdf",)),
    Signature(rb"%!PS", ("application/postscript", "application/eps", "image/x-eps")),
    Signature(rb"\{\\rtf", ("application/rtf",)),
    Signature(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", ("application/zip",), container=True),  # OOXML, ODF, EPUB, JAR
    Signature(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE, container=True),
    Signature(rb"\x1f\x8b\x08", ("application/gzip",), container=True),
    Signature(rb"BZh[1-9](?:1AY&SY|\x17rE8P)", ("application/x-bzip2",)),
    Signature(rb"\xfd7zXZ\x00", ("application/x-xz",)),
    Signature(rb"\x28\xb5\x2f\xfd", ("application/zstd",)),
    Signature(rb"7z\xbc\xaf\x27\x1c", ("application/x-7z-compressed",)),
    Signature(rb"Rar!\x1a\x07", ("application/vnd.rar",)),
    Signature(rb".{257}ustar", ("application/x-tar",)),
    Signature(rb"wOFF(?:\x00\x01\x00\x00|OTTO|true)", ("font/woff",)),
    Signature(rb"wOF2", ("font/woff2",)),
    Signature(rb"OTTO\x00", ("font/otf",)),
    Signature(rb"\x00\x01\x00\x00\x00", ("font/ttf",)),
    Signature(rb"SQLite format 3\x00", ("application/vnd.sqlite3",)),
    Signature(rb"\x00asm", ("application/wasm",)),
    Signature(rb"MZ.{1,62}?\x00\x00", ("application/vnd.microsoft.portable-executable",)),
    Signature(rb"\x7fELF", ("application/x-executable", "application/x-sharedlib")),
)
_COMPILED = [(re.compile(one.pattern, re.DOTALL), one) for one in SIGNATURES]

_SIGNED = frozenset(kind for one in SIGNATURES for kind in one.types)
# Windows claims this for a table in plain text too.
_LOOSE = frozenset({"application/vnd.ms-excel"})

# Binary in the sense of the standard: controls that no text has. UTF-16 and UTF-32 say so at their start.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SPACE = rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*"
_HTML = re.compile(
    _SPACE + rb"(?:<!--|<\?php|<\?=|<(?:!doctype html|html|head|script|iframe|object|embed|form|img|svg|math|meta|"
    rb"link|base|h1|div|font|table|a|style|title|b|body|br|p|input|details|video|audio)[\s/>])",
    re.IGNORECASE,
)
_XML = re.compile(_SPACE + rb"(?:<\?xml|<!doctype (?!html)|<svg[\s/>])", re.IGNORECASE)

_TEXTUAL = frozenset(
    (
        "application/json",
        "application/xml",
        "application/sql",
        "application/x-yaml",
        "application/yaml",
        "image/svg+xml",
    )
)
_MARKUP = frozenset(("text/html", "text/markdown", "application/x-httpd-php", "application/x-php", "text/x-php"))


def essence(content_type: str | None) -> str:
    """Return a type without its parameters, in small letters and by its one name; of nothing, what nobody knows."""
    kind = (content_type or "").partition(";")[0].strip().lower() or OCTETS
    return ALIASES.get(kind, kind)


def is_allowed(content_type: str, allowed: Iterable[str]) -> bool:
    """Whether a type is one of ``allowed``, which may hold patterns such as ``image/*``.

    A pattern is for what is looked at: what browsers run (SVG, HTML, XML) has to be named in full.
    """
    kind = essence(content_type)
    patterns = {essence(pattern) for pattern in allowed}
    if kind in patterns or "*/*" in patterns:
        return True
    return f"{kind.partition('/')[0]}/*" in patterns and not is_active(kind)


def is_active(content_type: str) -> bool:
    """Whether a browser runs or renders it as a document, as it does with every kind of XML."""
    kind = essence(content_type)
    return kind in ACTIVE_TYPES or kind.endswith("+xml")


def type_of(name: str) -> tuple[str | None, str | None]:
    """Return the type that a name tells and how the file is packed, each None where it tells nothing.

    What servers give to browsers to run is known on every machine.
    """
    name = name.rstrip(". ")  # which some disks drop
    guess, encoding = mimetypes.guess_type(f"./{name}")  # "data:,a.html" is a name here, and no URL
    known = _ACTIVE_EXTENSIONS.get(posixpath.splitext(name)[1].lower())
    return (known, None) if known and (guess is None or encoding) else (guess, encoding)


def agrees(content_type: str, head: bytes) -> bool:
    """Whether a file that begins with ``head`` can be of ``content_type``; True where the bytes tell nothing."""
    kind = essence(content_type)
    if kind == OCTETS or not head:
        return True
    found = [one for pattern, one in _COMPILED if pattern.match(head)]
    if found:
        known = any(kind in one.types for one in found)
        return known or (kind not in _SIGNED and not _is_text(kind) and any(one.container for one in found))
    if kind in _SIGNED and kind not in _LOOSE:
        return False
    if not _is_text(kind):
        return kind in _LOOSE or kind in _MARKUP or not (_HTML.match(head) or (_is_media(kind) and _XML.match(head)))
    return _is_plain(head) and _fits_markup(kind, head)


def fits(name: str, claim: str, head: bytes, allowed: Iterable[str]) -> bool:
    """Whether an upload is of an allowed type by its claim, its bytes and its name.

    The name counts because it is what the type is guessed from when the file is served.
    """
    if not is_allowed(claim, allowed) or not agrees(claim, head):
        return False
    guess, encoding = type_of(name)
    if guess is None or encoding:
        return True
    if not agrees(guess, head):
        return False
    if is_active(guess) and not is_allowed(guess, allowed):  # or one XML for another, which has several names
        return is_active(claim) and essence(guess) not in ACTIVE_TYPES
    return True


def _is_media(kind: str) -> bool:
    return kind.startswith(("audio/", "font/", "image/", "video/"))


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXTUAL or kind in ACTIVE_TYPES or kind.endswith(("+xml", "+json"))


def _is_plain(head: bytes) -> bool:
    return head.startswith(_WIDE) or not _BINARY.search(head)


def _fits_markup(kind: str, head: bytes) -> bool:
    is_xml = kind == "application/xml" or kind.endswith("+xml")
    if _XML.match(head):
        return is_xml or kind in _MARKUP
    return not _HTML.match(head) or is_xml or kind in _MARKUP


def head_of(file: Any) -> bytes:
    """Return the first bytes of a file, and leave it where it was."""
    position = file.tell()
    file.seek(0)
    try:
        head = file.read(HEAD)
    finally:
        file.seek(position)
    return head.encode() if isinstance(head, str) else head
