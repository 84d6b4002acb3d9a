"""NIH Pancreas-CT: DICOM to NIfTI, labels the right way round, whatever their header says."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from bundle.data.prepare import nih
from bundle.data.prepare.dicom import load_series
from bundle.errors import UserError

SPACING = (2.0, 2.0, 2.5)


@pytest.fixture
def tree(prepared, dicom, save, scan):
    """`tree(case, stored)` writes a case; its label file holds the DICOM's columns, rows, slices under the flip `stored`."""

    def write(case: int, stored: tuple[int, ...] = (), affine: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        image, label = scan(case, (32, 28, 20))
        label = (label == 1).astype(np.uint8)
        series = prepared.source / f"Pancreas-CT/PANCREAS_{case:04d}/11-24-2015-PANCREAS{case}/Pancreas-{case}"
        dicom(series, image, SPACING)
        labels = prepared.source / "TCIA_pancreas_labels-02-05-2017"
        save(labels / f"label{case:04d}.nii.gz", np.flip(label, stored), np.diag([-2, 2, 2.5, 1.0]) if affine is None else affine)
        return image, label

    return write


def test_image_and_label_lie_on_each_other(prepared, tree):
    image, label = tree(1)
    assert prepared.run("nih-pancreas-ct") == 0
    written = nibabel.load(prepared.output / "imagesTr/PANCREAS_0001.nii.gz")
    # DICOM is LPS: columns to the left, rows to the back, so that RAS+ has minus signs and minus origins
    np.testing.assert_allclose(written.affine, [[-2, 0, 0, 20], [0, -2, 0, 30], [0, 0, 2.5, 50], [0, 0, 0, 1]], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(written.dataobj), image)
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), label)
    np.testing.assert_allclose(nibabel.load(prepared.output / "labelsTr/PANCREAS_0001.nii.gz").affine, written.affine)


@pytest.mark.parametrize("stored", [(1,), (2,), (1, 2)])
def test_labels_stored_flipped_are_put_right_and_told(prepared, tree, capsys, stored):
    _, label = tree(1, stored)
    assert prepared.run("nih-pancreas-ct") == 0
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), label)
    assert f"flipped along {' and '.join('xyz'[axis] for axis in stored)}" in capsys.readouterr().out


def test_images_that_are_nifti_already(prepared, save, scan):
    """As dcm2niix writes them: columns to the left, rows to the front; the label's array keeps the DICOM's rows to the back."""
    image, label = scan(1, (32, 28, 20))
    label = (label == 1).astype(np.uint8)
    save(prepared.source / "data/PANCREAS_0001.nii.gz", image[:, ::-1], np.diag([-2, 2, 2.5, 1.0]))
    save(prepared.source / "labels/label0001.nii.gz", label, np.diag([-2, 2, 2.5, 1.0]))
    assert prepared.run("nih-pancreas-ct") == 0
    np.testing.assert_array_equal(prepared.read("imagesTr/PANCREAS_0001.nii.gz"), image)
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), label)


def test_the_duplicates_25_and_70_are_left_out_unless_asked_for(prepared, tree, capsys):
    for case in (2, 25, 70):
        tree(case)
    prepared.run("nih-pancreas-ct")
    assert [entry["image"] for entry in prepared.json("dataset.json")["training"]] == ["./imagesTr/PANCREAS_0002.nii.gz"]
    assert "PANCREAS_0025 is left out: it is case 2 again" in capsys.readouterr().out
    prepared.output = prepared.output.with_name("all")
    prepared.run("nih-pancreas-ct", keep_duplicates=True)
    assert [entry["group"] for entry in prepared.json("dataset.json")["training"]] == ["PANCREAS_0002"] * 3
    assert "cases 2, 25 and 70 are one scan" in capsys.readouterr().out


def test_label_of_another_size_fails_alone(prepared, tree, save, capsys):
    tree(1)
    tree(3)
    save(prepared.source / "TCIA_pancreas_labels-02-05-2017/label0003.nii.gz", np.ones((32, 28, 19), np.uint8))
    assert prepared.run("nih-pancreas-ct") == 1
    said = capsys.readouterr().out
    assert "FAILED: PANCREAS_0003: its label map label0003.nii.gz has the size 32x28x19, its image 32x28x20" in said
    assert len(prepared.json("dataset.json")["training"]) == 1


def test_missing_slices_and_missing_partners_are_told(prepared, tree, capsys):
    tree(1)
    tree(3)
    series = next((prepared.source / "Pancreas-CT/PANCREAS_0003").rglob("*.dcm")).parent
    (series / "049.dcm").unlink()  # slice 7 of 0..19
    (prepared.source / "TCIA_pancreas_labels-02-05-2017/label0009.nii.gz").write_bytes(b"x")
    assert prepared.run("nih-pancreas-ct") == 1
    said = capsys.readouterr().out
    assert "PANCREAS_0009 is left out: there is a label map, but no image" in said
    assert "FAILED: PANCREAS_0003" in said and "slices are missing" in said


def test_real_dicom_with_a_label_in_the_order_of_its_slices(prepared, shared_data, save):
    """Bone of a real planning CT, thresholded, stands for an expert's label; stored back to front, it is put right."""
    folder = prepared.source / "Pancreas-CT/PANCREAS_0001/study/series"
    folder.mkdir(parents=True)
    for file in (shared_data / "dicom/abdomen_168").iterdir():
        (folder / file.name).symlink_to(file)
    image, _, _ = load_series(folder)
    bone = (image > 250).astype(np.uint8)
    save(prepared.source / "labels/label0001.nii.gz", bone[:, ::-1], np.diag([3, 3, 2.5, 1.0]))
    assert prepared.run("nih-pancreas-ct", check=False) == 0
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), bone)


def test_real_multislice_dicom_with_its_structures(prepared, shared_data, save):
    """Contrast CT, JPEG 2000, with a model's structures whose array runs back to front: header and image agree on the flip."""
    source = shared_data / "dicom/slab_20"
    folder = prepared.source / "PANCREAS_0001"
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    structures = nibabel.load(shared_data / "dicom/slab_20_structures.nii.gz")
    label = (np.asarray(structures.dataobj) == 5).astype(np.uint8)
    save(prepared.source / "labels/label0001.nii.gz", label, structures.affine)
    assert prepared.run("nih-pancreas-ct", check=False) == 0
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), label[:, ::-1])


@pytest.mark.parametrize("stored", [(), (1,), (2,)])
def test_expert_pancreas_stored_any_way_round(prepared, shared_data, dicom, save, stored):
    """An expert's label map with a scan painted from it as DICOM: pancreas among the other seven organs, fat around them."""
    expert = nibabel.load(sorted((shared_data / "labels/multiorgan").glob("*.nii.gz"))[0])
    expert = expert.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(expert.affine), nibabel.orientations.axcodes2ornt("LPS"))
    )
    organs = np.asarray(expert.dataobj)[::4, ::4, ::4]
    hounsfield = np.array([-100, 120, 85, 150, 10, 40, 105, 35, 50])[organs]  # background, then the values 1 to 8
    image = (hounsfield + np.random.default_rng(0).normal(0, 15, organs.shape)).astype(np.int16)
    edges = [float(4 * edge) for edge in nibabel.affines.voxel_sizes(expert.affine)]
    dicom(prepared.source / "Pancreas-CT/PANCREAS_0001/study/series", image, edges)
    pancreas = (organs == 2).astype(np.uint8)
    save(prepared.source / "labels/label0001.nii.gz", np.flip(pancreas, stored), np.diag([-edges[0], edges[1], edges[2], 1.0]))
    assert prepared.run("nih-pancreas-ct", check=False) == 0
    np.testing.assert_array_equal(prepared.read("labelsTr/PANCREAS_0001.nii.gz"), pancreas)


def test_two_label_maps_of_a_case_are_refused_and_two_images_named(prepared, put):
    images = [f"{folder}/PANCREAS_0001.nii.gz" for folder in ("Pancreas-CT", "Pancreas-CT (2)")]
    put(images[0], "TCIA_pancreas_labels-02-05-2017/label0001.nii.gz")
    put(images[1])
    found = nih.plan(prepared.source)
    first, second = sorted(prepared.source / name for name in images)
    assert [case.image for case in found.cases] == [first]
    assert found.warnings == [f"number 1 is there 2 times: {first} is used, not {second}"]
    put("own_predictions/label0001.nii.gz")
    with pytest.raises(UserError, match=r"2017/label0001\.nii\.gz: .*own_predictions/label0001\.nii\.gz is a label map of the same"):
        prepared.run("nih-pancreas-ct")
    assert not prepared.output.exists()


def test_files_that_an_unpacker_put_into_folders_of_their_names_are_there_once(prepared, put):
    put("PANCREAS_0001.nii/PANCREAS_0001.nii", "labels/label0001.nii/label0001.nii")
    found = nih.plan(prepared.source)
    assert found.warnings == [] and [case.image.name for case in found.cases] == ["PANCREAS_0001.nii"]
    assert [path.parent.name for path in found.cases[0].labels] == ["label0001.nii"]
