"""Ranges that are learned: intervals worked out by hand, and a file that comes back."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from bundle.errors import UserError
from bundle.quality.learn_ranges import learn_ranges, ranges
from bundle.quality.measure import Structure
from bundle.quality.ranges import load_ranges, usual, usual_offsets


def case(volume: float, hu: float = 100.0, x: float = 0.0, **options) -> dict[str, Structure]:
    fields = dict(mean_hu=hu, centroid_mm=(x, 0.0, 0.0), touches_border=False, components=1, piece_ml=(volume,)) | options
    still = dict(mean_hu=50.0, centroid_mm=(0.0, 0.0, 0.0), touches_border=False, components=1, piece_ml=(10.0,))
    return {"a": Structure("a", volume, **fields), "b": Structure("b", 10.0, **still)}


def test_intervals_are_those_of_students_t():
    # log volumes -2, -1, 0, 1, 2 around log 100: mean log 100, sd sqrt(2.5); t(0.995, 4 degrees) = 4.60409487
    learned = learn_ranges([case(100 * np.exp(k), hu=100 + 10 * k, x=20.0 * k) for k in (-2, -1, 0, 1, 2)], ["a", "b"])
    half = 4.60409487 * np.sqrt(2.5) * np.sqrt(1.2)
    assert learned["structures"]["a"]["volume_ml"] == pytest.approx([100 * np.exp(-half), 100 * np.exp(half)], rel=1e-3, abs=0.01)
    # t(0.999, 4) = 7.17318222
    half = 7.17318222 * np.sqrt(2.5) * np.sqrt(1.2)
    assert learned["structures"]["a"]["mean_hu"] == pytest.approx([100 - 10 * half, 100 + 10 * half], abs=0.1)
    assert learned["offsets_mm"]["a"]["b"][0] == pytest.approx([-20 * half, 20 * half], abs=0.1)
    assert learned["offsets_mm"]["a"]["b"][1] == [-15.0, 15.0], "equal positions still leave 15 mm"


def test_cut_off_structures_and_too_few_cases_teach_nothing():
    learned = learn_ranges([case(100.0)] * 4 + [case(3.0, touches_border=True)] * 4, ["a", "b"])
    assert "volume_ml" not in learned["structures"]["a"] and "mean_hu" in learned["structures"]["a"]
    assert learned["structures"]["b"]["volume_ml"] == pytest.approx([10 * np.exp(-0.1), 10 * np.exp(0.1)], abs=0.01)


def test_pieces_are_those_of_nine_cases_in_ten():
    two = {"components": 2, "piece_ml": (60.0, 40.0)}
    assert learn_ranges([case(100.0)] * 9 + [case(100.0, **two)], ["a"])["structures"]["a"]["pieces"] == 1
    assert learn_ranges([case(100.0)] * 2 + [case(100.0, **two)] * 8, ["a"])["structures"]["a"]["pieces"] == 2


def test_the_verb_reads_an_msd_folder_and_the_file_comes_back(tmp_path, abdomen):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        # merged values: the right kidney is stored as 4
        labels = abdomen.labels.copy()
        labels[20:][labels[20:] == 3] = 4
        nibabel.save(nibabel.Nifti1Image(labels, abdomen.affine), tmp_path / "labelsTr" / f"c{index}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(abdomen.image, abdomen.affine), tmp_path / "imagesTr" / f"c{index}.nii.gz")
    block = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": [3, 4]}
    ranges(str(tmp_path), str(tmp_path / "out" / "ranges.json"), labels=block)
    learned = load_ranges(tmp_path / "out" / "ranges.json")
    kidneys = 2 * 4 * 4 * 6 * 0.2
    assert learned["structures"]["kidney"]["pieces"] == 2
    assert learned["structures"]["kidney"]["volume_ml"] == pytest.approx([kidneys * np.exp(-0.1), kidneys * np.exp(0.1)], abs=0.01)
    assert learned["structures"]["spleen"]["mean_hu"] == [95.0, 125.0]
    assert usual("kidney", learned)["source"]["volume_ml"] == "usual in the training set"
    # centres: pancreas 17.5, 17.5, 12.5 and spleen 8, 11, 16 in voxels of 5x5x8 mm
    limits, _ = usual_offsets("pancreas", "spleen", learned)
    assert limits[0] == (0, pytest.approx(9.5 * 5 - 15), pytest.approx(9.5 * 5 + 15))
    assert usual_offsets("spleen", "pancreas", learned)[0] == (), "known the other way round, not said twice"


def test_scans_on_another_grid_and_a_folder_without_scans_are_refused(tmp_path, abdomen):
    for folder in ("labels", "scans"):
        (tmp_path / folder).mkdir()
    nibabel.save(nibabel.Nifti1Image(abdomen.labels, abdomen.affine), tmp_path / "labels" / "c.nii.gz")
    nibabel.save(nibabel.Nifti1Image(abdomen.image[:-1], abdomen.affine), tmp_path / "scans" / "c_0000.nii.gz")
    given = {"labels": abdomen.structures, "out": str(tmp_path / "r.json")}
    with pytest.raises(UserError, match=r"c_0000.*is on another grid than its label map"):
        ranges(str(tmp_path / "labels"), images=str(tmp_path / "scans"), **given)
    with pytest.raises(UserError, match=r"none: there is no such file or folder\. Fix: give the folder that holds the scans"):
        ranges(str(tmp_path / "labels"), images=str(tmp_path / "none"), **given)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no scans\. Fix: .*\.nii\.gz"):
        ranges(str(tmp_path / "labels"), images=str(tmp_path / "empty"), **given)
    with pytest.raises(UserError, match=r"empty: holds no label maps\. Fix: .*\.nii\.gz"):
        ranges(str(tmp_path / "empty"), **given)
    assert not (tmp_path / "r.json").exists()


def test_a_file_that_would_say_nothing_is_not_written(tmp_path, abdomen):
    for index in range(4):
        nibabel.save(nibabel.Nifti1Image(abdomen.labels, abdomen.affine), tmp_path / f"c{index}.nii.gz")
    with pytest.raises(UserError, match=r"nothing is learnt from 4 cases .*Fix: give 5 label maps or more"):
        ranges(str(tmp_path), str(tmp_path / "r.json"), labels=abdomen.structures)
    assert not (tmp_path / "r.json").exists()
