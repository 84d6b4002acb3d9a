"""A training ends where its numbers are not finite any more, before anything is written of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import Tensor

from bundle.errors import UserError, counted
from bundle.networks.weights import not_finite

# each step that overflows halves the loss scale: from 65536 down to here, 33 steps in a row did
LEAST_SCALE = 2.0**-16


class FiniteNumbers:
    """Ends the training with one line when a loss, a gradient or a weight is not finite: nothing is saved of it.

    Ignite's `TerminateOnNan` looks at the loss alone and ends the run as if it had come to its end: the weights are
    validated and saved, and the exit code is 0. Attach it before what validates and saves.

    It looks at the loss and the gradients after each backward pass, and at the weights after each step of the optimizer, by
    the largest absolute value of each. Where the loss is scaled (float16), gradients that overflow are usual: the scaler
    leaves out such steps, and only a scale that keeps falling ends the training. On several GPUs gradients are shared, so
    that all processes see the same.

    Args:
        network: what is trained, wrapped or not.

    Raises:
        UserError: with epoch, step, the scans of the batch, and what to try.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer, before its run."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.learnt)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.stepped)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.scaled)

    def learnt(self, engine: Engine) -> None:
        """Look at the loss and, where no scaler does, at the gradients."""
        output: Any = engine.state.output  # a whole number to Ignite, a dictionary from MONAI's trainers
        loss = output["loss"].detach()
        gradients = [] if _scaler(engine) else [each.grad for each in self.network.parameters() if each.grad is not None]
        if bool(torch.isfinite(loss) & finite(gradients).to(loss.device)):
            return
        if not torch.isfinite(loss):
            _stop(engine, f"the loss is {loss.item()}")
        names = not_finite({name: each.grad for name, each in self.network.named_parameters() if each.grad is not None})
        _stop(engine, f"the gradients of {counted(len(names), 'weight')} are not finite, such as {names[0]}")

    def stepped(self, engine: Engine) -> None:
        """Look at the weights and the statistics of norms."""
        state = self.network.state_dict()
        if bool(finite(state.values())):
            return
        names = not_finite(state)
        _stop(engine, f"{len(names)} of {len(state)} weights are not finite after the step, such as {names[0]}")

    def scaled(self, engine: Engine) -> None:
        """Look at the loss scale: where every step overflows nothing is learnt."""
        scaler = _scaler(engine)
        if scaler is not None and scaler.get_scale() < LEAST_SCALE:
            _stop(engine, f"the gradients overflow in every step (loss scale {scaler.get_scale():g})")


def finite(tensors: Iterable[Tensor]) -> Tensor:
    """Whether all values of all tensors are finite, as one boolean on their device: one pass, nothing copied, no wait."""
    floating = [value.detach() for value in tensors if value.is_floating_point() and value.numel()]
    if not floating:
        return torch.tensor(True)
    # the largest absolute value, and not a sum of squares, which overflows before its terms do
    return torch.isfinite(torch.nn.utils.get_total_norm(floating, norm_type=float("inf")))


def _scaler(engine: Engine) -> Any:
    """The engine's loss scaler; None where it has none or does not use it."""
    scaler = getattr(engine, "scaler", None) if getattr(engine, "amp", False) else None
    return scaler if scaler is not None and scaler.is_enabled() else None


def _stop(engine: Engine, problem: str) -> None:
    state = engine.state
    step = (state.iteration - 1) % state.epoch_length + 1 if state.epoch_length else state.iteration
    # MONAI takes the batch apart once the network's step is complete
    batch: Any = state.batch
    parts = batch if isinstance(batch, list) else [batch]
    found = [part["source"] for part in parts if isinstance(part, Mapping) and "source" in part]
    sources = [name for names in found for name in ([names] if isinstance(names, str) else names)]
    scans = f"; scans of this batch: {', '.join(map(str, sources))}" if sources else ""
    fix = (
        "try a smaller learning_rate or amp false, and look at these scans with `python -m bundle check`; what was saved before is "
        "unchanged, and --resume True resumes from it"
    )
    raise UserError(f"training, epoch {state.epoch}, step {step}", problem + scans, fix)
