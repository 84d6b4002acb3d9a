import pytest

from bundle.data.synthetic.sources import further_labels, label_maps, sources_of, whole_bodies
from bundle.errors import UserError


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return str(folder)


def test_every_sixth_map_and_every_third_body_are_kept_for_validation(tmp_path):
    maps = label_maps(files(tmp_path / "maps", *[f"m{i:02d}.nii.gz" for i in range(12)], "readme.txt"))
    people = whole_bodies(files(tmp_path / "people", *[f"s{i}/structures.nii.gz" for i in range(4)], "s9/other.nii.gz"))
    found = sources_of(tmp_path / "out", maps | people, None)
    assert found.donors == str(tmp_path / "out" / "donors")
    assert found.validation == ("m03", "m09") and len(found.training) == 10 and not set(found.training) & set(found.validation)
    assert found.people == ("person_s0", "person_s1", "person_s3") and found.people_held_out == ("person_s2",)
    assert found.real == ()


def test_of_few_maps_the_last_is_kept(tmp_path):
    maps = label_maps(files(tmp_path, "a.nii", "b.NII.GZ"))
    assert (sources_of(tmp_path, maps, None).training, sources_of(tmp_path, maps, None).validation) == (("a",), ("b",))
    assert label_maps(None) == {} and whole_bodies(None) == {}


def test_names_with_dots_are_names_and_hidden_files_are_none(tmp_path):
    """By the part before the first dot all maps of a study were one, and macOS' `._` files were maps."""
    folder = files(tmp_path, "1.2.840.1.nii.gz", "1.2.840.2.nii", "._1.2.840.1.nii.gz")
    assert {name: path.name for name, path in label_maps(folder).items()} == {"1.2.840.1": "1.2.840.1.nii.gz", "1.2.840.2": "1.2.840.2.nii"}
    with pytest.raises(UserError, match=r"1\.2\.840\.1\.nii\.gz: 1\.2\.840\.1\.nii is a map of the same name"):
        label_maps(files(tmp_path, "1.2.840.1.nii"))


def test_a_folder_is_one_real_ct_or_holds_several(tmp_path):
    one = files(tmp_path / "one", "ct.nii.gz", "labels.nii.gz", "below/ct.nii.gz", "below/labels.nii.gz")
    assert sources_of(tmp_path, {}, one).real == (str((tmp_path / "one").resolve()),)
    several = files(tmp_path / "all", "b/ct.nii.gz", "b/labels.nii.gz", "a/ct.nii.gz", "a/labels.nii.gz", "c/notes.txt")
    assert sources_of(tmp_path, {}, several).real == tuple(str((tmp_path / "all" / name).resolve()) for name in "ab")


def test_labels_beyond_the_three_organs_have_names(tmp_path):
    (tmp_path / "labels.json").write_text('{"pancreas": 1, "unsure": 255}')
    (tmp_path / "none").mkdir()
    assert further_labels((str(tmp_path), str(tmp_path / "none"))) == {"255": "unsure"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: label_maps(files(folder, "a.nii.gz")), "holds 1 label map. Fix: give a folder with two or more"),
        (lambda folder: whole_bodies(files(folder, "s1/labels.nii.gz")), "holds no NAME/structures.nii.gz"),
        (lambda folder: sources_of(folder, {}, files(folder, "labels.nii.gz")), r"holds no ct.nii.gz and no folders with one"),
        (lambda folder: sources_of(folder, {}, files(folder, "a/ct.nii.gz")), r"a: has a ct.nii.gz and no labels.nii.gz"),
    ],
)
def test_folders_that_hold_nothing_usable(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        make(tmp_path)
