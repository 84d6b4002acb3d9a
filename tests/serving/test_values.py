"""`bundle.serving.values`: nothing in a request is evaluated, and no name leaves the folder of the studies."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from monai.bundle import ConfigParser

from bundle.serving import values
from bundle.serving.values import Refused

EXPRESSIONS = ["$__import__('os').getcwd()", " $1+1", "@device", "%/etc/passwd", "\t$1"]
NESTED: list[Any] = [
    {"_target_": "builtins.print"},
    ["$1"],
    [{"a": ["@b"]}],
    {"a": {"_disabled_": True}},
    {"$1": 0},
    object(),
]


@pytest.mark.parametrize("value", [*EXPRESSIONS, *NESTED])
def test_expressions_are_refused_at_any_depth(value: Any) -> None:
    with pytest.raises(Refused):
        values.plain("x", value)
    # in a key that no one knows as well: someone who tries is told
    with pytest.raises(Refused):
        values.known({"other": value}, values.INFER)


def test_values_of_odd_shapes_are_refused_and_never_an_error() -> None:
    deep: Any = 1
    for _ in range(values.MOST_DEPTH):
        deep = [deep]
    assert values.plain("x", deep) is deep
    with pytest.raises(Refused, match="deep"):
        values.plain("x", {"a": deep})
    with pytest.raises(Refused, match="deep"):
        values.json_object("x", '{"a":' + "[" * 900 + "]" * 900 + "}")
    for huge in (10**400, -(10**400)):
        with pytest.raises(Refused, match="number from"):
            values.known({"max_epochs": huge}, values.TRAIN)
    with pytest.raises(Refused) as refused:
        values.plain("x", {"\ud800": "$1"})
    assert str(refused.value).encode("utf-8").startswith(b"x.\\ud800: '$1' would be evaluated")
    for name in ("\ud800", "a\udfff.nii.gz"):
        with pytest.raises(Refused, match="is not the name"):
            values.file_name("image", name)
        with pytest.raises(Refused):
            values.upload("file", name + ".nii.gz")


def test_what_is_plain_stays_plain_in_monais_parser() -> None:
    value = {"label_info": [{"name": "spleen", "idx": 2, "cost": 1.5, "note": "50% or a@b, $ last"}], "none": None}
    assert values.plain("x", value) is value
    assert ConfigParser({"x": value}).get_parsed_content("x") == value


KINDS = {"memory_gb": 3.5, "quality_record": False, "mode": "fast", "choice": ["one", "two"]}


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("memory_gb", 2, 2.0),
        ("memory_gb", "2.5", 2.5),
        ("memory_gb", None, None),
        ("quality_record", True, True),
        ("quality_record", "True", True),
        ("mode", "slow", "slow"),
        ("choice", ["two", "one"], "two"),
    ],
)
def test_options_of_the_viewer_keep_their_kind(key: str, given: Any, kept: Any) -> None:
    assert values.known({key: given}, values.options(KINDS)) == {key: kept}


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("key", [*KINDS, "device", "model_filename", "logging", "label_tag", "result_extension", "label_info"])
def test_no_option_takes_an_expression(key: str, expression: str) -> None:
    with pytest.raises(Refused):
        values.known({key: expression}, values.INFER | values.options(KINDS))


@pytest.mark.parametrize(
    ("checks", "key", "given"),
    [
        (values.options(KINDS), "memory_gb", "three"),
        (values.options(KINDS), "memory_gb", math.nan),
        (values.options(KINDS), "memory_gb", -1),
        (values.options(KINDS), "memory_gb", 0),
        (values.options(KINDS), "memory_gb", "0.0"),
        (values.options(KINDS), "memory_gb", True),
        (values.options(KINDS), "memory_gb", [3]),
        (values.options(KINDS), "quality_record", 1),
        (values.options(KINDS), "choice", "three"),
        (values.INFER, "device", "cpu; x"),
        (values.INFER, "device", {"a": 1}),
        (values.INFER, "model_filename", "../secret.pt"),
        (values.INFER, "model_filename", "/tmp/x.pt"),
        (values.INFER, "model_filename", "model.ts"),
        (values.INFER, "result_extension", "/../x.nii.gz"),
        (values.INFER, "result_dtype", "object"),
        (values.INFER, "label_tag", "../final"),
        (values.INFER, "label_tag", ""),
        (values.INFER, "logging", "nonsense"),
        (values.TRAIN, "max_epochs", "$1"),
        (values.TRAIN, "max_epochs", 0),
        (values.TRAIN, "max_epochs", 1.5),
        (values.TRAIN, "max_epochs", 1e9),
        (values.TRAIN, "val_split", 1),
        (values.TRAIN, "gpus", "0;1"),
        (values.TRAIN, "run_id", "initialize"),
        (values.TRAIN, "tracking", "/tmp/tracking.json"),
        (values.TRAIN, "tracking", {"handlers_id": {}}),
        (values.TRAIN, "tracking_uri", "sqlite:////tmp/x.db"),
        (values.TRAIN, "tracking_uri", "http://elsewhere.example"),
        (values.TRAIN, "tracking_experiment_name", "a/b"),
        (values.TRAIN, "pretrained", "no"),
        (values.SCORE, "simulation_size", 1),
        (values.SCORE, "max_samples", -1),
        (values.BATCH, "max_workers", "many"),
    ],
)
def test_values_of_other_kinds_are_refused_by_name(checks: dict, key: str, given: Any) -> None:
    with pytest.raises(Refused, match=key):
        values.known({key: given}, checks)


def test_what_viewers_send_passes() -> None:
    slicer = {
        "device": ["NVIDIA H100 80GB HBM3", "cpu"],
        "model_filename": ["model.pt", "model_before_training.pt"],
        "memory_gb": 3.5,
        "quality_record": False,
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "client_id": "user-xyz",
        "label": "spleen",
        "slice": 3,
    }
    kept = values.known(slicer, values.INFER | values.options(KINDS), ["NVIDIA H100 80GB HBM3"])
    first = {"device": "NVIDIA H100 80GB HBM3", "model_filename": "model.pt"}
    assert kept == {key: value for key, value in (slicer | first).items() if key not in ("label", "slice")}
    train = {"device": "cpu", "pretrained": True, "max_epochs": 50, "val_split": 0.2, "multi_gpu": True, "gpus": "all"}
    train |= {"tracking": ["None", "mlflow"], "tracking_uri": "", "tracking_experiment_name": "", "run_id": "", "model_filename": "none.pt"}
    assert values.known(train, values.TRAIN) == train | {"tracking": "None"}


def test_keys_that_name_files_are_left_out() -> None:
    given = {"image": "/etc/passwd", "image_path": "/x", "bundle_path": "/tmp/evil", "images": ["/x"], "strategy": "x", "skip_writer": True}
    for checks in (values.INFER, values.TRAIN, values.BATCH, values.SCORE, values.SAMPLE):
        assert values.known(given, checks) == {}


@pytest.mark.parametrize("params", [[], "x", 3])
def test_parameters_are_an_object(params: Any) -> None:
    with pytest.raises(Refused, match="JSON object"):
        values.known(params, values.INFER)


@pytest.mark.parametrize("text", ["[]", "1", "{", '{"a": "$1"}', "[" * 100_000])
def test_a_form_field_is_a_plain_json_object(text: str) -> None:
    with pytest.raises(Refused, match="params"):
        values.json_object("params", text)
    assert values.json_object("params", '{"a": 1}') == {"a": 1} and values.json_object("params", "") == {}


def test_notes_of_a_viewer_leave_the_servers_own_alone() -> None:
    assert values.info("info", '{"note": "seen"}') == {"note": "seen"}
    for key in ("strategy", "doubt", "ts"):
        with pytest.raises(Refused, match=f"info: the server itself writes {key}"):
            values.info("info", json.dumps({key: 1}))


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "C:\\x", "a\0b", "a\nb", "x" * 300, None])
def test_names_stay_in_the_folder(name: str | None) -> None:
    with pytest.raises(Refused):
        values.file_name("image", name)


def test_names_of_scans_pass() -> None:
    for name in ("abdomen_000", "Müller, Anna (2)", "1.2.840.113619", "100%", "$5", "扫描"):
        assert values.file_name("image", name) == name
    for name in ("$5", ".hidden", "@a", "%x"):
        with pytest.raises(Refused, match="begins with"):
            values.file_name("image", name, new=True)


@pytest.mark.parametrize("name", ["evil.py", "main", "x.nii.gz.py", "x.NII.GZ", "a.json", ".nii.gz", "x.pt", "x.nii.gz/.."])
def test_uploads_are_scans(name: str) -> None:
    with pytest.raises(Refused):
        values.upload("file", name)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/tmp/Slicer/ab.nii.gz", "ab.nii.gz"),
        ("C:\\tmp\\a b\\x.nrrd", "x.nrrd"),
        ("../../x.nii", "x.nii"),
        (None, "scan.nii.gz"),
        ("1.2.3.seg.nrrd", "1.2.3.seg.nrrd"),
    ],
)
def test_an_upload_is_known_by_its_own_name(given: str | None, name: str) -> None:
    assert values.upload("file", given) == name
