"""A PyTorch Lightning module with validation, and the checkpoints that autologging keeps."""

import json

import lightning
import mlflow
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layer(features)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("val_loss", torch.nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def sample() -> np.ndarray:
    return np.random.default_rng(11).normal(size=(5, 3)).astype("float32")


if __name__ == "__main__":
    mlflow.set_experiment("lightning")
    mlflow.pytorch.autolog()

    lightning.seed_everything(7)
    features = torch.randn(64, 3)
    data = TensorDataset(features, features.sum(dim=1, keepdim=True))
    model = Regression()
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    trainer.fit(model, DataLoader(data, batch_size=16), DataLoader(data, batch_size=32))

    with torch.no_grad():
        print(json.dumps(model(torch.from_numpy(sample())).tolist()))
