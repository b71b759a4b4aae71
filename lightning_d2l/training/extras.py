"""What a run leaves beside its record: what its loggers write, and figures. No error in them fails the run."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from lightning_d2l.config.check import flat
from lightning_d2l.config.escape import markdown, terminal
from lightning_d2l.config.loggers import TENSORBOARD
from lightning_d2l.config.metrics import LOSSES
from lightning_d2l.config.optimizers import EXACT
from lightning_d2l.config.program import from_here, tool_words
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.base import TensorDataModule
from lightning_d2l.data.batches import as_input
from lightning_d2l.modules.build import build as build_node
from lightning_d2l.training.build import BuiltRun
from lightning_d2l.training.files import Row
from lightning_d2l.training.hparams import Value, configuration, hyperparameters
from lightning_d2l.training.hparams import identity as named_data
from lightning_d2l.training.loggers import build_loggers
from lightning_d2l.training.run_logger import Ids
from lightning_d2l.training.signals import Stopped
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import TensorBoard, write_events, write_graph

if TYPE_CHECKING:
    from lightning_d2l.training.figures import Drawing

log = logging.getLogger(__name__)


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """What a run can do without: an error in this block is a warning, and the run goes on."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        log.warning("%s: not written: %s", what, reason[:300])


class Loggers:
    """The loggers that a run asks for: TensorBoard, the others of Lightning, registered ones.

    `given` are objects, which log as Lightning lets them. There are no others in a `fast_dev_run`, where Lightning has
    none either. As a context it closes them after an error.
    Raises RequestError if a registered logger can't be built.
    """

    def __init__(self, spec: RunSpec, recorded: Mapping[str, Ids] | None, given: Sequence[Logger] = ()) -> None:
        self.spec = spec
        if spec.config["trainer"]["fast_dev_run"]:
            spec = replace(spec, config={**spec.config, "logger": {}})
        boards = {label: group for label, group in spec.config["logger"].items() if group["_target_"] == TENSORBOARD}
        self.board_label = next(iter(boards), "")
        self.board: TensorBoard | None = build_node(boards[self.board_label]) if boards else None
        self.others = build_loggers(spec, recorded or {})
        self.given = given

    @property
    def of_trainer(self) -> list[Logger]:
        """What Lightning's Trainer is given, in the order of the configuration; `module.logger` is the first."""
        found: dict[str, Logger] = {each.label: each.logger for each in self.others}
        if self.board:
            found[self.board_label] = self.board
        named = [found[label] for label in self.spec.config["logger"] if label in found]
        return [*named, *self.given]

    def open(self, built: BuiltRun, identity: Mapping[str, Any] | None = None) -> dict[str, Ids]:
        """Start to log: the settings, and in a single run the graph, histograms and texts for TensorBoard.

        `identity` is that of the data. Returns what the record keeps, by the name of each logger.
        """
        if self.board:
            alone = self.board.apart = not self.spec.part_of_sweep
            self.board.by_step = built.supervised is None
            texts = _texts(built, identity) if alone else {}
            self.board.open(self.spec.folder, _hyperparameters(built), built.metric_names, built.rows, texts)
            if (alone or self.board.graph) and (example := _example(built)) is not None:
                self.board.add_graph(built.net, example)
            if alone:
                self.board.watch(built.supervised.net if built.supervised else built.net, built.max_epochs)
        return self.open_others(built, built.rows)

    def open_others(self, built: BuiltRun, history: Sequence[Row]) -> dict[str, Ids]:
        """Start to log with all but TensorBoard; `history` holds the rows so far of a resumed run."""
        if not self.others:
            return {}
        parameters = _named(built) | flat({k: v for k, v in self.spec.config.items() if k != "resume"})
        ids = {each.label: each.open(parameters, history) for each in self.others}
        return {label: found for label, found in ids.items() if found}

    def finish(self, built: BuiltRun, final: Row) -> None:
        """Draw the figures of a single run, and close the loggers with them and the test metrics."""
        pictures = [] if self.spec.part_of_sweep else draw(built)
        if self.board:
            end = int(final["step" if self.board.by_step else "epoch"])
            self.board.log_metrics(of_the_end(final), end)
            self.board.end(end)
            self.board.add_pictures(pictures, end)
        for logger in self.given:
            with optional(type(logger).__name__):
                logger.log_metrics(of_the_end(final), int(final["step"]))
                logger.save()
        self.close(final, 0)

    def close(self, final: Row, code: int) -> None:
        """Close what is open, with the test metrics among the `final` ones of a run that ends with an exit code."""
        test = of_the_end(final)
        for each in self.others:
            each.close({"epoch": final["epoch"], "step": final["step"], **test} if test else {}, code)
        if self.board:
            self.board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.close({}, 128 + error.signum if isinstance(error, Stopped) else getattr(error, "code", 1))

    def commands(self) -> list[str]:
        """The commands that show what was logged."""
        here = from_here(self.spec.folder)
        board = [shlex.join([*tool_words("board"), str(here)])] if self.board else []
        return [*board, *(command for each in self.others if (command := each.look()))]


def of_the_end(final: Row) -> Row:
    """The metrics among the final ones that are measured once, after the last epoch."""
    once = ("/test", *["/train"] * any(name.endswith(f"/{RUNNING}") for name in final))
    return {name: value for name, value in final.items() if name.endswith(once)}


def write_board(built: BuiltRun, rows: Sequence[Row], test: Row) -> None:
    """Write TensorBoard's events, where they are asked for, of a run that has trained among others."""
    spec = built.spec
    boards = [group for group in spec.config["logger"].values() if group["_target_"] == TENSORBOARD]
    if boards:
        with optional("TensorBoard"):
            end = int(rows[-1]["epoch"]) if rows else built.max_epochs
            write_events(spec.folder, _hyperparameters(built), built.metric_names, rows, test, end)
            if boards[0]["graph"] and (example := _example(built)) is not None:
                write_graph(spec.folder, built.net, example)


def log_member(
    built: BuiltRun, rows: Sequence[Row], test: Row, code: int, recorded: Mapping[str, Ids] | None
) -> dict[str, Ids]:
    """Give the other loggers what a run by itself gives them, once it has trained; returns what the record keeps."""
    if all(group["_target_"] == TENSORBOARD for group in built.spec.config["logger"].values()):
        return {}
    ids: dict[str, Ids] = {}
    with optional("loggers"), Loggers(built.spec, recorded) as loggers:
        ids = loggers.open_others(built, [])
        for each in loggers.others:
            for row in rows:
                each.log_row(row)
        loggers.close({**rows[-1], **test} if test else {}, code)
    return ids


def draw(built: BuiltRun) -> list[Path]:
    """Draw the figures of a run into its folder; returns the PNG files. One that can't be drawn is a warning."""
    paths: list[Path] = []
    with optional("figures"):
        from lightning_d2l.training.figures import save

        for name, make in figures_of(built, built.stopped_after(built.rows[-1]["epoch"])).items():
            with optional(f"figures/{name}.png"):
                if (figure := make()) is not None:
                    paths.append(save(figure, built.spec.folder / "figures" / f"{name}.png"))
    return paths


def figures_of(built: BuiltRun, stopped: Mapping[str, Any] | None) -> dict[str, Drawing]:
    """What draws the figures of a trained run, by name; `stopped` is that field of its record."""
    from lightning_d2l.training import figures  # matplotlib: a second that the runs of a sweep need not spend

    exact = (built.spec.config["optimizer"] or {}).get("_target_") == EXACT
    epoch = int(built.rows[-1]["epoch"])
    how = f"stopped early after {epoch} epochs" if stopped else f"{epoch} epochs"
    how = "exact solution" if exact else how
    title = f"{built.model} on {_in_words(built.data)}, {how}, seed {built.spec.config['seed']}"
    loss = LOSSES.get(built.supervised.loss_name, "loss") if built.supervised else "loss"
    return figures.drawings(built.data, built.net, built.rows, title, epoch if stopped else None, loss)


def _in_words(data: TensorDataModule) -> str:
    if data.name == "fashion_mnist":
        return "Fashion-MNIST" if data.source == "official" else "GENERATED GARMENTS, not Fashion-MNIST"
    if data.name == "polynomial" and (degree := getattr(data, "degree", None)) is not None:
        return f"polynomial features of degree {degree}"
    name = data.name if "." in data.name else data.name.replace("_", " ")
    return name if data.source in ("synthetic", "csv") else f"{name} ({data.source})"


def _named(built: BuiltRun) -> dict[str, str]:
    return {"model": built.model, "data": built.data.name, "source": built.data.source}


def _hyperparameters(built: BuiltRun) -> dict[str, Value]:
    """The row of a run on TensorBoard's page HParams."""
    return hyperparameters(built.spec.config, built.spec.overrides, _named(built))


def _texts(built: BuiltRun, identity: Mapping[str, Any] | None) -> dict[str, str]:
    """The texts of a single run for TensorBoard, by tag."""
    found = {"command": f"    {terminal(built.spec.command)}"} if built.spec.command else {}
    found["configuration"] = configuration(built.spec.config)
    if identity:
        sizes = ", ".join(f"{n:,} {split}" for split, n in built.data.sizes().items() if n is not None)
        found["data"] = markdown(f"{named_data(identity)}; samples: {sizes}")
    return found


def _example(built: BuiltRun) -> Tensor | None:
    """An input of the network; None where only a custom module knows its batches."""
    if not built.data.task:
        return None
    x, _ = built.data.samples("train", 1)
    return as_input(x, next(built.module.parameters()).dtype)
