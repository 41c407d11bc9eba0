"""A headless Chromium that a test drives through its pipe: no port, no library."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)
PATHS = (os.environ.get("CHROMIUM", ""), "/usr/bin/chromium", "/usr/bin/chromium-browser")


def browser_path() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for path in PATHS if path and Path(path).exists()), None)


class Browser:
    """One page of a browser; a command returns its result, and events are dropped."""

    def __init__(self, path: str, profile: Path) -> None:
        from_test, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The browser reads commands from descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{from_test} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, path, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(from_test, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_test)
        os.close(from_browser)
        self._rest = b""
        self._id = 0
        self._session = ""

    def __enter__(self) -> Self:
        """Return the browser."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        with self._process:
            self._process.kill()
        os.close(self._out)
        os.close(self._in)

    def open(self, address: str, width: int) -> None:
        """Open a page of this width."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **sizes)
        self.call("Page.enable")
        self.call("Page.navigate", url=address)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Carry out a command of the protocol; returns its result."""
        self._id += 1
        command: dict[str, object] = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\x00")
        while True:
            message = self._message()
            if message.get("id") == self._id:
                assert "error" not in message, message
                return dict(message["result"])

    def value(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        one = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **one)
        self.call("Input.dispatchKeyEvent", type="keyUp", **one)

    def _message(self) -> dict[str, Any]:
        while b"\x00" not in self._rest:
            piece = os.read(self._in, 65536)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\x00")
        return dict(json.loads(message))
