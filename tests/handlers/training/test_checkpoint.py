"""Best weights: whole files only, the original kept, resumed scores."""

import pytest
import torch
from ignite.engine import Engine

from bundle.errors import UserError
from bundle.handlers.training.checkpoint import CheckpointSaver
from bundle.networks.weights import digest, files


@pytest.fixture
def network():
    return torch.nn.Linear(1, 1)


def run(saver, network, scores):
    """Validations with these scores, the weight set to the score each time; gives what is in the file."""
    engine = Engine(lambda engine, batch: None)
    engine.state.key_metric_name = "dice"
    saver.attach(engine)
    for epoch, score in enumerate(scores, start=1):
        torch.nn.init.constant_(network.weight, score)
        engine.state.metrics, engine.state.epoch = {"dice": score}, epoch
        saver.metrics_completed(engine)


def saved(folder):
    return torch.load(folder / "model.pt", weights_only=True)["weight"].item()


def make(folder, network, **options):
    return CheckpointSaver(str(folder), {"model": network}, save_key_metric=True, key_metric_filename="model.pt", **options)


def test_best_of_several_is_kept(tmp_path, network):
    run(make(tmp_path, network), network, [0.25, 0.75, 0.5])
    assert saved(tmp_path) == 0.75
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_killed_while_writing_leaves_the_old_file_whole(tmp_path, network, monkeypatch):
    run(make(tmp_path, network), network, [0.25])
    real = torch.save

    def dies(content, stream):
        stream.write(b"half a file")
        raise KeyboardInterrupt

    saver = make(tmp_path, network)
    monkeypatch.setattr(files.torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        run(saver, network, [0.5])
    monkeypatch.setattr(files.torch, "save", real)
    assert saved(tmp_path) == 0.25


def test_second_best_file_never_leaves_a_gap(tmp_path, network, monkeypatch):
    """MONAI's saver deletes the old file before it writes the new one."""
    saver = make(tmp_path, network)
    run(saver, network, [0.25])
    there = []
    real = torch.save
    monkeypatch.setattr(files.torch, "save", lambda *args: (there.append((tmp_path / "model.pt").is_file()), real(*args)))
    run(saver, network, [0.5])
    assert there == [True] and saved(tmp_path) == 0.5


def test_after_a_resume_the_old_best_has_to_be_beaten(tmp_path, network):
    first = make(tmp_path, network)
    run(first, network, [0.75])
    second = make(tmp_path, network)
    second.load_state_dict(first.state_dict())
    run(second, network, [0.5])
    assert saved(tmp_path) == 0.75
    run(second, network, [0.875])
    assert saved(tmp_path) == 0.875


BEFORE = {"keep_original": "model_before_training.pt"}


def there(folder):
    """The weight in each file of the folder."""
    return {path.name: torch.load(path, weights_only=True)["weight"].item() for path in sorted(folder.iterdir())}


def test_weights_of_each_earlier_training_are_kept_once(tmp_path, network):
    torch.save({"weight": torch.tensor([[9.0]])}, tmp_path / "model.pt")
    run(make(tmp_path, network, **BEFORE), network, [0.25, 0.5])
    assert there(tmp_path) == {"model.pt": 0.5, "model_before_training.pt": 9.0}
    run(make(tmp_path, network, **BEFORE), network, [0.125])
    kept = {"model_before_training.pt": 9.0, "model_before_training_2.pt": 0.5}
    assert there(tmp_path) == {"model.pt": 0.125, **kept}
    # back to the first weights: they are kept already, and the last ones are not asked to make room
    (tmp_path / "model.pt").write_bytes((tmp_path / "model_before_training.pt").read_bytes())
    run(make(tmp_path, network, **BEFORE), network, [0.75])
    assert there(tmp_path) == {"model.pt": 0.75, **kept}
    run(make(tmp_path, network, **BEFORE), network, [0.625])
    assert there(tmp_path) == {"model.pt": 0.625, **kept, "model_before_training_3.pt": 0.75}
    # MONAI Label serves the .pt with the shortest name
    assert min((path.name for path in tmp_path.glob("*.pt")), key=len) == "model.pt"


def test_a_worse_score_of_a_resumed_training_keeps_and_replaces_nothing(tmp_path, network):
    first = make(tmp_path, network, **BEFORE)
    run(first, network, [0.5])
    second = make(tmp_path, network, **BEFORE)
    second.load_state_dict(first.state_dict())
    run(second, network, [0.25])
    assert there(tmp_path) == {"model.pt": 0.5}
    run(second, network, [0.75, 0.875])
    assert there(tmp_path) == {"model.pt": 0.875}


def test_a_resumed_training_keeps_what_another_one_wrote_meanwhile(tmp_path, network):
    first = make(tmp_path, network, **BEFORE)
    run(first, network, [0.5])
    run(make(tmp_path, network, **BEFORE), network, [0.25])
    second = make(tmp_path, network, **BEFORE)
    second.load_state_dict(first.state_dict())
    run(second, network, [0.75])
    assert there(tmp_path) == {"model.pt": 0.75, "model_before_training.pt": 0.5, "model_before_training_2.pt": 0.25}


@pytest.mark.parametrize("other", [True, False])
def test_resuming_with_another_folder_says_that_the_best_weights_are_not_there(tmp_path, network, caplog, other):
    """Where the shipped weights are in it, they would be taken for the training's best."""
    first = make(tmp_path / "first", network, keep_original="before.pt")
    run(first, network, [0.75])
    make(tmp_path / "first", network, keep_original="before.pt").load_state_dict(first.state_dict())
    assert not caplog.text
    second = make(tmp_path / "second", network, keep_original="before.pt")
    if other:
        torch.save({"weight": torch.ones(1)}, tmp_path / "second" / "model.pt")
    second.load_state_dict(first.state_dict())
    assert f"{tmp_path}/second/model.pt does not hold the best weights of this training" in caplog.text
    run(second, network, [0.5])
    assert (tmp_path / "second" / "model.pt").exists() == other
    run(second, network, [0.875])
    assert saved(tmp_path / "second") == 0.875 and (tmp_path / "second" / "before.pt").exists() == other


def test_states_of_earlier_versions_say_nothing_of_what_was_written(tmp_path, network):
    first = make(tmp_path, network, **BEFORE)
    run(first, network, [0.5])
    second = make(tmp_path, network, **BEFORE)
    second.load_state_dict({"_saved": first.state_dict()["_saved"]})
    run(second, network, [0.75])
    assert there(tmp_path) == {"model.pt": 0.75}


def test_a_file_that_holds_no_weights_is_kept_too(tmp_path, network):
    (tmp_path / "model.pt").write_bytes(b"something else")
    run(make(tmp_path, network, **BEFORE), network, [0.5, 0.75])
    assert saved(tmp_path) == 0.75 and (tmp_path / "model_before_training.pt").read_bytes() == b"something else"
    assert len(list(tmp_path.iterdir())) == 2


def test_best_weights_without_a_name_of_their_own(tmp_path, network):
    saver = CheckpointSaver(str(tmp_path), {"model": network}, save_key_metric=True, keep_original="before.pt")
    run(saver, network, [0.25, 0.5])
    assert [path.name for path in tmp_path.iterdir()] == ["model_key_metric=0.5000.pt"]
    with pytest.raises(UserError, match="give it save_key_metric true and a key_metric_filename"):
        saver.save_best({"weight": torch.zeros(1)})


def test_state_is_plain(tmp_path, network):
    saver = make(tmp_path, network)
    run(saver, network, [0.5])
    assert saver.state_dict() == {"_saved": [(0.5, saver._key_metric_checkpoint._saved[0].filename)], "written": None}
    saver = make(tmp_path, network, **BEFORE)
    run(saver, network, [0.5])
    assert saver.state_dict()["written"] == digest(tmp_path / "model.pt")


def test_interval_and_final_checkpoints_are_written_too(tmp_path, network):
    saver = CheckpointSaver(str(tmp_path), {"model": network}, save_final=True, save_interval=1, n_saved=1)
    engine = Engine(lambda engine, batch: None)
    saver.attach(engine)
    engine.run([0], max_epochs=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model_epoch=3.pt", "model_final_iteration=3.pt"]
