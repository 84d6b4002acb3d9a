import json
import os
import re
import time
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic import phantom
from bundle.data.synthetic.phantom import write_phantom
from bundle.errors import UserError
from bundle.files import ASIDE, aside_path

SMALL = {"max_voxels": 1.2e5, "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("phantom") / "one", cases=2, seed=4, unlabelled=1, jobs=1, **SMALL)


def test_layout_and_dataset_json(folder):
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == [
        "dataset.json",
        "imagesTr/abdomen_000.nii.gz",
        "imagesTr/abdomen_001.nii.gz",
        "imagesTs/unlabelled_000.nii.gz",
        "labelsTr/abdomen_000.nii.gz",
        "labelsTr/abdomen_001.nii.gz",
    ]
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney"}
    for pair in content["training"]:
        image, label = (nib.load(folder / pair[key]) for key in ("image", "label"))
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert image.get_data_dtype() == np.int16 and label.get_data_dtype() == np.uint8


def test_same_bytes_with_other_processes_and_more_cases(folder, tmp_path):
    other = write_phantom(tmp_path, cases=2, seed=4, jobs=2, **SMALL)
    for name in ("imagesTr/abdomen_000.nii.gz", "labelsTr/abdomen_000.nii.gz", "imagesTr/abdomen_001.nii.gz"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_stands_already_so_is_kept_and_a_missing_one_is_made_again(folder):
    kept, lost = folder / "imagesTr/abdomen_000.nii.gz", folder / "imagesTr/abdomen_001.nii.gz"
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    write_phantom(folder, cases=2, seed=4, unlabelled=1, jobs=1, **SMALL)
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content
    assert not list(folder.rglob(f"*{ASIDE}"))


def test_another_seed_or_another_data_set_is_not_mixed_in(folder, tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json.*another data set"):
        write_phantom(folder, cases=1, seed=5, **SMALL)
    (tmp_path / "dataset.json").write_text('{"name": "mine"}')
    with pytest.raises(UserError, match="another data set"):
        write_phantom(tmp_path, cases=1, seed=5, **SMALL)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["imagesTr/mine.nii.gz", "notes.txt", "labelsTr/a/b.nii.gz", "dataset.json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_stays_as_it_is(tmp_path, name, overwrite):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("[]")
    before = content(tmp_path)
    with pytest.raises(UserError, match=name.split("/")[0]):
        write_phantom(tmp_path, cases=1, overwrite=overwrite, **SMALL)
    assert content(tmp_path) == before


def test_another_seed_never_keeps_scans_of_the_first(tmp_path, monkeypatch):
    def write(folder, seed, max_voxels, case):
        for path in phantom._paths(folder, *case):
            path.write_text(str(seed))

    monkeypatch.setattr(phantom, "_write_case", write)
    folder = write_phantom(tmp_path / "one", cases=3, unlabelled=1, seed=1, jobs=1, progress=False)
    (folder / "imagesTr" / "mine.nii.gz").write_text("mine")

    def killed(folder, seed, max_voxels, case):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_case", killed)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(folder, cases=2, seed=2, jobs=1, overwrite=True, progress=False)
    monkeypatch.setattr(phantom, "_write_case", write)
    write_phantom(folder, cases=2, seed=2, jobs=1, progress=False)
    scans = {name: text.decode() for name, text in content(folder).items() if name != "dataset.json"}
    assert scans.pop("imagesTr/mine.nii.gz") == "mine"
    assert len(scans) == 4 and set(scans.values()) == {"2"}


def test_a_run_that_was_killed_early_goes_on_and_its_leftovers_go(tmp_path):
    dead = aside_path(tmp_path / "imagesTr" / "abdomen_000.nii.gz")
    dead = dead.with_name(dead.name.replace(f".{os.getpid()}.", ".4194305."))
    dead.parent.mkdir()
    dead.write_bytes(b"half")
    (tmp_path / "labelsTr").mkdir()
    write_phantom(tmp_path, cases=1, jobs=1, **SMALL)
    assert sorted(content(tmp_path)) == ["dataset.json", "imagesTr/abdomen_000.nii.gz", "labelsTr/abdomen_000.nii.gz"]


@pytest.mark.parametrize("wrong", [{"cases": -1}, {"seed": 1.5}, {"unlabelled": "two"}])
def test_counts_are_whole_numbers(wrong, tmp_path):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
        write_phantom(tmp_path, **wrong)


def test_its_scans_are_known_by_their_names(tmp_path):
    names = [path.name for case in ((0, True), (1234, True), (7, False)) for path in phantom._paths(tmp_path, *case)]
    assert len(names) == 5 and all(re.fullmatch(phantom.SCANS, name) for name in names)


def fails_at_once_or_takes_a_while(folder, number):
    if number == 0:
        raise UserError("case 0", "cannot be made")
    time.sleep(0.2)
    (folder / str(number)).touch()


def test_the_first_error_ends_it_without_the_cases_that_have_not_begun(tmp_path):
    """All others were made before it was said."""
    with pytest.raises(UserError, match="case 0"):
        phantom.run_parallel(partial(fails_at_once_or_takes_a_while, tmp_path), list(range(40)), jobs=2, progress=False)
    assert len(list(tmp_path.iterdir())) < 20
