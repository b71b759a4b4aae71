"""What cross-validation chooses, on records whose numbers are known."""

from pathlib import Path

from lightning_d2l.theory.cross_validation import choices
from lightning_d2l.theory.curves import Question
from lightning_d2l.training.record import RunRecord


def records(losses: dict[int, list[float]], seed: int) -> list[RunRecord]:
    """A run a fold, with its loss/val and a loss/test that falls with the degree."""
    return [
        RunRecord(
            Path("no folder"),
            {
                "status": "completed",
                "config": {"seed": seed, "data": {"seed": seed, "degree": degree, "fold": fold}},
                "overrides": [],
                "metrics": {"final": {"loss/val": loss, "loss/test": 1 / degree}},
            },
        )
        for degree, folds in losses.items()
        for fold, loss in enumerate(folds)
    ]


def test_the_choice_of_each_data_set_is_the_lowest_mean_over_its_folds():
    runs = records({1: [3.0, 5.0], 2: [1.0, 6.0], 3: [2.0, 7.0]}, 0) + records({1: [9.0, 9.0], 2: [8.0, 9.0]}, 1)
    assert choices(Question("data.degree"), runs) == {"0": (2, 3), "1": (2, 2)}


def test_a_degree_of_which_a_fold_diverged_is_not_chosen_by_its_other_folds():
    runs = records({1: [3.0, 5.0], 2: [1.0]}, 0)
    assert choices(Question("data.degree"), runs) == {"0": (1, 1)}
