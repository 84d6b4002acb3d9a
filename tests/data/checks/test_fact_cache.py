"""Facts kept from one start to the next."""

from __future__ import annotations

import json

from bundle.data.checks.fact_cache import FactCache, stamp
from bundle.data.checks.facts import VERSION


def test_cache_forgets_what_was_written_again(tmp_path):
    file = tmp_path / "a.nii"
    file.write_bytes(b"one")
    cache = FactCache(str(tmp_path / "cache.json"))
    cache.put("image", str(file), stamp(str(file)), {"fact": 1})
    cache.save()
    assert FactCache(str(tmp_path / "cache.json")).get("image", str(file)) == {"fact": 1}
    file.write_bytes(b"another")
    assert FactCache(str(tmp_path / "cache.json")).get("image", str(file)) is None


def test_cache_forgets_what_lies_beside_its_header_and_was_written_again(tmp_path):
    header, voxels = tmp_path / "a.hdr", tmp_path / "a.img"
    header.write_bytes(b"header")
    voxels.write_bytes(b"one")
    cache = FactCache(str(tmp_path / "cache.json"))
    cache.put("image", str(header), stamp(str(header)), {"fact": 1})
    assert cache.get("image", str(header)) == {"fact": 1}
    voxels.write_bytes(b"two!")
    assert cache.get("image", str(header)) is None


def test_a_failure_is_not_kept(tmp_path):
    """Nor taken from a file that an earlier version wrote: the reason may have been the machine's."""
    file, kept = tmp_path / "a.nii", tmp_path / "cache.json"
    file.write_bytes(b"one")
    cache = FactCache(str(kept))
    cache.put("image", str(file), stamp(str(file)), {"error": "Permission denied"})
    cache.save()
    assert not kept.exists() and cache.get("image", str(file)) is None
    entry = {"stamp": stamp(str(file)), "facts": {"error": "Permission denied"}}
    kept.write_text(json.dumps({"version": VERSION, "files": {f"image:{file}": entry}}))
    assert FactCache(str(kept)).get("image", str(file)) is None


def test_cache_in_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    cache = FactCache(str(tmp_path / "file/cache.json"))
    cache.put("image", "a", [1, 2], {})
    cache.save()  # stops nobody


def test_facts_of_an_older_version_and_of_a_folder_are_dropped(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"one")
    for content in ({"version": VERSION - 1, "files": {"image:a.nii": {}}}, [1], {"version": VERSION}):
        (tmp_path / "cache.json").write_text(json.dumps(content))
        assert FactCache(str(tmp_path / "cache.json")).known == {}
    assert stamp(str(tmp_path)) is None and stamp(str(tmp_path / "gone")) is None
    size, _ = stamp(str(tmp_path / "a.nii"))
    assert size == 3


def test_what_was_measured_of_a_file_that_was_not_there_is_not_kept(tmp_path):
    cache = FactCache(str(tmp_path / "cache.json"))
    cache.put("image", "gone.nii", None, {"error": "no such file"})
    cache.save()
    assert not (tmp_path / "cache.json").exists()
    FactCache(None).save()
    assert list(tmp_path.iterdir()) == []
