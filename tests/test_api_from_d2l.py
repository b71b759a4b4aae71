"""docs/from-d2l.md: every name of the book's package has a line of code in its place, and the lines run."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_d2l import api
from lightning_d2l.data import fashion_mnist
from lightning_d2l.data.garments import draw_garments
from lightning_d2l.training import extras
from tests.conftest import ROOT

PAGES = [(ROOT / "docs" / name).read_text() for name in ("from-d2l.md", "from-d2l.zh-CN.md")]
ROW = re.compile(r"^\| (`.+?) \| (.+) \| `(.+)` \|$", re.M)
# The names that the package of either edition has for these chapters, or that their listings define.
OF_THE_BOOK = """
    Accumulator Animator Timer accuracy evaluate_accuracy evaluate_loss predict_ch3 train_ch3 train_epoch_ch3
    data_iter get_dataloader_workers get_fashion_mnist_labels linreg load_array load_data_fashion_mnist sgd show_images
    squared_loss synthetic_data download download_all download_extract DATA_HUB DATA_URL plot set_axes set_figsize
    use_svg_display plt cpu gpu num_gpus try_all_gpus try_gpu softmax cross_entropy relu dropout_layer l2_penalty
    train train_concise init_params k_fold get_k_fold_data k_fold_data log_rmse train_and_pred get_net KaggleHouse
    Classifier DataModule FashionMNIST HyperParameters LinearRegression LinearRegressionScratch MLP MLPScratch Module
    ProgressBoard SGD SoftmaxRegression SoftmaxRegressionScratch SyntheticRegressionData Trainer WeightDecay
    WeightDecayScratch DropoutMLP DropoutMLPScratch Data add_to_class get_w_b layer_summary text_labels visualize
    MySequential NestMLP FixedHiddenMLP CenteredLayer MyLinear init_normal init_constant init_xavier my_init apply_init
    tensor ones zeros normal rand randn matmul exp log concat float32 reshape reduce_sum reduce_mean argmax astype
    size numpy to nn_Module
"""


def test_every_name_of_the_chapters_is_on_the_page_and_on_its_twin() -> None:
    names = [[re.findall(r"`(\w+)`", cell) for cell, _, _ in ROW.findall(page)] for page in PAGES]
    assert {name for row in names[0] for name in row} >= {*OF_THE_BOOK.split()}
    assert names[0] == names[1]
    assert [row[2] for row in ROW.findall(PAGES[0])] == [row[2] for row in ROW.findall(PAGES[1])]
    blocks = [re.findall(r"```python\n(.*?)```", page, re.S) for page in PAGES]
    assert blocks[0] == blocks[1]
    assert len(ROW.findall(PAGES[0])) == len(re.findall(r"^\| `", PAGES[0], re.M))


@pytest.mark.slow
def test_every_line_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "generated_garments", lambda split: draw_garments(2000, len(split)))
    monkeypatch.setattr(extras, "draw", lambda *_: [])  # of each run's folder; they take most of a small run
    Path("docs").symlink_to(ROOT / "docs")
    (block,) = re.findall(r"```python\n(.*?)```", PAGES[0], re.S)
    names: dict[str, Any] = {}
    exec(block, names)
    found = {}
    for cell, _, code in ROW.findall(PAGES[0]):
        found[cell] = eval(code, names)
        assert not isinstance(found[cell], api.Run) or found[cell].status == "completed", cell
    assert found["`accuracy`"] == 0.5
    torch.testing.assert_close(found["`cross_entropy`"], torch.tensor([2.3026, 0.6931]), atol=5e-5, rtol=0)
    (validated,) = found["`evaluate_accuracy` (any data)"]  # the same images by Lightning's loop
    assert validated["acc/val"] == pytest.approx(names["run"].best_metrics["acc/val"])
    assert len(found["`predict_ch3`"]) == 10
    assert len(found["`k_fold`, `get_k_fold_data`, `k_fold_data`"].runs) == 5
    rows = (ROOT / "docs/new_houses.csv").read_text().splitlines()
    assert len(found["`train_and_pred`, `get_net`, `KaggleHouse`, `preprocess`"]) == len(rows) - 1
