"""Files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundle.errors import reason
from bundle.files import Staged, aside_path, locked, place, remove_unfinished, spelled, unspelled, write_json, write_text, written_aside


def test_a_file_appears_whole_and_its_folder_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with written_aside(path) as aside:
        aside.write_text("whole")
        assert aside.parent == path.parent and not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"] and path.read_text() == "whole"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before\n")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "before\n"


def test_one_writer_alone_writes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".a.pt.unfinished").write_text("of a killed process, longer")
    with written_aside(tmp_path / "a.pt", alone=True) as aside:
        aside.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"] and (tmp_path / "a.pt").read_text() == "new"


def test_text_and_json_are_written_as_given(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "ä,1\r\nb,2\n")
    assert (tmp_path / "a.csv").read_bytes() == "ä,1\r\nb,2\n".encode()
    write_json(tmp_path / "a.json", {"b": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None]}


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [f".a.txt.{place()}.{gone.pid}.unfinished", ".a.txt.77.unfinished"]
    old = f".b.txt.{'0' * 8}.1.unfinished"
    # what this process writes, what a process elsewhere wrote today, and what is no file of this kind
    kept = [aside_path(tmp_path / "c.txt").name, f".d.txt.{'0' * 8}.1.unfinished", "a.unfinished", ".hidden"]
    for name in [*left, old, *kept]:
        (tmp_path / name).touch()
    os.utime(tmp_path / old, (0, time.time() - 2 * 24 * 3600))
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_a_number_that_another_process_has_now_is_not_the_writer(tmp_path: Path) -> None:
    path = aside_path(tmp_path / "a.txt")
    path.touch()
    os.utime(path, (0, 1_000_000_000))  # before this process began
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_can_be_written_too(tmp_path: Path) -> None:
    for path in (tmp_path / ("n" * 255), tmp_path / ("例" * 85)):
        write_text(path, "whole")
        assert path.read_text() == "whole"


def test_files_of_a_case_take_their_places_together_or_not_at_all(tmp_path: Path) -> None:
    staged = Staged()
    (tmp_path / "a").write_text("before")
    for name in ("a", "b"):
        with staged.written(tmp_path / name) as aside:
            aside.write_text("new")
    assert (tmp_path / "a").read_text() == "before" and not (tmp_path / "b").exists()
    assert staged.publish(last=["a"]) == ["b", "a"]
    assert [(p.name, p.read_text()) for p in sorted(tmp_path.iterdir())] == [("a", "new"), ("b", "new")]
    with staged.written(tmp_path / "a") as aside:
        aside.write_text("newer")
    with pytest.raises(RuntimeError), staged.written(tmp_path / "c") as aside:
        aside.write_text("half")
        raise RuntimeError
    staged.discard()
    assert [(p.name, p.read_text()) for p in sorted(tmp_path.iterdir())] == [("a", "new"), ("b", "new")]


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, written_aside(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert reason(caught.value) == f"{tmp_path / 'a.txt'}: No space left on device"
    with pytest.raises(OSError) as full, Staged().written(tmp_path / "a.jpg"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(full.value) == f"[Errno 28] No space left on device: '{tmp_path / 'a.jpg'}'"


def test_names_that_are_not_utf_8_are_spelled() -> None:
    assert spelled(os.fsdecode(b"M\xfcller.nii")) == "M\\xfcller.nii" and spelled("Müller 例") == "Müller 例"
    assert spelled("\ud800") == "\\ud800"
    for name in (os.fsdecode(b"M\xfcller.nii"), "Müller 例", "C:\\x4", ""):
        assert unspelled(spelled(name)) == name


def test_text_with_such_a_name_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "M\udcfcller")
    assert (tmp_path / "a.txt").read_text() == "M\\udcfcller"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert first and not second
    with locked(tmp_path / "lock") as third:
        assert third
