"""An S3-compatible server on the loopback interface, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from command_line import CommandResult
from conftest import plain_environment

from jobs.storage import object_store

MILLRACE = str(Path(sys.executable).with_name("millrace"))
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
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    given = {**VARIABLES, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    before = {name: os.environ.get(name) for name in given}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.environ.update(given)
        object_store.forget_stores()
        wait_for_port(port, process)
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
        object_store.forget_stores()


@contextmanager
def relaying(endpoint: str, fault: Callable[[str, str, Mapping[str, str]], int | str | None]) -> Iterator[str]:
    """A server that passes requests on to another one; gives its address.

    `fault` gets the method, the path and the headers of a request. It gives None, or the status with which the request is refused, or
    the code of an error of S3 with status 403, or "cut": the request is passed on, and the connection closed without an answer.
    """
    address = endpoint.removeprefix("http://")

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wrong = fault(self.command, self.path, self.headers)
            if isinstance(wrong, int):
                self.answer(wrong, {}, b"")
                return
            if wrong not in (None, "cut"):
                self.answer(403, {}, f"<Error><Code>{wrong}</Code><Message>no</Message></Error>".encode())
                return
            connection = HTTPConnection(address)
            connection.request(self.command, self.path, body, {name: value for name, value in self.headers.items() if name != "Host"})
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if wrong == "cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(response.status, dict(response.getheaders()), content)

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Relay, f"do_{method}", Relay.relay)
    relay = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{relay.server_port}"
    finally:
        relay.shutdown()
        relay.server_close()


@contextmanager
def fresh_stores() -> Iterator[None]:
    """Read the environment again, before and after."""
    object_store.forget_stores()
    try:
        yield
    finally:
        object_store.forget_stores()


def run_as_a_program(landing: object, lake: object, conf: Path, command: str = "run", *options: object) -> CommandResult:
    """Call a command on Sail, as a program of its own: workers that are already running have no credentials of the server."""
    if not conf.exists():
        conf.write_text(
            "{engine: sail, storage: {lease_seconds: 5}, quality: {pages: false, acceptance_rate: {minimum: 0, severity: warning}}}"
        )
    words = [MILLRACE, command, "--conf", conf, "--landing", landing, "--lake", lake, *options]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=conf.parent, env=plain_environment())
    return CommandResult(done.returncode, done.stdout, done.stderr)


def free_port() -> int:
    """A port of the loopback interface that no program has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process that was started serves this port."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not start")
