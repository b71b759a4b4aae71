"""Standardising and augmenting of images: by their definitions, in both loops, and in a group of runs."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torchvision.transforms.v2 import functional as transforms

from lightning_d2l.config.check import RequestError
from lightning_d2l.data.images import ImageData, channel_moments
from lightning_d2l.engine.chunks import ChunkedModule
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import Member
from lightning_d2l.modules import ClassificationModule
from lightning_d2l.nets.images import ImageInputs, cropped, flipped
from lightning_d2l.nets.mlp import MLP

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip


class Colours(ImageData):
    """Small images in three classes, whose channels have different means."""

    name = "colours"
    class_names = ("a", "b", "c")

    def draw(self):
        random = torch.Generator().manual_seed(self.seed)
        x = torch.randint(0, 256, (60, 3, 6, 5), generator=random) // torch.tensor([1, 2, 4]).view(3, 1, 1)
        y = torch.arange(60) % 3
        x[:, 0] += 40 * (y == 1).view(-1, 1, 1) * (x[:, 0] < 200)
        x = x.byte()
        return {"train": (x[:40], y[:40]), "val": (x[40:50], y[40:50]), "test": (x[50:], y[50:])}


def data(**settings) -> Colours:
    made = Colours(batch_size=8, **settings)
    made.setup()
    return made


def module(of: Colours, seed: int = 0) -> ClassificationModule:
    torch.manual_seed(seed)
    net = MLP(of.num_inputs, of.num_outputs, 8)
    made = ClassificationModule(net, None, {"_target_": "torch.optim.SGD", "lr": 0.1}, transform=of.transform)
    return made.double()


def test_each_channel_has_the_moments_of_the_training_images_alone():
    made = data(standardize=True)
    x = made.splits["train"][0].double() / 255
    mean, std = channel_moments(made.splits["train"][0])
    torch.testing.assert_close(torch.tensor(mean).double(), x.mean((0, 2, 3)), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(std).double(), x.std((0, 2, 3), correction=0), rtol=0, atol=1e-6)
    inputs = ImageInputs(**{k: v for k, v in made.transform.items() if k != "_target_"}).double()
    expected = transforms.normalize(x, mean, std)
    torch.testing.assert_close(inputs(x), expected, rtol=0, atol=1e-6)
    assert channel_moments(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)) == ([0.0], [1.0])


def test_a_flip_mirrors_about_half_of_the_images():
    x = torch.rand(400, 2, 3, 4)
    torch.manual_seed(0)
    found = flipped(x)
    mirrored = torch.tensor([torch.equal(a, b) for a, b in zip(found, transforms.horizontal_flip(x), strict=True)])
    assert 160 < int(mirrored.sum()) < 240
    assert torch.equal(found[~mirrored], x[~mirrored])


def test_a_crop_is_a_part_of_the_image_with_a_border_of_an_eighth():
    x = torch.rand(300, 2, 16, 9)
    torch.manual_seed(0)
    found = cropped(x)
    padded = transforms.pad(x, [2, 2])  # 9 / 8 is rounded up
    places = set()
    for image, whole in zip(found, padded, strict=True):
        fits = [(i, j) for i in range(5) for j in range(5) if torch.equal(image, whole[:, i : i + 16, j : j + 9])]
        assert len(fits) == 1
        places |= set(fits)
    assert len(places) == 25


def test_images_are_augmented_in_training_alone_and_drawn_by_the_global_generator():
    inputs, x = ImageInputs(augment=["flip", "crop"]), torch.rand(20, 1, 8, 8)
    assert torch.equal(inputs.eval()(x), x)
    inputs.train()
    first, again = (torch.manual_seed(1), inputs(x))[1], (torch.manual_seed(1), inputs(x))[1]
    assert torch.equal(first, again)
    assert not torch.equal(first, x)
    assert not torch.equal(inputs(x), first)


@pytest.mark.parametrize("settings", [{"standardize": True}, {"standardize": True, "augment": ["flip", "crop"]}])
def test_both_loops_train_the_same(settings):
    found = []
    for fast in (True, False):
        of = data(**settings)
        trained = module(of)
        before = copy.deepcopy(trained.state_dict())
        trainer = pl.Trainer(**QUIET, max_epochs=3, precision="64-true")
        torch.manual_seed(3)
        trainer.fit(ChunkedModule(trained, of, [3]) if fast else trained, None if fast else of)
        found.append(trained.state_dict())
        assert torch.equal(found[-1]["transform.mean"], before["transform.mean"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_a_group_standardises_each_member_by_its_own_data():
    of = [data(standardize=True, seed=seed) for seed in (0, 1)]
    alone = [module(each, seed) for seed, each in enumerate(of)]
    together = [copy.deepcopy(each) for each in alone]
    members = [
        Member(each, each.build_optimizer(), its, torch.Generator()) for each, its in zip(together, of, strict=True)
    ]
    ensemble = Ensemble(members, [2])
    pl.Trainer(**QUIET, max_epochs=2).fit(ensemble)
    for number, (each, its) in enumerate(zip(alone, of, strict=True)):
        pl.Trainer(**QUIET, max_epochs=2).fit(ChunkedModule(each, its, [2]))
        for mine, theirs in zip(ensemble.stack, each.parameters(), strict=True):
            torch.testing.assert_close(mine[number], theirs.detach(), rtol=1e-9, atol=1e-12)
    assert not torch.equal(together[0].transform.mean, together[1].transform.mean)


def test_what_is_no_image_is_refused():
    class Numbers(Colours):
        def draw(self):
            return {split: (x.flatten(1).double(), y) for split, (x, y) in super().draw().items()}

    with pytest.raises(RequestError, match=r"data\.augment=flip: must be for images"):
        Numbers(batch_size=8, augment="flip").setup()
