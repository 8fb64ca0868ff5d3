"""The measured process: run one scenario with one package and print what it cost, as JSON.

A script and not a module of the package: django-storages and we share an import name, so the interpreter and the
PYTHONPATH that it was started with decide what it imports as ``storages``.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import http.client
import importlib
import importlib.metadata
import json
import os
import resource
import ssl
import sys
import time
from urllib.parse import urlsplit

import scenarios

S3 = "s3.S3Storage"


class Run:
    """One scenario in the making: its storage, its parameters and its measure."""

    def __init__(self, package, options, params, control, backend=S3):
        self.package, self.options, self.params, self.control = package, options, params, control
        self.backend = backend
        self.result = {}

    def new_storage(self):
        """Return another storage of the same options."""
        module, _, name = self.backend.rpartition(".")
        return getattr(importlib.import_module(f"storages.backends.{module}"), name)(**self.options)

    @functools.cached_property
    def storage(self):
        """The storage under measure."""
        return self.new_storage()

    @functools.cached_property
    def client(self):
        """The SDK's client: the storage's own, or a plain one for the reference."""
        if self.package == "raw":
            return self._plain_client()
        return self.storage.client if self.package == "ours" else self.storage.connection.meta.client

    def _plain_client(self):
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            aws_access_key_id=self.options["access_key"],
            aws_secret_access_key=self.options["secret_key"],
            endpoint_url=self.options["endpoint_url"],
            region_name=self.options["region_name"],
            verify=self.options.get("verify"),
            config=Config(max_pool_connections=64, signature_version="s3v4"),
        )

    def warm(self):
        """Do one of everything, so that what happens once in a process is not measured."""
        from django.core.files.base import ContentFile

        if self.package == "raw":
            self.client.put_object(Bucket=self.options["bucket_name"], Key="warm", Body=b"warm")
            return
        self.storage.save("warm", ContentFile(b"warm"))
        with self.storage.open("warm") as file:
            file.read()
        self.storage.delete("warm")

    @contextlib.contextmanager
    def measured(self, operations=1):
        """Measure what happens inside; ``operations`` is what rates are made of."""
        gc.collect()
        self.ask("counts")
        before = _start_peak()
        cpu, start = time.process_time(), time.perf_counter()
        yield
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        self.result.update(
            seconds=seconds,
            cpu=cpu / operations,
            rate=operations / seconds,
            peak=max(0, _peak() - before),
            **(self.ask("counts") or {}),
        )

    def ask(self, verb, **wanted):
        """Return the responder's answer to one of the benchmark's own requests; None on a real server."""
        if not self.control:
            return None
        where = urlsplit(self.control)
        if where.scheme == "https":
            context = ssl.create_default_context(cafile=self.options["verify"])
            connection = http.client.HTTPSConnection(where.hostname, where.port, context=context)
        else:
            connection = http.client.HTTPConnection(where.hostname, where.port)
        with contextlib.closing(connection):
            connection.request("POST", f"/_bench/{verb}", json.dumps(wanted))
            return json.loads(connection.getresponse().read())

    def stored_size(self, name):
        """Return how many bytes the server has under ``name``."""
        if self.control:
            return self.ask("size", bucket=self.options["bucket_name"], key=name)
        if self.backend != S3:
            return self.storage.size(name)
        return self.client.head_object(Bucket=self.options["bucket_name"], Key=name)["ContentLength"]

    def expect(self, actual, wanted):
        """Refuse a figure that was got with a wrong result."""
        if actual != wanted:
            raise AssertionError(f"wrong result: {actual!r}, not {wanted!r}")


def _start_peak():
    """Return the resident bytes, and begin a new peak where the kernel can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
        return _status("VmRSS")
    return _peak()


def _peak():
    """Return the highest resident bytes since the start."""
    if os.path.exists("/proc/self/status"):
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def _check_package(package):
    """Refuse to measure anything but the package that was asked for."""
    import storages

    version = next(iter(importlib.metadata.distributions(name="django-storages")), None)
    if package == "peer" and (version is None or version.version != scenarios.PEER_VERSION):
        raise ImportError(f"the peer is not django-storages {scenarios.PEER_VERSION}")
    if package == "ours" and "site-packages" in storages.__file__:
        raise ImportError(f"not our tree: {storages.__file__}")


def main():
    """Read the task from standard input and print its result."""
    task = json.load(sys.stdin)
    import django
    from django.conf import settings

    settings.configure(USE_TZ=True, SECRET_KEY="benchmark", INSTALLED_APPS=[])
    django.setup()
    scenario = getattr(scenarios, task["scenario"])
    run = Run(task["package"], task["options"], task["params"], task["control"], task["backend"])
    if not scenario.cold:
        _check_package(task["package"])
        run.warm()
    scenario(run, **run.params)
    if scenario.cold:
        _check_package(task["package"])
    print(json.dumps(run.result), flush=True)
    os._exit(0)  # a thread that waits for a stalled server must not hold the result back


if __name__ == "__main__":
    main()
