"""Start an S3 server and the album on it, and stop both for certain."""

import argparse
import errno
import json
import os
import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import django
from botocore.exceptions import BotoCoreError, ClientError
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from tests.servers.process import ServerError
from tests.servers.seaweedfs import SeaweedFS

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
PORTS_TO_TRY = 20
BUCKET = "album"


class DemoError(Exception):
    """The demo cannot run; the text says why and what to do."""


@dataclass
class Site:
    """The running demo."""

    url: str
    server: SeaweedFS


def main():
    """Run the command line; return the exit status, or the message to exit with."""
    arguments = _parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        if arguments.check:
            return _check(arguments.port)
        _serve(arguments.port)
    except KeyboardInterrupt:
        print("\nStopped.")
        return "The check was interrupted." if arguments.check else 0
    except DemoError as error:
        return str(error)
    return 0


def _serve(port):
    """Run the demo until Ctrl-C."""
    with running_site(port) as site:
        _say(f"\n  The album is at  {site.url}\n")
        _say(f"  Its files are in a bucket at {site.server.endpoint_url}, and go when the demo stops.")
        _say("  Ctrl-C stops it.")
        threading.Event().wait()


def _check(port):
    """Run the demo while a browser walks through it; return what to exit with."""
    # Any free port will do: a check is not in the way of a demo that is open beside it.
    with running_site(port or 0) as site:
        from example.check import check  # needs Django to be set up

        return check(site)


@contextmanager
def running_site(port=None):
    """Yield the demo, served at ``port`` (None: the first free one from 8000 on, 0: any); raises DemoError."""
    with ExitStack() as stack:
        directory = stack.enter_context(_temporary_directory())
        httpd = stack.enter_context(_bind(port))
        server = stack.enter_context(_s3_server())
        try:
            _make_bucket(server)
            _set_up_django(directory, server)
            httpd.set_app(get_wsgi_application())
            threading.Thread(target=httpd.serve_forever, name="album", daemon=True).start()
            stack.callback(httpd.shutdown)
            yield Site(f"http://{HOST}:{httpd.server_port}/", server)
        finally:
            # What is being stopped is stopped to the end, however often Ctrl-C is pressed.
            _ignore_signals()


def _parse_arguments():
    parser = argparse.ArgumentParser(prog="python -m example.demo", description=__doc__)
    parser.add_argument(
        "--port", type=int, help=f"port of the site on {HOST} (default: {DEFAULT_PORT}, or the next free one)"
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
def _s3_server():
    _say("Starting SeaweedFS ...")
    server = SeaweedFS()
    try:
        server.start()
    except (ServerError, OSError) as error:
        raise DemoError(f"The S3 server did not start.\n{error}") from error
    try:
        yield server
    finally:
        server.stop()


def _make_bucket(server):
    """Make the bucket; what lies below static/ may be read by anybody, as a browser has to."""
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{BUCKET}/static/*",
            }
        ],
    }
    client = server.client()
    try:
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"The S3 server did not make the bucket: {error}\n{server.log_tail()}") from error
    finally:
        client.close()


def _set_up_django(directory, server):
    os.environ.update(
        DJANGO_SETTINGS_MODULE="example.settings",
        DEMO_DIRECTORY=directory,
        DEMO_ENDPOINT_URL=server.endpoint_url,
        DEMO_BUCKET=BUCKET,
        DEMO_ACCESS_KEY=server.access_key,
        DEMO_SECRET_KEY=server.secret_key,
        DEMO_REGION=server.region,
    )
    django.setup()
    from example.album.cost import metered

    call_command("migrate", verbosity=0)
    with metered() as bill:
        call_command("collectstatic", interactive=False, verbosity=0)
    spent = ", ".join(f"{count} {method}" for method, count in bill.methods.items())
    _say(f"collectstatic: the style sheet and the script are in the bucket ({spent}; {bill.sent:,} bytes up).")


def _ignore_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _say(text):
    print(text, flush=True)
