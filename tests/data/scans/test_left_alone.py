"""What is beside scans in public data sets and behind tools is left alone and said; scans with odd names are not lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_scans import AFFINE, body, nifti

from bundle.data.scans import find_scans
from bundle.data.scans.left_alone import LeftAlone, lines
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
    "nnU-Net by its documentation": (["imagesTs/c_0000.nii.gz"], ["imagesTs_pred/c.nii.gz", "Task_predictions/c.nii.gz"]),
    "CT-ORG": (["volume-0.nii.gz"], ["labels-0.nii.gz"]),
    "RibFrac": (["train-images-1/RibFrac1-image.nii.gz"], ["train-labels-1/RibFrac1-label.nii.gz"]),
    "AbdomenAtlas": (["BDMAP_1/ct.nii.gz"], ["BDMAP_1/combined_labels.nii.gz", "BDMAP_1/segmentations/aorta.nii.gz"]),
    "dcmrtstruct2nii": (["image.nii.gz"], ["mask_liver.nii.gz"]),
    "MONAI Label": (["a.nii.gz"], ["labels/final/a.nii.gz", "labels/original/a.nii.gz"]),
    "ACDC": (["patient001_frame01.nii.gz"], ["patient001_frame01_gt.nii.gz"]),
    "a prediction": (["a.nii.gz"], ["a_pred.nii.gz"]),
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
        ["CT_ROI.nii.gz", "CT.nii.gz"],
        ["ROI/ct.nii.gz"],
        ["predicted dose/ct.nii.gz"],
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


def test_eight_bits_beside_the_scans_of_others_are_no_mask(tmp_path: Path) -> None:
    """Data sets resampled to one grid, of which some scans were saved as pictures: these are taken, and flagged as not HU."""
    made(tmp_path, "case_1.nii.gz", "case_2.nii.gz")
    for name in ("case_3.nii.gz", "case_2_spleen.nii.gz"):
        nifti(tmp_path / name, (body() > 100).astype(np.uint8), dtype=np.uint8)
    assert [item["case"] for item in find_scans(tmp_path)] == ["case_1", "case_2", "case_3"]


def test_eight_bits_in_a_folder_with_a_word_for_labels(tmp_path: Path) -> None:
    """LUNA16: subset0/ID.mhd and seg-lungs-LUNA16/ID.mhd."""
    for folder, kind in (("subset0", "MET_SHORT"), ("seg-lungs-LUNA16", "MET_UCHAR"), ("rois", "MET_UCHAR"), ("other", "MET_UCHAR")):
        (tmp_path / folder).mkdir()
        text = f"ObjectType = Image\nNDims = 3\nElementType = {kind}\nDimSize = 9 8 7\nElementSpacing = 1 1 2\nElementDataFile = LOCAL\n"
        (tmp_path / folder / "1.3.mha").write_bytes(text.encode() + bytes(2 * 9 * 8 * 7))
    assert sorted(item["case"] for item in find_scans(tmp_path)) == ["other_1.3", "subset0_1.3"]


@pytest.mark.parametrize(("image", "mask"), [("ct.nii.gz", "liver.nrrd"), ("ct.mha", "liver.nii.gz"), ("ct.nrrd", "liver.mha")])
def test_grids_are_compared_across_formats(tmp_path: Path, image: str, mask: str) -> None:
    def write(name: str, kind: int) -> None:
        if name.endswith("nii.gz"):
            nifti(tmp_path / name, np.zeros((9, 8, 7), (np.int16, np.uint8)[kind]), np.diag([-1.5, 1.5, 2, 1]), (np.int16, np.uint8)[kind])
        elif name.endswith("nrrd"):
            text = f"NRRD0004\ntype: {('short', 'unsigned char')[kind]}\ndimension: 3\nspace: left-posterior-superior\nsizes: 9 8 7\n"
            (tmp_path / name).write_text(f"{text}space directions: (1.5,0,0) (0,1.5,0) (0,0,2)\nencoding: raw\n\n")
        else:
            text = f"NDims = 3\nElementSpacing = 1.5 1.5 2\nDimSize = 9 8 7\nElementType = {('MET_SHORT', 'MET_UCHAR')[kind]}\n"
            (tmp_path / name).write_text(text + "ElementDataFile = LOCAL\n")

    write(image, 0)
    write(mask, 1)
    assert [item["case"] for item in find_scans(tmp_path)] == ["ct"]
    write(image, 1)
    assert len(find_scans(tmp_path)) == 2, "two of 8 bits: neither is the other's mask"


def test_results_on_record_and_predictions_of_nnunet(tmp_path: Path) -> None:
    made(tmp_path, "a.nii.gz", "out/x_odd name.nii.gz", "nnunet/a.nii.gz", "fold_0/validation/a.nii.gz", "cut/b.nii.gz")
    record = {"cases": [{"case": "x", "source": "/x.nii", "status": "ok", "files": ["x_odd name.nii.gz"]}, 7, {"files": 3}]}
    (tmp_path / "out" / "run.json").write_text(json.dumps(record))
    (tmp_path / "nnunet" / "predict_from_raw_data_args.json").write_text("{}")
    (tmp_path / "fold_0" / "validation" / "summary.json").write_text('{"metric_per_case": []}')
    (tmp_path / "cut" / "run.json").write_text('{"cases": [')
    found = find_scans(tmp_path)
    assert sorted(item["case"] for item in found) == ["a", "cut_b"]
    assert found.left_alone == [
        "left alone: 2 label maps (fold_0/validation/a.nii.gz, ...)",
        "left alone: 1 result of an earlier run (out/x_odd name.nii.gz)",
    ]


def test_a_label_map_by_name_is_taken_by_its_own_path(tmp_path: Path) -> None:
    made(tmp_path, "a_seg.nii.gz", "b.nii.gz")
    assert [item["case"] for item in find_scans(tmp_path / "a_seg.nii.gz")] == ["a_seg"]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    for name in ("brain.mnc", "Export.ZIP", "x.tar.gz", "lone.hdr", "b.nii.gz.part", "Thumbs.db", "LICENSE", "Untitled.mrml"):
        (tmp_path / name).write_bytes(b"x" * 200)
    assert find_scans(tmp_path).left_alone == [
        "left alone: 2 archives, which are not unpacked (Export.ZIP, ...)",
        "left alone: 1 unfinished download (b.nii.gz.part)",
        "left alone: 1 image in a format that is not read (brain.mnc)",
        "left alone: 1 header without its .img (lone.hdr)",
    ]


def test_lines_count_by_kind(tmp_path: Path) -> None:
    left = [LeftAlone("labels", str(tmp_path / "x" / "a.nii"), 3), LeftAlone(("scout", "scouts"), "/b", 1), LeftAlone("labels", "c")]
    assert lines(left, tmp_path) == ["left alone: 4 label maps (x/a.nii, ...)", "left alone: 1 scout (/b)"]


def test_a_line_stays_a_line(tmp_path: Path) -> None:
    assert lines([LeftAlone("labels", str(tmp_path / "a\nb\x1b[31m_\udcfc.nii"))], tmp_path) == [
        r"left alone: 1 label map (a?b?[31m_\xfc.nii)"
    ]


def test_folders_of_many_files_are_sorted_out_at_once(tmp_path: Path) -> None:
    """Time grows with the number of files and not with its square."""
    for number in range(3000):
        (tmp_path / f"case_{number}.nii.gz").touch()
        (tmp_path / f"case_{number}_mask.nii.gz").touch()
    began = time.monotonic()
    found = find_scans(tmp_path)
    assert len(found) == 3000 and found.left_alone == ["left alone: 3000 label maps (case_0_mask.nii.gz, ...)"]
    assert time.monotonic() - began < 10
