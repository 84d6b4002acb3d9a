"""Finding scans: formats, DICOM in all its ways, hidden files, names that no two share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from awkward import body, dicom_series, nifti, without_preamble

from bundle.data.load_scan import LoadScand
from bundle.data.scans import Scan, find_scans, name_apart
from bundle.errors import UserError

DICOM_AFFINE = [[-4, 0, 0, 50], [0, -4, 0, 40], [0, 0, 5, 10], [0, 0, 0, 1]]


def by_name(folder: Path, **options) -> dict[str, dict]:
    return {item["case"]: item for item in find_scans(folder, **options)}


def test_every_ending_in_any_case_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("a.nii", "b.NII.GZ", "sub/deep/c.nii.gz", ".hidden.nii.gz", ".git/d.nii.gz", "__MACOSX/e.nii.gz", "labelsTr/f.nii.gz"):
        nifti(tmp_path / name)
    for name in ("g.nrrd", "h.MHA", "i.mhd", "notes.txt", "j.png", "k.hdr"):
        (tmp_path / name).write_bytes(b"x")
    assert sorted(by_name(tmp_path)) == ["a", "b", "c", "g", "h", "i"]
    assert sorted(by_name(tmp_path, leave_out=tmp_path / "sub")) == ["a", "b", "g", "h", "i"]
    assert list(by_name(tmp_path / "b.NII.GZ")) == ["b"]


def test_dicom_folders_series_order_preamble_and_missing_endings(tmp_path: Path) -> None:
    dicom_series(tmp_path / "backwards", order=-1)
    dicom_series(tmp_path / "two")
    dicom_series(tmp_path / "two", uid="1.2.3.5", values=np.flip(body(), 2).copy())
    for path in dicom_series(tmp_path / "bare").iterdir():
        without_preamble(path)
    for path in list(dicom_series(tmp_path / "unnamed").iterdir()):
        path.rename(path.with_suffix(""))
    found = by_name(tmp_path)
    assert sorted(found) == ["backwards", "bare", "two_series1", "two_series2", "unnamed"]
    loaded = {name: LoadScand("image")(item)["image"] for name, item in found.items()}
    for name in ("backwards", "bare", "two_series1", "unnamed"):
        assert np.array_equal(loaded[name].numpy(), body()), name
        assert np.allclose(loaded[name].affine, DICOM_AFFINE), name
    assert np.array_equal(loaded["two_series2"].numpy(), np.flip(body(), 2))


def test_a_tilted_gantry_gives_a_sheared_affine(tmp_path: Path) -> None:
    item = by_name(dicom_series(tmp_path / "tilted", tilt=1.0))["tilted"]
    affine = LoadScand("image")(item)["image"].affine.numpy()
    # each slice lies 1 mm further along LPS y, which is -1 mm in RAS
    assert np.allclose(affine[:3, 2], [0, -1, 5]) and np.allclose(affine[:3, 1], [0, -4, 0])


def test_real_dicom(shared_data: Path) -> None:
    found = by_name(shared_data / "dicom")
    slab = LoadScand("image")(found["slab_20"])["image"]
    assert tuple(slab.shape) == (512, 512, 20) and str(slab.dtype) == "torch.int16"
    assert np.allclose(np.linalg.norm(slab.affine[:3, :3], axis=0), [0.9765625, 0.9765625, 2.0])
    whole = LoadScand("image")(found["abdomen_168"])["image"]
    assert tuple(whole.shape) == (217, 217, 168)
    # slices in their order: neighbours look alike, which they do not where the order is that of the text
    middle = whole.float().numpy()[60:160, 60:160, 40:120]
    assert np.abs(np.diff(middle, axis=2)).mean() < 60


def test_files_named_as_dicom_that_are_none_are_problems(tmp_path: Path) -> None:
    dicom_series(tmp_path / "series")
    (tmp_path / "series" / "broken.dcm").write_bytes(b"not DICOM" * 50)
    (tmp_path / "series" / "empty.dcm").write_bytes(b"")
    found = by_name(tmp_path)
    assert found["series"]["problem"] is None and len(found["series"]["image"]) == 22
    assert "no DICOM" in found["broken"]["problem"] and "empty" in found["empty"]["problem"]


def test_names_are_told_apart_by_folder_then_ending_then_number() -> None:
    root = Path("/data")
    sources = ["/data/a/x.nii.gz", "/data/b/x.nii", "/data/b/x.nii.gz", "/data/b/X.nii.gz", "/data/y z.nii", "/data/.nii"]
    named = name_apart([Scan(Path(s).name.split(".")[0], s, (s,)) for s in sources], root)
    assert {scan.source: scan.name for scan in named} == {
        "/data/.nii": "scan",
        "/data/a/x.nii.gz": "a_x",
        "/data/b/X.nii.gz": "b_X_nii_gz",
        "/data/b/x.nii": "b_x_nii",
        "/data/b/x.nii.gz": "b_x_nii_gz_2",
        "/data/y z.nii": "y_z",
    }


def test_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_scans(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no scan"):
        find_scans(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no scan"):
        find_scans(tmp_path / "notes.txt")
