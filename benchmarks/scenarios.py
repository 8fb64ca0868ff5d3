"""What is measured: each scenario is one small function that either package can run.

A scenario does what is not to be measured first, then ``with run.measured():`` once, then refuses a wrong result. A
name that begins with ``raw_`` is the same deed on a plain boto3 client.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import random
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor

PEER_VERSION = "1.14.6"
KIB, MIB = 1024, 1024**2
PIECE = 64 * KIB
WORKERS = "storages_"  # how the names of our shared worker threads begin


def scenario(function=None, *, cold=False):
    """Mark a scenario; a ``cold`` one begins before the package is imported."""
    if function is None:
        return functools.partial(scenario, cold=cold)
    function.cold = cold
    return function


def _content(size=0, content=None):
    from django.core.files.base import ContentFile

    return ContentFile(bytes(size) if content is None else content)


# ---- reading


@scenario
def read_head(run, name, count):
    """Open an object and read its first bytes only."""
    with run.measured(), run.storage.open(name) as file:
        content = file.read(count)
    run.expect(len(content), count)


@scenario
def read_dimensions(run, name, dimensions):
    """Ask for an image's width and height, as an ImageField does."""
    from django.core.files.images import get_image_dimensions
    from PIL import Image

    Image.init()
    with run.measured(), run.storage.open(name) as file:
        found = get_image_dimensions(file)
    run.expect(list(found), dimensions)


@scenario
def read_zip_names(run, name, members):
    """List the members of a zip archive."""
    with run.measured(), run.storage.open(name) as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    run.expect(len(names), members)


@scenario
def read_zip_members(run, name, members, count, size):
    """List the members of a zip archive and read some that lie far apart."""
    with run.measured(), run.storage.open(name) as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        sizes = {len(archive.read(names[number])) for number in range(0, members, members // count)}
    run.expect(sizes, {size})


@scenario
def read_pieces(run, name, size):
    """Read an object to its end in pieces of 64 KiB."""
    total = 0
    with run.measured(), run.storage.open(name) as file:
        while piece := file.read(PIECE):
            total += len(piece)
    run.expect(total, size)


@scenario
def raw_read_pieces(run, name, size):
    """Read an object by one stream of boto3's."""
    total = 0
    with run.measured():
        body = run.client.get_object(Bucket=run.options["bucket_name"], Key=name)["Body"]
        while piece := body.read(PIECE):
            total += len(piece)
    run.expect(total, size)


@scenario
def read_chunks(run, name, size):
    """Read an object to its end by Django's ``File.chunks()``."""
    with run.measured(), run.storage.open(name) as file:
        total = sum(map(len, file.chunks()))
    run.expect(total, size)


@scenario
def read_whole(run, name, size):
    """Read an object in one call."""
    with run.measured(), run.storage.open(name) as file:
        content = file.read()
    run.expect(len(content), size)


# ---- writing


@scenario
def save_file(run, path):
    """Save a file from disk."""
    from django.core.files import File

    with open(path, "rb") as source, run.measured():
        name = run.storage.save("saved.bin", File(source))
    run.expect(run.stored_size(name), os.path.getsize(path))


@scenario
def raw_save_file(run, path):
    """Upload a file from disk by boto3."""
    with run.measured():
        run.client.upload_file(path, run.options["bucket_name"], "saved.bin")
    run.expect(run.stored_size("saved.bin"), os.path.getsize(path))


@scenario
def write_pieces(run, size, piece):
    """Write an object through a handle, piece by piece."""
    body = bytes(piece)
    with run.measured(), run.storage.open("written.bin", "wb") as file:
        for _ in range(size // piece):
            file.write(body)
    run.expect(run.stored_size("written.bin"), size)


@scenario
def write_different_pieces(run, count, piece):
    """Write an object through a handle, no two pieces of which are alike, and read it back."""
    with run.measured(), run.storage.open("written.bin", "wb") as file:
        for number in range(count):
            file.write(number.to_bytes(4, "big") * (piece // 4))
    with run.storage.open("written.bin") as file:
        wrong = sum(file.read(piece) != number.to_bytes(4, "big") * (piece // 4) for number in range(count))
        run.expect((wrong, file.read()), (0, b""))


# ---- requests of one operation


@scenario
def save(run):
    """Save a small file under a free name."""
    with run.measured():
        name = run.storage.save("new.txt", _content(100))
    run.expect(name, "new.txt")


@scenario
def save_taken(run):
    """Save a small file under a name that is taken, without overwriting."""
    run.storage.save("taken.txt", _content(100))
    with run.measured():
        name = run.storage.save("taken.txt", _content(100))
    run.expect(name != "taken.txt", True)


@scenario
def exists(run, name, found):
    """Ask whether an object exists."""
    with run.measured():
        answer = run.storage.exists(name)
    run.expect(answer, found)


@scenario
def size(run):
    """Ask for the size of an object."""
    run.storage.save("small.txt", _content(100))
    with run.measured():
        answer = run.storage.size("small.txt")
    run.expect(answer, 100)


@scenario
def modified_time(run):
    """Ask when an object was modified."""
    run.storage.save("small.txt", _content(100))
    with run.measured():
        answer = run.storage.get_modified_time("small.txt")
    run.expect(answer is not None, True)


@scenario
def size_of_open_file(run):
    """Ask an open file for its size."""
    run.storage.save("small.txt", _content(100))
    with run.storage.open("small.txt") as file:
        with run.measured():
            answer = file.size
        run.expect(answer, 100)


@scenario
def read_small(run):
    """Open a small object and read it."""
    run.storage.save("small.txt", _content(100))
    with run.measured(), run.storage.open("small.txt") as file:
        content = file.read()
    run.expect(len(content), 100)


@scenario
def delete(run):
    """Delete an object."""
    run.storage.save("small.txt", _content(100))
    with run.measured():
        run.storage.delete("small.txt")
    run.expect(run.storage.exists("small.txt"), False)


def _fill(run, count):
    names = [f"many/{number:05}.txt" for number in range(count)]
    run.ask("seed", bucket=run.options["bucket_name"], pattern="many/{:05}.txt", count=count, size=100)
    return names


@scenario
def delete_many(run, count):
    """Delete many objects by our own verb."""
    names = _fill(run, count)
    with run.measured():
        run.storage.delete_many(names)
    run.expect(run.storage.exists(names[-1]), False)


@scenario
def delete_each(run, count):
    """Delete many objects one after another: the only way in Django's API."""
    names = _fill(run, count)
    with run.measured():
        for name in names:
            run.storage.delete(name)
    run.expect(run.storage.exists(names[-1]), False)


@scenario
def copy(run):
    """Copy an object inside the bucket by our own verb."""
    run.storage.save("small.txt", _content(100))
    with run.measured():
        run.storage.copy("small.txt", "copy.txt")
    run.expect(run.stored_size("copy.txt"), 100)


@scenario
def copy_through_here(run):
    """Copy an object by reading and saving it: the only way in Django's API."""
    run.storage.save("small.txt", _content(100))
    with run.measured(), run.storage.open("small.txt") as file:
        run.storage.save("copy.txt", file)
    run.expect(run.stored_size("copy.txt"), 100)


# ---- URLs


@scenario
def url_once(run):
    """Make one URL."""
    with run.measured():
        run.storage.url("album/photo.jpg")


@scenario
def urls(run, count):
    """Make the URLs of many objects."""
    names = [f"album/photo-{number:06}.jpg" for number in range(count)]
    run.storage.url(names[0])
    with run.measured(count):
        found = {run.storage.url(name) for name in names}
    run.expect(len(found), count)


@scenario
def signed_urls(run, count):
    """Make the signed URLs of many objects, and hold one of them against botocore's."""
    urls(run, count)
    run.expect(_same_as_botocore(run), True)


def _same_as_botocore(run):
    parameters = {"Bucket": run.options["bucket_name"], "Key": "album/photo.jpg"}
    for _ in range(5):  # the clock may tick between the two
        ours = run.storage.url("album/photo.jpg")
        theirs = run.client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=3600)
        if ours == theirs:
            return True
    return False


@scenario
def raw_signed_urls(run, count):
    """Sign by boto3's client."""
    parameters = [{"Bucket": "bench", "Key": f"album/photo-{number:06}.jpg"} for number in range(count)]
    with run.measured(count):
        for each in parameters:
            run.client.generate_presigned_url("get_object", Params=each, ExpiresIn=3600)


@scenario
def raw_rsa(run, count):
    """Make the bare RSA signatures of CloudFront policies."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    key = serialization.load_pem_private_key(run.options["cloudfront_key"].encode(), None)
    with run.measured(count):
        for number in range(count):
            key.sign(b"policy %d" % number, padding.PKCS1v15(), hashes.SHA1())  # what CloudFront asks for


# ---- process


@scenario(cold=True)
def import_backend(run):
    """Import the backend's module into a process that has Django."""
    before = set(sys.modules)
    with run.measured():
        importlib.import_module("storages.backends.s3")
    run.result["modules"] = len(set(sys.modules) - before)


@scenario(cold=True)
def first_client(run):
    """Import the backend and use it for the first time, then for the first time in a second thread.

    Together with the import, because the peer imports the SDK there and we at the first use.
    """
    with run.measured():
        run.storage.exists("big.bin")
    once = sorted(_seconds(run.storage.exists, "big.bin") for _ in range(11))[5]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        second = pool.submit(_seconds, run.storage.exists, "big.bin").result()
    run.result["second_thread"] = max(0.0, second - once)


def _seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


@scenario
def more_threads(run, count):
    """Use one storage in more threads, all of them alive at once."""
    together = threading.Barrier(count)

    def use():
        together.wait()
        run.storage.exists("big.bin")
        together.wait()

    with run.measured(), ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(use) for _ in range(count)]:
            future.result()


# ---- many objects


@scenario
def listdir(run, count):
    """List a directory of many files."""
    with run.measured(count):
        directories, files = run.storage.listdir("")
    run.expect((len(directories), len(files), len(set(files))), (0, count, count))


@scenario
def walk(run, count):
    """Walk over all objects below a prefix, holding one at a time."""
    with run.measured(count):
        found = sum(1 for _ in run.storage.walk())
    run.expect(found, count)


@scenario
def walk_by_listdir(run, count):
    """Walk over all directories by one listing each: the only way in Django's API."""
    found, waiting = 0, [""]
    with run.measured(count):
        while waiting:
            directory = waiting.pop()
            directories, files = run.storage.listdir(directory)
            found += len(files)
            waiting += [f"{directory}{name}/" for name in directories]
    run.expect(found, count)


class _Warnings(logging.Handler):
    """Count the connections that the pool had to throw away."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def emit(self, record):
        self.count += "pool is full" in record.getMessage()


def _save_in_threads(run, threads, count, save_one):
    warnings = _Warnings()
    logger = logging.getLogger("urllib3.connectionpool")
    logger.addHandler(warnings)
    logger.propagate = False
    with run.measured(count), ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(save_one, f"saved/{number:05}.bin") for number in range(count)]:
            future.result()
    run.result["warnings"] = warnings.count


@scenario
def save_in_threads(run, threads, count, size):
    """Save small files from many threads through one storage."""
    body = bytes(size)
    _save_in_threads(run, threads, count, lambda name: run.storage.save(name, _content(content=body)))
    run.expect(run.stored_size(f"saved/{count - 1:05}.bin"), size)


@scenario
def raw_save_in_threads(run, threads, count, size):
    """Put small objects from many threads through one boto3 client that waits for no ``100 Continue``."""
    run.client.meta.events.register("before-call.s3.PutObject", _without_expect)
    body = bytes(size)
    put = functools.partial(run.client.put_object, Bucket=run.options["bucket_name"], Body=body)
    _save_in_threads(run, threads, count, lambda name: put(Key=name))


def _without_expect(params, **_):
    params["headers"].pop("Expect", None)


@scenario
def save_one_by_one(run, count, size):
    """Save small files one after another."""
    body = bytes(size)
    with run.measured(count):
        for number in range(count):
            run.storage.save(f"saved/{number:05}.bin", _content(content=body))


@scenario
def raw_save_one_by_one(run, count, size):
    """Put small objects one after another by boto3."""
    body = bytes(size)
    with run.measured(count):
        for number in range(count):
            run.client.put_object(Bucket=run.options["bucket_name"], Key=f"saved/{number:05}.bin", Body=body)


# ---- load on a real server


@scenario
def threads_on_one_storage(run, threads, count):
    """Save and read back files of 1 KiB to 1 MiB in many threads, then look for what was left open."""
    seeded = random.Random(1)
    sizes = [[int(KIB * 1024 ** seeded.random()) for _ in range(count)] for _ in range(threads)]
    tempfile.tempdir = directory = tempfile.mkdtemp()
    prefix = uuid.uuid4().hex  # a real server keeps what an earlier run left
    before = _open_things(directory)
    outcomes = {"errors": 0, "wrong": 0}

    def use(thread):
        for number, size in enumerate(sizes[thread]):
            body = random.Random(thread * count + number).randbytes(size)
            try:
                name = run.storage.save(f"{prefix}/{thread}/{number}.bin", _content(content=body))
                with run.storage.open(name) as file:
                    outcomes["wrong"] += file.read() != body
            except Exception:
                outcomes["errors"] += 1

    with run.measured(threads * count):
        _in_threads(threads, use)
    after = _open_things(directory)
    os.rmdir(directory)
    run.result.update(outcomes, **{name: after[name] - before[name] for name in after})


def _open_things(directory):
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": sum(not thread.name.startswith(WORKERS) for thread in threading.enumerate()),
        "workers": sum(thread.name.startswith(WORKERS) for thread in threading.enumerate()),
        "files": len(os.listdir(directory)),
    }


def _in_threads(count, function):
    threads = [threading.Thread(target=function, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@scenario
def writers_on_one_name(run, writers, rounds, at_once):
    """Save from several threads under one name at once, and count the uploads that are lost.

    ``at_once`` rounds, each on a name of its own, run side by side: SeaweedFS makes a writer that has to wait for
    another one wait for a second.
    """
    together = [threading.Barrier(writers) for _ in range(at_once)]
    prefix = uuid.uuid4().hex  # a real server keeps what an earlier run left
    saved = {}

    def use(thread):
        writer, group = divmod(thread, at_once)
        for number in range(group, rounds, at_once):
            together[group].wait()
            body = f"{writer} in round {number}".encode()
            with contextlib.suppress(Exception):  # a save without a name is counted below
                saved[writer, number] = run.storage.save(f"{prefix}/{number}.txt", _content(content=body))

    with run.measured(writers * rounds):
        _in_threads(writers * at_once, use)

    def is_kept(item):
        (writer, number), name = item
        with run.storage.open(name) as file:
            return file.read() == f"{writer} in round {number}".encode()

    with ThreadPoolExecutor(writers) as pool:
        kept = sum(pool.map(is_kept, saved.items()))
    run.result["lost"] = writers * rounds - min(kept, len(set(saved.values())))


# ---- a server that does not answer


def _write(storage):
    with storage.open("verb.txt", "wb") as file:
        file.write(b"x")


def _read(storage):
    with storage.open("verb.txt") as file:
        file.read()


VERBS = {
    "exists": lambda storage: storage.exists("verb.txt"),
    "size": lambda storage: storage.size("verb.txt"),
    "get_modified_time": lambda storage: storage.get_modified_time("verb.txt"),
    "open and read": _read,
    "open and write": _write,
    "save": lambda storage: storage.save("verb.txt", _content(10)),
    "delete": lambda storage: storage.delete("verb.txt"),
    "listdir": lambda storage: storage.listdir(""),
}
OUR_VERBS = {
    "copy": lambda storage: storage.copy("verb.txt", "other.txt"),
    "delete_many": lambda storage: storage.delete_many(["verb.txt", "other.txt"]),
    "walk": lambda storage: list(storage.walk()),
}


def _verbs(run):
    return {**VERBS, **OUR_VERBS} if run.package == "ours" else VERBS


@scenario(cold=True)
def stalled_server(run, limit):
    """Call every verb, all at once, on a server that takes requests and never answers."""
    verbs = _verbs(run)
    run.storage, run.client  # noqa: B018 -- made before the threads
    ended = {}

    def call(verb):
        start = time.perf_counter()
        with contextlib.suppress(Exception):
            verbs[verb](run.storage)
        ended[verb] = time.perf_counter() - start

    threads = [threading.Thread(target=call, args=(verb,), daemon=True) for verb in verbs]
    with run.measured():
        for thread in threads:
            thread.start()
        end = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    hanging = sorted(set(verbs) - set(ended))
    run.result.update(hanging=len(hanging), hanging_verbs=hanging, slowest=max(ended.values(), default=limit))


@scenario(cold=True)
def refusing_server(run):
    """Call every verb on a port where nobody listens, counting what is tried."""
    tries = []

    def note(request, **_):
        tries.append(request.url)  # and return None: anything else would be taken for the response

    run.client.meta.events.register("before-send.s3", note)
    slowest = most = 0
    with run.measured():
        for verb in _verbs(run).values():
            tries.clear()
            start = time.perf_counter()
            with contextlib.suppress(Exception):
                verb(run.storage)
            slowest = max(slowest, time.perf_counter() - start)
            most = max(most, len(tries))
    run.result.update(slowest=slowest, tries=most)
