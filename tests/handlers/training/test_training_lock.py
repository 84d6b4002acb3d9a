"""One training at a time in a folder: real processes, one of them killed with a worker of its own still alive."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from ignite.engine import Engine, Events
from no_rights import as_a_user

from bundle.errors import UserError
from bundle.files import place
from bundle.handlers import TrainingLock

FORK = multiprocessing.get_context("fork")


def _hold(folder, said):
    TrainingLock([folder]).lock()
    worker = os.fork()
    if worker == 0:
        time.sleep(60)
        os._exit(0)
    said.send(worker)
    time.sleep(60)


def _holder(folder):
    heard, said = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_hold, args=(folder, said))
    process.start()
    return process, heard.recv()


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_training_is_refused_until_the_first_is_gone_however_it_ends(tmp_path):
    shared = tmp_path / "models"
    process, worker = _holder(shared)
    try:
        with pytest.raises(UserError, match=rf"models: another training writes here \(process {process.pid}\)\. Fix: wait until"):
            TrainingLock([tmp_path / "out", shared]).lock()
        process.kill()
        process.join()
        os.kill(worker, 0)  # the worker of the killed training is there
        lock = TrainingLock([tmp_path / "out", shared])
        lock.lock()
        lock.release()
    finally:
        process.kill()
        process.join()
        os.kill(worker, signal.SIGKILL)
    assert _names(shared) == [] and _names(tmp_path / "out") == []


def test_what_is_written_at_the_end_is_written_under_the_lock(tmp_path):
    """Weights of a training without validation, for one; the lock is attached first and was the first to let go."""
    seen = []
    engine = Engine(lambda engine, batch: None)
    TrainingLock([tmp_path]).attach(engine)
    engine.add_event_handler(Events.COMPLETED, lambda engine: seen.append(_names(tmp_path)))
    for _ in range(2):
        engine.run([0], max_epochs=1)
        seen.append(_names(tmp_path))
    assert seen == [[".training.lock"], []] * 2


def test_a_training_holds_its_folders_while_it_runs_and_leaves_no_file(tmp_path):
    seen = []
    engine = Engine(lambda engine, batch: seen.append((_names(tmp_path / "a"), _names(tmp_path / "b"))))
    TrainingLock([tmp_path / "a", tmp_path / "b", tmp_path / "a"]).attach(engine)
    for _ in range(2):  # one after the other, in one process
        engine.run([0], max_epochs=1)
    assert seen == [([".training.lock"], [".training.lock"])] * 2
    assert _names(tmp_path / "a") == [] and _names(tmp_path / "b") == []


def test_after_an_error_the_same_process_may_train_again(tmp_path):
    def fails(engine, batch):
        raise ValueError

    broken, whole = Engine(fails), Engine(lambda engine, batch: None)
    for engine in (broken, whole):
        TrainingLock([tmp_path]).attach(engine)
    with pytest.raises(ValueError):
        broken.run([0], max_epochs=1)
    whole.run([0], max_epochs=1)
    assert _names(tmp_path) == []


def test_what_a_killed_training_left_is_removed_and_what_a_living_process_writes_stays(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive = f".model.pt.{place()}.{os.getppid()}.unfinished"
    for name in (alive, f".last.pt.{place()}.{gone.pid}.unfinished", ".last.pt.unfinished", "model.pt"):
        (tmp_path / name).touch()
    lock = TrainingLock([tmp_path])
    lock.lock()
    lock.release()
    assert _names(tmp_path) == [alive, "model.pt"]


def test_a_read_only_folder_is_one_line(open_folder):
    open_folder.chmod(0o555)
    with as_a_user(), pytest.raises(UserError, match=r"cannot be written to \(Permission denied\)"):
        TrainingLock([open_folder]).lock()
    assert _names(open_folder) == []


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"out: cannot be written to \(File exists\)"):
        TrainingLock([tmp_path / "out"]).lock()
