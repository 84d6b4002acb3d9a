"""The page: its data, what it may load, names that try to be markup, the same bytes for the same results."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bundle.pictures.page import write_page
from bundle.pictures.page_data import MEASURED
from bundle.quality.cases import CaseResult, case_rows, write_cases_csv, write_rows
from bundle.results import outputs

UGLY = "<b>bad & 'ugly'</b> \"2\" </script><script>alert(1)</script> {{script}} \u2028"


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


def results(folder: Path, abdomen) -> Path:
    """Three cases: one without a finding, one without structures, one that failed and has an ugly name."""
    good = CaseResult(
        "good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures, confidence={"spleen": (0.9, 0.5, 0.8)}
    )
    good.judgement.reasons.clear()
    empty = CaseResult("empty", "b.nii.gz", abdomen.image, np.zeros_like(abdomen.labels), abdomen.affine, abdomen.structures)
    failed = CaseResult(UGLY, "c.nii.gz", error="c.nii.gz: is empty (0 bytes). Fix: copy it again")
    for result in (good, empty, failed):
        write_cases_csv(folder, case_rows(result))
    (folder / "good_slices.jpg").touch()
    (folder / "empty_preview.png").touch()
    (folder / "empty.seg.nrrd").touch()
    return folder


def test_failed_then_flagged_then_good(tmp_path, abdomen):
    page = Page(write_page(results(tmp_path, abdomen)))
    failed, empty, good = page.data["cases"]
    assert page.open == [], "every tag is closed"
    assert (failed["name"], failed["verdict"], failed["error"]) == (UGLY, 0, "c.nii.gz: is empty (0 bytes). Fix: copy it again")
    assert (empty["name"], empty["verdict"], good["name"], good["verdict"]) == ("empty", 1, "good", 2)
    assert empty["reasons"][:3] == ["pancreas: not found", "spleen: not found", "kidney: not found"]
    assert [[page.data["kinds"][kind] for kind in case["kinds"]] for case in (failed, empty, good)] == [
        ["failed"],
        ["not found"] * 3 + ["the scan itself"],
        [],
    ]
    assert [structure["name"] for structure in page.data["structures"]] == ["pancreas", "spleen", "kidney"]
    spleen = dict(zip(MEASURED, good["measured"][1], strict=True))
    assert (spleen["volume_ml"], spleen["mean_hu"], spleen["expected_dice"], spleen["flip_disagreement"]) == (35, 110, 0.8, None)
    assert failed["measured"] == [None, None, None]


def test_pictures_and_files_are_named_where_they_are(tmp_path, abdomen):
    data = Page(write_page(results(tmp_path, abdomen))).data
    failed, empty, good = data["cases"]
    assert [(case["preview"], case["slices"]) for case in (failed, empty, good)] == [(False, False), (True, False), (False, True)]
    assert [data["endings"]["links"][place][0] for place in empty["files"]] == ["label map", "three planes"]
    assert data["endings"]["preview"] == outputs.PREVIEW_ENDING and data["endings"]["slices"] == outputs.SLICES_ENDING


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


def test_a_note_is_known_to_be_about_another_result(tmp_path, abdomen):
    """The identity changes with figures and weights, not with the seconds it took or a source that moved."""
    good = CaseResult("good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures)
    rows = [{**row, "seconds": 1.0} for row in case_rows(good)]

    def identity(**changes) -> str:
        write_rows(tmp_path, [{**row, **changes} for row in rows])
        return Page(write_page(tmp_path)).data["cases"][0]["id"]

    before = identity()
    assert identity(seconds=2.0, source="/moved/a.nii.gz") == before
    assert identity(volume_ml=1.0) != before
    entry = {"case": "good", "status": "ok", "settings": {"weights": "0" * 64}}
    (tmp_path / "run.json").write_text(json.dumps({"cases": [entry]}))
    assert identity() != before


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


@pytest.mark.parametrize("broken", ["[1, 2", "[]", '{"cases": 3}', '{"cases": [null, {"case": "good", "status": "ok", "settings": 3}]}'])
def test_a_record_that_cannot_be_read_costs_no_page(tmp_path, abdomen, broken):
    results(tmp_path, abdomen)
    (tmp_path / "run.json").write_text(broken)
    assert len(Page(write_page(tmp_path)).data["cases"]) == 3


def test_colours_are_those_of_the_run(tmp_path, abdomen):
    results(tmp_path, abdomen)
    assert Page(write_page(tmp_path)).data["structures"][1] == {"name": "spleen", "colour": "#58c4ff"}
    (tmp_path / "labels.txt").write_text('# names\n0 0 0 0 0 0 0 "Clear Label"\n2 255 0 16 1 1 1 "spleen"\n')
    assert Page(write_page(tmp_path)).data["structures"][1] == {"name": "spleen", "colour": "#ff0010"}


def test_the_example_of_the_docs_runs(tmp_path, abdomen, repository, monkeypatch):
    text = (repository / "docs" / "quality.md").read_text(encoding="utf-8").split("## From Python")[1]
    monkeypatch.chdir(tmp_path)
    spleen = (abdomen.labels == 2).astype(np.uint8)
    space = {"image_hu": abdomen.image, "labels": spleen, "affine": abdomen.affine}
    exec(compile(text.split("```python\n")[1].split("```")[0], "docs/quality.md", "exec"), space)
    (case,) = Page(tmp_path / "out" / "index.html").data["cases"]
    assert case["name"] == "case" and case["preview"] and case["slices"]
