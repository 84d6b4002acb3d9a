"""Files are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.files import remove_unfinished, write_json, write_text, written_aside


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
    for name in (".a.txt.77.unfinished", "a.unfinished", ".hidden"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", "a.unfinished"]
