"""Whether a result is what this run would make: each reason by hand, the gravest first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.handlers.inference.finished import Wanted, architecture, details, plain
from bundle.networks import AttentionUnet
from bundle.networks.ensemble import Ensemble
from bundle.networks.zoomed import Zoomed
from bundle.results import identity


@pytest.fixture
def item(tmp_path: Path) -> dict:
    path = tmp_path / "ct.nii"
    path.write_bytes(b"scan")
    return {"case": "ct", "image": str(path), "source": str(path)}


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    for name in ("ct_seg.nii.gz", "ct_preview.png"):
        (tmp_path / name).write_bytes(b"x")
    return Wanted(tmp_path, {"spacing": (2.0, 2.0, 2.0), "labels": {"background": 0, "spleen": 1}}, ["previews"])


@pytest.fixture
def made(item: dict, wanted: Wanted) -> dict:
    """A result that is just what is wanted."""
    files = [item["image"]]
    digests = {"digest": identity.scan_digest(item), "stamp": identity.stamp(files), "bytes": 4}
    listed = ["ct_preview.png", "ct_seg.nii.gz"]
    return {
        "case": "ct",
        "status": "ok",
        "settings": dict(wanted.settings),
        "options": ["previews", "attention"],
        "files": listed,
        **digests,
    }


def test_nothing_is_to_be_done(wanted, item, made):
    assert wanted.why_not(item, made) == ""
    # other times, the same bytes
    assert wanted.why_not(item, {**made, "stamp": "another"}) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "replacing"}, "the run before was interrupted"),
        ({"digest": None}, "made by a version that did not record of what"),
        ({"settings": {"spacing": [2, 2, 3]}}, "labels, spacing changed"),
        ({"settings": {"spacing": [2, 2, 2], "labels": {"spleen": 1, "background": 0}}}, "labels changed"),
        ({"options": []}, "previews asked for"),
        ({"files": ["ct.seg.nrrd"]}, "format nii.gz asked for"),
        ({"files": ["ct_seg.nii.gz", "ct_gone.png"]}, "files are missing"),
        ({"stamp": "another", "digest": "another"}, "the scan changed"),
        ({"stamp": "another", "bytes": 5}, "the scan changed"),
    ],
)
def test_each_reason(wanted, item, made, change, why):
    assert wanted.why_not(item, {**made, **change}) == why


LABELS = {"background": 0, "pancreas": 1, "spleen": 2}
# the table's colour of the spleen is 88, 196, 255
BLUE, SAME, CODE = {"spleen": {"colour": [0, 0, 255]}}, {"spleen": {"colour": [88, 196, 255]}}, {"spleen": {"code": "1", "meaning": "x"}}


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        # structures, options, format, dicom_seg_type
        ((None, ["dicom_seg"], "nii.gz", "binary"), (None, ["dicom_seg"], "nii.gz", "labelmap"), "dicom_seg_type changed"),
        ((None, [], "nii.gz", "binary"), (None, [], "nii.gz", "labelmap"), ""),
        ((None, ["dicom_seg"], "nii.gz", "labelmap"), (None, [], "nii.gz", "binary"), ""),
        ((None, [], "nii.gz", "binary"), (BLUE, [], "nii.gz", "binary"), "structures changed"),
        ((BLUE, [], "nii.gz", "binary"), (None, [], "nii.gz", "binary"), "structures changed"),
        ((None, [], "nii.gz", "binary"), (SAME, [], "nii.gz", "binary"), ""),
        ((None, [], "nii.gz", "binary"), ({"liver": {"colour": [1, 2, 3]}}, [], "nii.gz", "binary"), ""),
        ((None, [], "nii.gz", "binary"), (CODE, [], "nii.gz", "binary"), ""),
        ((None, [], "seg.nrrd", "binary"), (CODE, [], "seg.nrrd", "binary"), "structures changed"),
        ((None, ["rtstruct"], "nii.gz", "binary"), (CODE, ["rtstruct"], "nii.gz", "binary"), "structures changed"),
        ((CODE, ["rtstruct"], "nii.gz", "binary"), (CODE, [], "nii.gz", "binary"), ""),
        (
            (None, ["dicom_seg"], "nii.gz", "binary"),
            ({"spleen": BLUE["spleen"] | CODE["spleen"]}, ["dicom_seg"], "nii.gz", "labelmap"),
            "dicom_seg_type, structures changed",
        ),
        ((None, [], "nii.gz", "binary"), (CODE, ["dicom_seg"], "nii.gz", "labelmap"), "dicom_seg asked for"),
    ],
)
def test_what_files_hold_besides_labels_counts_where_they_are_asked_for(item, made, tmp_path, before, now, why):
    found = []
    for structures, options, ending, kind in (before, now):
        seen = details(LABELS, structures, options, ending, kind)
        found.append(Wanted(tmp_path, made["settings"], options, ending, seen))
    name = "ct_seg.nii.gz" if before[2] == "nii.gz" else "ct.seg.nrrd"
    (tmp_path / name).write_bytes(b"x")
    made |= {"files": [name], "options": before[1], "details": found[0].details}
    assert found[0].why_not(item, made) == "" and found[1].why_not(item, made) == why


def test_a_result_of_an_earlier_version_has_the_usual_details(item, made, tmp_path):
    (tmp_path / "ct_seg.nii.gz").write_bytes(b"x")
    made |= {"files": ["ct_seg.nii.gz"], "options": ["dicom_seg"]}

    def why(*what):
        return Wanted(tmp_path, made["settings"], ["dicom_seg"], details=details(LABELS, *what)).why_not(item, made)

    assert why(None, ["dicom_seg"], "nii.gz", "binary") == ""
    assert why(None, ["dicom_seg"], "nii.gz", "labelmap") == "dicom_seg_type changed"
    assert why(CODE, ["dicom_seg"], "nii.gz", "binary") == "structures changed"


def test_a_file_of_structures_counts_by_what_is_in_it(tmp_path):
    path = tmp_path / "own.json"
    seen = []
    for content in (BLUE, BLUE | {"liver": {"colour": [1, 2, 3]}}, SAME):
        path.write_text(json.dumps(content))
        seen.append(details(LABELS, str(path), [], "nii.gz", "binary"))
    assert seen[0] == seen[1] == details(LABELS, BLUE, [], "nii.gz", "labelmap") and len(seen[0]["structures"]) == 64
    assert seen[2] == {"structures": None} and details(None, BLUE, [], "nii.gz", "binary") == {}


def test_an_empty_file_is_missing_and_a_scan_that_cannot_be_read_is_tried_again(wanted, item, made, tmp_path):
    assert wanted.why_not({**item, "problem": "is empty"}, made) == "the scan cannot be read now"
    (tmp_path / "ct_preview.png").write_bytes(b"")
    assert wanted.why_not(item, made) == "files are missing"
    (tmp_path / "ct.nii").unlink()
    assert wanted.why_not(item, {**made, "files": ["ct_seg.nii.gz"]}) == "the scan changed"


def test_values_as_json_knows_them():
    assert plain({"a": (1.0, 2.5, None, True), 3: Path("x")}) == {"a": [1, 2.5, None, True], "3": "x"}
    assert isinstance(plain(1.0), int)


def test_a_network_is_its_class_and_the_values_it_was_made_with():
    one, other = (AttentionUnet(3, 1, 2, channels=(2, 4), num_gates=gates) for gates in (1, 2))
    found = architecture(one)
    assert found["class"] == "AttentionUnet" and found["num_gates"] == 1 and architecture(other)["num_gates"] == 2
    assert architecture(one.train()) == architecture(one.eval()), "the mode is no part of it"
    saving = AttentionUnet(3, 1, 2, channels=(2, 4), num_gates=1, checkpointing=True)
    assert architecture(saving) == found, "nor is how it learns"
    kept = {"align_corners", "attention_features", "auxiliary", "class", "encoder_maps", "has_decoder_gates", "has_encoder_gates"}
    kept |= {"in_channels", "num_gates", "out_channels", "spatial_dims"}
    assert set(found) == kept, "a value more, and all results that there are would be made again"
    parts = architecture(Ensemble([one, other]))
    assert parts["class"] == "Ensemble" and parts["networks"] == [architecture(one), architecture(other)]
    zoomed = architecture(Zoomed(one, [0.9]))
    assert zoomed["class"] == "Zoomed" and zoomed["zooms"] == [0.9] and zoomed["network"] == architecture(one)
    assert architecture(lambda x: x) == {"class": "function"}
