"""Requests that the server must not answer: code in values, names outside the studies, pages of other origins, no password."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from label_server import Server

from bundle.serving.monai_label import MODEL, guard_environment, prepare, server_command, server_environment

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
PASSWORD = "only for this test"


def ask(server: Server, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of one answer; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upload(field: str, files: list[tuple[str, bytes]], params: str = "{}") -> tuple[bytes, dict[str, str]]:
    """A multipart form with files, and its header."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n\r\n{params}\r\n'.encode()]
    for name, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def tree(*folders: Path) -> dict[str, bytes]:
    """Content of every file, but for logs, locks and what the server notes about its images."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): path.read_bytes() for path in files if path.suffix not in (".log", ".lock") and path.name != "datastore_v2.json"}


@pytest.fixture(scope="module")
def places(work: Path, studies: Path, labels: Path) -> dict[str, Path]:
    """The app, two scans (one of them a link) with a label that is a link, and a place that no request may touch."""
    few, private = work / "requests", work / "private"
    (few / "labels" / "final").mkdir(parents=True)
    private.mkdir()
    shutil.copyfile(studies / "abdomen_001.nii.gz", few / "abdomen_001.nii.gz")
    shutil.copyfile(studies / "abdomen_002.nii.gz", private / "original.nii.gz")
    shutil.copyfile(labels / "abdomen_001.nii.gz", private / "label.nii.gz")
    os.symlink(private / "original.nii.gz", few / "linked.nii.gz")
    os.symlink(private / "label.nii.gz", few / "labels" / "final" / "abdomen_001.nii.gz")
    return {"app": prepare(work / "requests-app"), "studies": few, "private": private}


def start(work: Path, places: dict[str, Path], name: str, **rules: str) -> Server:
    command = server_command(os.environ["MONAI_LABEL_PYTHON"], places["app"], str(places["studies"]), scoring="doubt")
    variables = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false", "MONAI_LABEL_SESSION_PATH": str(work / f"{name}-sessions")}
    reports = {key: value for key, value in server_environment().items() if key not in os.environ}
    return Server(command, work / name, variables | reports | guard_environment(**rules))


@pytest.fixture(scope="module")
def guarded(work: Path, places: dict[str, Path]) -> Iterator[Server]:
    """The server as the verb starts it."""
    with start(work, places, "guarded") as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def untouched(places: dict[str, Path], tmp_path: Path) -> Iterator[Path]:
    """A file that code in a request would make; after the test it is not there, and everything else is as before."""
    before, mark = tree(*places.values()), tmp_path / "ran"
    yield mark
    assert not mark.exists(), "a request ran code"
    assert tree(*places.values()) == before


KEYS = ["quality_record", "memory_gb", "device", "model_filename", "logging", "result_extension", "label_tag", "client_id", "made_up"]


@pytest.mark.parametrize("key", KEYS)
def test_no_value_of_an_inference_is_run(guarded: Server, untouched: Path, key: str) -> None:
    code = f"$__import__('pathlib').Path({str(untouched)!r}).touch()"
    for value in (code, [code], {"_target_": "pathlib.Path.touch", "self": str(untouched)}):
        body = urlencode({"params": json.dumps({key: value})}).encode()
        status, words = ask(guarded, "POST", f"/infer/{MODEL}?image=abdomen_001&output=json", body, FORM)
        assert status == 422 and b"detail" in words, (status, words)


@pytest.mark.parametrize("path", [f"/train/{MODEL}", f"/batch/infer/{MODEL}", "/scoring/doubt", "/activelearning/first"])
@pytest.mark.parametrize("key", ["max_epochs", "device", "run_id", "tracking_uri", "max_workers", "max_samples", "label_tag", "made_up"])
def test_no_value_of_a_task_is_run(guarded: Server, untouched: Path, path: str, key: str) -> None:
    code = f"$__import__('pathlib').Path({str(untouched)!r}).touch()"
    status, words = ask(guarded, "POST", path, json.dumps({key: code}).encode(), JSON)
    assert status == 422, (status, words)
    by_name = {path.rsplit("/", 1)[-1]: {key: code}}
    assert ask(guarded, "POST", path.rsplit("/", 1)[0] + "/", json.dumps(by_name).encode(), JSON)[0] in (404, 405, 422)
    for task in ("/train/", "/batch/infer", "/scoring/"):
        assert ask(guarded, "GET", task)[0] == 404, "a task was started"


def test_a_form_of_another_page_runs_nothing(guarded: Server, untouched: Path) -> None:
    for origin in ("http://evil.example", "null", f"http://localhost:{guarded.port}"):
        for path in (f"/infer/{MODEL}?image=abdomen_001", f"/train/{MODEL}", "/datastore/image?id=abdomen_001"):
            for method in ("POST", "PUT", "DELETE"):
                status, words = ask(guarded, method, path, b"params={}", FORM | {"Origin": origin})
                assert status == 403 and b"--origins" in words
    assert ask(guarded, "GET", "/info/", headers={"Host": f"evil.example:{guarded.port}"})[0] == 403
    assert ask(guarded, "GET", "/datastore/dataset", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask(guarded, "GET", "/info/", headers={"Origin": f"http://127.0.0.1:{guarded.port}"})[0] == 200


ELSEWHERE = ["../requests-app/main", "/etc/hostname", "..", "a/../../x", "..\\x", "main.py"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_stay_in_the_studies(guarded: Server, untouched: Path, name: str) -> None:
    name = quote(name, safe="")
    scan = upload("file", [("x.nii.gz", b"x")])
    label = upload("label", [("x.nii.gz", b"x")])
    asked = [
        ("GET", f"/datastore/image?image={name}", (b"", {})),
        ("HEAD", f"/datastore/image?image={name}", (b"", {})),
        ("DELETE", f"/datastore/image?id={name}", (b"", {})),
        ("GET", f"/datastore/label?label={name}&tag=final", (b"", {})),
        ("PUT", f"/datastore/label?image={name}", label),
        ("POST", f"/infer/{MODEL}?image={name}&output=json", (b"params={}", FORM)),
        ("POST", f"/infer/{MODEL}?image=&session_id={name}", (b"params={}", FORM)),
        ("GET", f"/session/{name}", (b"", {})),
        ("DELETE", f"/session/{name}", (b"", {})),
        ("GET", f"/ohif/{name}/x", (b"", {})),
        ("GET", f"/static/{name}", (b"", {})),
    ]
    if name != "main.py":  # where a new scan, and a new folder of labels, may be called so
        asked.append(("PUT", f"/datastore/image?image={name}", scan))
        asked.append(("PUT", f"/datastore/label?image=abdomen_001&tag={name}", label))
        asked.append(("DELETE", f"/datastore/label?id=abdomen_001&tag={name}", (b"", {})))
    for method, path, (body, headers) in asked:
        status, words = ask(guarded, method, path, body, headers)
        viewer = method == "GET" and path.startswith("/ohif/") and status == 200 and b"<!doctype html>" in words[:100].lower()
        assert 400 <= status < 500 or viewer, (method, path, status, words[:300])


@pytest.mark.parametrize("name", ["main.py", "evil", "x.pth", "x.nii.gz.so", "datastore_v2.json"])
def test_only_scans_are_taken(guarded: Server, untouched: Path, name: str) -> None:
    for field, path in (("file", "/datastore/image?image=new"), ("label", "/datastore/label?image=abdomen_001")):
        body, headers = upload(field, [(name, b"print()")])
        assert ask(guarded, "PUT", path, body, headers)[0] == 415
    body, headers = upload("file", [(name, b"print()")])
    assert ask(guarded, "POST", f"/infer/{MODEL}", body, headers)[0] == 415
    assert ask(guarded, "PUT", f"/model/{MODEL}", body, headers)[0] == 405


def test_archives_are_not_unpacked(guarded: Server, untouched: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"../../../../../../../../../..{untouched}"))
    body, headers = upload("files", [("x.tar", content.getvalue())])
    assert ask(guarded, "PUT", "/session/?uncompress=true", body, headers)[0] == 400


def test_a_session_is_not_a_path(guarded: Server, untouched: Path) -> None:
    """Several files make a folder; a file `meta.info` in it would be a session of its own, of any image."""
    meta = json.dumps({"name": "x", "image": "/etc/hostname"}).encode()
    body, headers = upload("files", [("meta.info", meta), ("a.dcm", b"")])
    status, answer = ask(guarded, "PUT", "/session/", body, headers)
    assert status == 200
    made = json.loads(answer)["session_info"]
    inside = quote(f"{made['name']}/{Path(made['image']).name}", safe="")
    assert ask(guarded, "POST", f"/infer/{MODEL}?session_id={inside}", b"params={}", FORM)[0] == 422
    assert ask(guarded, "DELETE", f"/session/{made['name']}")[0] == 200


def test_a_scan_that_is_there_stays(guarded: Server, untouched: Path) -> None:
    for name in ("abdomen_001", "linked"):
        body, headers = upload("file", [("x.nii.gz", b"x")])
        assert ask(guarded, "PUT", f"/datastore/image?image={name}", body, headers)[0] == 409


def test_unknown_names_are_named(guarded: Server) -> None:
    for method, path in (
        ("POST", "/train/other"),
        ("POST", "/scoring/other"),
        ("POST", "/activelearning/other"),
        ("POST", "/batch/infer/other"),
    ):
        status, words = ask(guarded, method, path, b"{}", JSON)
        assert status == 404 and b"there is no 'other'" in words
    assert ask(guarded, "POST", "/infer/other?image=abdomen_001", b"params={}", FORM)[0] == 404


def test_originals_behind_links_stay(guarded: Server, places: dict[str, Path]) -> None:
    private = tree(places["private"])
    body, headers = upload("label", [("x.nii.gz", (places["private"] / "label.nii.gz").read_bytes()[:-1] + b"x")])
    assert ask(guarded, "PUT", "/datastore/label?image=abdomen_001&tag=final", body, headers)[0] == 200
    assert not (places["studies"] / "labels" / "final" / "abdomen_001.nii.gz").is_symlink()
    assert ask(guarded, "DELETE", "/datastore/image?id=linked")[0] == 200
    assert not (places["studies"] / "linked.nii.gz").is_symlink()
    assert tree(places["private"]) == private


def test_a_viewer_works(guarded: Server, tmp_path: Path) -> None:
    config = guarded.json("GET", "/info/")["models"][MODEL]["config"]
    options: dict[str, Any] = {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
    options |= {"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz", "restore_label_idx": False}
    options |= {"quality_record": True, "memory_gb": "2.5"}
    record = guarded.infer(MODEL, "abdomen_001", tmp_path / "label.nrrd", **options)
    assert (tmp_path / "label.nrrd").read_bytes().startswith(b"NRRD") and {"score", "review", "structures"} <= set(record)
    assert b"/ohif/" in ask(guarded, "GET", "/")[1] and b"OHIF" in ask(guarded, "GET", "/ohif/")[1]
    status, log = ask(guarded, "GET", "/logs/")
    assert status == 200 and b"<script" not in log


def test_a_new_scan_is_stored_and_segmented(guarded: Server, places: dict[str, Path], studies: Path) -> None:
    # as MONAI Label's client sends it: the whole path as the file's name
    body, headers = upload("file", [("/tmp/some/where/abdomen_003.nii.gz", (studies / "abdomen_003.nii.gz").read_bytes())])
    status, answer = ask(guarded, "PUT", "/datastore/?image=new%20scan", body, headers)
    assert status == 200 and json.loads(answer) == {"image": "new scan"}
    assert (places["studies"] / "new scan.nii.gz").exists()
    status, answer = ask(guarded, "POST", f"/infer/{MODEL}?image=new%20scan&output=json", b"params={}", FORM)
    assert status == 200 and json.loads(answer)["label_names"] == {"pancreas": 1, "spleen": 2, "kidney": 3}
    assert ask(guarded, "DELETE", "/datastore/?id=new%20scan")[0] == 200
    assert not (places["studies"] / "new scan.nii.gz").exists()


def test_password(work: Path, places: dict[str, Path]) -> None:
    with start(work, places, "with-password", host="0.0.0.0", password=PASSWORD) as server:
        assert server.wait_until_answering() == 401
        form = urlencode({"username": "a", "password": PASSWORD, "grant_type": "password"}).encode()
        token = json.loads(ask(server, "POST", "/auth/token", form, FORM)[1])
        assert ask(server, "GET", "/info/", headers={"Authorization": f"bearer {token['access_token']}"})[0] == 200
        basic = base64.b64encode(f"a:{PASSWORD}".encode()).decode()
        assert ask(server, "GET", "/info/", headers={"Authorization": f"Basic {basic}"})[0] == 200
        assert ask(server, "GET", "/info/", headers={"Authorization": "Basic eDp5"})[0] == 401
        assert PASSWORD not in server.log()


def test_nothing_left_the_machine(guarded: Server) -> None:
    assert guarded.traffic() == ""
