"""The mean of several states of one training: one network that often carries further than each of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.errors import UserError, counted
from bundle.networks.weights.files import read_weights, write_state_dict


def average(out: str, *checkpoints: str) -> None:
    """Write the mean of the weights in several checkpoint files of one training (Izmailov et al., arXiv:1803.05407).

    Batch norm statistics are averaged with the weights they belong to: no data is needed. It helps where the learning
    rate has not come down. PyTorch's `AveragedModel` needs to be there while the training runs; this takes files.

    Args:
        out: the file to write, a state dict; for instance `models/model.pt`.
        checkpoints: two or more files: weights (`model.pt`), or the state of a training (`last.pt`) of several epochs.

    Raises:
        UserError: fewer than two files, one that cannot be read, or files of different networks.
    """
    if len(checkpoints) < 2:
        raise UserError(out, f"{counted(len(checkpoints), 'checkpoint')} given", "give two or more: bundle average OUT FIRST SECOND ...")
    states, learnt = zip(*(read_weights(path) for path in checkpoints), strict=True)
    for path, state in zip(checkpoints[1:], states[1:], strict=True):
        _check_same(states[0], state, checkpoints[0], path)
    # the state of a training (`last.pt`) does not say it
    known = {path: said for path, said in zip(checkpoints, learnt, strict=True) if said is not None}
    first = next(iter(known), "")
    for path, other in known.items():
        if other != known[first]:
            raise UserError(path, f"was trained with other classes or settings than {first}", "give checkpoints of one training")
    write_state_dict({name: _mean([state[name] for state in states]) for name in states[0]}, out, known.get(first))
    print(f"{out}: mean of {len(states)} checkpoints, {sum(value.numel() for value in states[0].values()):,} values")


def _check_same(first: dict[str, Tensor], other: dict[str, Tensor], first_path: str, path: str) -> None:
    """Refuse a state dict whose names or shapes are not those of the first."""
    differing = sorted(name for name in first.keys() | other.keys() if _shape(first, name) != _shape(other, name))
    if differing:
        name = differing[0]
        example = f"{name} is {_shape(other, name)}, there {_shape(first, name)}"
        problem = f"{counted(len(differing), 'tensor differs', 'tensors differ')} from those of {first_path}: {example}"
        raise UserError(path, problem, "give checkpoints of one and the same network")


def _shape(state: dict[str, Tensor], name: str) -> tuple[int, ...] | str:
    return tuple(state[name].shape) if name in state else "absent"


def _mean(values: list[Tensor]) -> Tensor:
    """In double precision and back; of whole numbers (how many batches a norm has seen) the largest."""
    stack = torch.stack(values)
    return stack.double().mean(0).to(stack.dtype) if stack.is_floating_point() else stack.amax(0)
