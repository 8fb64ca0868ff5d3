"""The fake of Backblaze B2 in a process of its own, so that its connections end when it is stopped."""

import subprocess
import sys

from tests.servers.process import ServerError

# Its standard input is a pipe that only the demo holds open: however that ends, this ends with it.
PROGRAM = """
import sys
from tests.servers.b2 import B2
with B2() as b2:
    print(b2.url, b2.make_bucket(name=sys.argv[1]), b2.key.id, b2.key.secret, flush=True)
    sys.stdin.read()
"""
STOP_TIMEOUT = 10  # seconds


class B2Process:
    """The service with one bucket, ``album``."""

    name = "a fake of B2"

    def __init__(self):
        self._process = None

    def start(self):
        """Start the service and wait for its address; raises ServerError."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "album"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which stops this
        )
        words = self._process.stdout.readline().split()
        if not words:
            self.stop()
            raise ServerError("the fake of B2 ended at once; what it said is above")
        self.url, self.bucket, self.key_id, self.key = words

    def stop(self):
        if self._process is None:
            return
        process, self._process = self._process, None
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
