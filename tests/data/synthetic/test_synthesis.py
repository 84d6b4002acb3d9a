import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bundle.data.datalist import datalist
from bundle.data.synthetic import synthesis
from bundle.data.synthetic.sources import Sources
from bundle.data.synthetic.synthesis import synthesise
from bundle.errors import UserError


@pytest.fixture(scope="module")
def procedural(tmp_path_factory):
    return synthesise(str(tmp_path_factory.mktemp("synthesis") / "one"), cases=1, validation=1, seed=3, jobs=1)


def test_without_any_real_anatomy_it_still_makes_a_data_set(procedural):
    training, validation = (datalist(str(procedural), section) for section in ("training", "validation"))
    assert (len(training), len(validation)) == (1, 1)
    for item in training + validation:
        image, label = nib.load(item["image"]), nib.load(item["label"])
        assert image.shape == label.shape and nib.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.header.get_zooms(), 2.0)
        assert set(np.unique(np.asarray(label.dataobj))) <= {0, 1, 2, 3}
        assert np.asarray(image.dataobj).min() < -900


def test_coarse_scans_and_whole_bodies_are_asked_for_apart(monkeypatch):
    """At 4 mm a scan has an eighth of the voxels; a share of 1 of whole bodies is all of them, and leaves the other draws as they are."""
    asked = []

    def scan(person, rng, spacing, donor, *, whole):
        asked.append((spacing, whole, float(rng.random())))
        return np.zeros((3, 3, 3)), np.zeros((3, 3, 3), np.uint8)

    monkeypatch.setattr("bundle.data.synthetic.recipes.from_person", scan)
    monkeypatch.setattr(synthesis, "_person", lambda folder, name: name)
    sources = Sources("", (), (), people=("person_a",))
    _, _, affine = synthesis.make_scan(replace(sources, spacing=4.0), "people_0", 3)
    synthesis.make_scan(replace(sources, whole=1.0), "people_0", 3)
    np.testing.assert_allclose(np.diag(affine), [4.0, 4.0, 4.0, 1.0])
    assert [one[:2] for one in asked] == [((4.0,) * 3, False), ((2.0,) * 3, True)] and asked[0][2] == asked[1][2]


def test_goes_on_and_grows_without_changing_what_stands(procedural):
    before = {p.name: p.read_bytes() for p in (procedural / "imagesTr").iterdir()}
    name = sorted(before)[-1]
    (procedural / "imagesTr" / name).unlink()
    synthesise(str(procedural), cases=1, validation=1, seed=3, jobs=1)
    assert (procedural / "imagesTr" / name).read_bytes() == before[name]


def test_lists_hold_what_stands_and_grow_with_it(tmp_path, monkeypatch):
    listed = []

    def write(folder, sources, seed, name):
        listed.append(len(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"]))
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind / f"{name}.nii.gz").write_bytes(b"")

    monkeypatch.setattr("bundle.data.synthetic.synthesis._write_case", write)
    folder = synthesise(str(tmp_path / "out"), cases=3, validation=1, jobs=1)
    assert listed == [0, 1, 2, 3] and len(datalist(str(folder), "training")) == 3


def test_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(UserError, match="label maps"):
        synthesise(str(tmp_path / "a"), maps=str(tmp_path), cases=1)
    with pytest.raises(UserError, match=r"no ct\.nii\.gz"):
        synthesise(str(tmp_path / "b"), real=str(tmp_path), cases=1)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "ct.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"half: has a ct\.nii\.gz and no labels\.nii\.gz"):
        synthesise(str(tmp_path / "b"), real=str(tmp_path), cases=1)
    for shares in ((1, 0, 0), 1, "0,1", ("a",), (-1, 2), (0, 1, 0, 0, 5), (float("nan"), 1)):
        with pytest.raises(UserError, match="--shares"):
            synthesise(str(tmp_path / "c"), cases=1, shares=shares)


@pytest.fixture
def quick(monkeypatch):
    """Scans that hold the seed they were made of, and donors that hold nothing."""

    def write(folder, sources, seed, name):
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind / f"{name}.nii.gz").write_text(f"{seed} {len(sources.training)}")

    monkeypatch.setattr(synthesis, "_write_case", write)
    monkeypatch.setattr(synthesis, "_prepare", lambda folder, files: None)


def scans(folder):
    return {path.name: path.read_text() for path in folder.glob("*Tr/*.nii.gz")}


def test_another_data_set_stays_as_it_is(tmp_path, quick):
    (tmp_path / "dataset.json").write_text('{"name": "mine", "training": []}')
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"dataset\.json: the folder holds another data set"):
            synthesise(str(tmp_path), cases=1, overwrite=overwrite)
    assert (tmp_path / "dataset.json").read_text() == '{"name": "mine", "training": []}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json"]


def test_another_seed_or_other_anatomies_never_keep_scans_of_the_first(tmp_path, quick):
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in "abcdefg":
        (maps / f"{name}.nii.gz").write_bytes(b"")
    out = str(tmp_path / "out")
    folder = synthesise(out, cases=3, validation=1, seed=1, jobs=1)
    with pytest.raises(UserError, match=r"seed 1.*not seed 2.*--overwrite"):
        synthesise(out, cases=3, validation=1, seed=2, jobs=1)
    with pytest.raises(UserError, match="anatomies_training"):
        synthesise(out, cases=3, validation=1, seed=1, maps=str(maps), jobs=1)
    assert set(scans(folder).values()) == {"1 0"}
    synthesise(out, cases=2, validation=1, seed=2, maps=str(maps), jobs=1, overwrite=True)
    assert set(scans(folder).values()) == {"2 6"} and len(scans(folder)) == 3
    (maps / "h.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match="anatomies_training of 6 names"):
        synthesise(out, cases=2, validation=1, seed=2, maps=str(maps), jobs=1)


def test_settings_that_are_the_defaults_again_are_others_than_before(tmp_path, quick):
    synthesise(str(tmp_path / "out"), cases=1, validation=0, spacing=4.0, whole=0.2, jobs=1)
    with pytest.raises(UserError, match=r"spacing 4\.0, whole 0\.2.*not spacing 2\.0, whole 0\.0"):
        synthesise(str(tmp_path / "out"), cases=1, validation=0, jobs=1)
    folder = synthesise(str(tmp_path / "old"), cases=1, validation=0, jobs=1)
    described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    # a record of an earlier version, which left the defaults out
    described["synthesis"] = {key: value for key, value in described["synthesis"].items() if key not in ("spacing", "whole", "maps")}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    assert synthesise(str(folder), cases=1, validation=0, jobs=1) == folder


def test_label_maps_and_real_ct_that_were_changed_make_another_data_set(tmp_path, quick, monkeypatch):
    prepared = []

    def prepare(folder, named):
        (folder / "donors" / f"{named[0]}.npz").touch()
        prepared.append(named[0])

    monkeypatch.setattr(synthesis, "_prepare", prepare)
    maps, out = tmp_path / "maps", str(tmp_path / "out")
    maps.mkdir()
    for name in "ab":
        (maps / f"{name}.nii.gz").write_bytes(b"one")
    synthesise(out, cases=1, validation=0, maps=str(maps), jobs=1)
    synthesise(out, cases=1, validation=0, maps=str(maps), jobs=1)
    assert prepared == ["a", "b"]
    (maps / "b.nii.gz").write_bytes(b"two")
    with pytest.raises(UserError, match=r"another data set \(maps \w{16}\), not maps \w{16}.*--overwrite"):
        synthesise(out, cases=1, validation=0, maps=str(maps), jobs=1)
    synthesise(out, cases=1, validation=0, maps=str(maps), jobs=1, overwrite=True)
    assert prepared == ["a", "b"] * 2, "donors are made of the new maps"
    for name in ("one", "two"):
        real_ct(tmp_path / name)
        (tmp_path / name / "note").write_text(name)
    (tmp_path / "two" / "ct.nii.gz").write_bytes(b"another")
    synthesise(out, cases=1, validation=0, maps=str(maps), real=str(tmp_path / "one"), jobs=1)
    synthesise(out, cases=1, validation=0, maps=str(maps), jobs=1)
    with pytest.raises(UserError, match="real_ct"):
        synthesise(out, cases=1, validation=0, maps=str(maps), real=str(tmp_path / "two"), jobs=1)


def test_the_real_ct_can_be_added_later(tmp_path, quick):
    real_ct(tmp_path / "real")
    folder = synthesise(str(tmp_path / "out"), cases=8, validation=1, jobs=1)
    before = scans(folder)
    synthesise(str(tmp_path / "out"), cases=8, validation=1, real=str(tmp_path / "real"), jobs=1)
    assert before.items() <= scans(folder).items() and any(name.startswith("real") for name in scans(folder))


def test_a_folder_of_several_real_ct_is_a_source_of_each(tmp_path, quick):
    for name in ("one", "two"):
        real_ct(tmp_path / "real" / name)
    (tmp_path / "real" / "two" / "labels.json").write_text('{"pancreas": 1, "unsure": 255}')
    folder = synthesise(str(tmp_path / "out"), cases=1, validation=0, real=str(tmp_path / "real"), jobs=1)
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    assert names == {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney", "255": "unsure"}
    listed = json.loads((folder / "without_real.json").read_text(encoding="utf-8"))["test"]
    assert [item["label"] for item in listed] == [str(tmp_path / "real" / name / "labels.nii.gz") for name in ("one", "two")]


def test_each_of_several_real_ct_is_drawn(monkeypatch):
    monkeypatch.setattr(synthesis, "_real", lambda folder: folder)
    drawn = []

    def scan(real, rng, spacing):
        drawn.append(real)
        return np.zeros((3, 3, 3)), np.zeros((3, 3, 3), np.uint8)

    monkeypatch.setattr("bundle.data.synthetic.recipes.from_real", scan)
    for number in range(12):
        synthesis.make_scan(Sources("", (), (), ("one", "two")), f"real_{number}", 0)
    assert set(drawn) == {"one", "two"}


def real_ct(folder):
    folder.mkdir(parents=True)
    for name in ("ct", "labels"):
        (folder / f"{name}.nii.gz").write_bytes(b"")


def test_a_run_that_was_killed_early_goes_on(tmp_path, quick, monkeypatch):
    def killed(work, todo, **options):
        raise KeyboardInterrupt

    # while the anatomies are prepared, before the first scan
    with monkeypatch.context() as early, pytest.raises(KeyboardInterrupt):
        early.setattr(synthesis, "run_parallel", killed)
        synthesise(str(tmp_path / "out"), cases=1, validation=1, jobs=1)
    assert len(scans(synthesise(str(tmp_path / "out"), cases=1, validation=1, jobs=1))) == 2


@pytest.mark.slow
def test_scans_of_real_organs_and_of_the_real_ct(shared_data, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("case_45", "case_55"):
        (maps / f"{name}.nii.gz").write_bytes((shared_data / "labels" / "multiorgan" / f"{name}.nii.gz").read_bytes())
    real = shared_data / "ct" / "torso_3mm"
    folder = synthesise(str(tmp_path / "out"), cases=4, validation=1, maps=str(maps), real=str(real), shares=(0.5, 0.0, 0.5), jobs=2)
    names = {p.name.split("_")[0] for p in (folder / "imagesTr").iterdir()}
    assert names == {"maps", "real", "heldout"}
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["synthesis"]["anatomies_training"] == ["case_45"]
    assert content["synthesis"]["anatomies_validation"] == ["case_55"]
    without = json.loads((folder / "without_real.json").read_text(encoding="utf-8"))
    assert not any("real_" in item["image"] for item in without["training"])
    assert [item["image"] for item in datalist(str(folder), "test", str(folder / "without_real.json"), with_test=True)] == [
        str((real / "ct.nii.gz").resolve())
    ]
    for path in (folder / "labelsTr").iterdir():
        volumes = np.bincount(np.asarray(nib.load(path).dataobj).ravel(), minlength=4) * 8e-3
        assert 30 < volumes[2] < 700, path.name


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("spacing", (0.0, float("nan"), 1e9, "2")),
        ("cases", (-1,)),
        ("validation", (1.5,)),
        ("whole", (1.5, -0.1, float("nan"), "all", True)),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, key, values):
    for value in values:
        with pytest.raises(UserError, match=f"--{key}: .*Fix: for example --{key}"):
            synthesise(tmp_path / "out", **{key: value})
    assert not (tmp_path / "out").exists()


def test_its_scans_are_known_by_their_names(tmp_path):
    everything = Sources("", ("a", "b"), ("c",), ("r",), ("p",), ("q",))
    names = synthesis._names(60, 2, 0, everything, (1, 1, 1, 1))
    assert {name.split("_")[0] for name in names} == {*synthesis.KINDS, "heldout"}
    assert all(re.fullmatch(synthesis.SCANS, path.name) for name in names for path in synthesis._paths(tmp_path, name))
