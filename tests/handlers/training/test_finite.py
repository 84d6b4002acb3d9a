"""Numbers that are not finite end a training with one line, and nothing is written of them."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer

from bundle.errors import UserError
from bundle.handlers import CheckpointSaver, FiniteNumbers, TrainingState
from bundle.handlers.training.finite import finite


class Scaler:
    """A loss scaler that finds an overflow in each step and leaves it out; without a GPU torch's own is never enabled."""

    def __init__(self, scale):
        self.value = scale

    def is_enabled(self):
        return True

    def get_scale(self):
        return self.value

    def scale(self, loss):
        return loss

    def step(self, optimizer):
        pass

    def update(self):
        pass

    def state_dict(self):
        return {"scale": self.value}


def training(folder, *, loss=None, epochs=2, rate=0.1, batches=3, poison=None, **options):
    """A trainer of one linear layer; `poison(network, iteration)` does harm after the backward pass."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(network.weight, 1.0)
    torch.nn.init.zeros_(network.bias)
    optimizer = torch.optim.SGD(network.parameters(), rate)
    data = [{"image": torch.ones(2, 1), "label": torch.zeros(2, 1), "source": [f"a{i}.nii", f"b{i}.nii"]} for i in range(1, batches + 1)]
    handlers = [FiniteNumbers(network), TrainingState(folder / "last.pt", network, optimizer)]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data,
        network=network,
        optimizer=optimizer,
        loss_function=loss or torch.nn.MSELoss(),
        train_handlers=handlers,
        **options,
    )
    if poison:
        trainer.inferer = Poisoned(trainer, poison)
    return trainer


class Poisoned:
    """An inferer whose gradients are changed by `poison(gradient, iteration)` on their way back."""

    def __init__(self, trainer, poison):
        self.trainer, self.poison = trainer, poison

    def __call__(self, inputs, network):
        out = network(inputs)
        out.register_hook(lambda gradient: self.poison(gradient, self.trainer.state.iteration))
        return out


def nan_from(iteration, trainer_of):
    real = torch.nn.MSELoss()
    return lambda out, label: real(out, label) * (math.nan if trainer_of[0].state.iteration >= iteration else 1.0)


@pytest.mark.parametrize("averaging", [1, 2])
def test_a_loss_of_nan_names_epoch_step_and_scans_and_leaves_the_last_state(tmp_path, averaging):
    holder = []
    holder.append(training(tmp_path, loss=nan_from(5, holder), accumulation_steps=averaging))
    with pytest.raises(UserError) as caught:
        holder[0].run()
    told = str(caught.value)
    assert told.startswith("training, epoch 2, step 2: the loss is nan; scans of this batch: a2.nii, b2.nii. Fix: ") and "\n" not in told
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["epoch"] == 1 and torch.isfinite(state["model"]["weight"]).all()


def test_gradients_that_are_not_finite_end_it_before_the_step(tmp_path):
    trainer = training(tmp_path, poison=lambda gradient, iteration: gradient * (math.inf if iteration == 2 else 1.0))
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.network.weight.item()))
    with pytest.raises(UserError, match=r"epoch 1, step 2: the gradients of 2 weights are not finite, such as weight; .*a2\.nii"):
        trainer.run()
    assert trainer.network.weight.item() == seen[0]
    assert not (tmp_path / "last.pt").exists()


def test_weights_that_are_not_finite_end_it_in_the_very_step(tmp_path):
    with pytest.raises(
        UserError,
        match=r"epoch 1, step 1: 2 of 2 weights are not finite after the step, such as weight; scans of this batch: a1.nii, b1.nii",
    ):
        training(tmp_path, rate=math.inf).run()
    assert not (tmp_path / "last.pt").exists()


def test_large_finite_numbers_go_on(tmp_path):
    """Their squares overflow float32."""
    trainer = training(tmp_path, epochs=1, rate=0.0, poison=lambda gradient, iteration: torch.full_like(gradient, 1e30))
    trainer.run()
    assert trainer.state.epoch == 1 and trainer.network.weight.grad.item() == pytest.approx(2e30)


def test_under_a_scaler_gradients_may_overflow_but_not_for_ever_and_the_loss_never(tmp_path):
    def scaled(scale=65536.0, **options):
        trainer = training(tmp_path, epochs=1, **options)
        trainer.amp = True
        # MONAI's trainer makes one of its own as it starts
        trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine, "scaler", Scaler(scale)))
        return trainer

    overflow = {"poison": lambda gradient, iteration: gradient * math.inf}
    trainer = scaled(**overflow)
    trainer.run()
    assert trainer.state.iteration == 3 and trainer.network.weight.item() == 1
    with pytest.raises(UserError, match="epoch 1, step 3: the gradients overflow in every step"):
        scaled(2.0**-17, **overflow).run()
    holder = []
    holder.append(scaled(loss=nan_from(2, holder)))
    with pytest.raises(UserError, match="epoch 1, step 2: the loss is nan"):
        holder[0].run()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_finite_sees_one_value_among_many(value):
    tensors = [torch.zeros(1000), torch.zeros(3, 3), torch.tensor([1, 2]), torch.zeros(0), torch.zeros(5, dtype=torch.bfloat16)]
    assert finite(tensors) and finite([])
    for index in (0, 1, 4):
        broken = [tensor.clone() for tensor in tensors]
        broken[index].flatten()[-1] = value
        assert not finite(broken)


def test_savers_never_replace_weights_by_what_is_not_finite(tmp_path):
    network = torch.nn.Linear(1, 1)
    saver = CheckpointSaver(str(tmp_path), {"model": network}, save_key_metric=True, key_metric_filename="model.pt")
    saver.save_best(network.state_dict())
    before = (tmp_path / "model.pt").read_bytes()
    torch.nn.init.constant_(network.bias, math.nan)
    for content in (network.state_dict(), {"model": network.state_dict()}):
        with pytest.raises(UserError, match=r"model\.pt: 1 of 2 tensors hold values that are not finite, such as bias"):
            saver.save_best(content)
    assert (tmp_path / "model.pt").read_bytes() == before
