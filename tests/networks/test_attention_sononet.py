import pytest
import torch
import torch.nn.functional as F
from monai.losses import DeepSupervisionLoss
from reference_networks import GridAttentionSononet
from torch import nn

from bundle.networks.attention_sononet import AGGREGATIONS, AttentionSononet, PoolingGate, loss_weights, normalise


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


def theirs_and_ours(dims: int, aggregation: str, classes: int = 5) -> tuple[GridAttentionSononet, AttentionSononet]:
    """A plain network as the authors describe it, and ours with its weights, by what each of its parts is called there."""
    torch.manual_seed(dims)
    theirs, ours = GridAttentionSononet(dims, 1, classes, aggregation), AttentionSononet(dims, 1, classes, aggregation=aggregation)
    for module in theirs.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):  # or their order would not show
            module.running_mean.normal_(0, 0.3), module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias)
    state = {}
    for name, value in theirs.state_dict().items():
        parts = name.split(".")
        if parts[0].startswith("conv"):
            kind = ("conv", "norm")[int(parts[2])]
            state[f"levels.{int(parts[0][4:]) - 1}.{int(parts[1][4:]) - 1}.{kind}.{parts[3]}"] = value
        elif parts[0].startswith("compatibility_score"):
            state[f"gates.{int(parts[0][-1]) - 1}.{parts[1]}.{parts[2]}"] = value
        else:
            number = parts[0].removeprefix("classifier")
            state[f"each.{int(number) - 1}.{parts[1]}" if number else name] = value
    ours.load_state_dict(state, strict=True)
    return theirs, ours


def as_list(outputs: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("dims", [2, 3])
def test_outputs_and_gradients_are_those_of_the_authors_network(dims: int, aggregation: str) -> None:
    theirs, ours = theirs_and_ours(dims, aggregation)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    x, label = torch.rand(2, 1, *([32, 48] if dims == 2 else [16, 32, 16])), torch.tensor([3, 1])
    theirs.eval(), ours.eval()
    expected, (output, maps) = as_list(theirs(x)), ours.attention(x)
    if aggregation == "mean":
        assert torch.allclose(output.exp(), sum(one.softmax(1) for one in expected) / 3, atol=1e-5)
    else:  # of several the first decides
        assert torch.allclose(output, expected[0], atol=1e-5)
    third = theirs.conv3(theirs.pool(theirs.conv2(theirs.pool(theirs.conv1(x)))))
    fourth = theirs.conv4(theirs.pool(third))
    last = theirs.conv5(theirs.pool(fourth))
    assert torch.allclose(maps[3], theirs.compatibility_score1(third, last)[1], atol=1e-6)
    assert torch.allclose(maps[4], theirs.compatibility_score2(fourth, last)[1], atol=1e-6)
    # while training: the same list, the same loss, the same gradients
    theirs.train(), ours.train()
    weights = {"mean": [1, 1, 1], "deep_supervision": [1, 0.1, 0.1, 0.1]}.get(aggregation, [1])
    expected = as_list(theirs(x))
    sum(w * F.cross_entropy(one, label) for w, one in zip(weights, expected, strict=True)).backward()
    output = ours(x)
    assert isinstance(output, list) == (aggregation in ("mean", "deep_supervision"))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(as_list(output), expected, strict=True))
    DeepSupervisionLoss(nn.CrossEntropyLoss(), weights=loss_weights(aggregation))(output, label).backward()
    scale = theirs.conv1.conv1[0].weight.grad.abs().max()
    assert torch.allclose(ours.levels[0][0].conv.weight.grad, theirs.conv1.conv1[0].weight.grad, atol=float(1e-3 * scale))
    assert torch.allclose(ours.gates[1].psi.weight.grad, theirs.compatibility_score2.psi.weight.grad, rtol=1e-3, atol=1e-5)


def test_parameters_by_hand() -> None:
    """Feature scale 8, one channel, 14 classes, the authors' configuration `config_sononet_grid_att_8.json`."""
    network = AttentionSononet(2, 1, 14)
    conv = lambda i, o: 9 * i * o + 3 * o  # noqa: E731  bias and batch norm
    body = conv(1, 8) + 2 * conv(8, 8) + conv(8, 16) + 2 * conv(16, 16) + conv(16, 32) + 2 * conv(32, 32) + conv(32, 64) + conv(64, 64)
    body += 2 * conv(64, 64)
    gates = (32 * 64 + 64 * 64 + 65) + (64 * 64 + 64 * 64 + 65)
    heads = 14 * (32 + 64 + 64) + 3 * 14
    assert sum(p.numel() for p in network.parameters()) == body + gates + heads


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="aggregation is 'max'"):
        AttentionSononet(aggregation="max")
    with pytest.raises(ValueError, match="num_classes is 1"):
        AttentionSononet(num_classes=1)
