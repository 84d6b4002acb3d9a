"""A real MONAI Label server, started for a test and talked to as a viewer does."""

from __future__ import annotations

import contextlib
import email
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

GUARD = Path(__file__).resolve().parent / "guard"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """One server process; `with Server(...) as server:` starts it and stops it by its process id.

    Args:
        command: the command without host and port, which are added.
        folder: where the server runs and where its log and the log of refused connections lie; better neutral and empty.
        environment: what to add to the environment of the process.
    """

    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log_file, self.traffic_file = self.folder / "server.log", self.folder / "traffic.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MONAI_"))}
        environment |= {"PYTHONPATH": str(GUARD), "BUNDLE_TRAFFIC_LOG": str(self.traffic_file)} | self.environment
        command = [*self.command, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log_file.open("ab") as log:
            # a session of its own: its group holds the trainings that it starts, and nothing else
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server by its process id, gently first, and then what is left of the trainings that it started."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def log(self) -> str:
        """Everything the server and its trainings have printed."""
        return self.log_file.read_text(errors="replace")

    def traffic(self) -> str:
        """Connections to other machines that were asked for (and refused)."""
        return self.traffic_file.read_text(encoding="utf-8") if self.traffic_file.exists() else ""

    def wait_until_answering(self, seconds: float = 180) -> int:
        """Status of the first answer to `/info/`, whatever it is; the tail of the log if the server ends or does not answer in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request("GET", "/info/")
                return connection.getresponse().status
            except OSError:
                time.sleep(0.5)
            finally:
                connection.close()
        raise AssertionError(f"no server after {seconds} s, exit code {self.process.poll()}:\n{self.log()[-4000:]}")

    def wait_until_ready(self) -> dict[str, Any]:
        """`/info/`, as soon as the server answers."""
        self.wait_until_answering()
        return self.json("GET", "/info/")

    def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> tuple[bytes, Message]:
        """Body and headers of one answer; the server's own words when it refuses."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body or None, method=method, headers={"Content-Type": content_type}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=600) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:2000]!r}\n{self.log()[-4000:]}") from error

    def json(self, method: str, path: str, content: Any = None) -> Any:
        """One answer, read as JSON."""
        body = b"" if content is None else json.dumps(content).encode()
        return json.loads(self.request(method, path, body)[0])

    def infer(self, model: str, image: str, to: Path, **options: Any) -> dict[str, Any]:
        """Segment one image of the datastore as a viewer does; the label map lands at `to`, the parameters come back."""
        body = urlencode({"params": json.dumps({"device": "cpu", **options})}).encode()
        path = f"/infer/{model}?image={quote(image)}&output=all"
        content, headers = self.request("POST", path, body, "application/x-www-form-urlencoded")
        parts = email.message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + content)
        by_name = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts.get_payload()}
        to.write_bytes(by_name["image"])
        return json.loads(by_name["params"])

    def save_label(self, image: str, label: Path) -> None:
        """Store a finished label map, as "Submit label" of a viewer does."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="label"; filename="{image}.nii.gz"\r\n\r\n'
        body = head.encode() + label.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        self.request("PUT", f"/datastore/label?image={quote(image)}&tag=final", body, f"multipart/form-data; boundary={boundary}")

    def run_task(self, kind: str, name: str, seconds: float = 900, **options: Any) -> dict[str, Any]:
        """Start "train" or "scoring" in the background and wait for its end; the server's record of the task."""
        task = self.json("POST", f"/{kind}/{name}", {"device": "cpu", **options})
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            tasks = {one["id"]: one for one in self.json("GET", f"/{kind}/?all=true")}
            if tasks[task["id"]]["status"] not in ("SUBMITTED", "RUNNING"):
                return tasks[task["id"]]
            time.sleep(0.5)
        raise AssertionError(f"{kind} took longer than {seconds} s:\n{self.log()[-4000:]}")
