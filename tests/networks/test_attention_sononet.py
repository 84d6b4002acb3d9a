import pytest
import torch
import torch.nn.functional as F

from bundle.networks.attention_sononet import AttentionSononet, PoolingGate, normalise


def test_coefficients_by_hand() -> None:
    q = torch.tensor([1.0, 3.0, 2.0, 1.0]).reshape(1, 1, 2, 2)
    assert torch.allclose(normalise(q, "mean_flow").flatten(), torch.tensor([0, 2 / 3, 1 / 3, 0]))
    assert torch.allclose(normalise(q, "range").flatten(), torch.tensor([0.0, 1.0, 0.5, 0.0]))
    assert torch.allclose(normalise(q, "softmax").sum(), torch.tensor(1.0))
    assert torch.allclose(normalise(q, "sigmoid").flatten()[1], torch.tensor(3.0).sigmoid())
    # nothing stands out: all voxels alike, no division by zero
    assert torch.allclose(normalise(torch.ones(1, 1, 2, 2), "mean_flow"), torch.full((1, 1, 2, 2), 0.25))


def test_a_gate_pools_by_its_coefficients() -> None:
    gate = PoolingGate(2, 2, 3, 4, "softmax")
    x, g = torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2)
    vector, alpha = gate(x, g)
    assert alpha.shape == (1, 1, 4, 4)
    by_loops = torch.zeros(2)
    for c in range(2):
        for i in range(4):
            for j in range(4):
                by_loops[c] += x[0, c, i, j] * alpha[0, 0, i, j]
    assert torch.allclose(vector[0], by_loops, atol=1e-6)


def reference(network: AttentionSononet, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The authors' `sononet_grid_attention` in plain calls: three feature vectors, and alpha of the two gates."""
    conv, pool, mode = (F.conv2d, F.max_pool2d, "bilinear") if x.dim() == 4 else (F.conv3d, F.max_pool3d, "trilinear")
    maps = []
    for i, level in enumerate(network.levels):
        x = pool(x, 2) if i else x
        for block in level:
            x = conv(x, block.conv.weight, block.conv.bias, padding=1)
            n = block.norm
            x = F.relu(F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias))
        maps.append(x)
    vectors, alphas = [], []
    for gate, features in zip(network.gates, maps[2:4], strict=True):
        theta = conv(features, gate.theta.weight)
        phi = F.interpolate(conv(maps[4], gate.phi.weight), size=theta.shape[2:], mode=mode)
        q = conv(F.relu(theta + phi), gate.psi.weight, gate.psi.bias).flatten(2)
        q = q - q.min(2, keepdim=True)[0]
        alpha = (q / q.sum(2, keepdim=True)).reshape(len(x), 1, *theta.shape[2:])
        alphas.append(alpha)
        vectors.append((alpha * features).flatten(2).sum(-1))
    return [*vectors, maps[4].flatten(2).mean(2)], alphas


@pytest.mark.parametrize("dims", [2, 3])
def test_output_is_that_of_the_authors_network(dims: int) -> None:
    torch.manual_seed(dims)
    network = AttentionSononet(dims, 1, 5, aggregation="mean").eval()
    x = torch.rand(2, 1, *[32] * dims)
    vectors, alphas = reference(network, x)
    each = [F.linear(v, head.weight, head.bias) for v, head in zip(vectors, network.each, strict=True)]
    mean = sum(one.softmax(1) for one in each) / 3
    output, maps = network.attention(x)
    assert torch.allclose(output.exp(), mean, atol=1e-5)
    assert torch.allclose(maps[3], alphas[0], atol=1e-6) and torch.allclose(maps[4], alphas[1], atol=1e-6)
    network.train()
    assert [tuple(one.shape) for one in network(x)] == [(2, 5)] * 3


def test_parameters_by_hand() -> None:
    """Feature scale 8, one channel, 14 classes, the authors' configuration `config_sononet_grid_att_8.json`."""
    network = AttentionSononet(2, 1, 14)
    conv = lambda i, o: 9 * i * o + 3 * o  # noqa: E731  bias and batch norm
    body = conv(1, 8) + 2 * conv(8, 8) + conv(8, 16) + 2 * conv(16, 16) + conv(16, 32) + 2 * conv(32, 32) + conv(32, 64) + conv(64, 64)
    body += 2 * conv(64, 64)
    gates = (32 * 64 + 64 * 64 + 65) + (64 * 64 + 64 * 64 + 65)
    heads = 14 * (32 + 64 + 64) + 3 * 14
    assert sum(p.numel() for p in network.parameters()) == body + gates + heads


@pytest.mark.parametrize("aggregation", ["concat", "deep_supervision", "fine_tuned"])
def test_aggregations(aggregation: str) -> None:
    torch.manual_seed(0)
    network = AttentionSononet(2, 1, 3, aggregation=aggregation).eval()
    x = torch.rand(1, 1, 32, 32)
    vectors, _ = reference(network, x)
    if aggregation == "fine_tuned":
        inputs = torch.cat([F.linear(v, head.weight, head.bias) for v, head in zip(vectors, network.each, strict=True)], 1)
    else:
        inputs = torch.cat(vectors, 1)
    assert torch.allclose(network(x), F.linear(inputs, network.classifier.weight, network.classifier.bias), atol=1e-5)
    network.train()
    assert isinstance(network(x), list) == (aggregation == "deep_supervision")


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="aggregation is 'max'"):
        AttentionSononet(aggregation="max")
    with pytest.raises(ValueError, match="num_classes is 1"):
        AttentionSononet(num_classes=1)
