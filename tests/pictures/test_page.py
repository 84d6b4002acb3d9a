"""The page: one file, nothing from elsewhere, the cases that need a look first, small even with many cases."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from bundle.pictures import page as page_module
from bundle.pictures.page import write_page
from bundle.pictures.preview import preview
from bundle.quality.cases import CaseResult, case_rows, preview_path, write_cases_csv


class Page(HTMLParser):
    """Collects rows of cells, attributes that load something, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.loads: list[str] = []
        self.images: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loads += [attributes[key] for key in ("src", "href", "action") if attributes.get(key)]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "img":
            self.images.append(attributes)
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and "table" in self.open and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def folder(tmp_path, abdomen):
    good = CaseResult("good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures)
    good.judgement.reasons.clear()
    empty = CaseResult("empty", "b.nii.gz", abdomen.image, np.zeros_like(abdomen.labels), abdomen.affine, abdomen.structures)
    failed = CaseResult("<b>bad & ugly</b>", "c.nii.gz", error="c.nii.gz: is empty (0 bytes). Fix: copy it again")
    for result in (good, empty, failed):
        write_cases_csv(tmp_path, case_rows(result))
        if result.error is None:
            preview(result, preview_path(tmp_path, result.name))
    return Page(write_page(tmp_path, title="Monday & <Tuesday>").read_text(encoding="utf-8"))


def test_failed_then_flagged_then_good_and_names_are_escaped(tmp_path, abdomen):
    page = folder(tmp_path, abdomen)
    assert page.open == [], "every tag is closed"
    # name, source, and links to what lies there: no label map was written here
    assert [row[1] for row in page.rows[1:]] == ["<b>bad & ugly</b>c.nii.gz", "emptyb.nii.gzpreview", "gooda.nii.gzpreview"]
    assert [row[2][:6] for row in page.rows[1:]] == ["Failed", "Review", "No fin"]
    assert "c.nii.gz: is empty (0 bytes). Fix: copy it again" in page.rows[1][2]
    assert "pancreas: not found" in page.rows[2][2]
    assert page.rows[0] == ["Preview", "Case", "Verdict", "Score", "pancreas (ml)", "spleen (ml)", "kidney (ml)", "Seconds"]
    assert page.rows[3][4].startswith("12.8"), "64 voxels of 0.2 ml"


def test_nothing_is_loaded_from_elsewhere(tmp_path, abdomen):
    page = folder(tmp_path, abdomen)
    assert all(load.startswith("data:image/jpeg;base64,") or re.fullmatch(r"#|\w+_preview\.png", load) for load in page.loads)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp", text)
    shown = [image for image in page.images if image.get("src")]
    assert len(shown) == 2 and all(image["alt"].startswith("Preview of ") and image["width"] for image in shown)


def test_many_cases_get_smaller_pictures(tmp_path, monkeypatch):
    """Pictures of noise are the worst that can be compressed."""
    monkeypatch.setattr(page_module, "MAX_PICTURES_BYTES", 2_000_000)
    noise = np.random.default_rng(0).integers(0, 256, (520, 1200), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "c0_preview.png", compress_level=0)
    rows = []
    for index in range(20):
        rows += case_rows(CaseResult(f"c{index}", "x", error="x"))
        if index:
            preview_path(tmp_path, f"c{index}").hardlink_to(tmp_path / "c0_preview.png")
    write_cases_csv(tmp_path, rows)
    assert 1_000_000 < write_page(tmp_path).stat().st_size < 2_050_000


def test_an_empty_folder_gives_an_empty_page(tmp_path):
    page = Page(write_page(tmp_path / "new").read_text(encoding="utf-8"))
    assert len(page.rows) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index.html"]


def test_the_footer_says_what_made_the_results_and_what_they_are_not(tmp_path, abdomen):
    folder(tmp_path, abdomen)
    assert (
        "this is not a medical device" in (tmp_path / "index.html").read_text() and "Weights" not in (tmp_path / "index.html").read_text()
    )
    case = {"case": "good", "status": "ok", "settings": {"weights": "0123456789abcdef" * 4}}
    run = {"bundle": "1.2.3", "settings": {"ckpt_path": "models/<mine>.pt"}, "cases": [case, {"case": "bad", "status": "failed"}]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert "Weights models/&lt;mine&gt;.pt (SHA-256 0123456789ab...), bundle 1.2.3." in text
    (tmp_path / "run.json").write_text("[1, 2")
    assert "Weights" not in write_page(tmp_path).read_text(encoding="utf-8")
