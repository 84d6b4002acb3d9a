import pytest
import torch
import torch.nn.functional as F

from bundle.networks.dense_vnet import DenseStack, DenseVNet


def test_parameters_by_hand() -> None:
    network = DenseVNet(3, 1, 9)

    def conv(i: int, o: int, k: int = 3) -> int:  # convolution with bias, batch norm
        return i * o * k**3 + o + 2 * o

    stacks = sum(conv(w + u * g, g) for w, g, n in ((25, 4, 5), (24, 8, 10), (24, 16, 10)) for u in range(n))
    skips = conv(25 + 20, 12) + conv(24 + 80, 24) + conv(24 + 160, 24)
    halvers = conv(1, 24, 5) + conv(45, 24) + conv(104, 24)
    final = (1 + 12 + 24 + 24) * 9 * 27 + 9
    assert sum(p.numel() for p in network.parameters()) == 2 + stacks + skips + halvers + final + 9 * 12**3


def test_a_unit_sees_everything_before_it() -> None:
    stack = DenseStack(3, 2, 3, 2, dropout=0.0).eval()
    x = torch.rand(1, 2, 4, 4, 4)
    first = stack.units[0](x)
    second = stack.units[1](torch.cat([x, first], 1))
    assert torch.equal(stack(x), torch.cat([x, first, second], 1))


def test_against_a_plain_implementation() -> None:
    torch.manual_seed(0)
    network = DenseVNet(3, 1, 3, features=(4, 4), growth=(2, 3), units=(2, 2), skip_channels=(3, 5), prior_size=3).eval()
    torch.nn.init.normal_(network.prior)
    x = torch.rand(1, 1, 16, 8, 12)

    def block(module, y):  # convolution, batch norm in evaluation, ReLU, by their definitions
        c, n = (module.conv, module.norm) if hasattr(module, "conv") else (module[0], module[1])
        y = F.conv3d(y, c.weight, c.bias, stride=c.stride, padding=c.kernel_size[0] // 2)
        return torch.relu(F.batch_norm(y, n.running_mean, n.running_var, n.weight, n.bias))

    ones = F.avg_pool3d(torch.ones_like(x), 3, 2, 1)
    small = F.avg_pool3d(x, 3, 2, 1) / ones  # the mean over the voxels that are there
    small = F.batch_norm(small, *(getattr(network.image_norm, a) for a in ("running_mean", "running_var", "weight", "bias")))
    features = torch.cat([small, block(network.first, x)], 1)
    for unit in network.stacks[0].units:
        features = torch.cat([features, block(unit, features)], 1)
    fine = block(network.skips[0], features)
    features = block(network.halvers[0], features)
    for unit in network.stacks[1].units:
        features = torch.cat([features, block(unit, features)], 1)
    coarse = F.interpolate(block(network.skips[1], features), size=fine.shape[2:], mode="trilinear")
    logits = F.conv3d(torch.cat([small, fine, coarse], 1), network.final.weight, network.final.bias, padding=1)
    logits = logits + F.interpolate(network.prior, size=logits.shape[2:], mode="trilinear")
    expected = F.interpolate(logits, size=x.shape[2:], mode="trilinear")
    assert torch.allclose(network(x), expected, atol=1e-5)


def test_any_size_and_the_prior_moves_the_classes() -> None:
    network = DenseVNet(2, 1, 2, prior_size=2, features=(4, 4), growth=(2, 2), units=(1, 1), skip_channels=(2, 2)).eval()
    x = torch.rand(1, 1, 11, 9)
    before = network(x)
    assert before.shape == (1, 2, 11, 9)
    with torch.no_grad():
        network.prior[:, 1, 0, :] = 50  # class 1 in the first half of the first axis
    labels = network(x).argmax(1)
    assert labels[0, 0].all() and not torch.equal(network(x), before)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="spatial_dims is 4"):
        DenseVNet(4)
    with pytest.raises(ValueError, match="as many of each"):
        DenseVNet(3, growth=(4, 8))
    with pytest.raises(ValueError, match="prior_size=-1"):
        DenseVNet(3, prior_size=-1)
