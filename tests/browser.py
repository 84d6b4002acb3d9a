"""A headless Chromium, where one is installed, driven through its own pipe (DevTools protocol): for tests of the page."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAM = next((path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
KEYS = {"ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, "Tab": 9}


class Browser:
    """One page in a browser with a profile of its own; use it in a `with`.

    Args:
        dark: what the page is told about the colours that the person prefers.
        size: of the window in pixels.
    """

    def __init__(self, dark: bool = False, size: tuple[int, int] = (1280, 900)) -> None:
        self.profile, self.said, self.number = tempfile.mkdtemp(prefix="profile-"), [], 0
        ours, theirs = os.pipe(), os.pipe()  # answers, commands
        self.answers, self.commands = ours[0], theirs[1]
        read, write = (os.dup2(end, at, inheritable=True) for end, at in ((theirs[0], 103), (ours[1], 104)))
        flags = [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={size[0]},{size[1]}"]
        # the browser reads commands at 3 and writes answers at 4
        command = ["bash", "-c", 'exec "$@" 3<&103 4>&104 103<&- 104>&-', "browser", PROGRAM, *flags, "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(103, 104), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for end in (read, write, theirs[0], ours[1]):
            os.close(end)
        self.waiting = b""
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self.answers)
        os.close(self.commands)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a method of the protocol answers; events meanwhile are kept in `said`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.said.append(answer)

    def _next(self, seconds: float = 60.0) -> dict[str, Any]:
        while b"\0" not in self.waiting:
            assert select.select([self.answers], [], [], seconds)[0], "the browser does not answer"
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser has ended"
            self.waiting += part
        text, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(text)

    def open(self, path: Path) -> None:
        """Load a file and wait until it and what it shows first are there."""
        self.said.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.said):
            self.said.append(self._next())

    def run(self, script: str) -> Any:
        """The value of a script in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Wait until a script gives something true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never became true: {script}"
            time.sleep(0.05)

    def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {} if key in KEYS else {"text": key}
            code = KEYS.get(key, ord(key[0].upper()))
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}))

    def mouse(self, kind: str, selector: str, **more: Any) -> None:
        """A mouse event in the middle of an element: mousePressed, mouseReleased, mouseMoved, mouseWheel."""
        where = f"document.querySelector({json.dumps(selector)})"
        x, y = self.run(f"(() => {{ const b = {where}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()")
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, selector, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """What is shown, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Errors that the page caused: of scripts, of its security policy, of files that are missing."""
        self.run("1")
        found = [one["params"]["exceptionDetails"]["text"] for one in self.said if one.get("method") == "Runtime.exceptionThrown"]
        return found + [one["params"]["entry"]["text"] for one in self.said if one.get("method") == "Log.entryAdded"]

    def asked_for(self) -> list[str]:
        """Addresses that were loaded."""
        self.run("1")
        return [one["params"]["request"]["url"] for one in self.said if one.get("method") == "Network.requestWillBeSent"]
