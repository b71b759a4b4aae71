"""Two processes on the CPU, with `strategy="ddp"`: each sample once, metrics over both.

Run as a program, this file trains and writes what each process saw and measured.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_d2l.data.synthetic import PolynomialData
from lightning_d2l.modules import ClassificationModule, RegressionModule
from lightning_d2l.nets.linear import LinearRegression
from lightning_d2l.nets.mlp import MLP

EPOCHS, SGD = 3, {"_target_": "torch.optim.SGD", "lr": 0.05}
SIZES = {
    # training samples, minibatch, validation, test: odd, also where the last minibatch is one process's alone
    "23 by 4": (23, 4, 31, 1),
    "25 by 4": (25, 4, 1, 31),
    "17 by 3": (17, 3, 2050, 13),  # more than a minibatch of validation data for each process
}


class Foreign(pl.LightningModule):
    """A module that knows nothing of the package."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Seen(pl.Callback):
    """The second feature of each sample, which identifies it, by kind of batch and epoch."""

    def __init__(self) -> None:
        self.samples: dict[str, list[list[float]]] = {}

    def see(self, kind: str, batch) -> None:
        self.samples.setdefault(kind, []).append(batch[0][:, 1].tolist())

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.see(f"train {trainer.current_epoch}", batch)

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking:
            self.see(f"val {trainer.state.fn.value} {trainer.current_epoch}", batch)

    def on_test_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        self.see("test", batch)


def polynomial(size: str) -> PolynomialData:
    n_train, batch_size, n_val, n_test = SIZES[size]
    return PolynomialData(
        3, [5.0, 1.2, -3.4, 5.6], True,
        noise=0.1, n_train=n_train, n_val=n_val, n_test=n_test, batch_size=batch_size, seed=0,
    )  # fmt: skip


def classes(n: int) -> TensorDataset:
    random = torch.Generator().manual_seed(n)
    y = torch.randint(3, (n,), generator=random)
    return TensorDataset(y[:, None] + torch.randn(n, 4, generator=random), y)


def train(name: str, module: pl.LightningModule, **data: Any) -> dict[str, Any]:
    """Fit, validate and test over two processes."""
    seen = Seen()
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=EPOCHS, callbacks=[seen], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, **data)
    metrics = {key: float(v) for key, v in trainer.callback_metrics.items()}
    trainer.save_checkpoint(f"{name}.ckpt")
    found = {"samples": seen.samples, "fit": metrics, "steps": trainer.global_step}
    if isinstance(module, RegressionModule):
        found["validate"] = trainer.validate(module, **data)[0]
        found["test"] = trainer.test(module, **data)[0]
    found["weights"] = {key: value.tolist() for key, value in module.state_dict().items()}
    return found


def main() -> None:
    found = {}
    for size in SIZES:
        torch.manual_seed(0)
        found[size] = train(size, RegressionModule(LinearRegression(4), optimizer=SGD), datamodule=polynomial(size))
    found["foreign"] = train("foreign", Foreign(), datamodule=polynomial("23 by 4"))
    torch.manual_seed(0)
    found["plain"] = train(
        "plain", ClassificationModule(MLP(4, 3, [8]), optimizer=SGD),
        train_dataloaders=DataLoader(classes(64), 8, shuffle=True), val_dataloaders=DataLoader(classes(90), 16),
    )  # fmt: skip
    Path(f"process {os.environ['LOCAL_RANK']}.json").write_text(json.dumps(found))


def run(folder: Path) -> list[dict[str, Any]]:
    """Run this file as a program in a folder; returns what each of its two processes found."""
    unset = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "PL_GLOBAL_SEED")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    program = subprocess.Popen(
        [sys.executable, __file__],
        cwd=folder,
        env=environment,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = program.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)  # both processes
        output, _ = program.communicate()
        pytest.fail(f"a process waits for the other:\n{output[-3000:]}")
    assert program.returncode == 0, output[-3000:]
    return [json.loads((folder / f"process {rank}.json").read_text()) for rank in (0, 1)]


def seen_by(found: list[dict], name: str, kind: str) -> list[list[float]]:
    """The samples of one epoch, by process."""
    return [[value for batch in one[name]["samples"].get(kind, []) for value in batch] for one in found]


def check_that_each_sample_is_seen_by_one_process(found, name):
    size = "23 by 4" if name == "foreign" else name
    n, batch_size = SIZES[size][:2]
    data = polynomial(size)
    data.setup()
    kinds = {f"train {epoch}": "train" for epoch in range(EPOCHS)}
    if name != "foreign":
        kinds |= {f"val fit {epoch}": "val" for epoch in range(EPOCHS)} | {f"val validate {EPOCHS}": "val"}
        kinds |= {"test": "test"}
    for kind, split in kinds.items():
        first, second = seen_by(found, name, kind)
        assert sorted(first + second) == sorted(data.splits[split][0][:, 1].float().tolist()), kind
        assert abs(len(first) - len(second)) <= 1, kind
    assert seen_by(found, name, "train 0") != seen_by(found, name, "train 1")
    for one in found:
        assert one[name]["steps"] == EPOCHS * -(-n // (2 * batch_size))
        sizes = [len(batch) for epoch in range(EPOCHS) for batch in one[name]["samples"][f"train {epoch}"]]
        assert all(0 < size <= batch_size for size in sizes)


def check_that_both_processes_end_with_the_same_weights_and_metrics(found, name):
    first, second = found
    for key in ("weights", "fit", "validate", "test"):
        assert first[name].get(key) == second[name].get(key), key


def check_the_metrics_against_those_of_one_process_with_the_same_weights(found, size, folder):
    first = found[0]
    module = RegressionModule.load_from_checkpoint(folder / f"{size}.ckpt", weights_only=True)
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    (validated,), (tested,) = (
        method(module, datamodule=polynomial(size)) for method in (trainer.validate, trainer.test)
    )
    assert first[size]["validate"] == pytest.approx(validated, rel=1e-6)
    assert first[size]["test"] == pytest.approx(tested, rel=1e-6)
    assert first[size]["fit"]["loss/val"] == pytest.approx(validated["loss/val"], rel=1e-6)


def check_the_weights_against_steps_along_the_mean_of_both_gradients(found, size):
    data = polynomial(size)
    data.setup()
    x, y = (t.float() for t in data.splits["train"])
    rows = {value: row for row, value in enumerate(x[:, 1].tolist())}
    torch.manual_seed(0)
    net, losses = LinearRegression(4), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for epoch in range(EPOCHS):
        losses = []
        by_process = [one[size]["samples"][f"train {epoch}"] for one in found]
        for parts in zip(*by_process, strict=True):
            chosen = [[rows[value] for value in part] for part in parts]
            loss = [functional.mse_loss(net(x[part]), y[part]) for part in chosen]
            losses += [value.item() * len(part) / len(x) for value, part in zip(loss, chosen, strict=True)]
            optimizer.zero_grad()
            torch.stack(loss).mean().backward()
            optimizer.step()
    for name, weight in net.state_dict().items():
        mine = torch.tensor(found[0][size]["weights"][f"net.{name}"])
        torch.testing.assert_close(mine, weight, rtol=1e-4, atol=1e-5)
    assert found[0][size]["fit"]["loss/train_running"] == pytest.approx(sum(losses), rel=1e-4)


def check_the_metrics_of_plain_loaders(found, folder):
    first, second = found
    module = ClassificationModule.load_from_checkpoint(folder / "plain.ckpt", weights_only=True)
    x, y = classes(90).tensors
    outputs = module(x).double()
    assert first["plain"]["fit"]["loss/val"] == pytest.approx(functional.cross_entropy(outputs, y).item(), rel=1e-6)
    assert first["plain"]["fit"]["acc/val"] == pytest.approx((outputs.argmax(1) == y).double().mean().item())
    for epoch in range(EPOCHS):
        parts = seen_by([first, second], "plain", f"train {epoch}")
        assert sorted(parts[0] + parts[1]) == sorted(classes(64).tensors[0][:, 1].tolist())


@pytest.mark.slow
@pytest.mark.apart
def test_two_processes_share_each_epoch_and_measure_together(tmp_path):
    found = run(tmp_path)
    for name in [*SIZES, "foreign"]:
        check_that_each_sample_is_seen_by_one_process(found, name)
    for name in [*SIZES, "foreign", "plain"]:
        check_that_both_processes_end_with_the_same_weights_and_metrics(found, name)
    for size in SIZES:
        check_the_metrics_against_those_of_one_process_with_the_same_weights(found, size, tmp_path)
        check_the_weights_against_steps_along_the_mean_of_both_gradients(found, size)
    check_the_metrics_of_plain_loaders(found, tmp_path)


if __name__ == "__main__":
    main()
