"""Everyday names of settings, and command lines as users of other programs write them."""

import pytest

from lightning_d2l import app, cli

WORDS = {
    "lr=0.1": "optimizer.lr",
    "learning_rate=0.1": "optimizer.lr",
    "learning_rate_init=0.1": "optimizer.lr",
    "epochs=3": "trainer.max_epochs",
    "num_epochs=3": "trainer.max_epochs",
    "max_iter=3": "trainer.max_epochs",
    "trainer.epochs=3": "trainer.max_epochs",
    "batch=8": "data.batch_size",
    "batch_size=8": "data.batch_size",
    "model.lr=1": "optimizer.lr",
    "hidden=8": "model.num_hiddens",
    "hidden_layer_sizes=[8]": "model.num_hiddens",
    "units=8": "model.num_hiddens",
    "width=8": "model.num_hiddens",
    "layers=2": "model.num_layers",
    "depth=2": "model.num_layers",
    "dropout_rate=0.5": "model.dropout",
    "activation=tanh": "model.activation",
    "kernel_initializer=zeros": "model.init",
    "l1=0.1": "penalty.l1",
    "l2=0.1": "penalty.l2",
    "alpha=0.1": "penalty.l2",
    "wd=0.1": "optimizer.weight_decay",
    "weight_decay=0.1": "optimizer.weight_decay",
    "momentum=0.9": "optimizer.momentum",
    "random_state=1": "seed",
    "n=100": "data.n_train",
    "n_samples=100": "data.n_train",
    "validation_split=0.1": "data.val_size",
    "cv=5": "data.folds",
    "dataset=mnist": "data",
    "data_dir=there": "data.root",
    "net=mlp": "model",
    "opt=adam": "optimizer",
    "criterion=mse": "loss",
    "metric=f1": "metrics",
    "device=cuda": "trainer=gpu",
    "gpu=true": "trainer=gpu",
    "cpu=true": "trainer=cpu",
    "gpus=2": "trainer.devices",
    "fp16=true": "trainer.precision",
    "workers=4": "hydra.launcher.workers",
    "logdir=logs": "hydra.run.dir",
    "name=mine": "hydra.run.dir",
    "patience=3": "callbacks.early_stopping.patience",
    "grad_clip=1": "trainer.gradient_clip_val",
    "ckpt_path=there": "resume",
    "learningrate=1": "optimizer.lr",
    "weight_deacy=1": "optimizer.weight_decay",
    "degree=3": "data.degree is a setting of data=polynomial",
    "n_val=3": "data.val_size",
    "n_test=3": "data.n_test is a setting of data=high_dimensional, data=polynomial",
    "optimizer=adam momentum=0.9": "optimizer.momentum is a setting of optimizer=muon",
    "model=linear_regression width=3": "model.num_hiddens is a setting of",
    "model=phm_mlp n=2": "did you mean model.n?",
    # options
    "data=mnist": "did you mean data=torchvision data.dataset=MNIST?",
    "data=titanic": "did you mean data=csv data.path=FILE data.target=COLUMN?",
    "model=MLP": "did you mean mlp?",
    "model=logistic_regression": "did you mean model=softmax_regression?",
    "optimizer=Adam": "did you mean adam?",
    "scheduler=cosineannealinglr": "did you mean scheduler=cosine?",
    "study=overfitting": "did you mean study=capacity?",
    "hydra/launcher=parallel": "did you mean hydra/launcher=processes?",
    # no key=value
    "mlp": "did you mean model=mlp?",
    "capacity": "did you mean study=capacity?",
    "lr": "did you mean optimizer.lr=VALUE?",
    "report latest": "did you mean lightning-d2l report?",
    "lr:0.1": "did you mean lr=0.1?",
    "--lr=0.1": "settings are written without dashes: optimizer.lr=0.1",
    "--epochs 3": "settings are written without dashes: trainer.max_epochs=VALUE",
    "--batch-size 3": "settings are written without dashes: data.batch_size=VALUE",
}


@pytest.mark.parametrize("words", WORDS)
def test_everyday_words_are_answered_with_the_full_key(words, refusal):
    assert WORDS[words] in refusal(app.main, words.split())


def test_a_setting_without_train_is_answered_with_it(capsys):
    assert cli.main(["model=mlp"]) == 2
    assert "did you mean train, as in lightning-d2l train model=mlp?" in capsys.readouterr().err
