"""Claims: which process does a case, and when a claim counts as given up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bundle.files import place
from bundle.results.claims import Claims, make_new


def test_a_claim_shows_that_its_process_lives(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bundle.results.claims.BEAT", 0.01)
    before, claims = threading.enumerate(), Claims(tmp_path)
    assert claims.take("a") and claims.take("a") and not claims.others("a")
    (beating,) = [thread for thread in threading.enumerate() if thread not in before]
    os.utime(tmp_path / "a.claim", (0, 0))
    deadline = time.monotonic() + 20
    while os.stat(tmp_path / "a.claim").st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.stat(tmp_path / "a.claim").st_mtime > 0
    assert Claims(tmp_path).others("a") and not Claims(tmp_path).take("a")
    claims.give_all_back()
    beating.join(20)
    assert not beating.is_alive()
    assert list(tmp_path.iterdir()) == [] and Claims(tmp_path).take("a")


def test_without_room_for_a_claim_the_case_is_done(tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bundle.results.claims.make_new", full)
    assert Claims(tmp_path).take("a") and list(tmp_path.iterdir()) == []


def test_one_of_two_that_begin_at_once_has_the_case(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take("a") and not other.take("a") and other.take("b")
    other.give_back("a")  # not its own
    assert other.others("a") and not one.others("a") and one.others("b")
    one.give_back("a")
    assert not other.others("a") and other.take("a")
    for claims in (one, other):
        claims.give_all_back()
    assert list(tmp_path.iterdir()) == []


def claim_of(folder: Path, where: str, pid: int, age: float) -> None:
    """`a.claim` as a process wrote it `age` seconds ago."""
    path = folder / "a.claim"
    path.write_text(json.dumps({"place": where, "pid": pid}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_another_machine_lives_as_long_as_it_shows_it_and_this_one_as_its_process_does(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for where, pid, age, alive in (
        ("0" * 8, 1, 100.0, True),
        ("0" * 8, 1, 300.0, False),  # three minutes without a sign of life
        (place(), os.getppid(), 0.0, True),
        (place(), gone.pid, 0.0, False),
        (place(), os.getpid(), 0.0, False),  # of a process with this one's number, such as 1 in a container that was started again
    ):
        claim_of(tmp_path, where, pid, age)
        assert Claims(tmp_path).others("a") is alive, (where, age)
        Claims(tmp_path).clear()
        assert (tmp_path / "a.claim").exists() is alive


@pytest.mark.parametrize("text", ["7", "{", '{"pid": 1}'])
def test_a_claim_that_cannot_be_read_holds_nobody_up(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.claim").write_text(text)
    claims = Claims(tmp_path)
    assert not claims.others("a") and claims.take("a")
    assert json.loads((tmp_path / "a.claim").read_text()) == {"place": place(), "pid": os.getpid()}
    claims.give_all_back()


def test_a_new_file_has_its_text_and_never_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_new(tmp_path / "a", "one")
    with pytest.raises(FileExistsError):
        make_new(tmp_path / "a", "two")

    def no_links(*paths: object) -> None:
        raise OSError(errno.EPERM, "no links on this file system")

    monkeypatch.setattr("os.link", no_links)
    make_new(tmp_path / "b", "three")
    with pytest.raises(FileExistsError):
        make_new(tmp_path / "b", "four")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "one", "b": "three"}
