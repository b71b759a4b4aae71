"""What is your own: registered in a file, a package or a program, and used by every command."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lightning_d2l import app, cli, plugins
from lightning_d2l.config import registry
from lightning_d2l.config.options import PLUGIN_FOLDERS
from lightning_d2l.config.program import Program, arguments_of, program, use_program
from lightning_d2l.plugins import loading, registering
from lightning_d2l.theory.theories import THEORIES
from lightning_d2l.training import used_plugins
from lightning_d2l.training.resume import command_to_resume
from lightning_d2l.training.spec import RunSpec
from tests.conftest import ROOT
from tests.forked import Forked

pytestmark = pytest.mark.usefixtures("without_figures")
HEAD = """
from torch import nn
from lightning_d2l import register
"""
NET = """
@register.model
class Net(nn.Module):
    def __init__(self, num_inputs, num_outputs, width: int = 3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(num_inputs, width), nn.Tanh(), nn.Linear(width, num_outputs))

    def forward(self, x):
        return self.layers(x)
"""
SMALL = (
    "data=polynomial data.n_train=8 data.n_val=4 data.n_test=4 trainer.max_epochs=2 logger=none trainer.accelerator=cpu"
)


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch):
    monkeypatch.setattr(loading, "_looked_for_installed", True)
    monkeypatch.delenv("LIGHTNING_D2L_PLUGINS", raising=False)
    yield
    for made in [*plugins.REGISTERED.values()]:
        registering.remove(made)
    assert not registry.TASKS_OF_LOSSES
    plugins.LOADED.clear()
    PLUGIN_FOLDERS.clear()
    use_program(Program())


@pytest.fixture
def plugin(tmp_path) -> Path:
    return write(tmp_path / "my_project.py", NET)


def write(path: Path, text: str, head: str = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + textwrap.dedent(text))
    return path


def train(words: str) -> int:
    return app.main([*SMALL.split(), *words.split()])


def refused(capsys, words: str) -> str:
    """The message of a request that is refused, with nothing written."""
    before = {*Path().rglob("*")}
    assert app.main(words.split()) == 2
    assert {path for path in Path().rglob("*") if "__pycache__" not in path.parts} == before
    printed = capsys.readouterr()
    assert printed.out == ""
    assert 1 <= len(printed.err.splitlines()) <= 2
    return printed.err


def record(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())


def process(*words: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT), environment.pop("PYTHONPATH", "")])
    given = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *words], env=given, capture_output=True, text=True, timeout=120, check=False)


def test_a_model_is_an_option_with_the_settings_of_its_class(plugin, capsys):
    assert train("--plugin my_project.py model=Net model.num_hiddens=5") == 2
    assert capsys.readouterr().err.startswith("error: model.num_hiddens: unknown key (allowed in model: width")
    assert train("--plugin my_project.py model=Net model.width=5 hydra.run.dir=run") == 0
    found = record("run")
    assert found["config"]["model"] == {"_target_": "Net", "width": 5}
    checksum = hashlib.sha256(plugin.read_bytes()).hexdigest()
    assert found["plugins"] == [{"name": "my_project", "file": str(plugin), "version": None, "sha256": checksum}]
    assert found["num_parameters"] == (4 + 1) * 5 + 5 + 1
    assert arguments_of(found["command"]) == [*SMALL.split(), "model=Net", "model.width=5"]
    capsys.readouterr()
    assert train("model=linear_regression --plugin=my_project.py hydra.run.dir=other") == 0
    assert record("other")["plugins"] == []  # nothing in it comes from the plugin
    capsys.readouterr()
    assert "model.width=six: must be a whole number" in refused(capsys, "model=Net model.width=six")
    assert "did you mean width?" in refused(capsys, "model=Net model.widht=3")
    assert "did you mean Net?" in refused(capsys, "model=net")
    assert app.main(["--help"]) == 0
    assert "model: Net, dropout_mlp_scratch" in capsys.readouterr().out


@pytest.mark.usefixtures("plugin")
def test_every_command_on_a_run(capsys):
    """One of them as it is printed, in a process that has registered nothing before."""
    assert train("--plugin my_project.py model=Net hydra.run.dir=run") == 0
    printed = [line.split("use it")[1].split() for line in capsys.readouterr().out.splitlines() if "use it" in line]
    assert printed == [["lightning-d2l", "predict", "--plugin", "my_project.py", "run"]]
    tool = "import runpy; runpy.run_module('lightning_d2l', run_name='__main__', alter_sys=True)"
    done = Forked(*printed[0][1:], "--format", "json", program=tool)
    out, err = done.communicate()
    assert done.poll() == 0, err
    assert len(json.loads(out)) == 4
    forget()
    for words in ("evaluate run", "inspect run", "export run", "rerun run"):
        assert cli.main([*words.split(), "--plugin", "my_project.py"]) == 0
    assert "same numbers as run" in capsys.readouterr().out
    assert train("--plugin my_project.py model=Net resume=run trainer.max_epochs=3") == 0
    found = record("run")
    assert found["before"][0]["plugins"] == found["plugins"]
    resume = command_to_resume(RunSpec(found["config"], Path("run"), found["overrides"], found["command"]))
    assert resume.startswith("python train.py --plugin my_project.py data=polynomial")
    assert resume.endswith("resume=run")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_sweeps_and_their_reports(launcher, capsys):
    words = (
        f"--plugin my_project.py -m model=Net model.width=2,3 seed=0,1 hydra.sweep.dir=sweep hydra/launcher={launcher}"
    )
    assert train(words) == 0
    assert ("at once" in capsys.readouterr().out) == (launcher == "vectorized")
    sweep = json.loads(Path("sweep/sweep.json").read_text())
    assert [plugin["name"] for plugin in sweep["plugins"]] == ["my_project"]
    assert sweep["command"].startswith("python train.py --plugin my_project.py data=polynomial")
    lost = Path("sweep/width=3,seed=1")
    assert record(str(lost))["command"].startswith("python train.py --plugin my_project.py ")
    (lost / "run.json").unlink()
    assert app.main(["--plugin", "my_project.py", "sweep.resume=sweep"]) == 0
    assert record(str(lost))["status"] == "completed"
    forget()
    assert cli.main(["report", "sweep"]) == 0  # reads records alone
    capsys.readouterr()
    assert "--plugin" in refused(capsys, "sweep.resume=sweep")


def forget() -> None:
    """What a new process would know."""
    for made in [*plugins.REGISTERED.values()]:
        registering.remove(made)
    plugins.LOADED.clear()


def test_a_record_never_imports_what_it_names(plugin, capsys):
    assert train("--plugin my_project.py model=Net hydra.run.dir=run") == 0
    assert train("--plugin my_project.py model=Net -m seed=0,1 hydra.sweep.dir=sweep") == 0
    forget()
    plugin.write_text("raise SystemExit('imported')")
    capsys.readouterr()
    for words in ("predict run", "evaluate run", "inspect run", "export run", "rerun run"):
        assert cli.main(words.split()) == 2
        error = capsys.readouterr().err
        assert "run: its model Net comes from a plugin that is not loaded" in error
        assert f"--plugin {plugin}" in error
        assert "imported" not in error
    for words in ("model=Net resume=run", "sweep.resume=sweep"):
        assert f"--plugin {plugin}" in refused(capsys, words)
    fields = record("run")
    fields["plugins"][0]["file"] = "/x\x1b[31m; rm"
    Path("run/run.json").write_text(json.dumps(fields))
    assert cli.main(["evaluate", "run"]) == 2
    assert "--plugin '/x" in (error := capsys.readouterr().err)
    assert "\x1b" not in error
    for wrong in ("x", [1], [{"name": "x"}], [{"name": "x", "sha256": 1}]):
        Path("run/run.json").write_text(json.dumps({**fields, "plugins": wrong}))
        assert cli.main(["evaluate", "run"]) == 2
        assert "damaged: plugins is not a list of plugins" in capsys.readouterr().err


def test_a_changed_plugin_is_warned_of(plugin, tmp_path, capsys):
    write(tmp_path / "layers.py", "WIDTH = 3", "")
    plugin.write_text(plugin.read_text() + "import layers\n")
    assert train("--plugin my_project.py model=Net hydra.run.dir=run") == 0
    capsys.readouterr()
    for path in (tmp_path / "layers.py", plugin):
        forget()
        sys.modules.pop("layers")
        path.write_text(path.read_text() + "\n# changed\n")
        assert cli.main(["evaluate", "run", "--plugin", "my_project.py"]) == 0
        assert "warning: run: the plugin my_project.py has changed since" in capsys.readouterr().err
        used_plugins._told.clear()
    assert str(tmp_path) not in sys.path


WRONG = {
    "import os\nimport nothing_of_this_name": ["wrong.py:5: ModuleNotFoundError", "nothing_of_this_name"],
    "def f(:": ["wrong.py:4: SyntaxError"],
    "1 / 0": ["wrong.py:4: ZeroDivisionError: division by zero"],
    "raise SystemExit(3)": ["wrong.py:4: SystemExit"],
    "x = 1": ["registers nothing", "register.model"],
    "@register.model\nclass A(nn.Module):\n    def __init__(self, num_inputs): ...": [
        "wrong.py:4: model A",
        "num_outputs",
    ],
    "@register.model\nclass A(nn.Module): ...": ["num_inputs and num_outputs"],
    "@register.model\nclass A:\n    def __init__(self, num_inputs, num_outputs): ...": ["torch.nn.Module"],
    "@register.model\nclass A(nn.Module):\n    def __init__(self, num_inputs, num_outputs, net: nn.Module): ...": [
        "net:"
    ],
    "import pytorch_lightning as pl\n@register.model\nclass A(pl.LightningModule): ...": ["training_step"],
    "@register.callback\nclass A: ...": ["pytorch_lightning.Callback"],
    "@register.data\nclass A: ...": ["pytorch_lightning.LightningDataModule"],
    "@register.optimizer\nclass A: ...": ["torch.optim.Optimizer"],
    "@register.loss\ndef f(output): ...": ["loss f", "(output, y)"],
    "@register.loss(task='both')\ndef f(output, y): ...": ["task=both"],
    "@register.model(name='a b')\nclass A(nn.Module): ...": ["its name must be"],
    "register.loss(lambda output, y: 0)": ["its name must be"],
    "register.model(3, name='x')": ["must be a class or function"],
    "@register.model\ndef mlp(num_inputs, num_outputs): ...": ["model mlp belongs to lightning_d2l"],
    "@register.loss\ndef mse(output, y): ...": ["loss mse belongs to lightning_d2l"],
    "@register.metric\ndef acc(output, y): ...": ["metric acc belongs to lightning_d2l"],
    "@register.theory\ndef width(question, runs): ...": ["theory width belongs to lightning_d2l"],
    "@register.activation\ndef relu(x): ...": ["activation relu belongs to lightning_d2l"],
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_plugins(text, tmp_path, capsys):
    write(tmp_path / "wrong.py", text)
    error = refused(capsys, "--plugin wrong.py model=mlp")
    for words in ["--plugin wrong.py", *WRONG[text]]:
        assert words in error
    assert not plugins.REGISTERED


def test_wrong_names_of_plugins(tmp_path, capsys):
    write(tmp_path / "a.py", NET)
    write(tmp_path / "b.py", NET)
    error = refused(capsys, "--plugin a.py --plugin b.py model=Net")
    assert "b.py:5: model Net is registered at a.py:5 already" in error
    assert [made.file for made in plugins.REGISTERED.values()] == [str(tmp_path / "a.py")]
    for name in ("nowhere.py", "nowhere", "model=mlp", "no-module", "."):
        assert f"--plugin {name}: no" in refused(capsys, f"--plugin {name}")
    assert "must come with" in refused(capsys, "model=mlp --plugin")


def test_our_names_of_theories():
    assert {*registering.OURS["theory"]} == {*THEORIES}


def test_plugins_of_the_environment_by_file_and_by_module(tmp_path, monkeypatch, capsys):
    """A module finds its package, a file its siblings; loaded twice is once."""
    write(tmp_path / "here" / "one.py", f"from sizes import WIDTH\n{NET.replace('= 3', '= WIDTH')}")
    write(tmp_path / "here" / "sizes.py", "WIDTH = 7", "")
    write(tmp_path / "package" / "__init__.py", "", "")
    write(tmp_path / "package" / "two.py", NET.replace("Net(", "Other("))
    monkeypatch.setenv("LIGHTNING_D2L_PLUGINS", f"here/one.py{os.pathsep}package.two")
    assert train("--plugin here/../here/one.py model=Net,Other -m hydra.sweep.dir=sweep") == 0
    assert len(plugins.LOADED) == 2
    text = Path("sweep/report.md").read_text()
    commands = [line for line in text.splitlines() if line.startswith("python train.py")]
    assert len(commands) == 2  # this sweep's, and what to run next
    assert all("--plugin here/one.py --plugin package.two" in command for command in commands)
    assert record("sweep/model=Net")["config"]["model"]["width"] == 7
    assert [plugin["name"] for plugin in record("sweep/model=Other")["plugins"]] == ["package.two"]
    capsys.readouterr()
    monkeypatch.setenv("LIGHTNING_D2L_PLUGINS", "nowhere.py")
    assert "LIGHTNING_D2L_PLUGINS nowhere.py: no such file" in refused(capsys, "model=mlp")


def test_a_conf_folder_beside_a_plugin(plugin, tmp_path, capsys):
    write(
        tmp_path / "conf/model/Net.yaml",
        "# @package _global_\nmodel: {_target_: Net, width: 9}\noptimizer: {lr: 0.5}",
        "",
    )
    experiment = "# @package _global_\ndefaults: [override /model: Net]\nseed: 7"
    write(tmp_path / "conf/experiment/mine.yaml", experiment, "")
    assert train("--plugin my_project.py experiment=mine hydra.run.dir=run") == 0
    config = record("run")["config"]
    assert (config["model"]["width"], config["optimizer"]["lr"], config["seed"]) == (9, 0.5, 7)
    assert cli.main(["evaluate", "run", "--plugin", "my_project.py"]) == 0
    forget()
    PLUGIN_FOLDERS.clear()
    write(tmp_path / "conf/model/mlp.yaml", "x: 1", "")
    capsys.readouterr()
    assert "conf/model/mlp.yaml: an option of this name belongs to lightning_d2l" in refused(
        capsys, "--plugin my_project.py model=mlp"
    )


def test_an_installed_package_is_found_without_a_flag(tmp_path, monkeypatch, capsys):
    """A broken one is named, and left out."""
    site = tmp_path / "site"
    write(site / "package_of_mine" / "__init__.py", "", "")
    write(site / "package_of_mine" / "nets.py", NET)
    write(site / "mine-1.5.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.5", "")
    entries = "[lightning_d2l.plugins]\nmine = package_of_mine.nets\nbroken = package_of_mine.nothing"
    write(site / "mine-1.5.dist-info" / "entry_points.txt", entries, "")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(loading, "_looked_for_installed", False)
    assert train("model=Net hydra.run.dir=run") == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("warning: the installed plugin broken of mine: ")
    assert "use it      lightning-d2l predict run" in printed.out
    (found,) = record("run")["plugins"]
    assert (found["name"], found["package"], found["version"]) == ("mine", "mine", "1.5")
    assert cli.main(["evaluate", "run"]) == 0
    forget()
    capsys.readouterr()
    assert cli.main(["evaluate", "run"]) == 2  # as if it were not installed
    assert "install mine==1.5, or name its module" in (error := capsys.readouterr().err)
    assert "--plugin package_of_mine.nets" in error
    forget()


def test_a_program_of_ones_own(tmp_path):
    """Its commands are printed with its name; named by --plugin, it is a plugin that ends where it calls main()."""
    write(tmp_path / "mine.py", f"{NET}\nimport sys, lightning_d2l\nsys.exit(lightning_d2l.main())")
    done = process("mine.py", "model=Net", "hydra.run.dir=run", *SMALL.split())
    assert done.returncode == 0, done.stderr
    assert "use it      python mine.py predict run" in done.stdout
    assert record("run")["command"].startswith("python mine.py model=Net ")
    assert record("run")["plugins"][0]["file"] == str(tmp_path / "mine.py")
    assert cli.main(["evaluate", "run", "--plugin", "mine.py"]) == 0
    write(tmp_path / "wrong.py", "@register.callback\nclass Mine: ...", "from lightning_d2l import register\n")
    done = Forked(program="import runpy; runpy.run_path('wrong.py', run_name='__main__')")
    _, err = done.communicate()
    assert done.poll() == 2
    assert err.startswith("error: wrong.py:2: callback Mine: must be a subclass of ")


def test_register_is_imported_without_torch_and_hydra():
    text = "import sys; from lightning_d2l import register, main; print({'torch', 'hydra'} & {*sys.modules})"
    assert process("-c", text).stdout == "set()\n"


def test_a_worker_process_loads_what_its_task_names(tmp_path):
    """As a launcher of Hydra's sends it there: pickled, into another folder."""
    write(tmp_path / "losses.py", "@register.loss\ndef zero(output, y): ...", "from lightning_d2l import register\n")
    plugins.start(["--plugin", "losses.py"], Program())
    Path("task").write_bytes(pickle.dumps(app.Task("python train.py", program=program())))
    text = "import os, pickle, sys; from lightning_d2l import plugins; task = pickle.load(open(sys.argv[1], 'rb'))"
    (tmp_path / "elsewhere").mkdir()
    text = f"{text}; os.chdir('elsewhere'); plugins.attach(task.program); print(*plugins.REGISTERED)"
    done = process("-c", text, str(tmp_path / "task"))
    assert done.stdout == "('loss', 'zero')\n", done.stderr


@pytest.mark.usefixtures("plugin")
def test_completion_lists_the_options_of_the_plugins_on_the_line(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "python train.py --plugin my_project.py model=N")
    assert app.main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out == "model=Net\n"


def test_the_parts_of_a_run_that_can_be_your_own(tmp_path, capsys):
    """All kinds at once, by the numbers that they leave."""
    write(tmp_path / "kinds.py", NET + KINDS)
    words = (
        "model=Net optimizer=Half scheduler=Stairs scheduler.every=1 loss=absolute metrics=[largest] callbacks=Noted"
    )
    assert train(f"--plugin kinds.py {words} callbacks.Noted.word=done hydra.run.dir=run") == 0
    assert Path("noted").read_text() == "done"
    metrics = record("run")["metrics"]["final"]
    assert metrics["largest/test"] >= metrics["loss/test"] > 0
    assert (
        train("--plugin kinds.py model=mlp model.init=tiny model.activation=double optimizer.lr=1e-9 hydra.run.dir=mlp")
        == 0
    )
    assert record("mlp")["metrics"]["final"]["norm/weights"] < 1e-3
    words = (
        "model=linear_regression data=line logger=Log trainer.max_epochs=2 trainer.accelerator=cpu hydra.run.dir=line"
    )
    assert app.main(["--plugin", "kinds.py", *words.split()]) == 0
    assert Path("line/log").read_text().startswith("loss")
    names = {plugin["name"] for folder in ("run", "mlp", "line") for plugin in record(folder)["plugins"]}
    assert names == {"kinds"}
    capsys.readouterr()
    assert "optimizer.weight_decay=0.5: must be 0" in refused(
        capsys, "model=Net optimizer=Half optimizer.weight_decay=0.5"
    )


KINDS = """
import pytorch_lightning as pl
import torch
from pathlib import Path
from pytorch_lightning.loggers import Logger


@register.optimizer
class Half(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        loss = closure() if closure else None
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(p.grad, alpha=group["lr"] / 2)
        return loss


@register.scheduler
class Stairs(torch.optim.lr_scheduler.StepLR):
    def __init__(self, optimizer, every: int = 5):
        super().__init__(optimizer, every)


@register.loss(task="regression")
def absolute(output, y):
    return (output - y).abs().mean()


@register.metric
def largest(output, y):
    return (output - y).abs().max()


@register.callback
class Noted(pl.Callback):
    def __init__(self, word: str):
        self.word = word

    def on_train_end(self, trainer, pl_module):
        Path("noted").write_text(self.word)


@register.logger
class Log(Logger):
    name, version = "log", 0

    def __init__(self, save_dir):
        super().__init__()
        self.file = Path(save_dir, "log")

    def log_metrics(self, metrics, step=None):
        with self.file.open("a") as file:
            print(*sorted(name for name in metrics if name.startswith("loss")), file=file)

    def log_hyperparams(self, *parameters):
        pass


@register.activation
def double(x):
    return 2 * x


@register.initialisation
def tiny(weight):
    weight.fill_(1e-6)


@register.data
def line(n: int = 20):
    x = torch.linspace(0, 1, n)[:, None]
    return {"train": (x, 2 * x), "val": (x, 2 * x), "test": (x, 2 * x)}
"""


def test_settings_of_a_model_mean_what_its_class_says(tmp_path, capsys):
    """Names that mean something else in our own models, and one without a default."""
    text = NET.replace(
        "width: int = 3", "width: int, num_hiddens='wide', init='mine', num_layers=None, activation='gelu'"
    )
    write(tmp_path / "own.py", text.replace("class Net", "class Own"))
    assert "model.width: must be given" in refused(capsys, "--plugin own.py model=Own")
    assert train("model=Own model.width=2 hydra.run.dir=run") == 0
    assert cli.main(["evaluate", "run"]) == 0
    capsys.readouterr()
    assert "job 1 (width=x): model.width=x: must be a whole number" in refused(capsys, "model=Own model.width=2,x -m")


def test_a_lightning_module_has_its_own_optimizer(tmp_path, capsys):
    write(tmp_path / "lit.py", LIT)
    assert train("--plugin lit.py model=Lit,linear_regression -m hydra.sweep.dir=sweep") == 0
    assert record("sweep/model=Lit")["config"]["optimizer"] is None
    assert record("sweep/model=linear_regression")["config"]["optimizer"]["_target_"] == "torch.optim.SGD"
    assert record("sweep/model=Lit")["metrics"]["final"]["loss/test"] > 0
    capsys.readouterr()
    assert "optimizer" in refused(capsys, f"model=Lit optimizer=adam {SMALL}")
    assert app.main(["model=Lit", "--cfg", "job"]) == 0
    assert "optimizer: null\n" in capsys.readouterr().out


LIT = """
import pytorch_lightning as pl
import torch


@register.model
class Lit(pl.LightningModule):
    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.lr, self.line = lr, nn.Linear(4, 1)

    def forward(self, x):
        return self.line(x)

    def step(self, batch, split):
        x, y = batch
        loss = nn.functional.mse_loss(self(x), y)
        self.log(f"{split}_loss", loss)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def test_step(self, batch, batch_idx):
        self.step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)
"""
