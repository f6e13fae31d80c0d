"""An S3-compatible server on the loopback interface, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from jobs.storage import bucket

BUCKET = "landing-zone"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-test",
    "AWS_REGION": "us-east-1",
    # No proxy for this machine, whatever the environment says.
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


class Server:
    """A running server with one bucket, and a client that writes into it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        keys: Any = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        self.client.create_bucket(Bucket=BUCKET)

    def upload(self, folder: Path, prefix: str) -> str:
        """Upload all files below a folder; gives the URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=BUCKET, Key=key)


@contextmanager
def serving() -> Iterator[Server]:
    """Start a server, and let this process and the processes that it starts use it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    given = {**VARIABLES, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    before = {name: os.environ.get(name) for name in given}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.environ.update(given)
        bucket.forget_stores()
        _wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        # The others stay: a session that was started meanwhile has left marks of its own.
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        bucket.forget_stores()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not start")
