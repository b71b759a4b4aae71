"""Everyday names of settings and options, as users of Keras, scikit-learn, Lightning and the book know them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from lightning_d2l.config.check import nearest

_NAMES = {
    "callbacks": "callback",
    "data": "dataset datasets ds",
    "data.batch_size": "batch bs batchsize minibatch minibatch_size mini_batch_size train_batch_size",
    "data.d": "num_inputs n_features_in input_dim input_size",
    "data.degree": "deg order",
    "data.folds": "k kfold k_fold kfolds cv n_splits num_folds n_folds",
    "data.label_noise": "noisy_labels corruption",
    "data.n_test|data.test_size": "num_test test_samples n_test_samples test_size test_split",
    "data.n_train": "n num_train n_samples num_samples samples num_examples train_size train_samples m subset",
    "data.n_val|data.val_size": "num_val val_samples n_valid num_valid validation_samples",
    "data.noise": "sigma noise_std",
    "data.resize|data.size": "image_size img_size size resolution",
    "data.path|data.root": "data_dir data_root data_path datadir dataset_path",
    "data.standardize": "normalize normalise standardise normalization scale scaling",
    "data.target": "y label_column target_column",
    "data.val_size|data.n_val": "val_split validation_split validation_fraction val_fraction valid_size",
    "hydra.run.dir": (
        "name run_name exp_name experiment_name tag out out_dir output output_dir outdir logdir log_dir save_dir "
        "save_path run_dir folder default_root_dir workdir"
    ),
    "logger": "loggers log",
    "loss": "criterion loss_fn loss_function objective",
    "metrics": "metric",
    "model": "net network arch architecture",
    "model.activation": "act activation_fn nonlinearity",
    "model.dropout": "dropout_rate dropout_prob drop drop_rate p keep_prob p_dropout",
    "model.init": "initializer initialiser initialization kernel_initializer weight_init init_weights",
    "model.num_features": "features",
    "model.num_hiddens|model.num_features": (
        "hidden hiddens hidden_size hidden_sizes hidden_units hidden_dim hidden_dims hidden_layer_sizes n_hidden "
        "num_hidden num_units units width neurons"
    ),
    "model.num_layers": "layers n_layers num_hidden_layers depth",
    "optimizer": "opt optim optimiser solver trainer_optimizer",
    "optimizer.betas": "beta beta1 beta2",
    "optimizer.lr": "lr learning_rate learningrate learning_rate_init lr0 eta rate",
    "optimizer.momentum": "momentum",
    "optimizer.nesterov": "nesterovs_momentum",
    "optimizer.weight_decay": "wd decay weightdecay lambd ridge",
    "penalty.l1": "l1 lasso l1_reg l1_lambda",
    "penalty.l2": "l2 alpha reg regularization regularisation l2_reg l2_lambda",
    "resume": "checkpoint ckpt ckpt_path resume_from restore load",
    "scheduler": "sched lr_scheduler schedule lr_schedule",
    "seed": "random_state random_seed rng manual_seed seed_everything",
    "sweep.dry_run": "dry dryrun",
    "trainer.accumulate_grad_batches": "grad_accum accumulate gradient_accumulation",
    "trainer.devices": "gpus num_gpus n_gpus num_devices",
    "trainer.gradient_clip_val": "clip grad_clip gradient_clip clip_grad clipnorm clip_norm theta max_grad_norm",
    "trainer.log_every_n_epochs": "log_every log_interval eval_every",
    "trainer.max_epochs": "epoch epochs num_epochs n_epochs nepochs max_epoch max_iter n_iter iterations",
    "trainer.max_steps": "steps num_steps n_steps",
    "trainer.max_time": "time time_limit timeout",
    "trainer.precision": "dtype fp16 bf16 amp mixed_precision half",
    "verbose": "v verbosity",
    # options, and several settings together
    "callbacks=early_stopping": "early_stopping earlystopping early_stop",
    "callbacks=early_stopping callbacks.early_stopping.patience": "patience n_iter_no_change",
    "data.augment": "augmentation transforms",
    "hydra.sweeper.num_trials, beside hydra/sweeper=optuna": "trials n_trials num_trials max_trials",
    "hydra/launcher=processes hydra.launcher.workers": "workers num_workers n_jobs jobs processes parallel",
    "hydra/launcher": "launcher executor",
    "hydra/sweeper": "sweeper search",
    "trainer=gpu": "gpu cuda use_gpu use_cuda",
    "trainer=cpu": "cpu use_cpu no_cuda",
    "trainer=cpu or trainer=gpu": "device",
    "-m optimizer.lr=0.1,0.01, as several runs": "multirun",
}
_LEAVES = {key.partition("|")[0].rpartition(".")[2]: key for key in _NAMES if re.fullmatch(r"[\w.|]+", key)}
EVERYDAY = _LEAVES | {name: key for key, names in _NAMES.items() for name in names.split()}
"""What is meant by a name: full keys, separated by |, of which the first that is there; or an option, or words."""
FIRST = ("name", "metric")
"""Names that are meant so, though some setting ends with them, such as model.init.name."""

_TORCHVISION = ("MNIST", "KMNIST", "QMNIST", "EMNIST", "CIFAR10", "CIFAR100", "SVHN")
_OPTIONS = {
    "data": {
        **{f"data=torchvision data.dataset={name}": name.lower() for name in _TORCHVISION},
        "data=csv data.path=FILE data.target=COLUMN": (
            "table dataframe pandas boston california california_housing housing house_prices houses iris titanic "
            "kaggle tabular excel"
        ),
        "data=fashion_mnist": "fashion fashionmnist fmnist",
        "data=image_folder data.path=FOLDER": "images folder imagefolder imagenet",
        "data=synthetic_regression": "synthetic linear regression",
        "data=polynomial": "poly cubic",
    },
    "model": {
        "model=mlp": "nn net network dnn fc dense ffn neural_network feedforward perceptron",
        "model=linear_regression": "linear linreg regression ols ridge lasso",
        "model=softmax_regression": "softmax logistic logistic_regression classifier",
        "model=polynomial_regression": "poly polynomial",
    },
    "optimizer": {
        "optimizer=sgd optimizer.momentum=0.9": "momentum sgd_momentum",
        "optimizer=exact": "ols normal_equation lstsq closed_form analytic",
    },
    "scheduler": {
        "scheduler=cosine": "cos cosineannealing cosineannealinglr cosine_annealing",
        "scheduler=linear_warmup": "warmup linear",
        "scheduler=reduce_on_plateau": "plateau reducelronplateau",
    },
    "trainer": {"trainer=gpu": "cuda gpus", "trainer=mps": "metal apple"},
    "study": {
        "study=capacity": "overfitting underfitting overfit underfit degree polynomial",
        "study=learning_rate": "lr rate",
        "study=width": "hidden",
        "study=depth_init": "depth init initialization initialisation",
        "study=weight_decay": "wd regularization regularisation ridge",
        "study=training_time": "early_stopping epochs",
        "study=search_mlp": "search optuna hyperparameters",
    },
    "logger": {"logger=tensorboard": "tb", "logger=wandb": "weights_and_biases"},
    "hydra/launcher": {
        "hydra/launcher=processes": "process multiprocessing parallel workers local",
        "hydra/launcher=slurm": "cluster sbatch submitit",
    },
}
OPTIONS = {group: {name: text for text, all_ in of.items() for name in all_.split()} for group, of in _OPTIONS.items()}
"""The words that are meant by the name of an option that a group does not have."""


def normal(name: str) -> str:
    """A name as it stands in these tables."""
    return name.strip("-").lower().replace("-", "_")


def meant(name: str, keys: Collection[str]) -> str:
    """What is meant by the name of a setting, where `keys` are the full keys of a configuration; or no text."""
    for words in EVERYDAY.get(normal(name), "").split("|"):
        if words in keys or not is_key(words):
            return words
    return ""


def is_key(words: str) -> bool:
    """Whether words are the full key of a setting, not a group or an option."""
    return re.fullmatch(r"\w+(\.\w+)+", words) is not None


def option_hint(group: str, option: str, options: Sequence[str]) -> str:
    """The question what is meant by an unknown option, or no text."""
    name = normal(option)
    if same := next((each for each in options if normal(each) == name), ""):
        return f"; did you mean {same}?"
    words = OPTIONS.get(group, {}).get(name, "")
    return f"; did you mean {words}?" if words else nearest(option, list(options))
