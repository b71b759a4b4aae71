"""Each private or undocumented name of Hydra and OmegaConf still does what compat_hydra.py uses it for."""

import logging
from pathlib import Path

import pytest
from hydra import compose
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from lightning_d2l import compat_hydra as compat


@pytest.fixture
def conf(tmp_path):
    """A configuration with one group, one setting and a template of the help text."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "train.yaml").write_text(
        "defaults: [_self_, model: mlp, override hydra/job_logging: none, override hydra/hydra_logging: none]\n"
        "lr: 0.1\nhydra: {run: {dir: run}, sweep: {dir: sweep}, help: {template: 'Settings: $CONFIG'}}\n"
    )
    (tmp_path / "conf" / "model" / "mlp.yaml").write_text("width: 3\n")
    (tmp_path / "conf" / "model" / "deep.yaml").write_text("width: 9\n")
    return tmp_path / "conf"


@pytest.fixture
def hydra(conf):
    with compat.open_hydra(conf) as opened:
        yield opened


def task(config):
    return config.lr * config.model.width


def test_run_calls_the_task_with_this_very_configuration_and_raises_what_it_raises(hydra, tmp_path):
    config = compose("train", ["lr=2", "model=deep"], return_hydra_config=True)
    config.hydra.run.dir = str(tmp_path / "mine")
    assert compat.run(config, hydra.config_loader, task) == 18
    assert (tmp_path / "mine").is_dir()
    with pytest.raises(ZeroDivisionError):
        compat.run(config, hydra.config_loader, lambda config: 1 / 0)


def test_multirun_returns_what_the_sweeper_returns(hydra):
    config = compose("train", ["hydra.mode=MULTIRUN"], return_hydra_config=True)
    config.hydra.overrides.task = ["lr=1,2"]
    assert compat.words_of(config) == (["hydra.mode=MULTIRUN"], ["lr=1,2"])
    (jobs,) = compat.multirun(config, hydra.config_loader, task)
    assert [type(job) for job in jobs] == [compat.JobReturn] * 2
    assert [job.return_value for job in jobs] == [3, 6]


def test_resolved_by_is_told_of_every_reference_and_may_refuse_it():
    config, seen = OmegaConf.create({"a": "${b}/${oc.env:HOME,x}", "b": "${c}", "c": "${d}", "d": 1}), []
    with compat.resolved_by(lambda name, value: seen.append((name, value))):
        assert str(config.a).startswith("1/")
    assert ("oc.env", ("HOME", "x")) in seen
    assert len([name for name, _ in seen if name is None]) == 3

    def refuse(name, value):
        raise InterpolationResolutionError("refused")

    with compat.resolved_by(refuse), pytest.raises(InterpolationResolutionError, match="refused"):
        config.b  # noqa: B018
    assert config.b == 1


def test_create_main_hydra2_and_create_config_search_path_find_the_further_folder(conf, tmp_path):
    (tmp_path / "more" / "model").mkdir(parents=True)
    (tmp_path / "more" / "model" / "mine.yaml").write_text("width: 5\n")
    (tmp_path / "more" / "model" / "mlp.yaml").write_text("width: 7\n")
    with compat.open_hydra(conf, {"command-line": tmp_path / "more"}) as opened:
        assert compat.GlobalHydra.instance().hydra is opened
        assert compose("train", ["model=mine"]).model.width == 5
        assert compose("train", ["model=mlp"]).model.width == 3  # the program's own options come first
    assert not compat.GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--help"], "Settings: lr: 0.1"),
        (["--hydra-help"], "--shell-completion"),
        (["--cfg", "job", "--package", "model"], "# @package model\nwidth: 3\n"),
        (["--info", "searchpath"], "Config search path"),
        (["-sc", "install=bash"], "hydra_bash_completion"),
    ],
)
def test_get_args_parser_and_the_answers_of_hydra(hydra, arguments, printed, capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # --info sets up logging for the rest of the process
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    parser = compat.get_args_parser()
    compat.answer(hydra, "train", parser, parser.parse_args(arguments))
    output = capsys.readouterr()
    assert printed in output.out + output.err


def test_get_args_parser_knows_the_flags_that_the_program_reads():
    args = compat.get_args_parser().parse_args(["lr=1", "-m", "--config-dir", "x"])
    assert (args.overrides, args.multirun, args.config_dir) == (["lr=1"], True, "x")
    for name in ("run", "config_path", "config_name", "experimental_rerun", "resolve"):
        assert not getattr(args, name)


def test_basic_launcher_and_basic_sweeper_are_the_targets_of_hydras_own_options(hydra):
    config = compose("train", ["hydra/launcher=basic", "hydra/sweeper=basic"], return_hydra_config=True)
    assert config.hydra.launcher["_target_"] == compat.BASIC_LAUNCHER
    assert config.hydra.sweeper["_target_"] == compat.BASIC_SWEEPER
    assert type(compat.basic_launcher()) is get_class(compat.BASIC_LAUNCHER)


def test_plugins_instantiate_launcher_builds_what_the_configuration_names(hydra):
    config = compose("train", ["hydra/launcher=basic"], return_hydra_config=True)
    launcher = compat.Plugins.instance().instantiate_launcher(hydra_context=None, task_function=task, config=config)
    assert type(launcher) is get_class(compat.BASIC_LAUNCHER)
    assert launcher.task_function is task


def test_config_loader_load_sweep_config_composes_a_job(hydra):
    assert isinstance(hydra.config_loader, compat.ConfigLoader)
    master = compose("train", ["hydra.mode=MULTIRUN"], return_hydra_config=True)
    job = hydra.config_loader.load_sweep_config(master, ["model=deep", "lr=3"])
    assert (job.model.width, job.lr, job.hydra.overrides.task) == (9, 3, ["model=deep", "lr=3"])


def test_overrides_parser_override_and_value_types():
    texts = ["lr=0.5", "lr=1,2", "lr=interval(1,3)", "model=glob(*)", "+a.b={c:1}", "~lr", "model@x=mlp"]
    fixed, several, interval, glob, added, deleted, placed = compat.OverridesParser.create().parse_overrides(texts)
    assert isinstance(fixed, compat.Override)
    assert (fixed.key_or_group, fixed.value(), fixed.input_line, fixed.type) == (
        "lr", 0.5, "lr=0.5", compat.OverrideType.CHANGE,
    )  # fmt: skip
    assert list(several.sweep_string_iterator()) == ["1", "2"]
    assert (several.is_sweep_override(), several.is_discrete_sweep(), fixed.is_sweep_override()) == (True, True, False)
    assert isinstance(interval.value(), compat.IntervalSweep)
    counted = compat.OverridesParser.create().parse_override("seed=shuffle(range(1,5,2))").value()
    assert isinstance(counted, compat.RangeSweep)
    assert (counted.start, counted.stop, counted.step) == (1, 5, 2)
    (quoted, _) = compat.OverridesParser.create().parse_override("a='x y',b").sweep_iterator()
    assert isinstance(quoted, compat.QuotedString)
    assert (quoted.text, quoted.quote) == ("x y", compat.Quote.single)
    assert (interval.value().start, interval.value().end, interval.is_discrete_sweep()) == (1, 3, False)
    assert glob.value_type == compat.ValueType.GLOB_CHOICE_SWEEP
    assert (added.value(), added.type, deleted.type) == ({"c": 1}, compat.OverrideType.ADD, compat.OverrideType.DEL)
    assert (placed.key_or_group, placed.package) == ("model", "x")


def test_copy_cache_carries_the_values_of_cached_resolvers():
    OmegaConf.register_new_resolver("count_of_test", iter(range(9)).__next__, use_cache=True, replace=True)
    first, second, third = (OmegaConf.create({"n": "${count_of_test:}"}) for _ in range(3))
    assert (first.n, second.n) == (0, 1)
    compat.copy_cache(first, third)
    assert third.n == 0


def test_missing_option_is_read_from_hydras_error(hydra):
    with pytest.raises(HydraException) as caught:
        compose("train", ["model=mpl"])
    assert compat.missing_option(caught.value) == ("model/mpl", ["deep", "mlp"])
    assert compat.unmatched_key(caught.value) is None


@pytest.mark.parametrize(("override", "key"), [("modle=mlp", "modle"), ("model.depth=1", "model.depth")])
def test_unmatched_key_is_read_from_hydras_error(hydra, override, key):
    with pytest.raises(HydraException) as caught:
        compose("train", [override])
    assert compat.unmatched_key(caught.value) == key
    assert compat.missing_option(caught.value) is None


def test_hydra_set_aside_lets_another_be_opened_and_puts_the_first_back(hydra, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.yaml").write_text("lr: 7\n")
    with compat.hydra_set_aside(), compat.open_hydra(tmp_path / "own"):
        assert compose("train").lr == 7
    assert compose("train").lr == 0.1


def test_every_name_has_a_test():
    text = Path(__file__).read_text()
    assert [name for name in compat.__all__ if name not in text and name.lower() not in text] == []
