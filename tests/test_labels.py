"""The `labels` block: order, merged values, and the mistakes people make in it."""

from __future__ import annotations

import json

import pytest

from bundle import labels
from bundle.errors import UserError

MERGED = {"background": [0, 7], "pancreas": 4, "kidney": [2, 3]}


def test_names_values_and_output_values_follow_the_order_of_the_block():
    assert labels.names(MERGED) == ["background", "pancreas", "kidney"]
    assert labels.values(MERGED) == [[0, 7], [4], [2, 3]]
    assert labels.output_values(MERGED) == [0, 4, 2]
    assert labels.for_each(MERGED, 0.1, kidney=2, liver=3) == {"pancreas": 0.1, "kidney": 2}
    assert labels.pieces_if(True, {"kidney": 2}) == {"kidney": 2} and labels.pieces_if(False, {"kidney": 2}) is False
    assert labels.channel_def(MERGED) == {"0": "background", "1": "pancreas", "2": "kidney"}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"background": 0}, "fewer than two"),
        ({"pancreas": 1, "background": 0}, "first entry is 'pancreas'"),
        ({"background": 0, "pancreas": 1.5}, "1.5"),
        ({"background": 0, "pancreas": True}, "True"),
        ({"background": 0, "pancreas": 256}, "256"),
        ({"background": 0, "pancreas": "1"}, "'1'"),
        ({"background": 0, "pancreas": []}, "'pancreas' has no value"),
        ({"background": 0, "pancreas": 2, "kidney": [1, 2]}, "share the value 2"),
        ({"background": 1, "pancreas": 2, "kidney": [3, 0]}, "'kidney' has the value 0. Fix: 0 is the background's"),
    ],
)
def test_mistakes_are_named(block, words):
    with pytest.raises(UserError, match="labels") as error:
        labels.check(block)
    assert words in str(error.value)


PLAIN = {"background": 0, "pancreas": 1, "kidney": [2, 3]}


@pytest.mark.parametrize(
    ("written", "block", "ignore"),
    [
        (PLAIN, PLAIN, ()),
        ({"pancreas": 1, "Background": 0, "kidney": [2, 3]}, PLAIN, ()),
        ({"pancreas": 1, "kidney": [2, 3]}, PLAIN, ()),
        ({"0": "background", "1": "pancreas", "2": "kidney", "3": "kidney"}, PLAIN, ()),
        ({**PLAIN, "ignore": 9}, PLAIN, (9,)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_blocks_of_msd_and_nnunet_are_read(tmp_path, written, block, ignore, encoding):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": written}), encoding=encoding)
    for found in (labels.resolve(str(path)), labels.resolve(None, [tmp_path])):
        assert (found.block, found.origin, found.ignore) == (block, str(path), ignore)
        assert next(iter(found.block)) == "background"


def test_the_order_of_places_is_the_same_for_all(tmp_path):
    """labels.json of the data set, then its dataset.json, then the bundle's config; what is given comes before all."""
    config = labels.resolve(None, [tmp_path])
    assert config.origin.endswith("inference.json") and list(config.block) == ["background", "pancreas", "spleen", "kidney"]
    (tmp_path / "dataset.json").write_text('{"labels": {"1": "liver"}}')
    assert list(labels.resolve(None, [tmp_path]).block) == ["background", "liver"]
    (tmp_path / "labels.json").write_text('{"labels": {"background": 0, "gland": 1}}')
    assert list(labels.resolve(None, [tmp_path]).block) == ["background", "gland"]
    assert labels.resolve({"background": 0, "x": 5}, [tmp_path]).block["x"] == 5
    (tmp_path / "labels.json").write_text('{"something": "else"}')
    assert list(labels.resolve(None, [tmp_path]).block) == ["background", "liver"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "holds a list, not an object"),
        ("3", r"holds a number \(3\), not an object"),
        ("null", "holds null, not an object"),
        ('{"labels": null}', "its 'labels' is null"),
        ('{"labels": ["pancreas"]}', "its 'labels' is a list"),
        ('{"labels": {}}', "names fewer than two classes"),
        ('{"labels": {"pancreas": {"a": 1}}}', "'pancreas' has the value"),
        ('{"labels": {"pancreas": "1"}}', "'pancreas' has the value '1'"),
        ('{"labels": {"pancreas": [[1]]}}', r"has the value \[1\]"),
        ('{"labels": {"pancreas": 1, "pancreas": 2}}', '"pancreas" is there twice'),
        ('{"labels": {"pancreas": NaN}}', "NaN is not a number"),
        ('{"labels": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ("", "is not valid JSON"),
        ("\x00\x01", "is not valid JSON"),
    ],
)
def test_files_of_another_shape_are_one_line(tmp_path, text, words):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        labels.resolve(str(path))
    assert str(path) in str(caught.value) and "Fix:" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [5, 1.5, True, [1, 2]])
def test_labels_of_another_type(given):
    with pytest.raises(UserError, match="labels: is "):
        labels.resolve(given)
    with pytest.raises(UserError, match="not a block"):
        labels.check(given)


def test_a_block_as_text():
    for text in ('{"background": 0, "pancreas": [1, 2]}', "{'background': 0, 'pancreas': [1, 2]}"):
        assert labels.resolve(text).block == {"background": 0, "pancreas": [1, 2]}
    with pytest.raises(UserError, match=r"labels: \{background: 0\} cannot be read"):
        labels.resolve("{background: 0}")


def test_sets_of_channels_are_bits():
    assert [labels.one_of(channels) for channels in ([], [1], [3], [1, 2, 7])] == [128, 129, 132, 128 + 1 + 2 + 64]
    for channel in (0, 8):
        with pytest.raises(ValueError, match="only 1 to 7"):
            labels.one_of([channel])


def test_structures_that_a_case_leaves_out_by_name():
    names = ["background", "pancreas", "spleen", "kidney"]
    assert labels.left_open(["spleen", "kidney"], names, "x") == 128 + 2 + 4
    assert labels.unlabelled(["pancreas"], names, "x") == 128 + 2 + 4 and labels.unlabelled(names[1:], names, "x") == 0
    with pytest.raises(UserError, match=r"a\.nii: is listed as labelled for background, which labels has not"):
        labels.unlabelled(["background"], names, "a.nii")
    many = [*names, *(f"s{number}" for number in range(4, 10))]
    assert labels.left_open(["s7"], many, "x") == 128 + 64
    with pytest.raises(UserError, match=r"a\.nii: s8 is left open"):
        labels.unlabelled(many[1:8], many, "a.nii")


def test_a_file_about_other_structures_is_refused():
    labels.check_known(["liver", "kidney"], MERGED, "file.json")
    labels.check_known([], MERGED, "file.json")
    with pytest.raises(UserError, match=r"file\.json: it is about liver, Pancreas, and the labels are pancreas, kidney\. Fix: learn it"):
        labels.check_known(["liver", "Pancreas"], MERGED, "file.json")
