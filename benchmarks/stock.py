"""The job that a sweep is measured beside: polynomial regression as the manuals of Hydra and Lightning show it.

    python benchmarks/stock.py -m degree=3,5 'seed=range(10)'

A LightningModule that logs by `self.log`, DataLoaders over TensorDatasets, Lightning's TensorBoardLogger and
checkpoints, and Hydra's own launcher. Data, model, optimizer and precision are those of `study=capacity` by SGD.
"""

from dataclasses import dataclass

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

COEFFICIENTS = (5.0, 1.2, -3.4, 5.6)  # of x^i / i!, as in d2l 4.4


@dataclass
class Config:
    """The settings of a job."""

    degree: int = 3
    seed: int = 0
    max_epochs: int = 400
    log_every_n_epochs: int = 20
    lr: float = 0.01


class Polynomial(pl.LightningModule):
    """Linear regression on the powers of x."""

    def __init__(self, degree: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(degree + 1, 1, bias=False)

    def _loss(self, batch: tuple[Tensor, Tensor], split: str) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        self.log(f"loss/{split}", loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._loss(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._loss(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def loader(config: Config, n: int, *, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
    """Samples of the cubic polynomial with noise, in minibatches."""
    x = torch.randn(n, 1, dtype=torch.float64)
    powers = torch.arange(max(config.degree + 1, len(COEFFICIENTS)))
    features = x**powers / torch.exp(torch.lgamma(powers + 1.0))
    y = features[:, : len(COEFFICIENTS)] @ torch.tensor(COEFFICIENTS, dtype=torch.float64)[:, None]
    y += 0.1 * torch.randn_like(y)
    data = TensorDataset(features[:, : config.degree + 1], y)
    return DataLoader(data, batch_size=10 if shuffle else 1000, shuffle=shuffle)


@hydra.main(version_base="1.3", config_name="config")
def main(config: Config) -> None:
    """Train, test and log one job."""
    pl.seed_everything(config.seed)
    train, val, test = loader(config, 100, shuffle=True), loader(config, 1000), loader(config, 1000)
    trainer = pl.Trainer(
        max_epochs=config.max_epochs,
        check_val_every_n_epoch=config.log_every_n_epochs,
        logger=TensorBoardLogger(HydraConfig.get().runtime.output_dir),
        precision="64-true",
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    trainer.fit(Polynomial(config.degree, config.lr), train, val)
    trainer.test(ckpt_path=None, model=trainer.lightning_module, dataloaders=test, verbose=False)


ConfigStore.instance().store("config", Config)

if __name__ == "__main__":
    main()
