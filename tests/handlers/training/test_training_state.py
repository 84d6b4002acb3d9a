"""Resuming: the same weights, to the last bit, as without the interruption."""

import math

import pytest
import torch
from ignite.engine import Engine, Events

from bundle.errors import UserError
from bundle.handlers import EpochSeed, TrainingState


class Training:
    """A training of one linear layer, with everything that has a state; dies before the epoch `dies_in`."""

    def __init__(self, path, *, resume=False, epochs=6, step=2, dies_in=None, features=3, settings=None, decay=0.0, parts=False):
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(features, 1), torch.nn.Dropout(0.5))
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.1, weight_decay=decay)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step, 0.1)
        if parts:
            parts = [torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.5, total_iters=2), self.scheduler]
            self.scheduler = torch.optim.lr_scheduler.SequentialLR(self.optimizer, parts, [2])
        self.evaluator = Engine(lambda engine, batch: None)
        self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = -1, -1
        self.engine = Engine(self.step)
        EpochSeed(0).attach(self.engine)
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: self.scheduler.step())
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        self.state = TrainingState(path, self.network, self.optimizer, self.scheduler, self.evaluator, resume=resume, settings=settings)
        self.state.attach(self.engine)
        self.dies_in, self.epochs, self.rates = dies_in, epochs, []

    def step(self, engine, batch):
        if engine.state.epoch == self.dies_in:
            raise KeyboardInterrupt
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.optimizer.zero_grad()
        self.network(torch.rand(4, self.network[0].in_features)).square().mean().backward()
        self.optimizer.step()

    def validate(self, engine):
        score = {1: 0.5, 2: 0.75}.get(engine.state.epoch, 0.25)
        if score > self.evaluator.state.best_metric:
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = score, engine.state.epoch

    def run(self):
        try:
            self.engine.run([0, 1], max_epochs=self.epochs)
        except KeyboardInterrupt:
            pass
        return self


def weights(training):
    return torch.cat([parameter.flatten() for parameter in training.network.parameters()])


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole = Training(tmp_path / "whole.pt").run()
    Training(tmp_path / "killed.pt", dies_in=4).run()
    resumed = Training(tmp_path / "killed.pt", resume=True).run()
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.engine.state.epoch == 6
    assert len(resumed.rates) == 6 and resumed.rates == whole.rates[6:]
    assert (resumed.evaluator.state.best_metric, resumed.evaluator.state.best_metric_epoch) == (0.75, 2)


def test_without_resume_it_starts_anew(tmp_path):
    Training(tmp_path / "s.pt", dies_in=4).run()
    assert len(Training(tmp_path / "s.pt").run().rates) == 12


def test_the_state_of_an_earlier_training_is_kept(tmp_path, caplog):
    path, kept = tmp_path / "last.pt", [tmp_path / "last_before.pt", tmp_path / "last_before_2.pt"]
    Training(path, epochs=3).run()
    first = path.read_bytes()
    Training(path, dies_in=1).run()
    assert path.read_bytes() == first and not kept[0].exists(), "until the first epoch has ended"
    assert "last.pt is of an earlier training and will be kept as last_before.pt; --resume True goes on with it" in caplog.text
    Training(path, dies_in=3).run()
    assert kept[0].read_bytes() == first and torch.load(path)["epoch"] == 2
    Training(path, resume=True).run()
    assert not kept[1].exists(), "its own state is replaced"
    Training(path, epochs=1).run()
    assert torch.load(kept[1])["epoch"] == 6 and torch.load(path)["epoch"] == 1


def test_the_first_process_alone_says_that_a_state_is_there(tmp_path, monkeypatch, caplog):
    Training(tmp_path / "last.pt", epochs=1).run()
    for rank, said in ((1, False), (0, True)):
        monkeypatch.setattr("bundle.handlers.training.training_state.idist.get_rank", lambda rank=rank: rank)
        training = Training(tmp_path / "last.pt")
        training.state.restore(training.engine)
        assert ("of an earlier training" in caplog.text) == said


def test_a_training_that_runs_in_rounds_keeps_none_of_its_own(tmp_path):
    """As a client of federated learning does, which runs the same trainer in every round."""
    training = Training(tmp_path / "last.pt", epochs=1)
    for _ in range(3):
        training.run()
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_two_trainings_at_once_keep_what_was_there_before_both(tmp_path):
    path = tmp_path / "last.pt"
    Training(path, epochs=3).run()
    earlier = path.read_bytes()
    both = [Training(path, epochs=1), Training(path, epochs=1)]
    for training in both:
        training.state.restore(training.engine)
        training.engine.state.max_epochs, training.engine.state.epoch = 1, 1
    for training in both:
        training.state.save(training.engine)
    assert (tmp_path / "last_before.pt").read_bytes() == earlier and not (tmp_path / "last_before_2.pt").exists()


@pytest.mark.parametrize("there", [True, False])
def test_processes_that_would_go_on_from_different_states_are_refused(tmp_path, monkeypatch, there):
    """The other node has an output_dir of its own: its weights would be trained on from the beginning, or from another epoch."""
    path = tmp_path / "last.pt"
    if there:
        Training(path, epochs=3).run()
    monkeypatch.setattr("bundle.handlers.training.training_state.idist.get_world_size", lambda: 2)
    monkeypatch.setattr("bundle.handlers.training.training_state.idist.all_gather", lambda done: [done, 2])
    with pytest.raises(
        UserError, match=rf"last\.pt: is not the same for all processes: they have done {'2, 3' if there else '0, 2'} epochs"
    ):
        Training(path, resume=True).run()
    monkeypatch.setattr("bundle.handlers.training.training_state.idist.all_gather", lambda done: [done, done])
    assert Training(path, resume=True).run().engine.state.epoch == 6


def test_nothing_to_resume_is_a_start(tmp_path):
    assert len(Training(tmp_path / "s.pt", resume=True).run().rates) == 12


def test_finished_training_is_not_trained_again(tmp_path):
    first = Training(tmp_path / "s.pt").run()
    again = Training(tmp_path / "s.pt", resume=True).run()
    assert again.rates == [] and torch.equal(weights(first), weights(again))


def test_longer_training_and_another_schedule_go_on_with_the_new_values(tmp_path):
    Training(tmp_path / "s.pt", epochs=4, step=2).run()
    longer = Training(tmp_path / "s.pt", resume=True, epochs=8, step=6).run()
    # lr 0.1 up to epoch 6, a tenth after it: 4 epochs of 2 steps are left
    assert longer.rates == pytest.approx([0.1] * 4 + [0.01] * 4)


def test_a_schedule_of_several_goes_on(tmp_path):
    """More in `test_schedule.py`."""
    whole = Training(tmp_path / "whole.pt", parts=True).run()
    Training(tmp_path / "killed.pt", parts=True, dies_in=4).run()
    resumed = Training(tmp_path / "killed.pt", parts=True, resume=True).run()
    assert resumed.rates == whole.rates[6:] == pytest.approx([0.1] * 2 + [0.01] * 4)
    assert torch.equal(weights(resumed), weights(whole))


def test_another_weight_decay_goes_on_with_the_new_value(tmp_path):
    Training(tmp_path / "s.pt", epochs=1, decay=1e-6).run()
    assert Training(tmp_path / "s.pt", resume=True, epochs=2, decay=0.1).run().optimizer.param_groups[0]["weight_decay"] == 0.1


def test_file_holds_tensors_and_numbers_only(tmp_path):
    Training(tmp_path / "s.pt").run()
    state = torch.load(tmp_path / "s.pt", weights_only=True)
    assert state["epoch"] == 6 and state["iteration"] == 12 and state["best"] == {"metric": 0.75, "epoch": 2}


def test_saves_every_interval_and_at_the_end(tmp_path):
    training = Training(tmp_path / "s.pt", epochs=5)
    training.state.interval = 2
    epochs = []

    def look(engine):
        there = (tmp_path / "s.pt").is_file()
        epochs.append(torch.load(tmp_path / "s.pt", weights_only=True)["epoch"] if there else 0)

    training.engine.add_event_handler(Events.EPOCH_COMPLETED, look)
    training.run()
    assert epochs == [0, 2, 2, 4, 5]


def test_state_of_another_network_is_refused(tmp_path):
    Training(tmp_path / "s.pt", epochs=1).run()
    with pytest.raises(UserError, match=r"s\.pt.*another network.*resume"):
        Training(tmp_path / "s.pt", resume=True, features=5).run()


def test_loss_scale_goes_on(tmp_path):
    class Scaler:
        scale = 8.0

        def state_dict(self):
            return {"scale": self.scale}

        def load_state_dict(self, state):
            self.scale = state["scale"]

    first = Training(tmp_path / "s.pt", epochs=1)
    first.engine.scaler = Scaler()
    first.engine.scaler.scale = 32.0
    first.run()
    second = Training(tmp_path / "s.pt", resume=True)
    second.engine.scaler = Scaler()
    second.run()
    assert second.engine.scaler.scale == 32.0


SETTINGS = {"labels": {"background": 0, "spleen": 2, "kidney": [3, 4]}, "spacing": [2.0, 2.0, 2.0], "hu_range": [-200, 300]}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"labels": {"background": 0, "kidney": [3, 4], "spleen": 2}},
            "labels was {'background': 0, 'spleen': 2, 'kidney': [3, 4]}, is {'backg",
        ),
        ({"labels": {"background": 0, "spleen": 1, "kidney": [3, 4]}}, "'spleen': 1, 'kidney': [3, 4]} now"),
        ({"spacing": [3.0, 2.0, 2.0]}, "spacing was [2.0, 2.0, 2.0], is [3.0, 2.0, 2.0] now"),
        ({"spacing": [2, 2, 3], "hu_range": None}, "; hu_range was [-200, 300], is None now"),
    ],
)
def test_resuming_with_other_settings_is_refused_with_both_values(tmp_path, changed, told):
    Training(tmp_path / "s.pt", epochs=1, settings=SETTINGS).run()
    before = (tmp_path / "s.pt").read_bytes()
    with pytest.raises(UserError, match=r"s\.pt: is the state of a training with other settings: ") as caught:
        Training(tmp_path / "s.pt", resume=True, settings={**SETTINGS, **changed}).run()
    assert told in str(caught.value) and (tmp_path / "s.pt").read_bytes() == before


def test_resuming_with_equal_settings_goes_on(tmp_path):
    Training(tmp_path / "s.pt", epochs=1, settings=SETTINGS).run()
    equal = {**SETTINGS, "spacing": (2, 2, 2), "hu_range": [-200.0, 300.0]}
    assert Training(tmp_path / "s.pt", resume=True, epochs=2, settings=equal).run().engine.state.epoch == 2


def _change(path, change):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "cannot be read as a checkpoint"),
        (lambda path: torch.save([1], path), "holds no state of a training"),
        (lambda path: torch.save({"weight": torch.ones(1)}, path), "holds no state of a training"),
        (lambda path: _change(path, lambda state: state["model"]["0.bias"].fill_(math.nan)), "not finite, such as 0.bias"),
        (lambda path: _change(path, lambda s: s["optimizer"]["state"][1]["exp_avg"].fill_(math.inf)), "such as optimizer.state.1.exp_avg"),
        (lambda path: _change(path, lambda state: state.update(optimizer={})), "another network"),
    ],
)
def test_a_broken_state_is_one_line(tmp_path, harm, told):
    Training(tmp_path / "s.pt", epochs=1).run()
    harm(tmp_path / "s.pt")
    before = (tmp_path / "s.pt").read_bytes()
    with pytest.raises(UserError, match=r"s\.pt: ") as caught:
        Training(tmp_path / "s.pt", resume=True).run()
    assert told in str(caught.value) and "\n" not in str(caught.value) and (tmp_path / "s.pt").read_bytes() == before


def test_weights_that_are_not_finite_never_replace_the_state(tmp_path):
    Training(tmp_path / "s.pt", epochs=1).run()
    before = (tmp_path / "s.pt").read_bytes()
    training = Training(tmp_path / "s.pt")
    torch.nn.init.constant_(training.network[0].bias, math.nan)
    with pytest.raises(UserError, match=r"s\.pt: 2 of 2 tensors hold values that are not finite"):
        training.run()
    assert (tmp_path / "s.pt").read_bytes() == before
