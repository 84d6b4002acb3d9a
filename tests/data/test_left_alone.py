"""What lies beside scans in public data sets and behind tools is left alone and said; scans with odd names are not lost."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from awkward import AFFINE, body, nifti

from bundle.data.left_alone import LeftAlone, lines
from bundle.data.scans import find_scans
from bundle.errors import UserError

SEG_NRRD = b"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: 3 3 3\nencoding: raw\nSegment0_ID:=Segment_1\n\n" + bytes(27)


def made(folder: Path, *names: str) -> None:
    for name in names:
        nifti(folder / name)


# layout: (files that are scans, files that are not)
LAYOUTS = {
    "MSD": (["imagesTr/a.nii.gz", "imagesTs/b.nii.gz"], ["labelsTr/a.nii.gz"]),
    "nnU-Net raw": (["Dataset001_X/imagesTr/c_0000.nii.gz"], ["Dataset001_X/labelsTr/c.nii.gz"]),
    "KiTS": (
        ["case_00000/imaging.nii.gz"],
        ["case_00000/segmentation.nii.gz", "case_00000/aggregated_MAJ_seg.nii.gz"],
    ),
    "KiTS instances": (["case_1/imaging.nii.gz"], ["case_1/instances/kidney_instance-1_annotation-1.nii.gz"]),
    "TotalSegmentator": (["s0001/ct.nii.gz"], ["s0001/segmentations/spleen.nii.gz", "s0001/segmentations/liver.nii.gz"]),
    "LiTS": (["volume-0.nii", "volume-1.nii"], ["segmentation-0.nii", "segmentation-1.nii"]),
    "BTCV": (["img/img0001.nii.gz"], ["label/label0001.nii.gz"]),
    "NIH pancreas": (["scans/PANCREAS_0001.nii.gz"], ["TCIA_pancreas_labels-02-05-2017/label0001.nii.gz"]),
    "SLIVER": (["liver-orig001.nii"], ["liver-seg001.nii"]),
    "FLARE": (["FLARE/images/F_0001_0000.nii.gz"], ["FLARE/labels/F_0001.nii.gz"]),
    "autoPET": (["p1/CT.nii.gz"], ["p1/SEG.nii.gz", "p1/PET.nii.gz", "p1/SUV.nii.gz"]),
    "HECKTOR": (["CHUM-001__CT.nii.gz"], ["CHUM-001__PT.nii.gz"]),
    "BIDS": (
        ["sub-01/ct/sub-01_ct.nii.gz"],
        ["sub-01/anat/sub-01_T1w.nii.gz", "derivatives/sub-01_desc-liver_mask.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz"],
    ),
    "a mask of an organ": (["case_1.nii.gz", "case_2.nii.gz"], ["case_1_liver_mask.nii.gz"]),
    "TrainMask": (["TrainImage/1.nii.gz"], ["TrainMask/1.nii.gz"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, tmp_path: Path) -> None:
    scans, others = LAYOUTS[layout]
    made(tmp_path, *scans, *others)
    found = find_scans(tmp_path)
    assert {item["source"] for item in found} == {str(tmp_path / name) for name in scans}
    assert sum(int(line.split()[2]) for line in found.left_alone) == len(others)


@pytest.mark.parametrize(
    "names",
    [
        ["seg1/ct.nii.gz"],
        ["segmentation project/scan.nii.gz"],
        ["labelled data/a.nii.gz"],
        ["mask.nii.gz"],
        ["case_label.nii.gz", "other.nii.gz"],
        ["case_seg_ct.nii.gz"],
        ["p1_pt.nii.gz", "p1.nii.gz"],
        ["sub-01_ct.nii.gz"],
        ["masked_ct.nii.gz", "ct.nii.gz"],
        ["unmasked/a.nii.gz"],
        ["segment.nii.gz", "a.nii.gz"],
    ],
)
def test_names_alone_lose_no_scan(names: list[str], tmp_path: Path) -> None:
    made(tmp_path, *names)
    assert len(find_scans(tmp_path)) == len(names)


def test_the_folder_that_was_asked_for_may_be_called_anything(tmp_path: Path) -> None:
    made(tmp_path / "masks", "a.nii.gz")
    assert [item["case"] for item in find_scans(tmp_path / "masks")] == ["a"]


def test_headers_that_say_label_map(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    for name, kind in (("one.nii.gz", nibabel.Nifti1Image), ("two.nii", nibabel.Nifti2Image)):
        image = kind(body(), AFFINE)
        image.header.set_intent("label")
        nibabel.save(image, tmp_path / name)
    big = nibabel.Nifti1Image(body(), AFFINE, nibabel.Nifti1Header(endianness=">"))
    big.header.set_intent("label")
    nibabel.save(big, tmp_path / "big.nii")
    table = nibabel.Nifti1Image(body(), AFFINE)
    table.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, b"<CaretExtension><LabelTable></LabelTable></CaretExtension>"))
    nibabel.save(table, tmp_path / "total.nii.gz")
    (tmp_path / "slicer.nrrd").write_bytes(SEG_NRRD)
    found = find_scans(tmp_path)
    assert [item["case"] for item in found] == ["a"]
    assert found.left_alone == ["left alone: 5 label maps (big.nii, ...)"]
    for name in ("one.nii.gz", "two.nii", "slicer.nrrd"):
        with pytest.raises(UserError, match="header says that it is a label map"):
            find_scans(tmp_path / name)


def test_eight_bits_are_a_mask_only_beside_their_image(tmp_path: Path) -> None:
    nifti(tmp_path / "p" / "spleen.nii.gz", (body() > 100).astype(np.uint8), dtype=np.uint8)
    assert len(find_scans(tmp_path)) == 1
    nifti(tmp_path / "p" / "other grid.nii.gz", affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    assert len(find_scans(tmp_path)) == 2
    nifti(tmp_path / "p" / "ct.nii.gz")
    assert sorted(item["case"] for item in find_scans(tmp_path)) == ["p_ct", "p_other_grid"]


def test_results_on_record_and_predictions_of_nnunet(tmp_path: Path) -> None:
    made(tmp_path, "a.nii.gz", "out/odd name.nii.gz", "nnunet/a.nii.gz", "fold_0/validation/a.nii.gz", "cut/b.nii.gz")
    record = {"cases": [{"case": "x", "output": "odd name.nii.gz", "files": ["odd name.nii.gz"]}, 7, {"files": 3}]}
    (tmp_path / "out" / "run.json").write_text(json.dumps(record))
    (tmp_path / "nnunet" / "predict_from_raw_data_args.json").write_text("{}")
    (tmp_path / "fold_0" / "validation" / "summary.json").write_text('{"metric_per_case": []}')
    (tmp_path / "cut" / "run.json").write_text('{"cases": [')
    found = find_scans(tmp_path)
    assert sorted(item["case"] for item in found) == ["a", "cut_b"]
    assert found.left_alone == [
        "left alone: 2 label maps (fold_0/validation/a.nii.gz, ...)",
        "left alone: 1 result of an earlier run (out/odd name.nii.gz)",
    ]


def test_a_label_map_by_name_is_taken_by_its_own_path(tmp_path: Path) -> None:
    made(tmp_path, "a_seg.nii.gz", "b.nii.gz")
    assert [item["case"] for item in find_scans(tmp_path / "a_seg.nii.gz")] == ["a_seg"]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    for name in ("brain.mgz", "Export.ZIP", "x.tar.gz", "lone.hdr", "Thumbs.db", "LICENSE", "Untitled.mrml"):
        (tmp_path / name).write_bytes(b"x" * 200)
    assert find_scans(tmp_path).left_alone == [
        "left alone: 2 archives, which are not unpacked (Export.ZIP, ...)",
        "left alone: 1 image in a format that is not read (brain.mgz)",
        "left alone: 1 header without its .img (lone.hdr)",
    ]


def test_lines_count_by_kind(tmp_path: Path) -> None:
    left = [LeftAlone("labels", str(tmp_path / "x" / "a.nii"), 3), LeftAlone(("scout", "scouts"), "/b", 1), LeftAlone("labels", "c")]
    assert lines(left, tmp_path) == ["left alone: 4 label maps (x/a.nii, ...)", "left alone: 1 scout (/b)"]
