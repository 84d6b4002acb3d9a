"""The doctor: a line a problem with file and fix, tables, a summary, a picture."""

from __future__ import annotations

import csv
import gzip
import json
import time

import nibabel
import numpy as np
import pytest

from bundle.data.checks.check import measure
from bundle.data.checks.doctor import check
from bundle.data.datalist import find_cases
from bundle.errors import UserError

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}


@pytest.fixture
def examine(tmp_path, capsys, monkeypatch):
    """`examine(folder)` runs the doctor and gives exit code, what it said, and its findings by code; `picture`: it also draws."""

    def run(folder, picture=True, **arguments):
        if not picture:
            monkeypatch.setattr("bundle.data.checks.check_report.draw", lambda *arguments: None)
        arguments = {"labels": LABELS, "output_dir": str(tmp_path / "report"), "patch_size": (8, 8, 8), **arguments}
        code = check(str(folder), **arguments)
        with open(tmp_path / "report/findings.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        return code, capsys.readouterr().out, {row["code"]: row for row in rows}

    return run


def test_healthy_data(msd, examine, tmp_path):
    code, said, found = examine(msd())
    assert (code, found) == (0, {})
    assert "6 cases, 6 with labels: 0 errors, 0 warnings" in said
    summary = json.loads((tmp_path / "report/summary.json").read_text(encoding="utf-8"))
    assert summary["spacing_mm"]["z"] == {"min": 2.0, "median": 2.0, "max": 2.0}
    assert summary["extent_mm"]["x"]["median"] == 48.0 and summary["size"]["y"]["max"] == 20.0
    with open(tmp_path / "report/cases.csv", newline="") as file:
        first = next(csv.DictReader(file))
    voxels = int((np.asarray(nibabel.load(first["label"]).dataobj) == 1).sum())
    assert float(first["pancreas_ml"]) == pytest.approx(voxels * 8 / 1000)
    assert (tmp_path / "report/distribution.png").read_bytes()[:4] == b"\x89PNG"


def test_values_that_leave_voxels_open_are_no_mistake(msd, save, scan, examine):
    """As a training takes them; without the option the advice was to count them as background."""
    folder = msd()
    _, label = scan(0)
    label = label.astype(np.uint8)
    label[0, 0, 0] = 255
    save(folder / "labelsTr" / "case_0.nii.gz", label)
    code, _, found = examine(folder, picture=False)
    assert code == 1 and "255 (1 voxel)" in found["values"]["problem"]
    code, _, found = examine(folder, picture=False, may_be={"255": ["pancreas", "spleen"]})
    assert (code, found) == (0, {})
    for wrong, words in (
        ({"255": ["liver"]}, r"may_be: \['liver'\] is no structure"),
        ({"300": ["spleen"]}, "may_be: .*values from 1 to 255"),
    ):
        with pytest.raises(UserError, match=words):
            examine(folder, picture=False, may_be=wrong)


def test_sheared_affine(msd, save, scan, examine):
    folder = msd()
    sheared = np.diag([2.0, 2.0, 2.0, 1.0])
    sheared[1, 2] = 2 * np.tan(np.radians(15))
    for place, array in zip(("imagesTr", "labelsTr"), scan(0), strict=True):
        save(folder / place / "case_0.nii.gz", array, sheared)
    code, said, found = examine(folder, picture=False)
    assert code == 0 and "15.0 degrees off a right angle" in found["sheared"]["problem"] and "case_0" in found["sheared"]["file"]
    assert "warning" in said


def test_rotation_is_no_shear(msd, save, scan, examine):
    folder = msd()
    turned = np.eye(4)
    angle = np.radians(20)
    turned[:3, :3] = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ np.diag([1, 2, 3])
    for place, array in zip(("imagesTr", "labelsTr"), scan(0), strict=True):
        save(folder / place / "case_0.nii.gz", array, turned)
    assert examine(folder, picture=False)[2] == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hu: (hu + 1024).astype(np.uint16), "no value is below 0"),
        (lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255).astype(np.uint8), "windowed to 8 bits"),
        (lambda hu: (hu / 500).astype(np.float32), "looks normalised"),
        (lambda hu: (hu * 10 - 9000).astype(np.int16), "soft tissue"),
    ],
)
def test_values_that_are_no_ct(msd, save, scan, examine, change, said):
    folder = msd()
    save(folder / "imagesTr/case_0.nii.gz", change(scan(0)[0].astype(float)))
    assert said in examine(folder, picture=False)[2]["HU"]["problem"]


def test_label_flipped_on_its_image(msd, save, scan, examine):
    folder = msd()
    image, label = scan(0, (40, 36, 30))
    save(folder / "imagesTr/case_0.nii.gz", image)
    save(folder / "labelsTr/case_0.nii.gz", label[:, ::-1])
    assert "when it is flipped along y" in examine(folder, picture=False)[2]["flipped"]["problem"]


def test_patch_missing_structure_and_duplicate(msd, save, scan, examine):
    folder = msd()
    save(folder / "labelsTr/case_1.nii.gz", scan(1)[1] * np.uint8(scan(1)[1] == 1))
    image, _ = scan(2)
    save(folder / "imagesTs/again.nii.gz", image[::-1])
    code, _, found = examine(folder, patch_size=(8, 8, 20))
    assert found["patch"]["problem"] == "is smaller than the patch: z 32 of 40 mm"
    assert found["structure"]["case"] == "case_1" and found["structure"]["problem"] == "has no spleen"
    found_of_three = examine(folder, picture=False, labels={**LABELS, "kidney": 3})[2]
    assert found_of_three["structure"]["problem"] == "has no spleen"  # kidney: nowhere at all
    assert "case_2.nii.gz" in found["duplicate"]["problem"] + found["duplicate"]["file"]
    assert code == 0


def test_volume_out_of_the_ordinary(msd, save, scan, examine):
    folder = msd(9)
    label = scan(4)[1]
    label[:, :, 1:][label[:, :, 1:] == 1] = 0
    label[5, 5, 5] = 1
    save(folder / "labelsTr/case_4.nii.gz", label)
    assert examine(folder)[2]["volume"]["case"] == "case_4"


def test_errors_of_every_kind_in_one_look(msd, save, scan, examine):
    folder = msd()
    (folder / "imagesTr/case_0.nii.gz").write_bytes(b"nothing")
    save(folder / "labelsTr/case_1.nii.gz", scan(1)[1][:-1])
    (folder / "labelsTr/case_2.nii.gz").unlink()
    save(folder / "labelsTr/case_3.nii.gz", scan(3)[1] + np.float32(0.25))
    code, _, found = examine(folder)
    assert code == 1 and {"unreadable", "grid", "listing", "fraction"} <= set(found)
    assert all(row["file"] and row["problem"] and row["fix"] for row in found.values())


def test_labels_from_the_prepared_set_and_advice_from_dataset_json(msd, examine):
    folder = msd()
    (folder / "labels.json").write_text(json.dumps({"labels": {"background": 0, "organs": [1, 2]}}))
    assert "(from " + str(folder / "labels.json") in examine(folder, labels=None)[1]
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 1, "pancreas": 2}}))
    code, said, _ = examine(folder)
    assert code == 1 and 'as dataset.json has them: "labels": {"background": 0, "spleen": 1, "pancreas": 2}' in said


def test_empty_folder(tmp_path, examine):
    (tmp_path / "empty").mkdir()
    code, said, found = examine(tmp_path / "empty")
    assert code == 1 and "the folder is empty" in found["listing"]["problem"] and "0 cases" in said


def test_images_that_dataset_json_forgets(msd, examine):
    folder = msd()
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(5)]
    (folder / "dataset.json").write_text(json.dumps({"training": entries}))
    assert "does not list 1 image in its folders (case_5.nii.gz)" in examine(folder)[2]["unlisted"]["problem"]


def test_without_a_place_for_the_report_the_result_is_shown_all_the_same(msd, save, scan, tmp_path, monkeypatch, capsys):
    folder = msd(5)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "runs").write_text("a file where the folder of reports would be")
    options = {"labels": LABELS, "patch_size": (8, 8, 8)}
    assert check(str(folder), **options) == 0
    said = capsys.readouterr().out
    assert "5 cases, 5 with labels: 0 errors, 0 warnings" in said
    assert "warning: no report is written (runs" in said and "--output_dir" in said
    save(folder / "labelsTr/case_0.nii.gz", scan(0)[1][:-1])
    assert check(str(folder), **options) == 1
    said = capsys.readouterr().out
    assert "error: " in said and "its grid is 23x20x16" in said and "1 error, 0 warnings" in said
    # warnings beyond those that are shown are in the report, and all on the screen where there is none
    options["patch_size"] = (25, 8, 8)
    check(str(msd(7)), **options)
    said = capsys.readouterr().out
    assert said.count("smaller than") == 7 and "more of the kind" not in said and "findings.csv" not in said
    check(str(msd(7)), **options, output_dir=str(tmp_path / "report"))
    said = capsys.readouterr().out
    assert said.count("smaller than") == 5 and "2 more of the kind 'patch' (see findings.csv)" in said


def test_verb_and_exit_code(msd, tmp_path, warm_python):
    out = warm_python("-m", "bundle", "check", str(msd()), f"--labels={json.dumps(LABELS)}", f"--output_dir={tmp_path / 'out'}")
    assert out.returncode == 0 and "6 cases" in out.stdout, out.stderr


@pytest.mark.slow
def test_a_case_of_clinical_size_costs_little_more_than_unpacking_it(tmp_path, save):
    """Against unpacking in the same minute, as the machine may be busy: measured 0.47 s against 0.22 s of one core."""
    image = np.random.default_rng(0).normal(0, 15, (512, 512, 120)).astype(np.int16)
    image[:80] = -1024
    label = np.zeros(image.shape, np.uint8)
    label[200:260, 200:260, 40:80] = 1
    save(tmp_path / "imagesTr/case.nii.gz", image)
    save(tmp_path / "labelsTr/case.nii.gz", label)
    unpacking, measuring = [], []
    for _ in range(3):
        start = time.process_time()
        with gzip.open(tmp_path / "imagesTr/case.nii.gz") as file:
            while file.read(1 << 22):
                pass
        middle = time.process_time()
        measure(find_cases(str(tmp_path)), num_workers=1)
        unpacking.append(middle - start)
        measuring.append(time.process_time() - middle)
    print(f"{min(measuring):.2f} s of one core for a case of 512x512x120, {min(unpacking):.2f} s to unpack its image")
    assert min(measuring) < 6 * min(unpacking)


@pytest.mark.parametrize(
    "given",
    [{"patch_size": 5}, {"patch_size": (1, 2)}, {"spacing": "many"}, {"spacing": 0}, {"fold": "x"}, {"num_folds": 0}, {"labels": 7}],
)
def test_arguments_of_another_type_are_one_line(msd, tmp_path, given):
    with pytest.raises(UserError) as caught:
        check(str(msd(2)), output_dir=str(tmp_path / "out"), **given)
    assert next(iter(given)) in caught.value.where and "\n" not in str(caught.value) and not (tmp_path / "out").exists()
