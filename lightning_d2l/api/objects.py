"""fit: a LightningModule and data that are objects, recorded as a run of the command line is."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_d2l.api.ended import after
from lightning_d2l.api.finished import Folder, Run, path_of
from lightning_d2l.api.library import library, library_call
from lightning_d2l.api.words import words_of
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.given import is_given
from lightning_d2l.plugins import Ended, is_loading

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from lightning_d2l.training.spec import RunSpec

LOGGERS = ("tensorboard", "csv", "wandb", "mlflow")


@contextmanager
def _in_their_words() -> Iterator[None]:
    """What is wrong with the data is told of the argument: they have no name on a command line."""
    try:
        yield
    except RequestError as error:
        words = str(error).replace("data=data", "datamodule").replace(": returned ", ": is ")
        raise RequestError(words.replace("data.target=null", "target=None").replace("data.target", "target")) from None


@library_call
@_in_their_words()
def fit(
    module: pl.LightningModule,
    datamodule: Any = None,
    *,
    target: str | None = None,
    max_epochs: int = 10,
    name: str = "fit",
    callbacks: Iterable[Any] = (),
    logger: Any = "tensorboard",
    seed: int = 0,
    folder: Folder | None = None,
    resume: Folder | None = None,
    verbose: bool = True,
    **trainer: Any,
) -> Run:
    """Train a LightningModule of your own on data of your own, and record it as any other run.

    Parameters
    ----------
    module : LightningModule
        It is trained in place and then has its last weights; `Run.module` is a copy with the best ones. A network alone
        is wrapped: `ClassificationModule(net)` or `RegressionModule(net)` of `lightning_d2l.modules`.
    datamodule : LightningDataModule, or (x, y) of tensors or arrays, a DataFrame, a Dataset, or a dict of these
        The keys of the dict are train, val and test; splits that are missing are held out of train.
    target : str, optional
        The column of a DataFrame that is predicted. The others are encoded and standardised as numbers.
    max_epochs : int
        The number of epochs.
    name : str
        The end of the name of the folder, outputs/DATE/TIME-name.
    callbacks : iterable of Callback
        Callbacks of Lightning, or your own.
    logger : str, Logger, list of these, or None
        Names such as "tensorboard" or "csv", or objects of Lightning's Logger.
    seed : int
        Of dropout, noise and shuffling. The module is initialised already.
    folder : path, optional
        The run's folder, which must hold no run.
    resume : path, optional
        The folder of a run of the same objects to continue from its last checkpoint.
    verbose : bool
        Whether to show progress.
    **trainer
        Settings of the Trainer that are plain data, and our own of the node `trainer`: accelerator="cpu",
        gradient_clip_val=1.0, log_every_n_epochs=5.

    Returns
    -------
    Run
        The run; as `train` returns it.

    Raises
    ------
    RequestError
        If an object is of the wrong type, or a setting is wrong; nothing is written.
    RunFailed
        If the module, the data or a callback raises an error, which is its `__cause__`.

    Examples
    --------
    >>> import torch
    >>> import lightning_d2l as d2l
    >>> from lightning_d2l.modules import RegressionModule
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> module = RegressionModule(torch.nn.Linear(1, 1), optimizer={"_target_": "torch.optim.SGD", "lr": 0.3})
    >>> run = d2l.fit(module, (x, 2 * x + 1), max_epochs=20, name="line", verbose=False)
    >>> run.status, run.predict(torch.tensor([[0.5]])).round().tolist()
    ('completed', [[2.0]])
    """
    if is_loading():
        raise Ended
    with library(verbose=verbose) as program:
        from lightning_d2l.api.given import built_of, named_callbacks, require_data, require_module
        from lightning_d2l.studies.single import judged
        from lightning_d2l.training.fit import run
        from lightning_d2l.training.folders import remove_empty

        module, data, watching = require_module(module), require_data(datamodule, target), named_callbacks(callbacks)
        names, loggers = _loggers(logger)
        settings = {"max_epochs": max_epochs, **trainer}
        config, overrides = _config(settings, names, seed, module, datamodule, watching)
        config["data"] |= {} if target is None else {"target": target}
        config["resume"] = None if resume is None else str(path_of("resume", resume))
        place = _resumed(path_of("resume", resume), config) if resume is not None else _place(folder, name)
        spec = _spec(config, place, overrides, verbose=verbose)
        try:
            code = run(spec, lambda spec: built_of(spec, module, data, [*watching.values()], loggers), judged)
        finally:
            remove_empty([place, *place.parents])  # of a refused request
    after(code, place, program)
    return Run(place, module, datamodule).completed_or_failed(program.error)


def _config(
    settings: dict[str, Any], loggers: list[str], seed: int, module: Any, data: Any, callbacks: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The configuration, which tells the classes of the objects, and the overrides that made it."""
    from lightning_d2l.api.given import node_of
    from lightning_d2l.config.compose import compose_checked, plain
    from lightning_d2l.training.machine import check_accelerator

    words = words_of((), {"seed": seed, "trainer": settings, "logger": loggers}, several=False)
    config = plain(compose_checked([*words, "model=mlp"]))
    check_accelerator(config)
    devices = config["trainer"]["devices"]
    one = devices in (1, "1", "auto") or (isinstance(devices, list) and len(devices) == 1)
    if not one or config["trainer"]["num_nodes"] != 1:  # another process would have to be given the objects
        raise RequestError(f"trainer.devices={devices}: must be one for objects; lightning_d2l.register, then train")
    free: dict[str, Any] = {"optimizer": None, "scheduler": None, "loss": None}
    config |= {"model": node_of(module), "data": node_of(data), **free}
    config["callbacks"] = {name: node_of(callback) for name, callback in callbacks.items()}
    return config, words


def _loggers(given: Any) -> tuple[list[str], list[Any]]:
    """The names of loggers, and objects."""
    from pytorch_lightning.loggers.logger import Logger

    each = [] if given is None or given is False else list(given) if isinstance(given, (list, tuple)) else [given]
    if wrong := [logger for logger in each if not isinstance(logger, (str, Logger))]:
        raise RequestError(
            f"logger: must be a Logger of Lightning's or one of {', '.join(LOGGERS)}, not {type(wrong[0]).__name__}"
        )
    names = [logger for logger in each if isinstance(logger, str) and logger != "none"]
    return names, [logger for logger in each if isinstance(logger, Logger)]


def _place(folder: Folder | None, name: str) -> Path:
    if folder is not None:
        return path_of("folder", folder)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.=+-]{1,100}", name) or name.startswith("."):
        raise RequestError(f"name={name}: must be letters, digits, - _ . = or +")
    from lightning_d2l.training.folders import new_folder

    now = time.localtime()
    return new_folder(
        Path("outputs", time.strftime("%Y-%m-%d", now), time.strftime("%H-%M-%S-", now) + name), exact=False
    )


def _resumed(folder: Path, config: dict[str, Any]) -> Path:
    """The folder of a run that is continued; raises RequestError unless it is one of the same classes."""
    from lightning_d2l.training.record import to_resume

    record = to_resume(folder)
    if not is_given(record.config):
        raise RequestError(f"resume={folder}: is no run of fit; lightning_d2l.train continues it")
    for node in ("model", "data"):
        there, here = record.config[node].get("class"), config[node]["class"]
        if there != here:
            raise RequestError(f"resume={folder}: its {node} is a {there}, not a {here}")
    return folder


def _spec(config: dict[str, Any], folder: Path, overrides: list[str], *, verbose: bool) -> RunSpec:
    from lightning_d2l.training.spec import RunSpec

    command = f"lightning_d2l.fit({config['model']['class']}, {config['data']['class']})"
    return RunSpec(config, folder, overrides, command, silent=not verbose)
