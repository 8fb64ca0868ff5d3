"""Start a server of files and the album on it, and stop both for certain."""

import argparse
import errno
import io
import json
import os
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import django
from django.core.management import CommandError, call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from example.backends import BACKENDS, DEFAULT, Backend, Prepared
from tests.servers.process import ServerError

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
PORTS_TO_TRY = 20


class DemoError(Exception):
    """The demo cannot run; the text says why and what to do."""


@dataclass
class Site:
    """The running demo."""

    url: str
    backend: str  # a key of BACKENDS
    server: Any
    prepared: Prepared


def main():
    """Run the command line; return the exit status, or the message to exit with."""
    arguments = _parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        if arguments.check:
            return _check(arguments.port, arguments.backend)
        _serve(arguments.port, arguments.backend)
    except KeyboardInterrupt:
        print("\nStopped.")
        return "The check was interrupted." if arguments.check else 0
    except DemoError as error:
        return str(error)
    return 0


def _serve(port, backend):
    """Run the demo until Ctrl-C."""
    with running_site(port, backend) as site:
        _say(f"\n  The album is at  {site.url}\n")
        place = BACKENDS[backend].place
        _say(f"  Its files are in a {place} at {site.prepared.endpoint}, and go when the demo stops.")
        _say("  Ctrl-C stops it.")
        threading.Event().wait()


def _check(port, backend):
    """Run the demo while a browser walks through it; return what to exit with."""
    # Any free port will do: a check is not in the way of a demo that is open beside it.
    with running_site(port or 0, backend) as site:
        from example.check import check  # needs Django to be set up

        return check(site)


@contextmanager
def running_site(port=None, backend=DEFAULT):
    """Yield the demo, served at ``port`` (None: the first free one from 8000 on, 0: any); raises DemoError."""
    chosen = BACKENDS[backend]
    with ExitStack() as stack:
        directory = stack.enter_context(_temporary_directory())
        httpd = stack.enter_context(_bind(port))
        os.environ["DEMO_DIRECTORY"] = directory
        server = stack.enter_context(_running_server(chosen))
        try:
            prepared = _prepare(chosen, server, stack)
            _set_up_django(chosen, prepared)
            _let_browsers_in(chosen, f"http://{HOST}:{httpd.server_port}")
            httpd.set_app(get_wsgi_application())
            threading.Thread(target=httpd.serve_forever, name="album", daemon=True).start()
            stack.callback(httpd.shutdown)
            yield Site(f"http://{HOST}:{httpd.server_port}/", backend, server, prepared)
        finally:
            # What is being stopped is stopped to the end, however often Ctrl-C is pressed.
            _ignore_signals()


def _parse_arguments():
    parser = argparse.ArgumentParser(prog="python -m example.demo", description=__doc__)
    parser.add_argument(
        "--port", type=int, help=f"port of the site on {HOST} (default: {DEFAULT_PORT}, or the next free one)"
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=DEFAULT,
        metavar="NAME",
        help=f"where the files go: {', '.join(BACKENDS)} (default: {DEFAULT})",
    )
    parser.add_argument("--check", action="store_true", help="drive the site with a headless Chromium, then exit")
    return parser.parse_args()


def _temporary_directory():
    try:
        return tempfile.TemporaryDirectory(prefix="album-")
    except OSError as error:
        raise DemoError(
            f"The demo has nowhere to write: {error}\nPoint TMPDIR to a directory that you may write to."
        ) from error


def _bind(port):
    if port is not None:
        return _bind_exactly(port)
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TO_TRY):
        try:
            httpd = _bind_exactly(candidate)
        except DemoError:
            continue
        if candidate != DEFAULT_PORT:
            _say(f"Port {DEFAULT_PORT} is taken; the album goes to {candidate} (--port chooses another).")
        return httpd
    raise DemoError(
        f"Ports {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TO_TRY - 1} of {HOST} are all taken.\n"
        "Stop what listens there, or let the system choose: python -m example.demo --port 0"
    )


def _bind_exactly(port):
    try:
        return ThreadedWSGIServer((HOST, port), WSGIRequestHandler)
    except (OSError, OverflowError) as error:
        reasons = {errno.EADDRINUSE: "is taken by another program", errno.EACCES: "is reserved for the administrator"}
        reason = reasons.get(getattr(error, "errno", None), f"cannot be used ({error})")
        raise DemoError(
            f"Port {port} of {HOST} {reason}.\nChoose another one, or 0 for any that is free: "
            "python -m example.demo --port 0"
        ) from error


@contextmanager
def _running_server(chosen: Backend):
    try:
        server = chosen.make_server()
    except ImportError as error:
        raise DemoError(
            f"The {chosen.kind} did not start: {error}\nInstall what it needs: .ci/bootstrap test"
        ) from error
    _say(f"Starting {server.name} ...")
    try:
        server.start()
    except (ServerError, OSError) as error:
        raise DemoError(f"The {chosen.kind} did not start.\n{error}") from error
    try:
        yield server
    finally:
        server.stop()


def _prepare(chosen, server, stack):
    try:
        return chosen.prepare(server, stack)
    except Exception as error:  # whatever class its SDK has for it
        raise DemoError(f"The {chosen.kind} could not be made ready: {type(error).__name__}: {error}") from error


def _set_up_django(chosen, prepared):
    shown = ("kind", "place", "access", "note", "meter", "static_place", "static_access", "lists_names_only")
    facts = {name: getattr(chosen, name) for name in shown}
    facts |= {"endpoint": prepared.endpoint, "bucket_name": prepared.bucket}
    facts["storage"] = prepared.storages["default"]["BACKEND"]
    os.environ.update(
        DJANGO_SETTINGS_MODULE="example.settings",
        DEMO_STORAGES=json.dumps(prepared.storages),
        DEMO_FACTS=json.dumps(facts),
    )
    django.setup()
    from example.album.cost import metered
    from example.private.users import make_users

    call_command("migrate", verbosity=0)
    make_users()
    with metered() as bill:
        call_command("collectstatic", interactive=False, verbosity=0)
    if not chosen.static_access:
        _say("collectstatic: the style sheet and the script are on this machine, where a view of the site serves them.")
        return
    spent = [f"{count} {method}" for method, count in bill.methods.items()] + [f"{bill.sent:,} bytes up"]
    _say(f"collectstatic: the style sheet and the script are in the {chosen.place} ({_listed(spent)}).")


def _let_browsers_in(chosen, origin):
    """Have the server of the files take uploads of pages of this site, where it knows such rules."""
    from storages.uploads.services import Unsupported, service_of
    from storages.uploads.targets import named

    storage = named("uploads")
    try:
        service_of(storage)
    except Unsupported:
        _say("uploads: the browser cannot send files to this server, so they come through this site (tus).")
        return
    said = io.StringIO()
    try:
        call_command("uploads_cors", origin=[origin], storage=["uploads"], apply=True, stdout=said)
    except CommandError as error:
        raise DemoError(f"The {chosen.kind} took no CORS rule: {error}") from error
    _say(f"uploads_cors: pages of {origin} may send files to the {chosen.place}.")


def _listed(spent):
    return f"{', '.join(spent[:-1])}; {spent[-1]}"


def _ignore_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _say(text):
    print(text, flush=True)
