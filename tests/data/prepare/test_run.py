"""`prepare` goes on where it stopped, writes nothing into the download, and refuses what would mix data sets."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from bundle.arguments.verbs import call
from bundle.data.prepare import run, totalsegmentator
from bundle.errors import UserError


@pytest.fixture
def download(prepared, save, scan):
    for name in ("s0001", "s0002", "s0003"):
        image, label = scan(int(name[1:]))
        save(prepared.source / name / "ct.nii.gz", image)
        for part in ("pancreas", "spleen", "kidney_left", "kidney_right"):
            save(prepared.source / name / f"segmentations/{part}.nii.gz", (label == 1) * np.uint8(part == "pancreas"))
    return prepared


def test_goes_on_where_it_was_killed(download, monkeypatch, capsys):
    converted = []
    original = totalsegmentator.convert

    def convert(case, targets, options):
        if len(converted) == 2:
            raise KeyboardInterrupt
        converted.append(case.name)
        return original(case, targets, options)

    monkeypatch.setattr(totalsegmentator, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        download.run("totalsegmentator")
    assert converted == ["s0001", "s0002"]
    monkeypatch.setattr(totalsegmentator, "convert", lambda case, *rest: converted.append(case.name) or original(case, *rest))
    assert download.run("totalsegmentator") == 0
    assert converted == ["s0001", "s0002", "s0003"]
    assert "2 of 3 cases were there already" in capsys.readouterr().out
    assert len(download.json("dataset.json")["training"]) == 3
    assert not [path for path in download.output.rglob("*") if ".tmp" in path.name]


KILLED = """
import os, signal, sys
from bundle.data.prepare import run, totalsegmentator
moment = sys.argv[1]
if moment == "before the first case":
    totalsegmentator.convert = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)
elif moment == "before the state":
    run.write_json = lambda path, content: os.kill(os.getpid(), signal.SIGKILL)
else:
    original = totalsegmentator.convert
    def convert(case, *rest):
        if case.name == "s0002":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(case, *rest)
    totalsegmentator.convert = convert
run.prepare("totalsegmentator", sys.argv[2], sys.argv[3], num_workers=1, check=False)
"""


@pytest.mark.parametrize(("moment", "there"), [("before the state", 0), ("before the first case", 0), ("in the second case", 1)])
def test_killed_at_any_moment_the_same_command_goes_on(download, capsys, repository, warm_python, moment, there):
    done = warm_python("-c", KILLED, moment, str(download.source), str(download.output), cwd=repository)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert download.run("totalsegmentator") == 0
    said = capsys.readouterr().out
    assert ("1 of 3 cases were there already" in said) == bool(there)
    assert len(download.json("dataset.json")["training"]) == 3


@pytest.mark.parametrize("content", ["", "[]", "null", '{"cases": []}', '{"cases": {"s0001": 1}}', '{"dataset": "totalsegmentator"}'])
def test_a_damaged_state_is_one_line(download, content):
    download.output.mkdir()
    (download.output / "prepare.json").write_text(content)
    with pytest.raises(UserError, match=r"prepare\.json: is not the state"):
        download.run("totalsegmentator")


def test_a_changed_source_and_a_lost_output_are_written_again(download, save, scan, monkeypatch):
    download.run("totalsegmentator")
    converted = []
    original = totalsegmentator.convert
    monkeypatch.setattr(totalsegmentator, "convert", lambda case, *rest: converted.append(case.name) or original(case, *rest))
    save(download.source / "s0001/segmentations/spleen.nii.gz", (scan(1)[1] == 2).astype("uint8"))
    (download.output / "labelsTr/s0003.nii.gz").unlink()
    download.run("totalsegmentator")
    assert converted == ["s0001", "s0003"] and (download.read("labelsTr/s0001.nii.gz") == 2).any()


def test_another_run_into_the_same_folder_is_refused(download):
    download.run("totalsegmentator")
    with pytest.raises(UserError, match="was made with keep_empty False, not True"):
        download.run("totalsegmentator", keep_empty=True)


def test_foreign_folders_are_refused(download, tmp_path):
    download.output.mkdir()
    (download.output / "mine.txt").touch()
    with pytest.raises(UserError, match="is not empty"):
        download.run("totalsegmentator")
    for inside in (download.source, download.source / "out", tmp_path):
        with pytest.raises(UserError, match="is inside the download"):
            run.prepare("totalsegmentator", str(download.source), str(inside))


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_ways_to_link(download, link):
    download.run("totalsegmentator", link=link)
    scan_file = download.output / "imagesTr/s0001.nii.gz"
    assert scan_file.is_symlink() == (link == "symlink")
    assert os.path.samefile(scan_file, download.source / "s0001/ct.nii.gz") == (link != "copy")


@pytest.mark.parametrize("dataset", ["totalsegmentator", "btcv"])
def test_another_way_to_link_makes_the_cases_again(download, put, capsys, dataset):
    """Who asks for copies may delete the download: links that are there already do not count."""
    put("img/img0001.nii.gz", "label/label0001.nii.gz", (11, 1))
    sources = {"totalsegmentator": ["s0001/ct.nii.gz"], "btcv": ["img/img0001.nii.gz", "label/label0001.nii.gz"]}[dataset]
    for link in ("symlink", "copy", "hardlink", "copy", "symlink", "hardlink", "symlink"):
        download.run(dataset, link=link, check=False)
        assert "already" not in capsys.readouterr().out
        images, labels = (min((download.output / folder).iterdir()) for folder in ("imagesTr", "labelsTr"))
        for path, source in zip((images, labels), sources, strict=False):
            assert path.is_symlink() == (link == "symlink")
            assert os.path.samefile(path, download.source / source) == (link != "copy")
        download.run(dataset, link=link, check=False)
        assert "cases were there already" in capsys.readouterr().out


def test_where_no_link_is_allowed_the_copies_are_made_once(download, monkeypatch, capsys):
    def refused(*paths: object) -> None:
        raise OSError("not allowed here")

    monkeypatch.setattr(os, "symlink", refused)
    for _ in range(2):
        download.run("totalsegmentator", check=False)
    assert "3 of 3 cases were there already" in capsys.readouterr().out
    assert not (download.output / "imagesTr/s0001.nii.gz").is_symlink()


def test_links_of_a_state_that_does_not_say_how_they_were_made(download, capsys):
    """As 0.1 wrote it: the files themselves show it."""
    download.run("totalsegmentator", check=False)
    state = download.json("prepare.json")
    for entry in state["cases"].values():
        del entry["link"]
    (download.output / "prepare.json").write_text(json.dumps(state))
    download.run("totalsegmentator", check=False)
    assert "3 of 3 cases were there already" in capsys.readouterr().out
    download.run("totalsegmentator", link="copy", check=False)
    assert not any(path.is_symlink() for path in (download.output / "imagesTr").iterdir())


def test_converted_files_are_no_links_in_any_way(prepared, put, capsys):
    put("PANCREAS_0001.nii.gz", "labels/label0001.nii.gz", (1, 0))
    for link in ("symlink", "copy", "hardlink"):
        prepared.run("nih-pancreas-ct", link=link, check=False)
    assert capsys.readouterr().out.count("1 of 1 cases were there already") == 2


def test_in_several_processes(download):
    assert run.prepare("totalsegmentator", str(download.source), str(download.output), num_workers=2, check=False) == 0
    assert len(download.json("dataset.json")["training"]) == 3


@pytest.mark.parametrize("dataset", list(run.DATA_SETS))
def test_a_wrong_folder_is_named_for_every_data_set(tmp_path, dataset):
    (tmp_path / "download").mkdir()
    (tmp_path / "download/Task07_Pancreas.tar").touch()
    with pytest.raises(UserError, match=r"unpack Task07_Pancreas.tar first"):
        run.prepare(dataset, str(tmp_path / "download"), str(tmp_path / "out"))


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="'nih' is not known"):
        run.prepare("nih", str(tmp_path), str(tmp_path / "out"))
    with pytest.raises(UserError, match="no such folder"):
        run.prepare("msd", str(tmp_path / "no"), str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"msd has no option --keep_empty\. Fix: leave it out"):
        run.prepare("msd", str(tmp_path), str(tmp_path / "out"), keep_empty=True)
    with pytest.raises(UserError, match=r"no option --officialsplit, did you mean --official_split.*it has --official_split"):
        run.prepare("amos", str(tmp_path), str(tmp_path / "out"), officialsplit=True)


@pytest.fixture
def typed(prepared, put):
    """`typed(*words)` runs `prepare` on a small AMOS as a person types it; gives the sections of what it wrote."""
    put("imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz", (10, 1))
    put("imagesVa/amos_0008.nii.gz", "labelsVa/amos_0008.nii.gz", (10, 1))

    def go(*words: str) -> set[str]:
        call(run.prepare, "prepare", ["amos", str(prepared.source), str(prepared.output), "--num_workers", "1", "--check", "false", *words])
        return {name for name in ("training", "validation", "test") if prepared.json("dataset.json").get(name)}

    return go


@pytest.mark.parametrize(
    "words", [["--official_split", word] for word in ("false", "False", "0", "no", "NO")] + [["--noofficial_split"], []]
)
def test_a_switch_of_a_data_set_that_says_no_means_no(typed, words):
    """Fire hands on `false` as a word, which would be true."""
    assert typed(*words) == {"training"}
    assert typed() == {"training"}  # and is the same run as one that says nothing


@pytest.mark.parametrize("words", [["--official_split"], ["--official_split", "true"], ["--official_split=1"], ["--official_split", "yes"]])
def test_a_switch_of_a_data_set_that_says_yes_means_yes(typed, words):
    assert typed(*words) == {"training", "validation"}
    with pytest.raises(UserError, match="was made with official_split True, not False"):
        typed()


@pytest.mark.parametrize(("word", "kept"), [("true", "true"), ("true", "false"), ("false", False), ("true", True)])
def test_the_state_of_an_earlier_version_is_understood(typed, prepared, word, kept):
    """It kept switches as they were typed, words among them, of which all meant yes; and those that said the default."""
    first = typed("--official_split", word)
    path = prepared.output / run.STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    state["options"]["official_split"] = kept
    path.write_text(json.dumps(state), encoding="utf-8")
    assert typed("--official_split", word) == first


@pytest.mark.parametrize("word", ["maybe", "2", "None", "[]"])
def test_a_switch_of_a_data_set_that_is_neither_is_refused(typed, prepared, word):
    with pytest.raises(UserError, match=r"--official_split: .* does not fit this argument\. Fix: give true or false"):
        typed("--official_split", word)
    assert not prepared.output.exists()


def test_overlay_is_a_config(download):
    download.run("totalsegmentator", check=False)
    assert list(json.loads((download.output / "labels.json").read_text(encoding="utf-8"))) == ["labels"]


def test_prepared_sets_train_with_their_overlay_and_nothing_else(prepared, put):
    from bundle.data.checks.check import check_before_training

    for number in range(1, 7):
        put(f"Training/img/img{number:04d}.nii.gz", f"Training/label/label{number:04d}.nii.gz", (11, 1))
    prepared.run("btcv", check=False)
    assert check_before_training(str(prepared.output), prepared.json("labels.json")["labels"])["training"] == 4
    assert check_before_training(str(prepared.output), prepared.json("labels_all.json")["labels"])["training"] == 4
