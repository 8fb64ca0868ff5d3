"""The table of what is measured, and of the goal of each figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

KIB, MIB = 1024, 1024**2


class Goal(NamedTuple):
    """A bound on one figure: ``factor`` times the reference's figure, plus ``plus``."""

    figure: str
    factor: float
    of: str = ""  # "peer", "raw" or the title of another row; nothing: ``factor`` is the bound itself
    plus: float = 0
    least: bool = False  # the bound is a minimum
    hard: bool = False  # a count that repeats exactly: missing it fails the run
    id: str = ""  # where it differs from the row's

    @property
    def text(self):
        """The bound as the tables print it."""
        sign = "≥" if self.least else "≤"
        if not self.of:
            return f"{sign} {format_figure(self.figure, self.factor + self.plus)}"
        if self.of not in ("peer", "raw"):
            return f"{sign} that of {self.of} + {format_figure(self.figure, self.plus)}"
        reference = " of raw" if self.of == "raw" else ""
        return f"{sign} {self.factor:g}×{reference}"

    def met(self, ours, reference):
        """Return whether our figure is within the bound; None where there is nothing to hold it against."""
        if ours is None or (self.of and reference is None):
            return None
        bound = self.factor * (reference if self.of else 1) + self.plus
        return ours >= bound if self.least else ours <= bound


@dataclass(frozen=True)
class Row:
    """One scenario under one profile, with the goals of its figures."""

    id: str
    title: str
    profile: str
    scenario: str
    goals: tuple[Goal, ...]
    params: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    peer: str | None = "same"  # the peer's scenario; None: it cannot
    peer_params: dict[str, Any] | None = None
    raw: str | None = None  # the scenario on a plain boto3 client
    raw_params: dict[str, Any] | None = None
    runs: int = 3
    at_once: bool = False  # both packages at the same time: what is measured is waiting
    slow: bool = False  # left out of --quick


class Sizes(NamedTuple):
    """How much is moved; the figures of the goals hold for FULL."""

    big: int = 256 * MIB
    huge: int = 1024 * MIB
    zip_members: int = 5000
    zip_member: int = 40 * KIB
    short_list: int = 10_000
    long_list: int = 100_000
    directories: int = 10_000
    deletions: int = 1000
    saves: int = 960
    load_files: int = 50
    rounds: int = 200
    urls: int = 5000
    runs: int = 3


FULL = Sizes()
QUICK = Sizes(
    big=64 * MIB,
    huge=128 * MIB,
    zip_members=1000,
    short_list=2000,
    long_list=5000,
    directories=1000,
    deletions=100,
    saves=320,
    load_files=5,
    rounds=10,
    urls=1000,
    runs=1,
)


def requests(most, id=""):
    """Bound the requests."""
    return Goal("requests", most, hard=True, id=id)


def moved(most, id=""):
    """Bound the bytes of the answers' bodies."""
    return Goal("sent", most, hard=True, id=id)


def peak(mib, id=""):
    """Bound the growth of the resident memory, in MiB."""
    return Goal("peak", mib * MIB, id=id)


def ratio(factor, of="peer"):
    """Bound the time by another's."""
    return Goal("seconds", factor, of)


def rate(factor, of="peer"):
    """Bound the rate from below by another's."""
    return Goal("rate", factor, of, least=True)


NO_WAIT = Goal("continues", 0, hard=True)


def make_rows(sizes: Sizes, files: dict[str, Any]) -> list[Row]:
    """Return every row; ``files`` are the paths and facts of what was made for the run."""
    big = {"name": "big.bin", "size": sizes.big}
    huge = {"name": "huge.bin", "size": sizes.huge}
    medium = {"name": "medium.bin", "size": 64 * MIB}
    archive = {"name": "archive.zip", "members": sizes.zip_members}
    spread = {**archive, "count": 10, "size": sizes.zip_member}
    mib, gib = f"{sizes.big // MIB} MiB", f"{sizes.huge // MIB} MiB"
    head = {"name": "big.bin", "count": KIB}
    photo = {"name": "photo.jpg", "dimensions": files["dimensions"]}
    thread_saves = {"threads": 32, "count": sizes.saves, "size": 10 * KIB}
    saves = {"count": 300, "size": 10 * KIB}
    keep = {"file_overwrite": False}
    cloudfront = {"custom_domain": "cdn.example.com", "cloudfront_key_id": "K1", "cloudfront_key": files["rsa_key"]}
    deletion_requests = -(-sizes.deletions // 1000)

    def once(title, scenario, most, params=None, goals=(), **more):
        """Return a row of the requests table: one operation, counted."""
        return Row("d", title, "local", scenario, (requests(most), *goals), params or {}, runs=1, **more)

    rows = [
        # Random access
        Row("a", f"open, read 1 KiB of {mib}", "near", "read_head",
            (requests(1), moved(256 * KIB), ratio(0.06), peak(2)), head),
        Row("a", f"open, read 1 KiB of {mib}, TLS", "tls", "read_head", (ratio(0.02),), head),
        Row("b", "dimensions of a 6 MiB JPEG", "near", "read_dimensions",
            (requests(1), moved(256 * KIB), ratio(0.3)), photo),
        Row("b", "zip: namelist()", "near", "read_zip_names",
            (requests(2), moved(MIB), ratio(0.3), peak(8)), archive),
        Row("b", "zip: list, read 10 members", "near", "read_zip_members",
            (requests(12), moved(2 * MIB), ratio(0.6)), spread),
        # Throughput
        Row("c", f"read {mib} in 64 KiB", "near", "read_pieces", (ratio(1.0), peak(64)), big,
            raw="raw_read_pieces"),
        Row("c", f"read {mib} in 64 KiB, no latency", "local", "read_pieces", (ratio(0.6),), big,
            raw="raw_read_pieces"),
        Row("c", f"read {mib} in 64 KiB, TLS", "tls", "read_pieces", (ratio(0.75),), big,
            raw="raw_read_pieces"),
        Row("c", f"chunks() of {gib}", "local", "read_chunks", (peak(64), peak(32, "L-03")), huge, runs=1),
        Row("c", f"read() of {mib}", "near", "read_whole", (ratio(1.0), peak(sizes.big / MIB + 48)), big),
        Row("c", f"save(File) of {mib}, TLS", "tls", "save_file", (ratio(1.0), peak(40), NO_WAIT),
            {"path": files["big"]}, raw="raw_save_file"),
        Row("c", f"open('wb'), {mib} in 64 KiB", "near", "write_pieces",
            (ratio(0.3), peak(56), requests(sizes.big // (8 * MIB) + 4)), {"size": sizes.big, "piece": 64 * KIB}),
        # Requests of one operation
        once("save", "save", 1, goals=(NO_WAIT,)),
        once("save, no overwrite, free name", "save", 1, options=keep),
        once("save, no overwrite, taken name", "save_taken", 2, options=keep),
        once("exists: yes", "exists", 1, {"name": "big.bin", "found": True}),
        once("exists: no", "exists", 1, {"name": "nothing.bin", "found": False}),
        once("size", "size", 1),
        once("modified time", "modified_time", 1),
        once("size of an open file", "size_of_open_file", 0),
        once("url", "url_once", 0),
        once("open + read small", "read_small", 1),
        once("open + write small", "write_pieces", 1, {"size": 100, "piece": 100}, goals=(NO_WAIT,)),
        once("open + write 12 MiB", "write_pieces", 4, {"size": 12 * MIB, "piece": MIB}, goals=(NO_WAIT,)),
        once("listdir of 5,000", "listdir", 5, {"count": 5000}, options={"bucket_name": "list-5000"}),
        once("delete", "delete", 1),
        once(f"delete {sizes.deletions}", "delete_many", deletion_requests, {"count": sizes.deletions},
             peer="delete_each"),
        once("copy in the bucket", "copy", 1, peer="copy_through_here"),
        # URLs and the process
        Row("f", "signed url()", "local", "signed_urls", (rate(10),), {"count": sizes.urls}, raw="raw_signed_urls"),
        Row("f", "CloudFront url(), RSA-2048", "local", "urls", (rate(0.95, "raw"),), {"count": sizes.urls},
            options=cloudfront, raw="raw_rsa"),
        Row("f", "unsigned url(), no custom domain", "local", "urls", (rate(10),), {"count": sizes.urls},
            options={"querystring_auth": False}),
        Row("f", "import of the backend", "local", "import_backend", (Goal("seconds", 0.010),)),
        Row("f", "import and first use of a storage", "local", "first_client",
            (ratio(0.9), Goal("second_thread", 0.001))),
        Row("f", "8 more threads", "local", "more_threads", (peak(2),), {"count": 8}),
        # Many objects
        Row("g", f"listdir of {sizes.short_list:,}", "local", "listdir", (ratio(0.5),), {"count": sizes.short_list},
            options={"bucket_name": "short-list"}),
        Row("g", f"listdir of {sizes.long_list:,}", "local", "listdir",
            (ratio(0.5), peak(60, "L-07"), requests(sizes.long_list // 1000 + 5, "L-07")),
            {"count": sizes.long_list}, options={"bucket_name": "long-list"}, runs=1),
        Row("L-07", f"walk() of {sizes.long_list:,}", "local", "walk",
            (peak(8), requests(sizes.long_list // 1000 + 5)), {"count": sizes.long_list}, peer=None,
            options={"bucket_name": "long-list"}, runs=1),
        Row("L-08", f"walk() of {sizes.directories:,} directories", "local", "walk",
            (requests(sizes.directories + sizes.directories // 1000),), {"count": sizes.directories},
            peer="walk_by_listdir", options={"bucket_name": "directories"}, runs=1),
        Row("g", f"delete {sizes.deletions}", "lat20", "delete_many",
            (requests(deletion_requests), ratio(0.01 if sizes is FULL else 0.1)), {"count": sizes.deletions},
            peer="delete_each", runs=1),
        # Without overwriting, the peer asks each time whether the name is free, by a client for each thread.
        Row("h", f"32 threads saving {sizes.saves} × 10 KiB, no overwrite", "lat20", "save_in_threads",
            (rate(7), rate(0.8, "raw"), Goal("warnings", 0, hard=True), peak(16)), thread_saves, keep,
            raw="raw_save_in_threads"),
        Row("h", f"32 threads saving {sizes.saves} × 10 KiB", "lat20", "save_in_threads",
            (rate(0.8, "raw"), Goal("warnings", 0, hard=True)), thread_saves, raw="raw_save_in_threads"),
        Row("–", "one small save, CPU", "local", "save_one_by_one", (Goal("cpu", 0.45, "peer"),), saves,
            raw="raw_save_one_by_one"),
        # Load
        Row("L-01", "save(File) of 64 MiB", "local", "save_file", (peak(48),), {"path": files["medium"]}, runs=1),
        Row("L-01", f"save(File) of {gib}", "local", "save_file",
            (peak(48), Goal("peak", 1, "save(File) of 64 MiB", 8 * MIB)), {"path": files["huge"]}, runs=1),
        Row("L-02", f"open('wb'), {gib} in 1 MiB", "local", "write_pieces", (peak(48),),
            {"size": sizes.huge, "piece": MIB}, runs=1),
        Row("L-04", f"open, read(1) of {gib}", "local", "read_head",
            (moved(8 * MIB), Goal("seconds", 0.2)), {"name": "huge.bin", "count": 1}),
        Row("L-05", f"32 threads × {sizes.load_files} files, SeaweedFS", "seaweedfs", "threads_on_one_storage",
            (Goal("errors", 0, hard=True), Goal("wrong", 0, hard=True), Goal("descriptors", 32, hard=True),
             Goal("threads", 0, hard=True), Goal("workers", 32, hard=True), Goal("files", 0, hard=True)),
            {"threads": 32, "count": sizes.load_files}, runs=1),
        Row("L-06", f"8 writers × {sizes.rounds} rounds on one name, SeaweedFS", "seaweedfs", "writers_on_one_name",
            (Goal("lost", 0, hard=True),), {"writers": 8, "rounds": sizes.rounds, "at_once": 5}, options=keep, runs=1),
        Row("L-13", "stalled server, default options: verbs over 60 s", "mute", "stalled_server",
            (Goal("hanging", 0), Goal("slowest", 60)), {"limit": 65}, runs=1, at_once=True, slow=True),
        Row("L-14", "nobody listens: the slowest verb", "refused", "refusing_server",
            (Goal("slowest", 5), Goal("tries", 3)), runs=1, at_once=True),
        # SFTP, on OpenSSH without latency
        Row("sftp", "read 64 MiB in 64 KiB, SFTP", "sftp", "read_pieces", (ratio(0.166), peak(32)), medium),
        Row("sftp", "save(File) of 64 MiB, SFTP", "sftp", "save_file", (ratio(1.0), peak(32)),
            {"path": files["medium"]}),
        # The peer stores the last piece only.
        Row("sftp", "open('wb'), 64 MiB in 64 KiB, read back, SFTP", "sftp", "write_different_pieces", (peak(32),),
            {"count": 1024, "piece": 64 * KIB}, peer=None),
        # The same on a real server: no injected latency, no goals
        Row("real", f"read {mib} in 64 KiB, SeaweedFS", "seaweedfs", "read_pieces", (ratio(1.0),), big),
        Row("real", f"save(File) of {mib}, SeaweedFS", "seaweedfs", "save_file", (ratio(1.0),), {"path": files["big"]}),
        Row("real", f"open('wb'), {mib} in 64 KiB, SeaweedFS", "seaweedfs", "write_pieces", (ratio(1.0),),
            {"size": sizes.big, "piece": 64 * KIB}),
        Row("real", "32 threads saving 10 KiB, SeaweedFS", "seaweedfs", "save_in_threads", (rate(1.0),), thread_saves,
            raw="raw_save_in_threads"),
    ]  # fmt: skip
    return rows if sizes is FULL else [row for row in rows if not row.slow]


def format_figure(figure, value):
    """Return a figure with its unit, as the tables print it."""
    if value is None:
        return "–"
    if figure in ("seconds", "slowest", "second_thread", "cpu"):
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
    if figure == "peak":
        return f"+{value / MIB:.1f} MiB"
    if figure in ("sent", "received"):
        return f"{value / MIB:.2f} MiB"
    if figure == "rate":
        return f"{value:,.0f}/s"
    return f"{value:,.0f}"
