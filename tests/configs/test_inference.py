"""`configs/inference.json` end to end on tiny scans: awkward ones give labels on their own grid, broken ones stop nothing."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import warnings
from pathlib import Path

import dicom_files
import nibabel
import numpy as np
import pydicom
import pytest
import small_scans
import torch
from monai.bundle import ConfigWorkflow
from small_inference import CHANNELS, save_weights
from small_scans import AFFINE, SHAPE, body, nifti

from bundle.arguments.config import references
from bundle.networks import AttentionUnet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network that finds more than one structure in the body."""
    return save_weights(tmp_path_factory.mktemp("weights") / "model.pt", seed=4)


@pytest.fixture
def infer(repository: Path, weights: Path):
    """Run inference.json in this process; returns the record and whether it would end with exit code 0."""

    def run(dataset_dir: Path, output_dir: Path, configs: tuple[str, ...] = ("inference.json",), **override: object) -> tuple[dict, bool]:
        with warnings.catch_warnings():
            workflow = ConfigWorkflow(
                [str(repository / "configs" / name) for name in configs],
                logging_file=False,
                workflow_type="inference",
                dataset_dir=str(dataset_dir),
                output_dir=str(output_dir),
                precision="fp32",
                **{"ckpt_path": str(weights), "network_def#channels": CHANNELS, "previews": False, **override},
            )
            workflow.initialize()
            workflow.run()
            try:
                workflow.finalize()
                good = True
            except SystemExit as end:
                assert end.code == 1
                good = False
        return json.loads((output_dir / "run.json").read_text(encoding="utf-8")), good

    return run


def labels_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nibabel.load(path)
    assert image.get_data_dtype() == np.uint8
    return np.asarray(image.dataobj), image.affine


def test_every_orientation_gives_the_same_labels_on_its_own_grid(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for codes in ("RAS", "LPS", "LAI", "PIR", "SRA"):
        values, affine = small_scans.reoriented(body(), AFFINE, codes)
        nifti(data / f"{codes}.nii.gz", values, affine)
    _, good = infer(data, out)
    assert good
    expected, _ = labels_of(out / "RAS_seg.nii.gz")
    assert len(np.unique(expected)) > 1
    for codes in ("LPS", "LAI", "PIR", "SRA"):
        found, affine = labels_of(out / f"{codes}_seg.nii.gz")
        source = nibabel.load(data / f"{codes}.nii.gz")
        assert found.shape == source.shape and np.allclose(affine, source.affine)
        assert np.array_equal(small_scans.reoriented(found, affine, "RAS")[0], expected)


def test_awkward_scans_of_every_kind(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    oblique = np.array([[3.8, -1.2, 0, 5], [1.2, 3.8, 0, -7], [0, 0, 5, 3], [0, 0, 0, 1.0]])
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.5
    scaled = nibabel.Nifti1Image(body().astype(np.float32), AFFINE)
    scaled.header.set_data_dtype(np.uint16)
    nifti(data / "plain.NII")
    nifti(data / "oblique.nii.gz", affine=oblique)
    nifti(data / "sheared.nii.gz", affine=sheared)
    nifti(data / "float64.nii.gz", body().astype(float), dtype=np.float64)
    nifti(data / "one_channel.nii.gz", body()[..., None])
    nifti(data / "three_slices.nii.gz", body((30, 26, 3)))
    nifti(data / "tiny.nii.gz", body((9, 8, 7)), np.diag([1.0, 1.0, 1.0, 1.0]))
    nifti(data / "air.nii.gz", np.full(SHAPE, -1000, dtype=np.int16))
    nibabel.save(scaled, data / "scaled.nii.gz")
    small_scans.dicom_series(data / "dicom", order=-1)
    shutil.copytree(data, tmp_path / "before")
    record, good = infer(data, out)
    assert good, [case for case in record["cases"] if case["status"] != "ok"]
    assert {case["case"] for case in record["cases"]} >= {"plain", "dicom", "tiny", "air"} and record["written"] == 10
    for case in record["cases"]:
        found, affine = labels_of(out / case["output"])
        if case["case"] != "dicom":
            source = nibabel.load(case["source"])
            assert found.shape == source.shape[:3] and np.allclose(affine, source.affine, atol=1e-5), case["case"]
    found, affine = labels_of(out / "dicom_seg.nii.gz")
    assert found.shape == SHAPE
    assert np.allclose(affine, [[-4, 0, 0, 50], [0, -4, 0, 40], [0, 0, 5, 10], [0, 0, 0, 1]])
    plain, _ = labels_of(out / "plain_seg.nii.gz")
    for same in ("float64", "one_channel"):
        assert np.array_equal(labels_of(out / f"{same}_seg.nii.gz")[0], plain)
    # the source folder is as it was
    before, after = (sorted((str(p.relative_to(d)), p.stat().st_size) for p in d.rglob("*.*")) for d in (tmp_path / "before", data))
    assert before == after


def test_broken_scans_are_named_and_stop_nothing(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    nifti(data / "good.nii.gz")
    nifti(data / "empty.nii.gz").write_bytes(b"")
    noise = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    truncated = nifti(data / "truncated.nii.gz", noise)
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    (data / "text.nii.gz").write_text("not an image")
    (data / "text.nrrd").write_text("not an image")
    (data / "text.dcm").write_text("not an image" * 50)
    nifti(data / "nan.nii.gz", np.full(SHAPE, np.nan, dtype=np.float32), dtype=np.float32)
    nifti(data / "flat.nii.gz", body()[:, :, 0])
    nifti(data / "series.nii.gz", np.stack([body()] * 3, -1))
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, AFFINE), data / "rgb.nii.gz")
    huge = small_scans.header_only(data / "huge.nii", (30000, 30000, 30000))
    with gzip.open(data / "huge2.nii.gz", "wb") as file:
        file.write(huge.read_bytes())
    small_scans.dicom_series(data / "gap")
    (data / "gap" / "1_2_3_4_7.dcm").unlink()
    record, good = infer(data, out)
    assert not good
    status = {case["case"]: case["status"] for case in record["cases"]}
    assert status.pop("good") == "ok" and set(status.values()) == {"failed"} and len(status) == 12
    assert record["written"] == 1 and record["failed"] == 12
    words = {"empty": "empty", "truncated": "truncated", "nan": "no voxel holds a number", "flat": "two-dimensional", "rgb": "colour"}
    words |= {"series": "3 volumes", "huge": "30000x30000x30000", "huge2": "30000x30000x30000", "gap": "slices are missing"}
    errors = {case["case"]: case.get("error", "") for case in record["cases"]}
    for name, expected in words.items():
        assert expected in errors[name], errors[name]
    assert sorted(path.name for path in out.iterdir()) == [
        ".records",
        "cases.csv",
        "good_seg.nii.gz",
        "index.html",
        "labels.ctbl",
        "labels.txt",
        "run.json",
    ]
    with open(out / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"good", *status}


def test_names_that_collide_are_kept_apart_and_hidden_files_left_alone(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for path in ("a/scan.nii.gz", "b/scan.nii.gz", "b/scan.nii", ".hidden.nii.gz", ".git/x.nii.gz", "labelsTr/a.nii.gz"):
        nifti(data / path)
    (data / "notes.txt").write_text("no scan")
    record, good = infer(data, out)
    assert good
    named = {Path(case["source"]).relative_to(data).as_posix(): case["case"] for case in record["cases"]}
    assert named.pop("b/scan.nii").startswith("b_scan_")
    assert named == {"a/scan.nii.gz": "a_scan", "b/scan.nii.gz": "b_scan"}
    assert len(list(out.glob("*_seg.nii.gz"))) == 3


def test_resume_does_what_is_missing_and_overwrite_does_all(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("one", "two"):
        nifti(data / f"{name}.nii.gz")
    infer(data, out)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    (out / "two_seg.nii.gz").unlink()
    (out / ".three_seg.nii.gz.123.unfinished").write_bytes(b"half")
    nifti(data / "three.nii.gz")
    record, good = infer(data, out)
    assert good and record["written"] == 3
    second = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    assert second["one_seg.nii.gz"] == first["one_seg.nii.gz"] and second["two_seg.nii.gz"] > first["two_seg.nii.gz"]
    assert len(second) == 3 and [path.name for path in out.glob(".*")] == [".records"]
    infer(data, out, overwrite=True)
    assert all(path.stat().st_mtime_ns > second[path.name] for path in out.glob("*_seg.nii.gz"))
    # a source that changed is done again, and one that broke keeps its old label map, marked
    before = (out / "one_seg.nii.gz").read_bytes()
    whole = (data / "one.nii.gz").read_bytes()
    (data / "one.nii.gz").write_bytes(b"broken")
    record, good = infer(data, out)
    one = next(case for case in record["cases"] if case["case"] == "one")
    assert not good and record["written"] == 2 and (out / "one_seg.nii.gz").read_bytes() == before
    assert one["status"] == "failed" and one["output"] is None and one["kept"]["output"] == "one_seg.nii.gz"
    (data / "one.nii.gz").write_bytes(whole)
    record, good = infer(data, out)
    assert good and record["written"] == 3 and "kept" not in record["cases"][0]


def test_options_write_what_they_promise(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    nifti(data / "scan.nii.gz")
    infer(data, out, flips=True, attention=True, probabilities=True, previews=True, keep_pieces={"kidney": 2, "spleen": 1})
    names = {path.name for path in out.iterdir()}
    assert {"scan_seg.nii.gz", "scan_probabilities.nii.gz", "scan_attention_level2.nii.gz"} <= names
    assert {"scan_preview.png", "scan_slices.jpg", "index.html"} <= names
    attention = nibabel.load(out / "scan_attention_level2.nii.gz")
    assert attention.shape == (*SHAPE, 2) and np.allclose(attention.affine, AFFINE)
    assert 0 <= attention.get_fdata().min() and attention.get_fdata().max() <= 1 and attention.get_fdata().std() > 0
    probabilities = nibabel.load(out / "scan_probabilities.nii.gz")
    assert probabilities.shape[3] == 4 and np.allclose(probabilities.get_fdata().sum(-1), 1, atol=0.01)
    assert np.allclose(np.linalg.norm(probabilities.affine[:3, :3], axis=0), 2.0)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}, {"pancreas": 0.1, "spleen": 0.5, "kidney": 0.1}),
        ({"background": 0, "tumour": 4, "node": 2, "bone": 1}, {"tumour": 0.1, "node": 0.1, "bone": 0.1}),
    ],
)
def test_the_pieces_that_stay_follow_the_labels(tmp_path: Path, infer, labels: dict, expected: dict) -> None:
    nifti(tmp_path / "data" / "a.nii.gz")
    record, good = infer(tmp_path / "data", tmp_path / "out", labels=labels)
    assert good and record["cases"][0]["settings"]["keep_pieces"] == expected


def test_evaluate_predicts_the_held_out_cases_and_scores_them(tmp_path: Path, infer) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for number in range(5):
        nifti(data / "imagesTr" / f"case_{number}.nii.gz")
        nifti(data / "labelsTr" / f"case_{number}.nii.gz", (body() == 150).astype(np.uint8), dtype=np.uint8)
    _, good = infer(data, out, configs=("inference.json", "overlays/inference/evaluate.json"))
    assert good
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert "pancreas" in json.dumps(summary)
    with open(out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["structure"] for row in rows} == {"pancreas", "spleen", "kidney"} and len({row["case"] for row in rows}) == 1


def test_evaluation_after_training_on_scores_the_new_weights(tmp_path: Path, infer) -> None:
    data, out, path = tmp_path / "data", tmp_path / "out", tmp_path / "model.pt"
    for number in range(5):
        nifti(data / "imagesTr" / f"case_{number}.nii.gz")
        nifti(data / "labelsTr" / f"case_{number}.nii.gz", (body() == 150).astype(np.uint8), dtype=np.uint8)
    network = AttentionUnet(channels=CHANNELS)
    both = {"configs": ("inference.json", "overlays/inference/evaluate.json"), "ckpt_path": str(path)}
    said = []
    for structure in (1, 2):  # weights that find one structure everywhere
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if name.startswith("heads"):
                    value.zero_()
                    if name.endswith("bias"):
                        value[structure] = 1
        torch.save(network.state_dict(), path)
        record, good = infer(data, out, **both)
        assert good and record["written"] == 1
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))["structures"]
        said.append({name: entry["dice"]["mean"] for name, entry in summary.items()})
    found = int((labels_of(out / record["cases"][0]["output"])[0] == 2).sum())
    pancreas = int((body() == 150).sum())
    assert said[0]["pancreas"] == pytest.approx(2 * pancreas / (found + pancreas)), "all of it, and the rest of the body"
    assert said[1]["pancreas"] == 0, "the label map of the weights before would score as before"
    (case,) = record["cases"]
    assert len(case["digest"]) == len(case["settings"]["weights"]) == 64 and record["settings"]["ckpt_path"] == str(path)
    assert {"labels", "spacing", "hu_range", "flips", "keep_pieces", "network", "precision"} <= case["settings"].keys()


def test_what_files_hold_besides_labels_makes_them_new(tmp_path: Path, infer, caplog) -> None:
    pytest.importorskip("highdicom")
    data, out = tmp_path / "data", tmp_path / "out"
    dicom_files.series(data / "patient")
    codes = {"spleen": {"code": "111", "scheme": "99LAB", "meaning": "mine"}}

    def seen(**keys) -> tuple[str, list[str]]:
        infer(data, out, dicom_seg=True, **keys)
        found = pydicom.dcmread(out / "patient_seg.dcm")
        types = [segment.SegmentedPropertyTypeCodeSequence[0].CodeValue for segment in found.SegmentSequence]
        # a label map has a segment for the background, too
        return found.SegmentationType, types[-3:]

    # pancreas, spleen, kidney
    first = seen(), json.loads((out / "run.json").read_text())["cases"][0]["ended"]
    assert first[0] == ("BINARY", ["15776009", "78961009", "64033007"])
    assert seen(dicom_seg_type="labelmap", structures=codes) == ("LABELMAP", ["15776009", "111", "64033007"])
    assert "dicom_seg_type, structures changed: 1 case is done again" in caplog.text
    before = (out / "patient_seg.dcm").read_bytes()
    assert seen(dicom_seg_type="labelmap", structures=codes)[0] == "LABELMAP"
    infer(data, out)
    assert (out / "patient_seg.dcm").read_bytes() == before, "without DICOM the codes are in no file"


# where scans are, who does them when, and how: `memory_gb`, `device` and `threads` change no more than the last bits
NOT_THE_RESULT = "bundle_root dataset_dir part device threads memory_gb watch watch_idle".split()


def test_what_a_key_changes_in_files_is_in_the_record(repository: Path) -> None:
    config = json.loads((repository / "configs" / "inference.json").read_text())
    components = (
        "displayable_configs trained network calibrated scans imports overlays code_root initialize run inference finalize handlers"
    )
    keys = {key for key, value in config.items() if not (isinstance(value, dict) and "_target_" in value)} - set(components.split())
    assert keys - references(config["record"]) == set(NOT_THE_RESULT)


def test_pieces_that_are_kept_by_number_count_where_they_are_kept(tmp_path: Path, infer, caplog) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    nifti(data / "ct.nii.gz")
    infer(data, out)
    infer(data, out, usual_pieces={"pancreas": 1, "spleen": 1, "kidney": 1})
    assert "done again" not in caplog.text
    both = {"displayable_configs#largest_component": True}
    infer(data, out, **both)
    infer(data, out, usual_pieces={"pancreas": 1, "spleen": 1, "kidney": 1}, **both)
    assert caplog.text.count("largest_component changed: 1 case is done again") == 2


def test_steps_of_ones_own_make_results_new(tmp_path: Path, infer, caplog) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    nifti(data / "ct.nii.gz")
    infer(data, out)
    for _ in range(2):
        record, _ = infer(data, out, **{"crop#margin": 30})
    assert caplog.text.count("own_steps changed: 1 case is done again") == 1
    assert record["cases"][0]["settings"]["own_steps"]["crop"]["margin"] == 30
    infer(data, out)
    assert caplog.text.count("own_steps changed: 1 case is done again") == 2


def test_evaluate_keeps_cases_apart_whose_labels_have_one_name(tmp_path: Path, infer) -> None:
    """KiTS: every case is a folder with imaging.nii.gz and segmentation.nii.gz."""
    data, out = tmp_path / "data", tmp_path / "out"
    entries = []
    for number in range(3):
        nifti(data / f"case {number}" / "imaging.nii.gz")
        nifti(data / f"case {number}" / "segmentation.nii.gz", (body() == 150).astype(np.uint8), dtype=np.uint8)
        entries.append({"image": f"case {number}/imaging.nii.gz", "label": f"case {number}/segmentation.nii.gz"})
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    options = {"section": "all", "datalist": str(tmp_path / "list.json")}
    assert infer(data, out, configs=("inference.json", "overlays/inference/evaluate.json"), **options)[1]
    with open(out / "metrics.csv", newline="") as file:
        cases = [row["case"] for row in csv.DictReader(file)]
    assert sorted(set(cases)) == [f"case_{number}_segmentation" for number in range(3)]


def test_the_label_map_has_both_forms_of_its_scan(tmp_path: Path, infer) -> None:
    """nibabel takes the sform, ITK the qform: where they disagree, the label map must lie on the scan for both."""
    moved = AFFINE.copy()
    moved[:3, 3] += (15, -10, 20)
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.set_sform(AFFINE, 2)
    image.set_qform(moved, 1)
    (tmp_path / "data").mkdir()
    nibabel.save(image, tmp_path / "data" / "scan.nii.gz")
    assert infer(tmp_path / "data", tmp_path / "out", attention=True)[1]
    for name in ("scan_seg.nii.gz", "scan_attention_level2.nii.gz"):
        header = nibabel.load(tmp_path / "out" / name).header
        for found, expected, code in ((header.get_sform(coded=True), AFFINE, 2), (header.get_qform(coded=True), moved, 1)):
            assert found[1] == code and np.allclose(found[0], expected, atol=1e-4), name


def test_no_scan_is_a_readable_error(tmp_path: Path, infer) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(Exception, match="scans_now") as caught:
        infer(tmp_path / "data", tmp_path / "out")
    chain, link = "", caught.value
    while link is not None:
        chain, link = chain + str(link), link.__cause__ or link.__context__
    assert "no scan is in this folder" in chain
