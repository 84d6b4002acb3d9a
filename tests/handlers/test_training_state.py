"""Resuming: the same weights, to the last bit, as without the interruption."""

import pytest
import torch
from ignite.engine import Engine, Events

from bundle.errors import UserError
from bundle.handlers import EpochSeed, TrainingState


class Training:
    """A training of one linear layer, with everything that has a state; dies before the epoch `dies_in`."""

    def __init__(self, path, *, resume=False, epochs=6, step=2, dies_in=None, features=3):
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(features, 1), torch.nn.Dropout(0.5))
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step, 0.1)
        self.evaluator = Engine(lambda engine, batch: None)
        self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = -1, -1
        self.engine = Engine(self.step)
        EpochSeed(0).attach(self.engine)
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: self.scheduler.step())
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        self.state = TrainingState(path, self.network, self.optimizer, self.scheduler, self.evaluator, resume=resume)
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
