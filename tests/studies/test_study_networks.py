"""The lessons of the studies of networks."""

import pytest

from lightning_d2l.theory.networks import straight_pieces
from tests.studies.lessons import means, run_study, theory

pytestmark = pytest.mark.apart

GENERATED = ("data.source=generated", "data.n_train=1000", "data.val_size=1000", "seed=0,1")


@pytest.mark.slow
def test_the_error_falls_with_width(tmp_path):
    found = run_study(tmp_path, "width", "model.num_hiddens=1,8,64", "seed=0,1", "trainer.max_epochs=60")
    train, val, curves = means(found, "loss/train"), means(found, "loss/val"), theory(found, "loss/val")
    assert train[1] > 5 * train[8] > 25 * train[64]
    assert val[1] > val[8] > val[64]
    assert curves["noise floor",] == pytest.approx(dict.fromkeys((1, 8, 64), 0.01))
    bound = curves["best h + 1 straight pieces",]
    assert all(val[h] > bound[h] for h in (1, 8, 64))
    assert bound[8] == pytest.approx(0.01 + straight_pieces((5.0, 1.2, -3.4, 5.6), True)[8])


def test_a_wider_layer_fits_and_classifies_images_better(tmp_path):
    found = run_study(tmp_path, "width_fashion_mnist", "model.num_hiddens=1,8,64", *GENERATED)
    for metric in ("acc/train", "acc/val"):
        accuracy = means(found, metric)
        assert accuracy[1] < accuracy[8] < accuracy[64]


@pytest.mark.slow
def test_deep_networks_train_from_kaiming_and_not_from_a_small_normal_distribution(tmp_path):
    words = ["model.num_layers=1,8", "model.init=normal,kaiming", "seed=0", "data.n_train=200"]
    # At the learning rate of the study the training of 8 layers is chaotic: rounding decides how it ends.
    words += ["optimizer.lr=0.05", "data.source=generated", "data.batch_size=200", "data.val_size=100"]
    found = run_study(tmp_path, "depth_init", *words)
    accuracy, gradient = means(found, "acc/train"), means(found, "first.gradient/first")
    for activation in ("relu", "tanh"):
        assert accuracy[1, activation, "normal"] > 0.3
        assert accuracy[8, activation, "normal"] < 0.2
        assert accuracy[8, activation, "kaiming"] > 0.5
        assert gradient[8, activation, "normal"] < 1e-6 * gradient[1, activation, "normal"]
        assert gradient[8, activation, "kaiming"] > 0.1 * gradient[1, activation, "kaiming"]
    for (_, _, init), values in theory(found, "first.gradient/first").items():
        assert set(values) == {1, 8}
        assert init == "kaiming" or values[8] < 1e-6 * values[1]


@pytest.mark.slow
def test_without_an_activation_depth_is_worth_nothing(tmp_path):
    """Without a hidden layer the activation has nothing to act on; with two of them ReLU fits more."""
    words = ("model.num_layers=0,2", "model.activation=identity,relu", *GENERATED)
    found = run_study(tmp_path, "activation", *words)
    accuracy = means(found, "acc/train")
    assert accuracy[0, "identity"] == pytest.approx(accuracy[0, "relu"], abs=0.005)
    assert accuracy[2, "relu"] > accuracy[2, "identity"]
    line = theory(found, "acc/train")["linear model (0 layers)",]
    assert line == pytest.approx(dict.fromkeys((0, 2), accuracy[0, "identity"]), abs=0.005)


def test_hypercomplex_layers_save_parameters_and_keep_most_of_the_accuracy(tmp_path):
    found = run_study(tmp_path, "phm", "model.n=1,4", *GENERATED)
    accuracy, size = means(found, "acc/val"), means(found, "num_parameters")
    assert size[4] < 0.27 * size[1]
    assert accuracy[4] > accuracy[1] - 0.05
    assert theory(found, "num_parameters")["dq/n + n³ per hidden layer",] == size
