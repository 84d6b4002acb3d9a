"""Lists of cases that somebody wrote as JSON: what they mean, and each mistake in one line with its place."""

from __future__ import annotations

import json

import pytest
from listings import case_names, msd, touch, write

from bundle.data.datalist import datalist, find_cases
from bundle.errors import UserError


def test_msd_dataset_json_with_its_traps(tmp_path):
    msd(tmp_path, 3)
    touch(tmp_path, "imagesTr/not_listed.nii.gz", "imagesTs/t.nii.gz", "imagesTr/._case_0.nii.gz")
    files = [f"{hidden}case_{n}.nii.gz" for n in range(3) for hidden in ("._", "")]
    entries = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in files]
    write(tmp_path / "dataset.json", {"labels": {"0": "background", "1": "pancreas"}, "training": entries, "test": ["./imagesTs/t.nii.gz"]})
    listing = find_cases(str(tmp_path))
    assert [case.name for case in listing.labelled] == ["case_0", "case_1", "case_2"] and listing.problems == []
    assert listing.value_names == {0: "background", 1: "pancreas"}
    assert case_names(datalist(str(tmp_path), "unlabelled")) == ["t.nii.gz"]


def test_dataset_json_finds_files_unpacked_since(tmp_path):
    msd(tmp_path, 2, ending=".nii")
    entries = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(2)]
    write(tmp_path / "dataset.json", {"training": entries})
    assert case_names(datalist(str(tmp_path), "all")) == ["case_0.nii", "case_1.nii"]


def test_dataset_json_of_nnunet_lists_nothing_so_folders_count(tmp_path):
    msd(tmp_path, 2)
    write(tmp_path / "dataset.json", {"labels": {"background": 0, "pancreas": 1, "kidney": [2, 3]}, "numTraining": 2})
    assert len(datalist(str(tmp_path), "all")) == 2
    assert find_cases(str(tmp_path)).value_names == {0: "background", 1: "pancreas", 2: "kidney", 3: "kidney"}


@pytest.mark.parametrize("section", ["validation", "test"])
def test_dataset_json_of_one_section_without_training(tmp_path, section):
    """A set to score on, say: its list counts, and is not split again."""
    msd(tmp_path, 6)
    entries = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(5)]
    write(tmp_path / "dataset.json", {"training": [], section: entries})
    assert case_names(datalist(str(tmp_path), section)) == [f"case_{n}.nii.gz" for n in range(5)]
    # without labels it is no list to score on: the folders count
    write(tmp_path / "dataset.json", {section: []} if section == "validation" else {section: ["./imagesTs/t.nii.gz"]})
    assert len(datalist(str(tmp_path), "all")) == 6


def test_equal_file_names_get_their_folder(tmp_path):
    touch(tmp_path, *[f"{case}/{name}.nii.gz" for case in ("s1", "s2") for name in ("ct", "seg")])
    entries = [{"image": f"{case}/ct.nii.gz", "label": f"{case}/seg.nii.gz"} for case in ("s2", "s1")]
    file = write(tmp_path / "l.json", {"training": entries})
    assert [case.name for case in find_cases("", file).cases] == ["s1_ct", "s2_ct"]


GOOD = {"image": "a.nii", "label": "a.nii"}


def entries(**changed: object) -> str:
    """A list of three good cases and, as `training[3]`, one that differs."""
    good = [{"image": f"{name}.nii", "label": f"{name}.nii"} for name in "bcd"]
    return json.dumps({"training": [*good, {**GOOD, **changed}]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("5", r"holds a number \(5\), not an object"),
        ("null", "holds null, not an object"),
        ('"text"', "holds a text"),
        ("[]", "holds a list, not an object"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"training": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"training": [[[{"image": "a.nii"}]]]}', r"training\[0\] is a list, which names no image file"),
        ("{}", "it lists no case"),
        ('{"training": []}', "it lists no case"),
        ('{"training": null}', '"training" is null, not a list'),
        ('{"training": 4}', r'"training" is a number \(4\), not a list'),
        ('{"training": "a.nii"}', r'"training" is a text \("a.nii"\), not a list'),
        ('{"training": {"image": "a.nii"}}', '"training" is an object, not a list'),
        ('{"test": 0}', '"test" is a number'),
        ('{"training": [], "training": []}', 'the key "training" is there twice in one object'),
        ('{"training": [{"image": NaN}]}', "NaN is not a number"),
        ('{"training": [null]}', r"training\[0\] is null"),
        ('{"training": [7]}', r"training\[0\] is a number"),
        ('{"training": [{}]}', r"training\[0\].image is not there"),
        (entries(image=3), r"training\[3\].image is a number \(3\)"),
        (entries(image=None), r"training\[3\].image is null"),
        (entries(image=["a.nii", "b.nii"]), r"training\[3\].image is a list.*names no image file"),
        (entries(image=""), r"training\[3\].image is empty"),
        (entries(image="a\0.nii"), r"training\[3\].image is a text"),
        (entries(image="x" * 5000), r"training\[3\].image is .*no such file"),
        (entries(label=None), r"training\[3\].label is null"),
        (entries(label={"a": 1}), r"training\[3\].label is an object"),
        (entries(fold="1"), r"training\[3\].fold is a text"),
        (entries(fold=True), r"training\[3\].fold is true"),
        (entries(fold=-1), r"training\[3\].fold is a number"),
        (entries(group=["a"]), r"training\[3\].group is a list"),
        (entries(case=5), r"training\[3\].case is a number"),
        (entries(image="no.nii"), r'training\[3\].image is "no.nii", but there is no such file'),
        (entries(image="/else/where/a.nii"), r'image is "/else/where/a.nii".*of another machine'),
        (entries(image="C:\\data\\a.nii"), r"no such file.*of another machine"),
        ('{"training": [{"image": "b.nii"}]}', r"this image has no label: training\[0\], b.nii"),
        ('{"labels": null, "training": [{"image": "a.nii", "label": "a.nii"}]}', '"labels" is null, not an object'),
        ('{"labels": {"1": {}}, "training": [{"image": "a.nii", "label": "a.nii"}]}', r'labels\["1"\] is an object'),
        ('{"labels": {"²": "x"}, "training": [{"image": "a.nii", "label": "a.nii"}]}', r'labels\["²"\] is a text'),
    ],
)
@pytest.mark.parametrize("name", ["list.json", "dataset.json"])
def test_a_bad_list_is_one_line_with_the_place(tmp_path, content, said, name):
    touch(tmp_path, "a.nii", "b.nii", "c.nii", "d.nii", "imagesTr/e.nii")
    (tmp_path / name).write_text(content, encoding="utf-8")
    if name == "list.json" or content not in ("{}", '{"training": []}'):  # an empty dataset.json leaves the cases to the folders
        with pytest.raises(UserError, match=said) as caught:
            datalist(str(tmp_path), "training", str(tmp_path / name) if name == "list.json" else None)
        assert name in str(caught.value) or "list.json" in content
        assert "Fix:" in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_of_one_kind_are_one_line(tmp_path):
    file = write(tmp_path / "l.json", {"training": [{"image": f"{n}.nii", "label": 5} for n in range(500)]})
    with pytest.raises(UserError, match=r"training\[0\].label is a number \(5\).*and 499 more like it"):
        datalist(str(tmp_path), "training", file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_writes_is_read(tmp_path, encoding):
    """A byte order mark, UTF-16, backslashes."""
    msd(tmp_path, 3)
    cases = [{key: f".\\{key}sTr\\case_{n}.nii.gz" for key in ("image", "label")} for n in range(3)]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background"}, "training": cases}), encoding=encoding)
    found = datalist(str(tmp_path), "all")
    assert [item["label"] for item in found] == [str(tmp_path / f"labelsTr/case_{n}.nii.gz") for n in range(3)]


def test_nnunets_list_names_images_without_their_channel(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    write(tmp_path / "dataset.json", {"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]})
    assert case_names(datalist(str(tmp_path), "all")) == ["a_0000.nii.gz"]


def test_an_image_listed_many_times_is_one_case_and_one_line(tmp_path):
    touch(tmp_path, "a.nii", "b.nii")
    file = write(tmp_path / "l.json", {"training": [GOOD] * 100_000 + [{"image": "./b.nii", "label": "b.nii"}, {"image": "x/../a.nii"}]})
    listing = find_cases(str(tmp_path), file)
    assert [case.name for case in listing.cases] == ["a", "b"]
    assert [error.problem for error in listing.problems] == [
        "lists the image a.nii 100001 times (training[0], training[1], training[2], training[3], ...)"
    ]


def test_a_case_says_which_structures_its_label_map_has(tmp_path):
    msd(tmp_path, 2)
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(2)]
    entries[1]["labelled"] = ["pancreas"]
    write(tmp_path / "dataset.json", {"training": entries})
    first, second = datalist(str(tmp_path), "all")
    assert "labelled" not in first and second["labelled"] == ["pancreas"]


@pytest.mark.parametrize("value", ["pancreas", [], [1], {"pancreas": True}])
def test_labelled_of_another_type_is_one_line(tmp_path, value):
    msd(tmp_path, 1)
    entry = {"image": "imagesTr/case_0.nii.gz", "label": "labelsTr/case_0.nii.gz", "labelled": value}
    write(tmp_path / "dataset.json", {"training": [entry]})
    with pytest.raises(UserError, match=r'dataset.json: training\[0\].labelled is .* Fix: write the structures .* \["pancreas"\]'):
        datalist(str(tmp_path), "all")
