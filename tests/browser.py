"""A real browser for the tests of pages: Chromium without a window, spoken to through two pipes in the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE = 390
# The browser reads requests from 3, and writes answers to 4.
_PLACE_PIPES = """
import os, sys
requests, answers = (os.dup(int(number)) for number in sys.argv[1:3])
while min(requests, answers) < 5:
    requests, answers = os.dup(requests), os.dup(answers)
os.dup2(requests, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
DESKTOP = 1280
ANSWER_SECONDS = 60


def find() -> str | None:
    """The browser on the PATH; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running browser."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._number = 0
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method, and wait for its result."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while (message := self._receive()).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def wait_for(self, method: str, session: str) -> None:
        """Wait for an event that has not come yet."""
        while True:
            message = self._receive()
            self.events.append(message)
            if message.get("method") == method and message.get("sessionId") == session:
                return

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], ANSWER_SECONDS)[0]:
                raise RuntimeError(f"the browser has not answered for {ANSWER_SECONDS} seconds")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


class Tab:
    """A page in the browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def show(self, page: Path, *, width: int = DESKTOP, dark: bool = False) -> None:
        """Open a file in a window of this width, and wait until it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.media(dark=dark)
        self._browser.events.clear()
        self.call("Page.navigate", url=page.absolute().as_uri())
        self._wait()

    def follow(self, selector: str) -> None:
        """Click on the first link that a selector finds, and wait for its page."""
        self._browser.events.clear()
        self.evaluate(f"document.querySelector('{selector}').click()")
        self._wait()

    def _wait(self) -> None:
        if not any(event.get("method") == "Page.loadEventFired" for event in self._browser.events):
            self._browser.wait_for("Page.loadEventFired", self._session)

    def media(self, *, dark: bool = False, printed: bool = False) -> None:
        """Show the open page in the dark, or as it is printed."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="print" if printed else "", features=scheme)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    @property
    def complaints(self) -> list[str]:
        """What the browser has logged since the page was opened: errors, warnings, refused requests."""
        entries = [event["params"]["entry"]["text"] for event in self._browser.events if event.get("method") == "Log.entryAdded"]
        spoken = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return entries + [json.dumps(event["params"]) for event in self._browser.events if event.get("method") in spoken]

    def picture(self, file: Path, *, height: int | None = None) -> None:
        """Write the whole page as a PNG, or its first pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])


@contextmanager
def running(profile: Path) -> Iterator[Tab]:
    """A tab of a new browser, which ends with the block."""
    program = find()
    assert program is not None
    to_read, requests = os.pipe()
    answers, to_write = os.pipe()

    options = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    options += ["--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
    command = [sys.executable, "-c", _PLACE_PIPES, str(to_read), str(to_write), program, *options]
    quiet: dict[str, int] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = subprocess.Popen(command, pass_fds=(to_read, to_write), **quiet)
    os.close(to_read)
    os.close(to_write)
    browser = Browser(requests, answers)
    try:
        yield Tab(browser)
    finally:
        os.close(requests)
        os.close(answers)
        process.terminate()
        process.wait(20)
