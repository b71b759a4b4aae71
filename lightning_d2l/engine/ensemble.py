"""Many runs of one structure as one LightningModule: parameters stacked, each step one batched computation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap
from torch.optim import Optimizer

from lightning_d2l.compat_lightning import count_chunk
from lightning_d2l.config.trainer import RUNNING
from lightning_d2l.data.batches import Batch
from lightning_d2l.engine.batches import StackedBatches, StackedSplit
from lightning_d2l.engine.call import call_with
from lightning_d2l.engine.chunks import Chunk, Chunks
from lightning_d2l.engine.exact import Exact
from lightning_d2l.engine.loop import Step, diverged, train_minibatches
from lightning_d2l.engine.members import Member, Snapshot, solved, stacked, stacked_state
from lightning_d2l.engine.memory import Memory
from lightning_d2l.engine.noise import StackedNoise
from lightning_d2l.engine.optimizers import Memberwise
from lightning_d2l.engine.schedules import MemberSchedules
from lightning_d2l.engine.tracing import Program, traced
from lightning_d2l.modules.metrics import defined, one_by_one_of_each

ALL = slice(None)
MEASURED_NUMBERS = 2**22  # outputs that are measured in float64 at once


class Ensemble(pl.LightningModule):
    """M members, trained together and measured as single runs are.

    Their modules have the same layers, settings and shapes. They may differ in the strength of dropout and noise, the
    values of parameters and buffers, and the last dimension of parameters that act on the input features: shorter
    ones are padded with zeros, as are the features. Their optimizers are of one class and differ at most in lr and
    weight_decay. A member whose loss or metrics are not finite is marked, and measured no more. A member that one of
    its stoppers ends keeps its rows and its state from there on; the training ends when no member trains any more.

    Metrics are taken after the epochs `points`, counted from 1, and `tell` is called with the number of each epoch.
    After each point `leaving` returns the numbers of the members that leave the ensemble, which then has fewer.

    A batched product sums in another order than a single one: a member's numbers equal a single run's within rounding.
    """

    def __init__(
        self,
        members: Sequence[Member],
        points: Sequence[int],
        tell: Callable[[int], None] = lambda epoch: None,
        leaving: Callable[[int], Collection[int]] = lambda epoch: (),
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.members, self.logging_points, self.tell, self.leaving = list(members), points, tell, leaving
        first = members[0].module
        base = copy.deepcopy(first)
        self.noise = StackedNoise(base, [m.module for m in members], [m.noise for m in members])
        self._base = [base]  # in a list: its parameters are not this module's
        self._weights = [i for i, p in enumerate(base.parameters()) if any(p is w for w in base.weights())]
        self.stack = nn.ParameterList(
            nn.Parameter(stacked(parameters), requires_grad=False)
            for parameters in zip(*(member.parameters for member in members), strict=True)
        )
        for number, values in enumerate(zip(*(member.module.buffers() for member in members), strict=True)):
            self.register_buffer(f"buffer_{number}", torch.stack(values))
        self._widest = max(p.shape[1] if p.dim() > 1 else 1 for p in self.stack)  # units of a layer
        self.memory = Memory(self._snapshot)
        self.schedules = MemberSchedules(self.members)
        self.whole = True  # False while members leave
        self._last_epoch: list[Step] = []
        self._programs: dict[torch.Size, Program] = {}
        self._noise_shapes: dict[torch.Size, list[torch.Size]] = {}

    def configure_optimizers(self) -> list[Optimizer]:
        """None that Lightning steps: one object takes the steps of all members' optimizers."""
        if not isinstance(self.members[0].optimizer, Exact):
            own, parameters = [m.optimizer for m in self.members], [m.parameters for m in self.members]
            self.optimizer = Memberwise(list(self.stack), own, parameters, place=self.schedules.place)
            self.optimizer.load(stacked_state(self.members))
            self.steps = self.schedules.drive(self.optimizer)
        return []

    def train_dataloader(self) -> Chunks:
        data = [member.data for member in self.members]
        self._width = max(each.splits["train"][0].shape[-1] for each in data)
        self._chunks = Chunks(self._batches(), self.logging_points)
        return self._chunks

    def _batches(self) -> StackedBatches:
        """The minibatches of the members, whose data are stacked."""
        data = [member.data for member in self.members]
        self.splits = {
            name: StackedSplit([each.splits[name] for each in data], self.stack[0].dtype, self.device, self._width)
            for name in dict.fromkeys(["train", *data[0].evaluated, "test"])
        }
        return StackedBatches(self.splits["train"], data[0].batch_size, [each.shuffle_seed for each in data])

    def on_fit_start(self) -> None:
        self._stop_if_none_trains()

    def on_train_start(self) -> None:
        self.memory.begin(self.trainer, self.members, self.schedules)

    @torch.no_grad()
    def training_step(self, chunk: Chunk, batch_idx: int) -> None:
        steps = 0
        for epoch, batches in enumerate(chunk, chunk.first + 1):
            if isinstance(self.members[0].optimizer, Exact):
                self._last_epoch = solved(self.members, list(self.stack))
            else:
                self._last_epoch = train_minibatches(self._gradient, batches, self.steps)
            steps += len(self._last_epoch)
            self.schedules.end_epoch()
            self._mark_infinite_losses(self.trainer.global_step + steps)
            self.tell(epoch)
        count_chunk(self.trainer, steps, chunk.epochs)

    def _gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses (M,) and outputs (M, b, ...) of a minibatch; the gradients are left in the stack."""
        x, y = batch
        if x.shape not in self._noise_shapes:
            one = [p[0] for p in self.stack], [b[0] for b in self.buffers()]
            self._noise_shapes[x.shape] = self.noise.shapes(lambda: self._call("forward", *one, x[0]))
        values = [*self.stack, *self.buffers(), x, y, *self.noise.draw(self._noise_shapes[x.shape], x)]
        if x.shape not in self._programs:
            self._programs[x.shape] = traced(self._gradients, *values)
        *gradients, loss, output = self._programs[x.shape].run(*values)
        for parameter, gradient in zip(self.stack, gradients, strict=True):
            parameter.grad = gradient.contiguous()  # a fused optimizer reads memory in order
        return loss, output

    def _gradients(self, *values: Tensor) -> list[Tensor]:
        """Gradients of the stack's parameters, losses and outputs, for the values that `_gradient` collects."""
        p, b = len(self.stack), len(list(self.buffers()))

        def objective(parameters: list[Tensor], *rest: Tensor) -> tuple[Tensor, Tensor]:
            buffers, (x, y), noise = rest[:b], rest[b : b + 2], rest[b + 2 :]
            with self.noise.given(noise):
                found: tuple[Tensor, Tensor] = self._call("objective", parameters, buffers, (x, y))
            return found

        gradients, (loss, output) = vmap(grad_and_value(objective, has_aux=True))(list(values[:p]), *values[p:])
        return [*gradients, loss, output]

    @torch.no_grad()
    def bytes_of_step(self, batch: Batch) -> int:
        """Memory that a step on a minibatch takes beside the parameters. The step is taken."""
        _, outputs = self._gradient(batch)
        self.optimizer.step()
        remembered = [v for values in self.optimizer.state() for v in values.values() if isinstance(v, Tensor)]
        return self._programs[batch[0].shape].num_bytes + sum(t.nbytes for t in [*batch, outputs, *remembered])

    def _call(self, method: str, parameters: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any) -> Any:
        """A method of one module with these parameters and buffers."""
        return call_with(self._base[0], method, [*parameters, *buffers], *args)

    def _mapped(
        self, method: str, parameters: Sequence[Tensor], *args: Any, shared: bool = False, some: slice = ALL
    ) -> Any:
        """The same for `some` members, each with its part of the arguments (M, ...); `shared` arguments have no M."""
        mapped = vmap(partial(self._call, method), in_dims=(0, 0, *[None if shared else 0] * len(args)))
        return mapped(list(parameters), [b[some] for b in self.buffers()], *args)

    def _mark_infinite_losses(self, steps: int) -> None:
        losses = torch.stack([loss for loss, _, _ in self._last_epoch])
        finite = losses.isfinite()
        for number in (~finite.all(0)).nonzero().flatten().tolist():
            if self.members[number].stopped:  # its part of the stack trains on, and counts no more
                continue
            bad = int((~finite[:, number]).nonzero()[0])
            self._mark(number, "the training loss", losses[bad, number].item(), steps - len(losses) + bad + 1)

    def _mark(self, number: int, what: str, value: float, step: int) -> None:
        member = self.members[number]
        if not member.diverged:
            member.diverged = diverged(what, value, step, member.optimizer)
            self._stop_if_none_trains()

    def _stop_if_none_trains(self) -> None:
        if not any(member.trains for member in self.members):
            self.trainer.should_stop = True

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        epoch = self.trainer.current_epoch + 1
        if epoch in self.logging_points:
            parameters, evaluated = list(self.stack), self.members[0].data.evaluated
            seen = {split: self._outputs(split, parameters) for split in evaluated}
            if "train" not in evaluated:
                _, outputs, ys = zip(*self._last_epoch, strict=True)
                seen[RUNNING] = torch.cat(outputs, 1), torch.cat(ys, 1)
            metrics = self._metrics(seen, parameters) | self._of_parameters() | self.schedules.logged()
            training = [member.trains for member in self.members]
            improved = self._take(epoch, metrics)
            sound = [was and not m.diverged for was, m in zip(training, self.members, strict=True)]
            self.schedules.look_after(epoch, metrics, sound)
            self.memory.remember(epoch, self.trainer, self.members, self.schedules, sound)
            self.memory.best.take(self.memory.last, improved)
            if leaving := {*self.leaving(epoch)}:
                self._keep([number for number in range(len(self.members)) if number not in leaving])
        self._last_epoch = []

    def _keep(self, numbers: Sequence[int]) -> None:
        """Train the members with these numbers alone from now on; the training ends if there are none."""
        self.whole, self.members = not numbers, [self.members[number] for number in numbers]
        if not numbers:
            self.trainer.should_stop = True
            return
        index = torch.tensor(numbers, device=self.device)
        self.stack = nn.ParameterList(nn.Parameter(p.detach()[index], requires_grad=False) for p in self.stack)
        for name, buffer in list(self.named_buffers()):
            self.register_buffer(name, buffer[index])
        self.noise.keep(numbers)
        self.schedules.keep(numbers)
        self.memory.keep(index)
        self.optimizer.keep(index, list(self.stack))
        self._chunks.batches = self._chunks.sampler = self._batches()
        self._programs, self._noise_shapes, self.whole = {}, {}, True
        self._stop_if_none_trains()

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Measure the splits of the end, with the last weights, and with the best if they are not the last for all."""
        if not self.members:
            return
        last_are_best = all(m.rows and m.best["epoch"] == m.rows[-1]["epoch"] for m in self.members if not m.diverged)
        for parameters in (self.memory.last.parameters, *([] if last_are_best else [self.memory.best.parameters])):
            splits = ("test", *self.members[0].data.at_end)
            metrics = self._metrics({split: self._outputs(split, parameters) for split in splits}, parameters)
            for number, member in enumerate(self.members):
                member.test.append(self._row(number, metrics))

    def end(self) -> None:
        """Measure members that have no epoch left to train: Lightning does not start for them."""
        self.train_dataloader()
        self.on_train_start()
        self.on_train_end()

    def _outputs(self, split: str, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        data = self.splits[split]
        parts = [(self._mapped("forward", parameters, x, shared=data.shared), y) for x, y in data.batches(self._widest)]
        outputs, ys = zip(*parts, strict=True)
        return torch.cat(outputs, 1), torch.cat(ys, 1)

    def _metrics(self, seen: dict[str, tuple[Tensor, Tensor]], parameters: Sequence[Tensor]) -> dict[str, list[float]]:
        """The metrics of each member on each split that was seen, in float64."""
        found: dict[str, list[float]] = {}
        for split, (outputs, ys) in sorted(seen.items()):
            size = max(1, MEASURED_NUMBERS // outputs[0].numel())
            for start in range(0, len(outputs), size):
                some = slice(start, start + size)
                mine = [p[some] for p in parameters]
                for name, values in self._mapped("measured_in_vmap", mine, outputs[some], ys[some], some=some).items():
                    found.setdefault(f"{name}/{split}", []).extend(values.tolist())
            in_turn = one_by_one_of_each(self._base[0].in_turn, outputs, ys)
            found |= {f"{name}/{split}": values for name, values in in_turn.items()}
        return found

    def _of_parameters(self) -> dict[str, list[float]]:
        weights = [self.stack[i] for i in self._weights]
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        found = self._mapped("measure_parameters", list(self.stack), weights, gradients)
        return {name: values.tolist() for name, values in found.items()}

    def _take(self, epoch: int, metrics: dict[str, list[float]]) -> Tensor:
        """Give each member its row; returns which of them (M,) are better than ever."""
        improved, monitor = [], self.members[0].data.monitor
        for number, member in enumerate(self.members):
            row = self._row(number, metrics) if member.trains else {}
            better = False
            if member.trains:  # this row too is finite
                member.rows.append({"epoch": epoch, "step": self.trainer.global_step, **row})
                stops = [stopper.check(row, epoch) for stopper in member.stoppers]
                if any(stops):
                    member.stopped = epoch
                if better := not member.best or row[monitor] < member.best[monitor]:
                    member.best, member.stoppers_at_best = member.rows[-1], member.states_of_stoppers()
            improved.append(better)
        self._stop_if_none_trains()
        return torch.tensor(improved, device=self.device)

    def _row(self, number: int, metrics: dict[str, list[float]]) -> dict[str, float]:
        """The metrics of one member, which is marked if one of them is not finite."""
        row = defined({name: values[number] for name, values in metrics.items()}, self._base[0].whole)
        for name, value in row.items():
            if not math.isfinite(value):
                self._mark(number, name, value, self.trainer.global_step)
        return row

    def _snapshot(self) -> Snapshot:
        state = self.optimizer.state() if hasattr(self, "optimizer") else [{} for _ in self.stack]
        noise = [member.noise.get_state() for member in self.members]
        return Snapshot([p.detach().clone() for p in self.stack], state, noise)
