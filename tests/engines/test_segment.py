"""segment: a path, a nibabel image and an array give what the command line gives."""

from __future__ import annotations

import shutil
import sys
import weakref
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from small_scans import AFFINE, SHAPE, body, dicom_series, nifti, reoriented

from bundle.arguments.config_files import config_path
from bundle.engines import Segmentation, segment
from bundle.errors import UserError
from bundle.networks import AttentionUnet

# its name in the package is that of the function
segment_module = sys.modules["bundle.engines.segment"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict:
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(AttentionUnet(channels=(4, 4, 8, 8, 8)).state_dict(), path)
    return {"ckpt_path": str(path), "network_def#channels": [4, 4, 8, 8, 8], "precision": "fp32"}


def test_path_image_and_array_agree(tmp_path: Path, options: dict) -> None:
    values, affine = reoriented(body(), AFFINE, "PIR")
    path = nifti(tmp_path / "scan.nii.gz", values, affine)
    labels = segment(path, **options)
    assert labels.shape == values.shape and labels.dtype == np.uint8 and len(np.unique(labels)) > 1
    assert np.array_equal(segment(nibabel.load(path), **options), labels)
    assert np.array_equal(segment(values, affine, **options), labels)
    assert np.array_equal(segment(torch.from_numpy(values.copy()).float(), affine, **options), labels)


def test_dicom_folder(tmp_path: Path, options: dict) -> None:
    assert segment(dicom_series(tmp_path / "series"), **options).shape == SHAPE


def noted_networks(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """The networks that run from now on, each once."""
    ran: list[weakref.ref] = []

    def noting(self: AttentionUnet, x: torch.Tensor) -> torch.Tensor:
        if all(self is not one() for one in ran):
            ran.append(weakref.ref(self))
        return plain(self, x)

    plain = AttentionUnet.forward
    monkeypatch.setattr(AttentionUnet, "forward", noting)
    return ran


def own_weights(folder: Path, options: dict) -> dict:
    """The same options with a copy of the weights in a folder."""
    return {**options, "ckpt_path": shutil.copy(options["ckpt_path"], folder / "model.pt")}


def test_network_and_weights_stay_for_the_next_call(tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    own, ran = own_weights(tmp_path, options), noted_networks(monkeypatch)
    first = segment(body(), AFFINE, **own)
    # nothing is parsed again either
    monkeypatch.delattr(segment_module, "_parsed")
    assert np.array_equal(segment(body(), AFFINE, **own), first) and len(ran) == 1


def test_weights_that_were_trained_on_are_taken_and_the_old_ones_let_go(
    tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, ran = own_weights(tmp_path, options), noted_networks(monkeypatch)
    first, kept = segment(body(), AFFINE, **own), len(segment_module._kept)
    torch.manual_seed(5)
    torch.save(AttentionUnet(channels=(4, 4, 8, 8, 8)).state_dict(), tmp_path / "model.pt")
    second = segment(body(), AFFINE, **own)
    assert np.array_equal(second, segment(body(), AFFINE, **{**own, "ckpt_path": shutil.copy(tmp_path / "model.pt", tmp_path / "b.pt")}))
    assert not np.array_equal(second, first)
    assert [one() is None for one in ran] == [True, False, False] and kept <= len(segment_module._kept) <= segment_module.KEPT
    Path(own["ckpt_path"]).unlink()
    with pytest.raises(UserError, match="there is no such file"):
        segment(body(), AFFINE, **own)


@pytest.mark.parametrize("changed", ["second.pt", "calibration.json", "ranges.json", "mine.json"])
def test_every_file_that_the_configs_name_counts(tmp_path: Path, options: dict, changed: str) -> None:
    """One of an ensemble; a calibration that was not there before; what is usual; an overlay."""
    own = own_weights(tmp_path, options)
    shutil.copy(own["ckpt_path"], tmp_path / "second.pt")
    own["ckpt_path"] = [own["ckpt_path"], str(tmp_path / "second.pt")]
    for name in ("ranges.json", "mine.json"):
        (tmp_path / name).write_text('{"structures": {}}' if name == "ranges.json" else "{}")
    files = (config_path("configs/inference.json"), str(tmp_path / "mine.json"))
    given = {**own, "reference_ranges": tmp_path / "ranges.json"}
    first = segment_module._parser(files, given)
    assert segment_module._parser(files, given) is first
    with (tmp_path / changed).open("a") as file:
        file.write("\n")
    assert segment_module._parser(files, given) is not first


def test_options_are_those_of_the_config(options: dict) -> None:
    assert segment(body(), AFFINE, **options, flips=True, spacing=[3.0, 3.0, 3.0]).shape == SHAPE
    with pytest.raises(UserError, match="not a key of configs"):
        segment(body(), AFFINE, **options, colour="red")


@pytest.mark.parametrize(
    ("key", "value"),
    [("scan_classifier", "classifier.pt"), ("attention", True), ("format", "seg.nrrd"), ("threads", 1), ("output_dir", "out")],
)
def test_options_of_what_only_a_run_does_are_refused(options: dict, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{key}: this key has no effect in segment"):
        segment(body(), AFFINE, **{**options, key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spacing", [1e9, 2.0, 2.0]),
        ("spacing", [2.0, 2.0, 0.0]),
        ("spacing", [2.0, -2.0, 2.0]),
        ("spacing", [float("nan"), 2.0, 2.0]),
        ("spacing", 2.0),
        ("memory_gb", -1),
        ("threads", -1),
        ("overlap", 1.0),
        ("hu_range", [300, -200]),
        ("flips", "perhaps"),
    ],
)
def test_options_are_checked_as_those_of_the_command_line(options: dict, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{key}: .* does not fit this key. Fix: give"):
        segment(body(), AFFINE, **{**options, key: value})


def test_a_path_is_one_scan_and_not_a_label_map(tmp_path: Path, options: dict) -> None:
    nifti(tmp_path / "a.nii.gz")
    nifti(tmp_path / "a_seg.nii.gz")
    assert np.array_equal(segment(tmp_path, **options), segment(tmp_path / "a.nii.gz", **options))
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "labels.nii.gz")
    with pytest.raises(UserError, match="label map"):
        segment(tmp_path / "labels.nii.gz", **options)
    nifti(tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match="2 scans in this folder"):
        segment(tmp_path, **options)
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(UserError, match="the file is empty"):
        segment(tmp_path / "empty.nii.gz", **options)
    with pytest.raises(UserError, match="affine"):
        segment(body(), np.zeros((4, 4)), **options)


def test_arrays_of_one_grid_have_one_affine(options: dict) -> None:
    alone = segment(body(), AFFINE, **options)
    other = segment(body()[::-1].copy(), AFFINE, **options)
    found = segment([body(), body()[::-1].copy()], AFFINE, **options)
    assert len(found) == 2 and np.array_equal(found[0], alone) and np.array_equal(found[1], other) and not np.array_equal(alone, other)


def test_mistakes_are_named(options: dict) -> None:
    with pytest.raises(UserError, match="affine"):
        segment(body(), **options)
    with pytest.raises(UserError, match="two-dimensional"):
        segment(body()[:, :, 0], AFFINE, **options)
    with pytest.raises(UserError, match="no such file"):
        segment("/nowhere/scan.nii.gz", **options)
    with pytest.raises(UserError, match=r"model\.pt: there is no such file"):
        segment(body(), AFFINE, ckpt_path="/nowhere/model.pt")


def test_details_are_those_of_the_label_map_and_the_scan(tmp_path: Path, options: dict) -> None:
    values, affine = reoriented(body(), AFFINE, "PIR")
    path = nifti(tmp_path / "scan.nii.gz", values, affine)
    found = segment(path, details=True, **options, flips=True)
    assert isinstance(found, Segmentation) and found.source == str(path)
    assert np.array_equal(found.labels, segment(path, **options, flips=True)) and np.allclose(found.affine, affine)
    assert [(one.name, one.value) for one in found.structures] == [("pancreas", 1), ("spleen", 2), ("kidney", 3)]
    assert any(one.volume_ml for one in found.structures)
    for one in found.structures:
        inside = found.labels == one.value
        assert one.volume_ml == pytest.approx(inside.sum() * 0.08), "voxels of 4x4x5 mm"
        if not one.volume_ml:
            assert (one.mean_hu, one.centroid_mm, one.confidence) == (None, None, None) and f"{one.name}: not found" in found.reasons
            continue
        assert one.mean_hu == pytest.approx(values[inside].mean()) and one.sd_hu == pytest.approx(values[inside].std())
        assert one.centroid_mm == pytest.approx(affine[:3, :3] @ np.argwhere(inside).mean(0) + affine[:3, 3])
        assert 0 < one.expected_dice <= 1 and 1 / 4 < one.confidence <= 1 and 0 <= one.flip_disagreement <= 1
        assert found[one.name] is one
    assert found.review == bool(found.reasons) and 0 <= found.score <= 1
    with pytest.raises(KeyError, match="liver: the structures are pancreas"):
        found["liver"]


def test_details_of_voxels_are_those_of_their_file(tmp_path: Path, options: dict) -> None:
    path = nifti(tmp_path / "scan.nii.gz")
    of_file, of_voxels = segment(path, details=True, **options), segment(body(), AFFINE, details=True, **options)
    assert of_voxels.source == "image" and of_voxels.structures == of_file.structures and of_voxels.reasons == of_file.reasons


@pytest.mark.parametrize("where", ["at the rim", "inside"])
def test_voxels_that_are_no_numbers_are_a_reason_to_review(tmp_path: Path, options: dict, where: str) -> None:
    values, (x, y, z) = body().astype(np.float32), (n // 2 for n in SHAPE)
    holes = np.zeros(SHAPE, bool)
    if where == "at the rim":
        holes[: SHAPE[0] // 4] = True
    else:
        holes[x, y, z : z + 2] = True
    values[holes], values[tuple(np.argwhere(holes)[0])] = np.nan, np.inf
    share = f"{holes.mean():.0%}" if where == "at the rim" else "less than 1%"
    path = nifti(tmp_path / "scan.nii.gz", values, dtype=np.float32)
    of_file, of_voxels = segment(path, details=True, **options), segment(values, AFFINE, details=True, **options)
    for found in (of_file, of_voxels, segment(nibabel.load(path), details=True, **options)):
        assert found.review and f"{share} of the scan are not numbers" in found.reasons
    assert of_file.reasons == of_voxels.reasons
    clean = segment(body(), AFFINE, details=True, **options)
    assert not any("not numbers" in reason for reason in clean.reasons)


def test_a_list_gives_a_list_in_its_order(tmp_path: Path, options: dict) -> None:
    other = body()[::-1].copy()
    paths = [nifti(tmp_path / "a.nii.gz"), nifti(tmp_path / "b.nii.gz", other)]
    for several in (segment(paths, **options), segment((body(), other), [AFFINE, AFFINE], **options)):
        assert len(several) == 2 and all(np.array_equal(one, segment(path, **options)) for one, path in zip(several, paths, strict=True))
    assert [one.source for one in segment(paths, details=True, **options)] == [str(path) for path in paths]
    assert segment([], **options) == []
    with pytest.raises(UserError, match="1 affine for 2 scans"):
        segment([body(), other], [AFFINE], **options)


def test_the_example_of_the_docs_runs(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """As it is written, with the shipped weights."""
    text = (repository / "docs" / "inference.md").read_text(encoding="utf-8").split("## From Python")[1]
    example = text.split("```python\n")[1].split("```")[0]
    for name in ("scan.nii.gz", "other.nii.gz"):
        nifti(tmp_path / name)
    (tmp_path / "my.pt").symlink_to(repository / "models" / "model.pt")
    monkeypatch.chdir(tmp_path)
    space = {"voxels": body(), "affine": AFFINE}
    exec(compile(example, "docs/inference.md", "exec"), space)
    assert space["labels"].shape == space["spleen"].shape == SHAPE
    assert "other.nii.gz" in capsys.readouterr().out
