"""The page: its data, what it may load, names that try to be markup, the same bytes for the same results."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from case_results import UGLY, results

from bundle.pictures.page import write_page
from bundle.pictures.page_data import page_data
from bundle.quality.cases import CaseResult, case_rows, write_rows


class Page(HTMLParser):
    """Collects elements, attributes that load something, and the text of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.metas: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.data = json.loads(self.texts["script"][0])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loads += [attributes[key] for key in ("src", "href", "action", "style") if attributes.get(key)]
        if "http-equiv" in attributes:
            self.metas[attributes["http-equiv"]] = attributes["content"]
        if tag in ("script", "style", "title", "h1"):
            self.texts.setdefault(tag, []).append("")
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data


def test_every_tag_is_closed_and_the_data_is_that_of_the_results(tmp_path, abdomen):
    page = Page(write_page(results(tmp_path, abdomen)))
    assert page.open == [] and page.data == json.loads(json.dumps(page_data(tmp_path)))


def test_names_stay_text(tmp_path, abdomen):
    page = Page(write_page(results(tmp_path, abdomen), title=UGLY))
    assert page.texts["h1"] == page.texts["title"] == [UGLY]
    assert len(page.texts["script"]) == 2, "the data and the program, nothing that a name brought"


def test_nothing_comes_from_elsewhere_and_the_browser_is_told_so(tmp_path, abdomen):
    page = Page(write_page(results(tmp_path, abdomen)))
    assert page.loads == []
    script, style = page.texts["script"][1], page.texts["style"][0]
    for text in (script, style):
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|WebSocket|eval\(|innerHTML|document\.write", text)
    digests = ["'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'" for text in (style, script)]
    policy = dict(part.strip().split(" ", 1) for part in page.metas["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["img-src"] == "'self' file:"
    assert [policy["style-src"], policy["script-src"]] == digests


def test_the_same_results_give_the_same_bytes(tmp_path, abdomen):
    folder = results(tmp_path, abdomen)
    first = write_page(folder).read_bytes()
    assert write_page(folder).read_bytes() == first


def test_a_thousand_cases_are_a_small_page(tmp_path, abdomen):
    good = CaseResult("good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures)
    rows = case_rows(good)
    write_rows(tmp_path, [{**row, "case": f"case_{number:04d}"} for number in range(1000) for row in rows])
    page = write_page(tmp_path)
    assert page.stat().st_size < 900_000 and len(Page(page).data["cases"]) == 1000


def test_an_empty_folder_gives_an_empty_page(tmp_path):
    page = Page(write_page(tmp_path / "new"))
    assert page.data["cases"] == [] and page.texts["h1"] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index.html"]


def test_it_says_what_made_the_results_and_what_they_are_not(tmp_path, abdomen):
    text = write_page(results(tmp_path, abdomen)).read_text(encoding="utf-8")
    assert "this is not a medical device" in text and "Made by" not in text
    weights = "0123456789abcdef" * 4
    cases = [
        {
            "case": "good",
            "status": "ok",
            "bundle": "1.2.3",
            "settings": {"weights": weights, "spacing": [2, 2, 2]},
            "ended": "2026-01-02T03:04:05+0000",
        },
        {"case": "empty", "status": "ok", "bundle": "1.2.2", "settings": {"weights": "f" * 64}, "ended": "2026-01-01T03:04:05+0000"},
        {"case": UGLY, "status": "failed"},
    ]
    run = {"bundle": "1.2.3", "settings": {"ckpt_path": "models/<mine>.pt", "weights": weights}, "cases": cases}
    (tmp_path / "run.json").write_text(json.dumps(run))
    path = write_page(tmp_path)
    said = "Made by bundle 1.2.3 with the weights models/&lt;mine&gt;.pt (SHA-256 0123456789ab...). Last result: 2026-01-02 03:04 UTC."
    assert said in path.read_text(encoding="utf-8")
    mine, other = Page(path).data["made"]
    wanted = [["bundle", "1.2.3"], ["weights", "models/<mine>.pt"], ["SHA-256 of the weights", weights], ["spacing", "[2, 2, 2]"]]
    assert (mine["cases"], mine["settings"]) == (1, wanted)
    assert other["settings"] == [["bundle", "1.2.2"], ["SHA-256 of the weights", "f" * 64]], "the path is that of other weights"


def test_the_example_of_the_docs_runs(tmp_path, abdomen, repository, monkeypatch):
    text = (repository / "docs" / "quality.md").read_text(encoding="utf-8").split("## From Python")[1]
    monkeypatch.chdir(tmp_path)
    spleen = (abdomen.labels == 2).astype(np.uint8)
    space = {"image_hu": abdomen.image, "labels": spleen, "affine": abdomen.affine}
    exec(compile(text.split("```python\n")[1].split("```")[0], "docs/quality.md", "exec"), space)
    (case,) = Page(tmp_path / "out" / "index.html").data["cases"]
    assert case["name"] == "case" and case["preview"] and case["slices"]
