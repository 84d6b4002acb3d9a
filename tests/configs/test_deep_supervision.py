"""deep_supervision.json over train.json: MONAI's trainer takes a loss on every scale."""

from __future__ import annotations

import torch

from bundle.arguments.config import shipped_path


def test_trainer_learns_from_every_scale(repository):
    from monai.bundle import ConfigParser
    from monai.data import DataLoader
    from monai.engines import SupervisedTrainer

    parser = ConfigParser()
    parser.read_config([str(repository / "configs" / "train.json"), str(shipped_path("deep_supervision"))])
    parser["network_def"]["channels"] = [2, 3, 4]
    parser["device"] = "cpu"
    network = parser.get_parsed_content("network")
    before = network.heads.levels[1].weight.clone()
    batch = {"image": torch.randn(1, 16, 32, 16), "label": torch.randint(0, 4, (1, 16, 32, 16)).float()}
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader([batch, batch], batch_size=2),
        network=network,
        optimizer=parser.get_parsed_content("optimizer"),
        loss_function=parser.get_parsed_content("train#trainer#loss_function"),
        inferer=parser.get_parsed_content("train#inferer"),
    )
    trainer.run()
    assert len(trainer.state.output["pred"] if isinstance(trainer.state.output, dict) else trainer.state.output[0]["pred"]) >= 2
    assert not torch.equal(network.heads.levels[1].weight, before)
    loss = parser.get_parsed_content("loss")
    with torch.no_grad():  # validation, where there is one output, has the plain loss
        assert 0 < loss(network.eval()(batch["image"][None]), batch["label"][None]) < 1
