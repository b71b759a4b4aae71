"""A configuration file or an override from elsewhere builds nothing, runs nothing and ends in bounded time."""

import json
import os
import pickle
import shutil
import time

import pytest

from lightning_d2l import app

SMALL = ["model=polynomial_regression", "trainer.max_epochs=1", "logger=none"]
EXECUTED = "executed"
LOAD = "${oc.create:{_target_:joblib.load,filename:canary}}"
# Files of a --config-dir by their paths, each with the arguments that choose it.
FILES = {
    "callbacks by oc.create": ("experiment/x.yaml", f"hydra: {{callbacks: {{x: '{LOAD}'}}}}"),
    "callbacks by reference": (
        "experiment/x.yaml",
        "evil: {x: {_target_: joblib.load, filename: canary}}\nhydra: {callbacks: '${evil}'}",
    ),
    "a callback by reference": (
        "experiment/x.yaml",
        "evil: {_target_: joblib.load, filename: canary}\nhydra: {callbacks: {x: '${evil}'}}",
    ),
    "a node of no name": ("experiment/x.yaml", "evil: {_target_: joblib.load, filename: canary}"),
    "a target by reference": ("experiment/x.yaml", "hydra: {callbacks: {x: {_target_: '${loss}'}}}\nloss: joblib.load"),
    "the sweeper": ("experiment/x.yaml", f"hydra: {{sweeper: {{max_batch_size: '{LOAD}'}}}}"),
    "the sweeper's params": (
        "experiment/x.yaml",
        "hydra: {sweeper: {params: {seed: {_target_: joblib.load, filename: canary}}}}",
    ),
    "the launcher": ("hydra/launcher/x.yaml", "_target_: joblib.load\nfilename: canary"),
    "inside the launcher": (
        "hydra/launcher/x.yaml",
        "_target_: hydra_plugins.lightning_d2l_sweeps.VectorizedLauncher\nmin_members: 2\nmax_members: 3\n"
        "memory: {_target_: joblib.load, filename: canary}",
    ),
    "a log handler": ("experiment/x.yaml", "hydra: {job_logging: {handlers: {x: {(): joblib.load}}}}"),
    "a log level": (
        "experiment/x.yaml",
        "hydra: {hydra_logging: {version: 1, root: {level: 'ext://antigravity.geohash', handlers: []}}}",
    ),
    "a log file": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: "
        "{x: {class: logging.FileHandler, filename: precious, mode: w}}}}",
    ),
    "a log file of the run": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: "
        "{x: {class: logging.FileHandler, filename: '${hydra.run.dir}/../precious'}}}}",
    ),
    "environment variables": ("experiment/x.yaml", "hydra: {job: {env_set: {PATH: /tmp}}}"),
    "a folder above": ("experiment/x.yaml", "hydra: {output_subdir: ../..}"),
    "the words of the command line": (
        "experiment/x.yaml",
        "hydra: {overrides: {hydra: ['+hydra.callbacks.x._target_=joblib.load']}, callbacks: {x: 1}}",
    ),
    "another resolver": ("experiment/x.yaml", "seed: ${oc.decode:'1'}"),
    "a secret of the environment": ("experiment/x.yaml", "loss: ${oc.env:SECRET_TOKEN}"),
    "a resolver by reference": ("experiment/x.yaml", "seed: ${${loss}:1}\nloss: oc.decode"),
    "a model": ("model/x.yaml", "_target_: ${loss}\ncommand: touch executed"),
    "a YAML tag": ("experiment/x.yaml", "seed: !!python/object/apply:os.system [touch executed]"),
    "a package": ("experiment/x.yaml", "defaults: [_self_]\nhydra: {searchpath: ['pkg://antigravity']}"),
    "itself": ("experiment/x.yaml", "defaults: [x, _self_]\n"),
    "another one that names it": ("experiment/x.yaml", "defaults: [/experiment@_global_: x]\n"),
    "aliases of aliases": (
        "experiment/x.yaml",
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
    ),
    "an alias of itself": ("experiment/x.yaml", "a: &a {b: *a}\n"),
    "references of references": (
        "experiment/x.yaml",
        "a0: x\n" + "".join(f"a{n}: ${{a{n - 1}}}${{a{n - 1}}}\n" for n in range(1, 40)) + "loss: ${a39}\n",
    ),
    "references as numbers": (
        "experiment/x.yaml",
        "hydra: {help: {header: '${hydra.help.footer}${hydra.help.footer}', footer: '${hydra.help.header}'}}",
    ),
    "many references in one text": ("experiment/x.yaml", "loss: '" + "${seed}" * 100_000 + "'"),
    "deep nesting": ("experiment/x.yaml", "a: " + "[" * 5000 + "]" * 5000),
    "no UTF-8": ("experiment/x.yaml", b"\xff\xfe\x00"),
    "no YAML": ("experiment/x.yaml", "a: [\n"),
    "a list": ("experiment/x.yaml", "- a\n- b\n"),
    "a text": ("experiment/x.yaml", "hello"),
    "a huge file": ("experiment/x.yaml", "a: " + "x" * 2_000_000),
    "the study's name": ("study/x.yaml", "study: {name: ../../x}\nhydra: {mode: MULTIRUN}"),
    "control characters": ("experiment/x.yaml", 'hydra: {run: {dir: "a\\x1b[31m"}}'),
}


@pytest.fixture
def conf(tmp_path):
    """A folder with a pickle that touches a file when it is loaded, and a file that must stay."""

    class Canary:
        def __reduce__(self):
            return os.system, (f"touch {EXECUTED}",)

    (tmp_path / "canary").write_bytes(pickle.dumps(Canary()))
    (tmp_path / "precious").write_text("mine")
    return tmp_path / "conf"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(f"# @package _global_\n{text}" if path.parent.name not in ("launcher", "model") else text)
    return f"{'/'.join(path.parent.parts[path.parts.index('conf') + 1 :])}={path.stem}"


@pytest.mark.parametrize("how", [[], ["-m"], ["-m", "sweep.dry_run=true"], ["--cfg", "job", "--resolve"]], ids=" ".join)
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_config_folder_runs_nothing(name, how, conf, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "swordfish")
    choice = written(conf / FILES[name][0], FILES[name][1])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    began = time.process_time()
    code = app.main([*how, "--config-dir", str(conf), *SMALL, choice])
    assert time.process_time() - began < 5
    captured = capsys.readouterr()
    assert "swordfish" not in captured.out + captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) <= 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert code == 2


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_a_config_file_that_is_no_file_is_refused(kind, conf, capsys):
    (conf / "experiment").mkdir(parents=True)
    path = conf / "experiment" / "x.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert app.main(["--config-dir", str(conf), *SMALL, "experiment=x"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "folder", ["/none", "1", "", "\x00", "a\nb", "/dev/null", "/proc/self/mem", "x" * 5000, "${oc.env:HOME}"]
)
def test_a_config_folder_that_is_none_is_refused(folder, capsys, tmp_path):
    assert app.main([f"--config-dir={folder}", *SMALL]) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


OVERRIDES = {
    "+hydra.callbacks.x=${oc.create:{_target_:joblib.load,filename:canary}}": "hydra.callbacks.x",
    "+hydra.callbacks={x:{_target_:joblib.load,filename:canary}}": "joblib.load",
    "++hydra.callbacks.x.y=1": "hydra.callbacks",
    "+hydra.sweeper.max_batch_size=${oc.create:{_target_:joblib.load,filename:canary}}": "oc.create",
    "hydra.launcher=${oc.create:{_target_:joblib.load,filename:canary}}": "hydra.launcher",
    "+hydra.job.env_set.PATH=/tmp": "hydra.job.env_set",
    "hydra.job.env_copy=[HOME]": "hydra.job.env_copy",
    "hydra.output_subdir=../..": "hydra.output_subdir=../..",
    "hydra.output_subdir=/x/y": "hydra.output_subdir=/x/y",
    "hydra.job.name=../x": "hydra.job.name=../x",
    "hydra.run.dir=": "hydra.run.dir=",
    "hydra.run.dir=o/${x}": "hydra.run.dir",
    "hydra.run.dir=o/${oc.env:NO_SUCH_VARIABLE}": "NO_SUCH_VARIABLE is not set",
    "seed=${seed}": "seed",
    "seed=${oc.select:seed}": "seed",
    "data.seed=${nothing.there}": "data.seed",
    "+x=1": "x: unknown key",
    "loss=" + "${seed}" * 5000: "loss=",
    "loss=" + "x" * 100_000: "loss=",
    "seed=" + "[" * 2000 + "]" * 2000: "seed",
}


@pytest.mark.parametrize("how", [[], ["-m"], ["-m", "sweep.dry_run=true"]], ids=" ".join)
@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_builds_nothing_and_names_what_is_wrong(override, how, conf, tmp_path, capsys):
    key = override.partition("=")[0]
    if how and key.startswith("hydra.run"):
        pytest.skip("a multirun has no hydra.run.dir")
    assert app.main([*how, *SMALL, override]) == 2
    captured = capsys.readouterr()
    assert OVERRIDES[override] in captured.err
    assert len(captured.err.splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "precious"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a sweep that is complete, which can be resumed."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    words = ["model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=1", "logger=none", "seed=0,1"]
    assert app.main(["-m", *words, f"hydra.sweep.dir={folder}"]) == 0
    assert app.main([f"sweep.resume={folder}"]) == 0
    return folder


@pytest.mark.parametrize(
    "word",
    [
        "--experimental-rerun=canary",
        "+hydra.callbacks.x._target_=os.system",
        "--config-dir=conf",
        "'unclosed",
        "seed=5",
    ],
)
@pytest.mark.parametrize("where", ["command", "overrides"])
def test_a_record_holds_no_more_than_the_overrides_of_its_sweep(word, where, swept, tmp_path, capsys):
    shutil.copytree(swept, tmp_path / "sweep")
    path = tmp_path / "sweep" / "sweep.json"
    fields = json.loads(path.read_text())
    fields[where] = f"{fields[where]} {word}" if where == "command" else [*fields[where], word]
    path.write_text(json.dumps(fields))
    before = path.read_bytes()
    capsys.readouterr()
    assert app.main([f"sweep.resume={tmp_path / 'sweep'}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert path.read_bytes() == before
