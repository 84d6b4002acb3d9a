"""Names in a folder that holds other results: by hand, with a table of entries in place of the records."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bundle.handlers.inference.case_names import is_free, is_of, named_apart, warn_of_former_names
from bundle.results import identity
from bundle.results.outputs import LONGEST_CASE
from bundle.results.records import key


class Table:
    """What a folder holds: case to its entry, compared as the records do."""

    def __init__(self, **sources: str) -> None:
        self.entries = {key(case): {"case": case, "source": source} for case, source in sources.items()}

    def get(self, case: str) -> dict | None:
        return self.entries.get(key(case))


def item(source: Path, case: str = "ct") -> dict:
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"scan")
    return {"case": case, "source": str(source), "image": str(source)}


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A scan that exists and has a result."""
    return item(tmp_path / "elsewhere" / "ct.nii")["source"]


def names(items: list[dict], table: Table) -> list[str]:
    return [one["case"] for one in named_apart(items, table)]


def test_free_names_and_own_results_keep_their_name(tmp_path, other):
    mine = item(tmp_path / "pat_a" / "ct.nii")
    assert named_apart([mine], Table(other=other)) == [mine]
    assert named_apart([mine], Table(ct=mine["source"])) == [mine]


def test_a_taken_name_gets_the_folder_before_it_whatever_its_capitals(tmp_path, other, caplog):
    mine = item(tmp_path / "pat_a" / "ct.nii")
    assert names([mine], Table(CT=other)) == ["pat_a_ct"]
    assert f"ct is the name of {other} in this folder" in caplog.text
    # a folder that the name has already is not put before it twice
    assert names([mine | {"case": "pat_a_ct"}], Table(pat_a_ct=other)) == [f"{tmp_path.name}_pat_a_ct"]


def test_then_a_digest_of_the_path_comes_behind(tmp_path, other):
    mine = item(tmp_path / "pat_a" / "ct.nii")
    digest = hashlib.sha256(mine["source"].encode()).hexdigest()
    assert names([mine], Table(ct=other, pat_a_ct=other)) == [f"pat_a_ct_{digest[:8]}"]
    # the name of another scan of this run is not free either
    assert names([mine, item(tmp_path / "x.nii", "pat_a_ct")], Table(ct=other)) == [f"pat_a_ct_{digest[:8]}", "pat_a_ct"]


def test_characters_that_trouble_and_names_that_are_too_long(tmp_path, other):
    assert names([item(tmp_path / "pat a;1" / "ct.nii")], Table(ct=other)) == ["pat_a_1_ct"]
    long = "c" * LONGEST_CASE
    (found,) = names([item(tmp_path / "pat_a" / "ct.nii", long)], Table(**{long: other}))
    assert len(found.encode()) <= LONGEST_CASE and found.startswith("pat_a_ccc")


def test_the_same_scan_is_known_by_its_path_or_after_a_move_by_its_bytes(tmp_path, other):
    mine = item(tmp_path / "new" / "ct.nii")
    digest = {"digest": hashlib.sha256(b"scan").hexdigest(), "bytes": 4}
    gone = str(tmp_path / "gone" / "ct.nii")
    assert is_of({"source": mine["source"]}, mine) and is_free(None, mine)
    assert is_of({"source": gone, **digest}, mine) and is_of({"source": gone, "kept": digest}, mine)
    assert not is_of({"source": other, **digest}, mine), "two places that both exist are two scans"
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert is_of({"source": str(tmp_path / "link" / "ct.nii")}, mine), "two paths to one place are one scan"
    assert not is_of({"source": gone, **digest, "bytes": 5}, mine) and not is_of({"source": gone}, mine)
    assert not is_of({"source": gone, "digest": "0" * 64, "bytes": 4}, mine) and not is_free({"source": other}, mine)


def test_a_result_under_another_name_is_told_in_one_line(tmp_path, other, caplog):
    a, b = item(tmp_path / "a" / "ct.nii", "a_ct"), item(tmp_path / "b" / "ct.nii", "b_ct")
    mine = [{"case": "a_ct", "source": a["source"]}, {"case": "other", "source": other}]
    warn_of_former_names([a, b], mine)
    assert caplog.text == ""
    warn_of_former_names([a, b], [{"case": "ct", "source": a["source"]}, *mine])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "1 scan has a result under another name in this folder (ct is a_ct now): both rows stay; "
        "delete the files of the old one, or use another --output_dir"
    )
    caplog.clear()
    warn_of_former_names([a, b], [{"case": f"old{n}", "source": one["source"]} for n in range(4) for one in (a, b)])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("2 scans have a result under another name in this folder (old0 is a_ct now") and "now, and 3 more): both" in line


def test_series_of_one_folder_are_not_each_other(tmp_path, caplog):
    first, second = item(tmp_path / "1.dcm", "s1"), item(tmp_path / "2.dcm", "s2")
    entries = [{"case": one["case"], "source": str(tmp_path), "stamp": identity.stamp([one["image"]])} for one in (first, second)]
    # a part of a run has one of them only
    warn_of_former_names([{**first, "source": str(tmp_path)}], entries)
    assert caplog.text == ""
    warn_of_former_names([{**first, "source": str(tmp_path), "case": "patient_s1"}], entries)
    assert "1 scan has" in caplog.text and "(s1 is patient_s1 now)" in caplog.text
