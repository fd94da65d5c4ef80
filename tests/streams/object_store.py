"""A real S3 server for tests: moto's, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.ports import free_port
from tests.streams.waiting import until

SECRET = "a-secret-that-nothing-says"
BUCKET = "millrace-tests"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Run it with an empty bucket; gives the environment that clients need."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def made() -> bool:
        assert server.poll() is None, "the S3 server has ended"
        try:
            request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=5).close()
        except OSError:
            return False
        return True

    try:
        until(made, 60, "the S3 server takes a bucket")
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "millrace",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
    finally:
        server.terminate()
        server.wait(30)
