"""What belongs to whom in a folder of results: names, digests, settings, results that are kept, several processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from light_evaluator import LABELS, evaluator, logits, scan, spleen_voxels

from bundle.data.load_scan import LoadScand
from bundle.errors import UserError
from bundle.files import place
from bundle.handlers.inference.run_record import RunRecord
from bundle.inferers import CaseHandler
from bundle.quality.cases import read_cases_csv
from bundle.results import records


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def done(data: Path, out: Path, **options) -> list[str]:
    """Run; the names of the cases that were done now."""
    return [case.name for case in evaluator(data, out, **options).run() if case.error is None]


def recorded(out: Path) -> dict[str, dict]:
    return {case["case"]: case for case in json.loads((out / "run.json").read_text())["cases"]}


def table(out: Path) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in read_cases_csv(out)}


def weights(path: Path, value: float) -> Path:
    torch.save({"w": torch.full((3,), value)}, path)
    return path


@pytest.mark.parametrize("same_time", [False, True])
def test_another_patients_scan_of_the_same_name_gets_its_own_result(tmp_path: Path, out: Path, same_time: bool) -> None:
    first, second = scan(tmp_path / "pat_a" / "ct.nii", 4), scan(tmp_path / "pat_b" / "ct.nii", 7)
    assert os.path.getsize(first) == os.path.getsize(second)
    if same_time:
        os.utime(second, ns=(os.stat(first).st_atime_ns, os.stat(first).st_mtime_ns))
    assert done(first.parent, out) == ["ct"]
    before = (out / "ct_seg.nii.gz").read_bytes()
    assert done(second.parent, out) == ["pat_b_ct"]
    assert (out / "ct_seg.nii.gz").read_bytes() == before
    assert (spleen_voxels(out / "ct_seg.nii.gz"), spleen_voxels(out / "pat_b_ct_seg.nii.gz")) == (4, 7)
    assert {name: case["source"] for name, case in recorded(out).items()} == {"ct": str(first), "pat_b_ct": str(second)}
    assert {name: float(row["volume_ml"]) for name, row in table(out).items()} == {"ct": 0.032, "pat_b_ct": 0.056}
    assert done(first.parent, out) == [] and done(second.parent, out) == [], "each finds its own again"


def test_where_the_longer_name_is_taken_too_a_digest_of_the_path_decides(tmp_path: Path, out: Path) -> None:
    for parent, spleen in (("x/pat", 4), ("y/pat", 5), ("z/pat", 6)):
        scan(tmp_path / parent / "ct.nii", spleen)
        names = done(tmp_path / parent, out)
        assert len(names) == 1 and done(tmp_path / parent, out) == []
    assert len(recorded(out)) == 3 and names[0].startswith("pat_ct_")
    assert spleen_voxels(out / f"{names[0]}_seg.nii.gz") == 6


def test_names_that_differ_in_capitals_only_are_one_name(tmp_path: Path, out: Path) -> None:
    scan(tmp_path / "a" / "CT.nii"), scan(tmp_path / "b" / "ct.nii", 5)
    assert done(tmp_path / "a", out) == ["CT"] and done(tmp_path / "b", out) == ["b_ct"]


def test_a_scan_that_moved_is_known_by_its_bytes_and_a_copy_is_a_scan_of_its_own(tmp_path: Path, out: Path, caplog) -> None:
    scan(tmp_path / "old" / "ct.nii", 4)
    done(tmp_path / "old", out)
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    assert done(tmp_path / "copy", out) == ["copy_ct"]
    (tmp_path / "old").rename(tmp_path / "new")
    assert done(tmp_path / "new", out) == []
    assert recorded(out)["ct"]["source"] == table(out)["ct"]["source"] == str(tmp_path / "new" / "ct.nii")
    # where the old place is gone and the bytes are others, it is another scan
    (tmp_path / "new").rename(tmp_path / "gone")
    scan(tmp_path / "third" / "ct.nii", 9)
    assert done(tmp_path / "third", out) == ["third_ct"] and spleen_voxels(out / "ct_seg.nii.gz") == 4


def test_a_wider_dataset_dir_names_the_scans_that_now_count_twice(tmp_path: Path, out: Path, caplog) -> None:
    scan(tmp_path / "seq" / "patA" / "ct.nii", 4), scan(tmp_path / "seq" / "patB" / "ct.nii", 5)
    assert done(tmp_path / "seq" / "patA", out) == ["ct"] and "another name" not in caplog.text
    assert done(tmp_path / "seq", out) == ["patA_ct", "patB_ct"] and set(table(out)) == {"ct", "patA_ct", "patB_ct"}
    assert caplog.text.count("1 scan has a result under another name in this folder (ct is patA_ct now)") == 1
    # what the line says to do ends it
    for file in out.glob("ct_*"):
        file.unlink()
    caplog.clear()
    assert done(tmp_path / "seq", out) == [] and set(table(out)) == {"patA_ct", "patB_ct"}
    assert "another name" not in caplog.text


def test_a_scan_that_is_replaced_while_it_is_read_has_no_result_of_unknown_bytes(tmp_path: Path, out: Path) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)

    class Synced(LoadScand):
        """A newer file takes the place of the one that was just read."""

        def __call__(self, data, reader=None):
            found = super().__call__(data, reader)
            scan(tmp_path / "new.nii", 7).rename(path)
            return found

    engine = evaluator(path.parent, out)
    engine.dataset.transform.transforms = (Synced("image"), *engine.dataset.transform.transforms[1:])
    (case,) = engine.run()
    assert "ct.nii: it changed while it was read. Fix: run the same command again" in str(case.error)
    assert done(path.parent, out) == ["ct"] and spleen_voxels(out / "ct_seg.nii.gz") == 7
    path.chmod(0o444)
    assert done(path.parent, out) == [], "permissions are no content"


def test_changed_bytes_are_seen_whatever_size_and_time_say(tmp_path: Path, out: Path, caplog) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)
    done(path.parent, out)
    times = os.stat(path)
    scan(path, 7)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(path).st_size == times.st_size
    assert done(path.parent, out) == ["ct"] and spleen_voxels(out / "ct_seg.nii.gz") == 7
    assert "the scan changed: 1 case is done again" in caplog.text
    path.touch()
    assert done(path.parent, out) == [], "another time, the same bytes"


def test_every_setting_is_part_of_a_result(tmp_path: Path, out: Path, caplog) -> None:
    for name in ("a", "b"):
        scan(tmp_path / "data" / f"{name}.nii")
    first = {"labels": LABELS, "spacing": [2, 2, 2], "keep_pieces": {}}
    run = {"weights": weights(tmp_path / "w.pt", 1.0), "settings": first}
    assert len(done(tmp_path / "data", out, **run)) == 2
    assert done(tmp_path / "data", out, **{**run, "settings": {**first, "spacing": (2.0, 2.0, 2.0)}}) == []
    weights(tmp_path / "w.pt", 2.0)
    assert len(done(tmp_path / "data", out, **run)) == 2
    assert "weights changed: 2 cases are done again" in caplog.text
    weights(tmp_path / "w.pt", 2.0)
    assert done(tmp_path / "data", out, **run) == [], "saved again, the same values"
    other = {**first, "labels": {"spleen": 1, "background": 0}, "keep_pieces": 0.1}
    assert len(done(tmp_path / "data", out, **{**run, "settings": other})) == 2
    assert "keep_pieces, labels changed: 2 cases are done again" in caplog.text, "the order of labels is that of the channels"
    assert len(done(tmp_path / "data", out, **{**run, "settings": other, "options": {"previews": True}})) == 2
    assert "previews asked for: 2 cases are done again" in caplog.text
    assert done(tmp_path / "data", out, **{**run, "settings": other}) == [], "a picture too many is no reason"
    assert all((out / f"{name}_preview.png").is_file() for name in "ab")


def test_the_record_holds_everything_in_the_folder(tmp_path: Path, out: Path) -> None:
    scan(tmp_path / "one" / "a.nii"), scan(tmp_path / "two" / "b.nii")
    done(tmp_path / "one", out), done(tmp_path / "two", out)
    assert list(recorded(out)) == list(table(out)) == ["a", "b"]
    assert done(tmp_path / "one", out) == []
    # a copy of what is visible is enough
    shutil.rmtree(out / ".records")
    assert done(tmp_path / "one", out) == [] and done(tmp_path / "two", out) == []
    assert list(recorded(out)) == list(table(out)) == ["a", "b"]
    (out / "b_seg.nii.gz").unlink()
    assert done(tmp_path / "one", out) == [] and list(recorded(out)) == ["a"], "what is gone is not in the tables"


def test_scans_that_failed_keep_their_names_when_all_are_moved(tmp_path: Path, out: Path) -> None:
    scan(tmp_path / "old" / "a.nii"), (tmp_path / "old" / "b.nii").write_bytes(b"no scan")
    done(tmp_path / "old", out)
    (tmp_path / "old").rename(tmp_path / "new")
    evaluator(tmp_path / "new", out).run()
    assert {name: entry["source"] for name, entry in recorded(out).items()} == {
        name: str(tmp_path / "new" / f"{name}.nii") for name in "ab"
    }


@pytest.mark.parametrize("fails", [False, True])
def test_runs_that_begin_together_have_no_name_in_common(tmp_path: Path, out: Path, fails: bool) -> None:
    """As `for p in pat*; do ... --dataset_dir $p --output_dir OUT & done` does: both name their scan before either has a result."""
    first, second = scan(tmp_path / "pat_a" / "ct.nii", 4), scan(tmp_path / "pat_b" / "ct.nii", 9, seed=1)
    if fails:
        first.write_bytes(b"no scan")

    class Meanwhile(CaseHandler):
        def named(self, items: list[dict]) -> list[dict]:
            evaluator(tmp_path / "pat_a", out).run()
            return items

    engine = evaluator(tmp_path / "pat_b", out, Meanwhile())
    assert [case.name for case in engine.run()] == ["pat_b_ct"]
    assert {name: entry["source"] for name, entry in recorded(out).items()} == {"ct": str(first), "pat_b_ct": str(second)}
    assert set(table(out)) == {"ct", "pat_b_ct"} and spleen_voxels(out / "pat_b_ct_seg.nii.gz") == 9
    assert fails or spleen_voxels(out / "ct_seg.nii.gz") == 4
    assert done(tmp_path / "pat_b", out) == [], "and it keeps its name"


def test_a_scan_of_that_name_that_failed_in_another_run_is_not_this_ones(tmp_path: Path, out: Path) -> None:
    first, second = scan(tmp_path / "pat_a" / "ct.nii"), scan(tmp_path / "pat_b" / "ct.nii")
    handler = next(one for one in evaluator(tmp_path / "pat_b", out).case_handlers if isinstance(one, RunRecord))
    handler.share.size = 2  # a process of torchrun, which does not try what another one of its run could not do
    items = handler.named([{"case": "ct", "source": str(second), "image": str(second)}])
    failed = {"case": "ct", "status": "failed", "ended": "9", "process": "another"}
    handler.records.save({**failed, "source": str(first)})
    assert handler.later(items) == items and not handler.failed_elsewhere
    handler.records.save({**failed, "source": str(second)})
    assert handler.later(items) == [] and handler.failed_elsewhere == {"ct"}


def test_a_folder_by_another_path_is_the_same(tmp_path: Path, out: Path) -> None:
    scan(tmp_path / "real" / "a.nii")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert done(tmp_path / "real", out) == ["a"]
    assert done(tmp_path / "link", out) == [] and done(tmp_path / "real", out) == []
    assert list(recorded(out)) == list(table(out)) == ["a"]


def test_a_case_that_fails_keeps_its_earlier_result(tmp_path: Path, out: Path) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)
    done(path.parent, out)
    before = {p.name: p.read_bytes() for p in out.glob("ct_*")}
    row, whole = table(out)["ct"], path.read_bytes()
    path.write_bytes(b"")
    assert done(path.parent, out) == []
    assert {p.name: p.read_bytes() for p in out.glob("ct_*")} == before
    entry = recorded(out)["ct"]
    assert (entry["status"], entry["output"], entry["files"]) == ("failed", None, [])
    assert entry["kept"]["files"] == ["ct_seg.nii.gz"] and len(entry["kept"]["digest"]) == 64
    now = table(out)["ct"]
    assert (now["status"], now["review"], now["volume_ml"]) == ("failed", "yes", row["volume_ml"])
    assert "empty" in now["error"] and "earlier run" in now["error"]
    done(path.parent, out)
    assert recorded(out)["ct"]["kept"]["files"] == ["ct_seg.nii.gz"], "failing twice loses nothing"
    path.write_bytes(whole)
    assert done(path.parent, out) == [] and recorded(out)["ct"]["status"] == "ok", "the disk is mounted again"
    assert table(out)["ct"] == row
    scan(path, 7)
    assert done(path.parent, out) == ["ct"] and "kept" not in recorded(out)["ct"]


def test_an_evaluation_scores_what_these_weights_made(tmp_path: Path, out: Path) -> None:
    data = tmp_path / "data"
    for name in ("a", "b"):
        scan(data / f"{name}.nii")
    first = evaluator(data, out, weights=weights(tmp_path / "w.pt", 1.0))
    first.run()
    items = list(first.dataset.data)
    record = first.case_handlers[0]
    assert record.label_maps(items) == {name: str(out / f"{name}_seg.nii.gz") for name in "ab"}
    (data / "b.nii").write_bytes(b"")
    second = evaluator(data, out, weights=weights(tmp_path / "w.pt", 2.0))
    second.run()
    assert second.case_handlers[0].label_maps(items) == {"a": str(out / "a_seg.nii.gz")}, "b is of the weights before"
    assert (out / "b_seg.nii.gz").is_file()
    other = RunRecord(out, {"labels": LABELS}, weights(tmp_path / "w.pt", 3.0))
    other.records.open()
    other.wanted.settings["network"] = record.wanted.settings["network"]
    assert other.wanted.changed(recorded(out)["a"]) == ["weights"]
    with pytest.raises(UserError, match="nothing to score"):
        other.label_maps(items)


def test_a_case_under_another_name_is_scored_under_its_own(tmp_path: Path, out: Path) -> None:
    scan(tmp_path / "a" / "ct.nii"), scan(tmp_path / "b" / "ct.nii", 5)
    done(tmp_path / "a", out)
    engine = evaluator(tmp_path / "b", out)
    engine.run()
    assert engine.case_handlers[0].label_maps(engine.dataset.data) == {"ct": str(out / "b_ct_seg.nii.gz")}
    # another part has done it, which alone gave it a name here
    other = RunRecord(out, {"labels": LABELS})
    other.named([])
    other.wanted.settings["network"] = engine.case_handlers[0].wanted.settings["network"]
    assert other.label_maps(engine.dataset.data) == {"ct": str(out / "b_ct_seg.nii.gz")}


class Attention(CaseHandler):
    """Writes a file that another run does not write."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def completed(self, case) -> None:
        with case.staged.written(self.out / f"{case.name}_attention_level5.nii.gz") as aside:
            aside.write_bytes(b"of five levels")


def test_files_that_the_new_result_lacks_are_cleared(tmp_path: Path, out: Path) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)
    evaluator(path.parent, out, Attention(out)).run()
    (out / "ct_attention_level7.nii.gz").write_bytes(b"not ours")
    assert recorded(out)["ct"]["files"] == ["ct_attention_level5.nii.gz", "ct_seg.nii.gz"]
    scan(path, 7)
    done(path.parent, out)
    assert sorted(p.name for p in out.glob("ct_*")) == ["ct_attention_level7.nii.gz", "ct_seg.nii.gz"]


class Lacking(CaseHandler):
    """Finds no room for the pictures."""

    def completed(self, case) -> None:
        case.lacking.append("previews")


def test_a_case_without_a_picture_that_was_asked_for_is_done_again(tmp_path: Path, out: Path) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)
    evaluator(path.parent, out, Lacking(), options={"previews": True}).run()
    assert recorded(out)["ct"]["status"] == "ok" and recorded(out)["ct"]["options"] == []
    assert done(path.parent, out, options={"previews": True}) == ["ct"]
    assert done(path.parent, out, options={"previews": True}) == []


@pytest.mark.parametrize("content", ["", "null", "[]", '{"cases": 3}', '{"cases": {"a": 1}}', "[" * 5000, "\x00"])
def test_a_broken_run_json_is_no_record(tmp_path: Path, out: Path, content: str) -> None:
    out.mkdir()
    (out / "run.json").write_text(content)
    scan(tmp_path / "data" / "ct.nii")
    assert done(tmp_path / "data", out) == ["ct"]


def test_a_record_of_the_version_before_is_done_again_and_its_names_stay(tmp_path: Path, out: Path, caplog) -> None:
    first, second = scan(tmp_path / "a" / "ct.nii"), scan(tmp_path / "b" / "ct.nii", 5)
    done(first.parent, out)
    shutil.rmtree(out / ".records")
    old = {"case": "ct", "source": str(first), "status": "ok", "output": "ct_seg.nii.gz", "files": ["ct_seg.nii.gz"], "stamp": [1, 2, 3]}
    (out / "run.json").write_text(json.dumps({"settings": {}, "cases": [old]}))
    assert done(second.parent, out) == ["b_ct"]
    assert done(first.parent, out) == ["ct"]
    assert "did not record" in caplog.text


def test_what_was_cut_off_between_two_files_is_done_again(tmp_path: Path, out: Path, monkeypatch) -> None:
    path = scan(tmp_path / "data" / "ct.nii", 4)
    first = {"labels": LABELS, "spacing": 1}
    done(path.parent, out, settings=first)

    class Killed(BaseException):
        pass

    def killed(*arguments: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("bundle.files.Staged.publish", killed)
        evaluator(path.parent, out, settings={**first, "spacing": 2}).run()
    assert json.loads((out / ".records" / "ct.json").read_text())["status"] == "replacing"
    # with the settings of the first run again: its record must not vouch for files that may be of the second
    assert done(path.parent, out, settings=first) == ["ct"]


def claimed(out: Path, case: str, pid: int, where: str | None = None) -> Path:
    path = out / ".records" / f"{case}.claim"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"place": where or place(), "pid": pid}))
    return path


def test_a_case_of_another_living_process_is_left_to_it(tmp_path: Path, out: Path, monkeypatch) -> None:
    for name in ("a", "b", "c"):
        scan(tmp_path / "data" / f"{name}.nii")
    monkeypatch.setattr("bundle.handlers.inference.run_record.WAIT", 0.0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    claimed(out, "a", os.getppid()), claimed(out, "b", gone.pid)
    (out / f".c_seg.nii.gz.{place()}.{os.getppid()}.unfinished").write_bytes(b"being written")
    engine = evaluator(tmp_path / "data", out)
    cases = {case.name: case for case in engine.run()}
    assert cases["a"].skipped and not cases["b"].skipped
    assert [case.name for case in engine.failed] == ["a"] and "another process has claimed it" in str(engine.failed[0].error)
    assert sorted(p.name for p in out.glob("*_seg.nii.gz")) == ["b_seg.nii.gz", "c_seg.nii.gz"] and list(recorded(out)) == ["b", "c"]
    assert [p.name for p in (out / ".records").glob("*.claim")] == ["a.claim"]
    assert list(out.glob(".c_seg*")), "what a living process writes stays"


def test_a_case_that_another_process_lets_go_of_is_done_at_the_end(tmp_path: Path, out: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        scan(tmp_path / "data" / f"{name}.nii")
    monkeypatch.setattr("bundle.handlers.inference.run_record.POLL", 0.01)
    claim = claimed(out, "a", 1, "0" * 8)  # of another machine, just now

    class Killed(CaseHandler):
        """The other machine goes down while b is done here: its claim grows old."""

        def ended(self, case) -> None:
            if case.name == "b":
                os.utime(claim, (0, os.stat(claim).st_mtime - 1000))

    engine = evaluator(tmp_path / "data", out, Killed())
    assert [(case.name, case.skipped) for case in engine.run()] == [("b", False), ("a", False)]
    assert not engine.failed and list(recorded(out)) == ["a", "b"]


def test_cases_that_others_let_go_of_one_after_the_other_are_all_done(tmp_path: Path, out: Path, monkeypatch) -> None:
    for name in ("a", "b", "c"):
        scan(tmp_path / "data" / f"{name}.nii")
    monkeypatch.setattr("bundle.handlers.inference.run_record.POLL", 0.01)
    # of two other machines; the first goes down while b is done here, the second while a is
    claims = {"b": claimed(out, "a", 1, "0" * 8), "a": claimed(out, "c", 1, "1" * 8)}

    class Killed(CaseHandler):
        def ended(self, case) -> None:
            if not case.skipped and case.name in claims:
                os.utime(claims[case.name], (0, os.stat(claims[case.name]).st_mtime - 1000))

    engine = evaluator(tmp_path / "data", out, Killed())
    assert [case.name for case in engine.run() if not case.skipped] == ["b", "a", "c"]
    assert not engine.failed and list(recorded(out)) == ["a", "b", "c"]


def test_a_case_that_another_process_finished_meanwhile_is_not_done_twice(tmp_path: Path, out: Path) -> None:
    for name in ("a", "b"):
        scan(tmp_path / "data" / f"{name}.nii")

    class Meanwhile(CaseHandler):
        """Another process does everything after this one has looked."""

        def start(self, engine, items) -> None:
            evaluator(tmp_path / "data", out).run()
            for path in (out / ".records").glob("*.json"):
                path.write_text(path.read_text().replace(f"{place()}.{os.getpid()}", "elsewhere.1"))

    cases = evaluator(tmp_path / "data", out, Meanwhile()).run()
    assert [case.skipped for case in cases] == [True, True]
    assert list(recorded(out)) == list(table(out)) == ["a", "b"]


def test_two_processes_lose_no_entry(tmp_path: Path, out: Path) -> None:
    for name in range(6):
        scan(tmp_path / ("one" if name % 2 else "two") / f"s{name}.nii", 3 + name)
    first = evaluator(tmp_path / "one", out)
    second = evaluator(tmp_path / "two", out)

    class Within(CaseHandler):
        ran = False

        def ended(self, case) -> None:
            if not Within.ran:
                Within.ran = True
                second.run()

    Within().attach(first)
    first.run()
    assert list(recorded(out)) == list(table(out)) == [f"s{n}" for n in range(6)]
    assert [spleen_voxels(out / f"s{n}_seg.nii.gz") for n in range(6)] == [3, 4, 5, 6, 7, 8]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    scan(tmp_path / "data" / "ct.nii")
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="Fix: "):
            evaluator(tmp_path / "data", folder).run()


def test_a_name_that_is_not_utf_8_is_written_and_found_again(tmp_path: Path, out: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/M\xfcller"))
    scan(folder / "ct.nii")
    assert done(folder, out) == ["ct"]
    assert recorded(out)["ct"]["source"] == table(out)["ct"]["source"] == f"{tmp_path}/M\\xfcller/ct.nii"
    assert (out / "run.json").read_text(encoding="utf-8") and done(folder, out) == []


def test_logits_are_what_the_light_evaluator_says() -> None:
    volume = torch.tensor([[[[[0.0, 150.0]]]]])
    assert np.array_equal(logits(volume, None).argmax(1).numpy().ravel(), [0, 1])


def test_results_are_known_as_such_also_where_the_tables_are_behind(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for name in ("a", "b"):
        scan(folder / f"{name}.nii")
    assert done(folder, folder) == ["a", "b"], "the folder of the scans is that of the results"
    assert records.result_files(folder) == {"a_seg.nii.gz", "b_seg.nii.gz"}
    assert done(folder, folder) == []
    (folder / "b.nii").write_bytes(b"")
    done(folder, folder)
    (folder / "run.json").write_text("{}")
    assert records.result_files(folder) == {"a_seg.nii.gz", "b_seg.nii.gz"}, "a kept result is one"
    assert records.result_files(tmp_path) == set() and [p.name for p in tmp_path.iterdir()] == ["all"]
