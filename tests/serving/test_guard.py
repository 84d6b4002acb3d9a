"""`bundle.serving.guard`: who may ask what. The server behind it is a stand-in that says what reached it."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from bundle.serving import guard
from bundle.serving.guard import Guard, Rules

HERE = "127.0.0.1:8000"


async def server(scope: dict, receive: Any, send: Any) -> None:
    """Answers everything with its request, and as MONAI Label does to pages of any origin."""
    headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    seen = {"path": scope["path"], "query": scope["query_string"].decode(), "headers": [key.decode() for key, _ in scope["headers"]]}
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


def ask(rules: Rules | Guard, method: str = "GET", path: str = "/info/", body: bytes = b"", **headers: str) -> tuple[int, dict, Any]:
    """Status, headers and content of an answer; `query` after `?` in the path, header names with `_` for `-`."""
    path, _, query = path.partition("?")
    headers = {"host": HERE} | {key.replace("_", "-"): value for key, value in headers.items()}
    pairs = [(key.encode(), value.encode()) for key, value in headers.items() if value]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": body}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run((rules if isinstance(rules, Guard) else Guard(server, rules))(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    kinds = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], kinds, json.loads(content) if content and "json" in kinds.get("content-type", "") else content.decode()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        return

    monkeypatch.setattr(guard.asyncio, "sleep", sleep)


def test_a_program_of_this_machine_is_answered() -> None:
    status, headers, seen = ask(Rules())
    assert status == 200 and seen["path"] == "/info/"
    assert "access-control-allow-origin" not in headers and "default-src 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9000", "http://localhost:8000", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_page_of_another_origin_reaches_nothing(origin: str, method: str) -> None:
    status, headers, content = ask(Rules(), method, "/infer/net", origin=origin)
    assert status == 403 and "--origins" in content["detail"] and "access-control-allow-origin" not in headers


def test_the_servers_own_pages_are_answered() -> None:
    assert ask(Rules(), "POST", "/infer/net", origin=f"http://{HERE}")[0] == 200
    assert ask(Rules(), "POST", "/infer/net", host="localhost:9", origin="http://localhost:9", sec_fetch_site="same-origin")[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_and_links_of_other_pages_reach_nothing_but_the_viewer(site: str) -> None:
    assert ask(Rules(), path="/logs/", sec_fetch_site=site, sec_fetch_mode="no-cors")[0] == 403
    assert ask(Rules(), path="/datastore/dataset", sec_fetch_site=site, sec_fetch_mode="navigate")[0] == 403
    assert ask(Rules(), path="/ohif/", sec_fetch_site=site, sec_fetch_mode="navigate")[0] == 200
    assert ask(Rules(), "POST", "/ohif/", sec_fetch_site=site, sec_fetch_mode="navigate")[0] == 403


def test_browsers_without_sec_fetch_are_known_by_the_referer() -> None:
    assert ask(Rules(), path="/datastore/dataset", referer="http://evil.example/x")[0] == 403
    assert ask(Rules(), path="/datastore/dataset", referer=f"http://{HERE}.evil.example/")[0] == 403
    assert ask(Rules(), path="/datastore/dataset", referer=f"http://{HERE}/ohif/")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example@127.0.0.1", "127.0.0.1/evil.example", "127.0.0.1#evil.example", "localhost:80?evil.example", "[::1", "127.1", "0"),
        *("127.0.0.1:80:80", "127.0.0.1,evil.example", " 127.0.0.1", "[::1%25evil.example]", "2130706433"),
    ],
)
@pytest.mark.parametrize("rules", [Rules(), Rules(host="0.0.0.0")])
def test_a_host_that_can_be_read_in_two_ways_is_refused(rules: Rules, host: str) -> None:
    assert ask(rules, host=host)[0] == 403


@pytest.mark.parametrize(
    "path", ["/ohif//etc/passwd", "/static//etc/passwd", "//info/", "/proxy/dicom//evil.example/x", "/proxy/dicom/http://evil.example/x"]
)
def test_an_empty_name_in_a_path_is_refused(path: str) -> None:
    assert ask(Rules(remote_studies=True), path=path)[0] == 400


@pytest.mark.parametrize("name", ["host", "origin", "referer", "authorization", "content-type"])
def test_a_header_given_twice_is_refused(name: str) -> None:
    first = {"host": HERE, "origin": f"http://{HERE}"}.get(name, "x")
    pairs = [(b"host", HERE.encode()), (name.encode(), first.encode()), (name.title().encode(), b"http://evil.example")]
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/info/", "query_string": b"", "headers": pairs}
    asyncio.run(Guard(server, Rules())(scope, None, send))
    assert sent[0]["status"] == 400


def test_long_bodies_are_refused_unless_they_are_files_and_short_ones_arrive_whole() -> None:
    async def reading(scope: dict, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(body)})

    for length, kind, expected in (
        (guard.MOST_BYTES, "application/json", (200, str(guard.MOST_BYTES))),
        (guard.MOST_BYTES + 1, "application/json", (413, {"detail": "too long."})),
        (guard.MOST_BYTES + 1, "", (413, {"detail": "too long."})),
        (guard.MOST_BYTES + 1, "multipart/form-data; boundary=x", (200, str(guard.MOST_BYTES + 1))),
    ):
        status, _, content = ask(Guard(reading, Rules()), "POST", "/train/net", b"x" * length, content_type=kind)
        assert (status, content) == expected


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example", "192.168.1.2:8000", "localhost.evil"])
def test_a_name_that_someone_points_here_is_refused(host: str) -> None:
    status, _, content = ask(Rules(), host=host)
    assert status == 403 and "--host" in content["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine_are_known(host: str) -> None:
    assert ask(Rules(), host=host)[0] == 200


def test_other_machines_come_by_address_or_a_given_name() -> None:
    rules = Rules(host="0.0.0.0", names=("scanner",))
    assert ask(rules, host="192.168.1.2:8000")[0] == 200 and ask(rules, host="scanner:8000")[0] == 200
    assert ask(rules, host="evil.example:8000")[0] == 403


def test_pages_of_a_named_origin_may_ask() -> None:
    rules = Rules(origins=("http://viewer.example:3000",))
    status, headers, seen = ask(rules, "POST", "/infer/net", origin="http://viewer.example:3000", sec_fetch_site="cross-site")
    assert status == 200 and headers["access-control-allow-origin"] == "http://viewer.example:3000" and "origin" not in seen["headers"]
    status, headers, _ = ask(rules, "OPTIONS", "/infer/net", origin="http://viewer.example:3000")
    assert status == 204 and headers["access-control-allow-methods"] == "GET, PUT, POST, DELETE"
    assert ask(rules, "POST", "/infer/net", origin="http://viewer.example:3001")[0] == 403


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


def test_password_is_asked_for_everything() -> None:
    rules = Rules(password="pässword")
    for method, path in (("GET", "/"), ("GET", "/info/"), ("POST", "/infer/net"), ("GET", "/ohif/"), ("GET", "/auth/token/valid")):
        status, headers, _ = ask(rules, method, path)
        assert status == 401 and headers["www-authenticate"].startswith("Basic")
    for wrong in (basic("x"), basic(""), "Basic ???", "Bearer ", "Bearer x", "Digest x", basic("pässword ")):
        assert ask(rules, authorization=wrong)[0] == 401
    status, _, seen = ask(rules, authorization=basic("pässword"))
    # the server behind, and a DICOMweb server behind that, never see it
    assert status == 200 and "authorization" not in seen["headers"]


def test_slicer_logs_in_by_monai_labels_own_way() -> None:
    one = Guard(server, Rules(password="password"))
    assert ask(one, path="/auth/")[2]["enabled"] is True
    assert ask(one, "POST", "/auth/token", b"username=a&password=wrong")[0] == 401
    token = ask(one, "POST", "/auth/token", b"username=a&password=password&grant_type=password")[2]
    assert ask(one, authorization=f"{token['token_type']} {token['access_token']}")[0] == 200
    assert ask(one, path="/auth/token/valid", authorization=f"bearer {token['access_token']}")[0] == 200
    assert ask(Guard(server, Rules(password="password")), authorization=f"bearer {token['access_token']}")[0] == 401
    assert ask(one, "POST", "/auth/token", b"x" * 20_000)[0] == 413


def test_without_a_password_nobody_logs_in() -> None:
    assert ask(Rules(), path="/auth/")[2]["enabled"] is False
    assert ask(Rules(), "POST", "/auth/token", b"password=")[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/docs", 404),
        ("POST", "/reload", 404),
        ("PUT", "/model/net", 405),
        ("DELETE", "/model/net", 405),
        ("POST", "/infer/wsi_v2/net", 404),
        ("GET", "/proxy/dicom/wado/x", 404),
        ("GET", "/ohif/../x", 400),
        ("GET", "/ohif/..\\..\\x", 400),
        ("GET", "/static/../../x", 400),
        ("GET", "/session/..", 400),
        ("GET", "/session/a/b", 404),
        ("GET", "/datastore/image?image=a&image=b", 400),
        ("PATCH", "/info/", 405),
        ("TRACE", "/info/", 405),
    ],
)
def test_what_no_viewer_asks_is_not_offered(method: str, path: str, status: int) -> None:
    assert ask(Rules(), method, path)[0] == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/openapi.json"),
        ("GET", "/static/ohif/app-config.js"),
        ("GET", "/ohif/viewer"),
        ("POST", "/infer/attention_unet_abdomen?image=a&output=json"),
        ("POST", "/train/net"),
        ("POST", "/train/"),
        ("GET", "/train/?check_if_running=true"),
        ("DELETE", "/train/"),
        ("POST", "/batch/infer/net"),
        ("POST", "/activelearning/first"),
        ("POST", "/scoring/doubt"),
        ("PUT", "/datastore/?image=a"),
        ("HEAD", "/datastore/image?image=a"),
        ("PUT", "/datastore/label?image=a&tag=final"),
        ("GET", "/datastore/label/info?label=a&tag=final"),
        ("PUT", "/session/"),
        ("GET", "/session/0123"),
        ("GET", "/model/info/net"),
    ],
)
def test_what_viewers_ask_is_passed_on(method: str, path: str) -> None:
    assert ask(Rules(), method, path)[0] == 200


def test_a_dicomweb_server_is_reached_through_ohif() -> None:
    status, _, seen = ask(
        Rules(remote_studies=True), path="/proxy/dicom/qido/studies?limit=1&field=a&field=b", authorization="x", cookie="y"
    )
    assert status == 200 and not {"authorization", "cookie"} & set(seen["headers"])
    assert ask(Rules(remote_studies=True), path="/proxy/dicom/../admin")[0] == 400


def test_pages_load_nothing_from_other_sites() -> None:
    home = ask(Rules(), path="/")[2]
    assert "/ohif/" in home and "://" not in home
    # as a page, the log loads scripts of two other sites
    assert ask(Rules(), path="/logs/?html=true&lines=5")[2]["query"] == "text=true&lines=5"
    assert ask(Rules(), path="/logs/?lines=x")[2]["query"] == "text=true&lines=300"


def test_sockets_of_other_kinds_are_not_passed_on() -> None:
    reached: list[dict] = []

    async def inner(scope: dict, receive: Any, send: Any) -> None:
        reached.append(scope)

    one = Guard(inner, Rules())
    asyncio.run(one({"type": "websocket", "headers": []}, None, None))
    asyncio.run(one({"type": "lifespan"}, None, None))
    assert [scope["type"] for scope in reached] == ["lifespan"]


def test_rules_come_from_the_environment() -> None:
    assert Rules.of_environment({}) == Rules()
    environment = {guard.HOST: "0.0.0.0", guard.NAMES: "a,b", guard.ORIGINS: "http://v", guard.PASSWORD: "secret password"}
    rules = Rules.of_environment(environment, remote_studies=True)
    assert rules == Rules("0.0.0.0", ("a", "b"), ("http://v",), "secret password", True)
    assert "secret" not in repr(rules)
