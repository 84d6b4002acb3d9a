"""Scoring folders: matching, axis orders, refusals, the two files written."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from bundle.errors import UserError
from bundle.evaluation import score as module
from bundle.evaluation.score import score, summarise

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}
AFFINE = np.array([[0.8, 0, 0, -10], [0, 0.9, 0, 5], [0, 0, 3, 100], [0, 0, 0, 1.0]])


def _map(seed: int) -> np.ndarray:
    array = np.zeros((12, 10, 8), np.uint8)
    low = np.random.default_rng(seed).integers(1, 4, 3)
    array[low[0] : low[0] + 4, low[1] : low[1] + 3, low[2] : low[2] + 2] = 1
    array[8:11, 5:9, 3:6] = 2
    return array


def _save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def _rows(folder: Path) -> list[dict]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three cases; the predictions of case_b and case_c are one voxel off, case_c's reference lacks the spleen."""
    for index, name in enumerate(("case_a", "case_b", "case_c")):
        reference = _map(index)
        prediction = reference.copy() if name == "case_a" else np.roll(reference, 1, 0)
        if name == "case_c":
            reference[reference == 2] = 0
        _save(reference, tmp_path / "labelsTr" / f"{name}.nii.gz")
        _save(prediction, tmp_path / "predictions" / f"{name}_seg.nii.gz")
    return tmp_path


def test_writes_a_row_per_case_and_structure(cohort: Path) -> None:
    summary = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    rows = _rows(cohort / "out")
    assert list(rows[0]) == [
        "case",
        "structure",
        "dice",
        "precision",
        "recall",
        "assd_mm",
        "hd95_mm",
        "mesh_mm",
        "volume_ml",
        "reference_ml",
    ]
    assert [(row["case"], row["structure"]) for row in rows] == [(f"case_{c}", s) for c in "abc" for s in ("pancreas", "spleen")]
    assert rows[0]["dice"] == "1" and float(rows[2]["dice"]) == pytest.approx(0.75)  # 4 of 4+4 layers: 2 * 3 / 8
    assert float(rows[0]["volume_ml"]) == pytest.approx(24 * 0.8 * 0.9 * 3 / 1000, rel=1e-5)
    assert [rows[5][name] for name in ("dice", "recall", "hd95_mm")] == ["", "", ""] and float(rows[5]["volume_ml"]) > 0
    assert json.loads((cohort / "out" / "summary.json").read_text(encoding="utf-8")) == summary
    spleen = summary["structures"]["spleen"]
    assert (spleen["dice"]["n"], spleen["absent"], spleen["false_positive"], spleen["missed"]) == (2, 1, 1, 0)
    assert spleen["dice"]["mean"] == pytest.approx((1 + 2 / 3) / 2) and spleen["dice"]["sd"] == pytest.approx(np.std([1, 2 / 3], ddof=1))
    assert sorted(path.name for path in (cohort / "out").iterdir()) == ["metrics.csv", "summary.json"]


@pytest.mark.parametrize("codes", ["LPS", "LAI", "SAR", "PIL"])
def test_axis_order_of_the_prediction_does_not_matter(cohort: Path, codes: str) -> None:
    expected = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    for path in (cohort / "predictions").glob("*.nii.gz"):
        image = nibabel.load(path)
        turned = image.as_reoriented(ornt_transform(nibabel.io_orientation(image.affine), axcodes2ornt(codes)))
        _save(np.asarray(turned.dataobj), cohort / "turned" / path.name, turned.affine)
    assert score(cohort / "turned", cohort / "labelsTr", cohort / "out2", LABELS, progress=False) == expected


def test_other_grids_are_refused_all_at_once(cohort: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.4  # half a voxel
    _save(_map(0), cohort / "predictions" / "case_a_seg.nii.gz", shifted)
    _save(_map(1)[:-1], cohort / "predictions" / "case_b_seg.nii.gz")
    with pytest.raises(UserError) as error:
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    text = str(error.value)
    assert "2 of 3" in text and "case_a_seg.nii.gz" in text and "11x10x8 voxels" in text and "Fix:" in text
    assert not (cohort / "out").exists()


def test_rounded_affines_are_the_same_grid(cohort: Path) -> None:
    _save(_map(0), cohort / "predictions" / "case_a_seg.nii.gz", AFFINE + 1e-4)
    assert score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)["cases"] == 3


def test_formats_and_stored_types(cohort: Path) -> None:
    """A float map of whole numbers, a scaled NIfTI and an NRRD all give what the plain map gives."""
    sitk = pytest.importorskip("SimpleITK")
    expected = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    folder = cohort / "predictions"
    array = np.asarray(nibabel.load(folder / "case_a_seg.nii.gz").dataobj)
    _save(array.astype(np.float32), folder / "case_a_seg.nii.gz")
    stored = np.roll(_map(1), 1, 0).astype(np.int16) * 4 + 8
    scaled = nibabel.Nifti1Image(stored, AFFINE)
    scaled.header.set_slope_inter(1, 0)
    content = bytearray(scaled.to_bytes())
    content[112:120] = np.array([0.25, -2], np.float32).tobytes()  # scl_slope and scl_inter of NIfTI-1
    (folder / "case_b_seg.nii.gz").unlink()
    (folder / "case_b_seg.nii").write_bytes(content)
    sitk.WriteImage(sitk.ReadImage(str(folder / "case_c_seg.nii.gz")), str(folder / "case_c_seg.nrrd"))
    (folder / "case_c_seg.nii.gz").unlink()
    assert score(folder, cohort / "labelsTr", cohort / "out2", LABELS, progress=False) == expected


def test_probabilities_are_no_labels(cohort: Path) -> None:
    _save(_map(0) * 0.3, cohort / "predictions" / "case_a_seg.nii.gz")
    with pytest.raises(UserError, match="whole numbers"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)


def test_truncated_file_is_named(cohort: Path) -> None:
    path = cohort / "predictions" / "case_b_seg.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"case_b_seg.nii.gz: the file is truncated or damaged"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)


def test_a_case_on_one_side_only_is_an_error_with_its_name(cohort: Path, capsys: pytest.CaptureFixture) -> None:
    (cohort / "predictions" / "case_b_seg.nii.gz").rename(cohort / "predictions" / "other_seg.nii.gz")
    with pytest.raises(UserError, match=r"no prediction for case_b; no reference for other.*--allow_missing"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    (cohort / "predictions" / "other_seg.nii.gz").unlink()
    with pytest.raises(UserError, match="not every case is on both sides: no prediction for case_b"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    assert not (cohort / "out").exists()
    with pytest.raises(UserError, match="case_b"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, cases=["case_a", "case_b"], progress=False)
    with pytest.raises(UserError, match="no file name is on both sides"):
        score({"other": cohort / "predictions" / "case_a_seg.nii.gz"}, cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    summary = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, allow_missing=True)
    assert (summary["references_without_prediction"], summary["predictions_without_reference"]) == (["case_b"], [])
    assert summary["cases"] == 2 and "1 references without prediction (case_b)" in capsys.readouterr().out


def test_one_reference_by_the_name_of_seg_hides_no_other(cohort: Path) -> None:
    expected = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    (cohort / "labelsTr" / "case_c.nii.gz").rename(cohort / "labelsTr" / "case_c_seg.nii.gz")
    assert score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False) == expected


def test_names_of_nnunet_and_slicer_find_their_references(cohort: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    expected = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    folder = cohort / "predictions"
    (folder / "case_a_seg.nii.gz").rename(folder / "case_a_0000_seg.nii.gz")
    sitk.WriteImage(sitk.ReadImage(str(folder / "case_b_seg.nii.gz")), str(folder / "case_b.seg.nrrd"))
    (folder / "case_b_seg.nii.gz").unlink()
    assert score(folder, cohort / "labelsTr", cohort / "out", LABELS, progress=False) == expected
    # numbers that only look like a channel stay what they are
    for side in ("predictions", "labelsTr"):
        for index, path in enumerate(sorted((cohort / side).iterdir())):
            ending = ".seg.nrrd" if path.name.endswith("nrrd") else ".nii.gz"
            path.rename(cohort / side / f"scan_{index:04d}{ending}")
    score(folder, cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    assert [row["case"] for row in _rows(cohort / "out")][::2] == ["scan_0000", "scan_0001", "scan_0002"]


def test_results_find_the_references_of_scans_whose_names_they_spell_otherwise(cohort: Path) -> None:
    expected = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)
    folder, references = cohort / "predictions", cohort / "labelsTr"
    # a blank; letters with their accents apart, as macOS stores them; the same name in two folders
    names = {"case_a": ("a b", "a_b"), "case_b": ("e\u0301", "\u00e9")}
    for case, (scan, result) in names.items():
        (references / f"{case}.nii.gz").rename(references / f"{scan}.nii.gz")
        (folder / f"{case}_seg.nii.gz").rename(folder / f"{result}_seg.nii.gz")
    for patient in ("p1", "p2"):
        (references / patient).mkdir()
        shutil.copy(references / "case_c.nii.gz", references / patient / "x.nii.gz")
        shutil.copy(folder / "case_c_seg.nii.gz", folder / f"{patient}_x_seg.nii.gz")
    (references / "case_c.nii.gz").unlink()
    (folder / "case_c_seg.nii.gz").unlink()
    found = score(folder, references, cohort / "out", LABELS, progress=False)
    assert [row["case"] for row in _rows(cohort / "out")][::2] == ["a b", "e\u0301", "p1/x", "p2/x"]
    assert (expected["cases"], found["cases"]) == (3, 4)
    # two that would be called the same are not guessed at
    shutil.copy(references / "a b.nii.gz", references / "a,b.nii.gz")
    with pytest.raises(UserError, match=r"no prediction for a b, a,b; no reference for a_b"):
        score(folder, references, cohort / "out", LABELS, progress=False)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("side", ["predictions", "references"])
def test_values_above_255_and_below_0_are_seen(tmp_path: Path, side: str, dtype: type, capsys: pytest.CaptureFixture) -> None:
    """One side holds 300 in place of 1, and -1: no overlap, and a line that says which values no label names."""
    plain, strange = _map(0), _map(0).astype(dtype)
    strange[strange == 1], strange[0, 0, 0] = 300, -1
    maps = (strange, plain) if side == "predictions" else (plain, strange)
    for folder, array in zip(("predictions", "references"), maps, strict=True):
        path = tmp_path / folder / "a.nii.gz"
        path.parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(array, AFFINE, dtype=array.dtype), path)
    summary = score(tmp_path / "predictions", tmp_path / "references", tmp_path / "out", LABELS)
    assert summary["values_without_label"] == {"predictions": [], "references": [], side: [-1, 300]}
    assert f"The {side} hold values that no label names, taken for background: -1, 300" in capsys.readouterr().out
    assert summary["structures"]["spleen"]["dice"]["mean"] == 1.0
    assert summary["structures"]["pancreas"]["absent" if side == "references" else "missed"] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e12, 0.998])
def test_values_that_are_not_labels_are_refused_with_the_file(cohort: Path, value: float) -> None:
    array = _map(0).astype(np.float64)
    array[0, 0, 0] = value
    _save(array, cohort / "predictions" / "case_a_seg.nii.gz")
    with pytest.raises(UserError, match=r"case_a_seg.nii.gz: holds the value"):
        score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)


def test_voxels_that_nobody_labelled_are_left_out(tmp_path: Path) -> None:
    """nnU-Net's `ignore`: 4 of the prediction's 8 pancreas voxels lie where the reference says 9; so 4 of 4 + 4, not 4 of 8 + 4."""
    reference, prediction = np.zeros((2, 6, 6, 6), np.uint8)
    reference[1, 1, 1:5], reference[2, 1, 1:5], prediction[1:3, 1, 1:5] = 1, 9, 1
    _save(reference, tmp_path / "labelsTr" / "a.nii.gz")
    _save(prediction, tmp_path / "predictions" / "a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "pancreas": 1, "ignore": 9}}))
    summary = score(tmp_path / "predictions", tmp_path / "labelsTr", tmp_path / "out", progress=False)
    assert list(summary["structures"]) == ["pancreas"] and summary["ignored_values"] == [9]
    assert summary["values_without_label"] == {"predictions": [], "references": []}
    (row,) = _rows(tmp_path / "out")
    assert (row["dice"], row["precision"], row["hd95_mm"]) == ("1", "1", "0") and row["volume_ml"] == row["reference_ml"]


def test_other_outputs_beside_the_segmentations_are_left_alone(cohort: Path) -> None:
    _save(_map(0) * 0.3, cohort / "predictions" / "case_a_confidence.nii.gz")
    _save(_map(0), cohort / "predictions" / "._case_a_seg.nii.gz")
    assert score(cohort / "predictions", cohort / "labelsTr", cohort / "out", LABELS, progress=False)["cases"] == 3


def test_labels_come_from_the_data_set_where_it_says_them(cohort: Path) -> None:
    (cohort / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "2": "liver"}}))
    summary = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", progress=False)
    assert list(summary["structures"]) == ["liver"] and summary["labels_from"].endswith("dataset.json")
    (cohort / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "gland": 1}}))
    summary = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", progress=False)
    assert list(summary["structures"]) == ["gland"]
    one = cohort / "labelsTr" / "case_a.nii.gz"
    for references in (one, [one], {"case_a": one}):
        predictions = cohort / "predictions" / one.name.replace(".nii", "_seg.nii")
        summary = score([predictions], references, cohort / "out", progress=False)
        assert list(summary["structures"]) == ["gland"], "the block beside a file counts as that beside its folder"
    _save(_map(0), cohort / "elsewhere" / "case_b.nii.gz")
    two = [one, cohort / "elsewhere" / "case_b.nii.gz"]
    assert "gland" not in score(two, two, cohort / "out", progress=False)["structures"]


def test_values_without_a_label_are_told(cohort: Path, capsys: pytest.CaptureFixture) -> None:
    array = _map(0)
    array[0, 0, 0] = 7
    _save(array, cohort / "predictions" / "case_a_seg.nii.gz")
    summary = score(cohort / "predictions", cohort / "labelsTr", cohort / "out", {"background": 0, "pancreas": 1})
    assert summary["values_without_label"] == {"predictions": [2, 7], "references": [2]}
    assert "The predictions hold values that no label names, taken for background: 2, 7" in capsys.readouterr().out


def test_two_files_are_one_case(cohort: Path) -> None:
    pair = cohort / "predictions" / "case_a_seg.nii.gz", cohort / "labelsTr" / "case_b.nii.gz"
    assert score(*pair, cohort / "out", LABELS, progress=False)["cases"] == 1


def test_summary_of_no_value_and_of_one() -> None:
    empty = dict.fromkeys(module.COLUMNS)
    rows = [
        {"case": "a", "structure": "pancreas", **empty, "volume_ml": 0.0, "reference_ml": 0.0},
        {"case": "a", "structure": "spleen", **empty, "dice": 0.5, "volume_ml": 1.0, "reference_ml": 2.0},
    ]
    structures = summarise(rows)["structures"]
    assert structures["pancreas"]["dice"] == {"mean": None, "sd": None, "median": None, "n": 0}
    assert structures["spleen"]["dice"] == {"mean": 0.5, "sd": None, "median": 0.5, "n": 1}


def test_expert_labels_against_themselves_moved(shared_data: Path, tmp_path: Path) -> None:
    """A real label map, every second voxel of it, against itself moved by one voxel along x: every distance is at most that voxel."""
    path = sorted((shared_data / "labels" / "multiorgan").glob("case_*.nii.gz"))[0]
    image = nibabel.load(path).slicer[::2, ::2, ::2]
    array = np.asarray(image.dataobj).astype(np.uint8)
    path = tmp_path / "references" / path.name
    _save(array, path, image.affine)
    _save(np.roll(array, 1, 0), tmp_path / "predictions" / f"{path.name.split('.')[0]}_seg.nii.gz", image.affine)
    labels = {"background": 0, "spleen": 1, "pancreas": 2}
    entry = score(tmp_path / "predictions", [path], tmp_path / "out", labels, progress=False)["structures"]["spleen"]
    assert 0 < entry["assd_mm"]["mean"] < entry["hd95_mm"]["mean"] <= image.header.get_zooms()[0] * 1.001
    assert entry["volume_ml"]["mean"] == pytest.approx(entry["reference_ml"]["mean"])


def test_held_out_labels_of_one_name_in_several_folders_are_scored(tmp_path: Path) -> None:
    """What the overlay `evaluate` does: entries of the data list, label maps by the names of the cases, references by them too."""
    from bundle.data.scans import listed_scans, reference_labels

    for number in (1, 2):
        _save(_map(number), tmp_path / "data" / f"s{number}" / "label_seg.nii.gz")
        _save(_map(number), tmp_path / "data" / f"s{number}" / "ct.nii.gz")
    labelled = [{"image": f"{tmp_path}/data/s{n}/ct.nii.gz", "label": f"{tmp_path}/data/s{n}/label_seg.nii.gz"} for n in (1, 2)]
    scans = listed_scans(labelled, tmp_path / "data")
    for scan, number in zip(scans, (1, 2), strict=True):
        _save(_map(number), tmp_path / "eval" / f"{scan['case']}_seg.nii.gz")
    written = sorted((tmp_path / "eval").iterdir())
    summary = score(written, reference_labels(scans), tmp_path / "out", LABELS, progress=False)
    assert summary["cases"] == 2 and summary["structures"]["pancreas"]["dice"]["mean"] == 1.0


def test_a_partly_labelled_case_is_scored_for_what_its_reference_has(cohort: Path) -> None:
    """case_c's reference lacks the spleen, which the prediction finds: a false piece only where all structures are labelled."""
    folders = cohort / "predictions", cohort / "labelsTr", cohort / "out"
    whole = score(*folders, LABELS, progress=False)
    partly = score(*folders, LABELS, labelled={"case_c": ["liver", "pancreas"]}, progress=False)
    assert whole["structures"]["spleen"]["false_positive"] == 1 and "partly_labelled" not in whole
    assert partly["structures"]["spleen"]["false_positive"] == 0 and partly["partly_labelled"] == {"case_c": ["pancreas"]}
    assert [(row["case"], row["structure"]) for row in _rows(cohort / "out")][-2:] == [("case_b", "spleen"), ("case_c", "pancreas")]
    assert partly["structures"]["pancreas"]["dice"] == whole["structures"]["pancreas"]["dice"]
    with pytest.raises(UserError, match="--labelled: case_d is no reference"):
        score(*folders, LABELS, labelled={"case_d": ["pancreas"]}, progress=False)
    with pytest.raises(UserError, match="--labelled: case_c has none of pancreas, spleen"):
        score(*folders, LABELS, labelled={"case_c": ["pancras"]}, progress=False)
