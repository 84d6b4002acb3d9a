"""Weights of the U-Net start the gated network; structures of the same name keep their heads."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.networks.weights.transfer import GatesFirst, gates_only, transfer

CHANNELS = (4, 6, 8)
X = torch.randn(1, 1, 16, 16, 32, generator=torch.Generator().manual_seed(0))


def network(classes: int = 3, **arguments) -> AttentionUnet:
    """With batch norms that look trained."""
    made = AttentionUnet(3, 1, classes, CHANNELS, **arguments)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.2)
    return made.eval()


def test_unet_weights_start_the_gated_network(tmp_path):
    unet = network(num_gates=0)
    torch.save({"model": unet.state_dict()}, tmp_path / "unet.pt")
    gated = transfer(AttentionUnet(3, 1, 3, CHANNELS), tmp_path / "unet.pt").eval()
    with torch.no_grad():
        assert torch.allclose(gated(X), unet(X), atol=1e-5 * unet(X).abs().max())


def test_same_network_is_taken_over_whole():
    source = network(init="authors")
    target = transfer(network(), source.state_dict(), labels=["background", "a", "b"])
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())


def test_structures_of_the_same_name_keep_their_logits():
    """From background, pancreas, spleen to background, liver, spleen, kidney: two keep theirs, whatever the others do."""
    source = network(3)
    target = transfer(
        network(4), source.state_dict(), labels={"background": 0, "liver": 1, "spleen": 2, "kidney": 3},
        weights_labels=["background", "pancreas", "spleen"],
    ).eval()  # fmt: skip
    with torch.no_grad():
        old, new = source(X), target(X)
    assert torch.allclose(new[:, 0], old[:, 0], atol=1e-4)
    assert torch.allclose(new[:, 2], old[:, 2], atol=1e-4)
    for fresh in (1, 3):
        assert not any(torch.allclose(new[:, fresh], old[:, channel], atol=0.1) for channel in range(3))


def test_without_names_other_heads_start_afresh():
    source, target = network(3), network(5)
    before = target.heads.final.weight.clone()
    transfer(target, source.state_dict())
    assert torch.equal(target.heads.final.weight, before)
    assert torch.equal(target.encoder[0][0].conv.weight, source.encoder[0][0].conv.weight)


def test_another_number_of_gates_starts_as_the_plain_unet():
    source = network(num_gates=1, init="authors")
    target = transfer(network(num_gates=2, init="authors"), source.state_dict()).eval()
    plain = AttentionUnet(3, 1, 3, CHANNELS, num_gates=0).eval()
    plain.load_state_dict({name: value for name, value in source.state_dict().items() if name in plain.state_dict()})
    with torch.no_grad():
        assert torch.allclose(target(X), plain(X), atol=1e-5 * plain(X).abs().max())


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="fits no layer"):
        transfer(network(), AttentionUnet(2, 1, 3, CHANNELS).state_dict())
    with pytest.raises(UserError, match="has 3 classes, but 2 names are given"):
        transfer(network(4), network(3).state_dict(), labels=list("abcd"), weights_labels=["a", "b"])
    with pytest.raises(UserError, match="no such file"):
        transfer(network(), tmp_path / "absent.pt")


def test_only_gates_learn_first():
    module = gates_only(network())
    learning = {name.split(".")[0] for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert learning == {"skips", "gating"}
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(module.centre[0].conv.weight.requires_grad))
    GatesFirst(module, 2).attach(trainer)
    trainer.run([0], max_epochs=4)
    assert seen == [False, False, True, True]
