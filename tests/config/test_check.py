"""Every wrong request is answered with the key, the value and what is allowed, before torch is imported."""

import os
import subprocess
import sys

import pytest

from lightning_d2l import app
from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.rules import ANYTHING
from tests.conftest import ROOT
from tests.runs import config

WRONG = {
    "model=mpl": "model=mpl: unknown option; did you mean mlp",
    "model=LeNet": "model=LeNet: unknown option; what a file of yours registers needs --plugin FILE",
    "modle=mlp": "modle: unknown key; did you mean model",
    "model.num_hidden=3": "model.num_hidden: unknown key; did you mean num_hiddens",
    "+model.depth=3": "model.depth: unknown key",
    "trainer.max_epoch=3": "did you mean max_epochs",
    "lr=0.1": "lr: unknown key; did you mean optimizer.lr?",
    "epochs=3": "epochs: unknown key; did you mean trainer.max_epochs?",
    "model.lr=3": "model.lr: unknown key; did you mean optimizer.lr?",
    "model=polynomial_regression width=3": "width: unknown key (allowed: ",
    "model=linear_regression model.num_layers=3": "model.num_layers: not a setting of the chosen model, but of model=",
    "-m seed=1,2 hydra.launcher.chunk_size=3": "chosen hydra.launcher, but of hydra/launcher=processes, ",
    "mnist": "mnist: not of the form key=value; did you mean data=torchvision data.dataset=MNIST?",
    "model=mlp model.foo.bar=1": "model.foo.bar: unknown key (allowed in model: num_hiddens",
    "hydra.foo=1": "hydra.foo: unknown key (allowed in hydra: run, sweep",
    "study=null": "study=null: must be one of activation, ",
    "study.metrics=[acc/val]": "study.metrics: there is no study; choose one first, such as study=capacity",
    "-m hydra/launcher=joblib seed=1,2": "hydra/launcher=joblib: unknown option; it comes with pip install",
    "model=null": "model=null: must be one of",
    "optimizer=sdg": "optimizer=sdg: unknown option; did you mean sgd",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a number in (0, inf)",
    "optimizer.lr=0": "optimizer.lr=0: must be",
    "optimizer.lr=-0.1": "optimizer.lr=-0.1: must be",
    "optimizer.lr=nan": "optimizer.lr=nan: must be",
    "optimizer.lr=true": "optimizer.lr=true: must be a number",
    "data.batch_size=0": "data.batch_size=0: must be a whole number from 1 up",
    "data.batch_size=2.5": "data.batch_size=2.5: must be a whole number",
    "model.num_hiddens=[]": "model.num_hiddens=[]: must be a whole number from 1 up, or a list",
    "model.num_hiddens=[16,-1]": "model.num_hiddens=[16, -1]: must be",
    "model.num_hiddens=16,64": "several values need -m",
    "model.dropout=1": "model.dropout=1: must be a number in [0, 1)",
    "model.dropout=-0.1": "model.dropout=-0.1: must be",
    "model.dropout=[0.1,0.2]": "one value a hidden layer",
    "model.activation=rleu": "model.activation=rleu: must be one of relu",
    "model.init=xavier": "did you mean xavier_normal",
    "model.init.std=0": "model.init.std=0: must be",
    "data.val_size=60000": "data.val_size=60000: must be a whole number from 0 to 59999",
    "data.n_train=55000": "data.n_train=55000: must be at most 50000",
    "data.label_noise=1.5": "data.label_noise=1.5: must be a number in [0, 1]",
    "data.source=web": "data.source=web: must be one of auto, official, generated",
    "data=polynomial model=softmax_regression": "must be a model for numbers",
    "loss=mse": "loss=mse: must be cross_entropy, cross_entropy_scratch, one_hot_mse or null",
    "optimizer.nesterov=true": "optimizer.momentum above 0",
    "trainer.evaluate=[tset]": "trainer.evaluate=['tset']: must be",
    "seed=-1": "seed=-1: must be a whole number from 0",
    "resume=/no/such/folder": "resume=/no/such/folder: not a run folder",
    "hydra.run.dir=/proc/version/x": "hydra.run.dir=/proc/version/x: cannot be written",
    "hydra/launcher=slrum": "hydra/launcher=slrum: unknown option",
    "data.root=/dev/null": "data.root=/dev/null: must be a folder",
    "-m data.root=/dev/null seed=1,2": "data.root=/dev/null: must be a folder",
    "trainer.max_epochs=99999999999": "trainer.max_epochs=99999999999: must be a whole number from 1 to 1000000000",
    "foo": "foo: not of the form key=value",
    "--foo": "--foo",
    "--config-path /etc": "--config-path: not supported",
    "--experimental-rerun job.pickle": "--experimental-rerun: not supported",
    "--config-dir nowhere": "--config-dir=nowhere: no such folder",
    "--cfg job --multirun": "must be one of them at most",
    "trainer.automatic_optimization=true": "trainer.automatic_optimization: unknown key",
    "optimizer=exact model=linear_regression trainer.engine=lightning": "trainer.engine=lightning: must be auto",
    "model.init=3": "model.init=3: must be one of default, normal",
    "penalty=0.1": "penalty=0.1: must be a group of settings: l1, l2, lambda",
    "model._target_=os.system": "os.system is not registered, so it is not run",
    "model._target_=torch.optim.SGD": "not registered",
    "-m model._target_='os.system',x": "os.system is not registered",
    "-m model._target_=glob(*)": "not registered",
    "+model.init.std={_target_:os.system}": "not registered",
    "+hydra.callbacks.x._target_=os.system": "not registered",
    "+hydra.callbacks.x={_target_:os.system,command:ls}": "not registered",
    "hydra.launcher._target_=subprocess.run": "not registered",
    "++hydra.job_logging.handlers.x={class:os.system}": "not registered",
    "++hydra.job_logging.handlers.x={stream:ext://os.environ}": "not registered",
    "--help ++hydra.hydra_logging.handlers.x={class:os.system}": "not registered",
    "hydra.searchpath=[pkg://antigravity]": "must be a folder",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_requests_are_answered_in_two_lines_and_leave_nothing(words, refusal):
    assert WRONG[words] in refusal(app.main, words.split())


def test_a_config_folder_is_no_way_round_the_registry(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x: {_target_: os.system, command: touch executed}\n"
    )
    assert app.main(["--config-dir", str(tmp_path), "experiment=evil"]) == 2
    assert "os.system is not registered" in capsys.readouterr().err
    (tmp_path / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  job_logging:\n    handlers:\n      x: {(): os.system}\n"
    )
    assert app.main(["--config-dir", str(tmp_path), "experiment=evil"]) == 2
    assert not (tmp_path / "executed").exists()


def test_a_custom_model_needs_one_registered_line(tmp_path, monkeypatch):
    mine = config("model=mlp") | {"model": {"_target_": "my_package.MyNet", "depth": 3}}
    with pytest.raises(RequestError, match=r"my_package\.MyNet: not registered"):
        check(mine)
    monkeypatch.setitem(registry.MODELS, "my_package.MyNet", ANYTHING)
    check(mine)
    with pytest.raises(RequestError, match="_target_ is not allowed here"):
        check(mine | {"model": {"_target_": "my_package.MyNet", "inner": {"_target_": "os.system"}}})


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["model=mpl"], ["model.num_hidden=1"]])
def test_questions_and_mistakes_are_answered_without_importing_torch(arguments):
    program = (
        "import sys, runpy\nsys.argv = ['train.py'] + sys.argv[1:]\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'pytorch_lightning', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if arguments[0].startswith("--") else 2), done.stderr
    assert done.stdout or done.stderr


def test_verbose_shows_the_traceback(capsys):
    assert app.main(["optimizer.lr=0", "verbose=true"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("answered", [["--version"], ["--help"], ["--cfg", "job", "--package", "optimizer"]])
def test_questions_are_answered_without_a_change_of_the_command_line(answered, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train.py", "untouched"])
    assert app.main(answered) == 0
    assert sys.argv == ["train.py", "untouched"]
    assert "HYDRA_FULL_ERROR" not in os.environ
    assert {"--version": "Hydra", "--help": "Settings (key=value)", "--cfg": "lr:"}[
        answered[0]
    ] in capsys.readouterr().out
