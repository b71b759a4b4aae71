"""--help: every setting of every option with what it is, in 80 columns, no word broken."""

import pytest

from lightning_d2l import app, cli
from lightning_d2l.config.compose import CONF, composed, hydra_with
from lightning_d2l.config.help import GROUPS, _nodes, _phrases, comments, help_text, phrase_of
from lightning_d2l.config.options import LISTS
from lightning_d2l.config.program import COMMANDS

OPTIONS = [(group, path.stem) for group in (*GROUPS, "study") for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda name: name)
def test_every_setting_says_what_it_is(group, option):
    with hydra_with(None, []):
        config = composed([f"{group}={f'[{option}]' if group in LISTS else option}"], complete=False)
        phrases = _phrases(config, [CONF])
        keys = [key for _, node in _nodes(config) for key in node]
        assert [key for key in keys if not phrase_of(key, phrases)] == []
        assert len(keys) > 50
        text = help_text(config)
    assert max(map(len, text.splitlines())) <= 80


def test_help_is_of_the_options_beside_it(capsys):
    assert app.main(["model=polynomial_regression", "optimizer=adam", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "data.degree=3 the model sees 1, x, ..., x^degree" in said
    assert "optimizer.lr=0.001 learning rate" in said
    assert "data.root" not in said
    assert app.main(["data=csv", "model=mlp", "--help"]) == 0  # though it needs a file
    assert "data.path=null the CSV file" in " ".join(capsys.readouterr().out.split())


def test_comments_are_those_behind_a_setting(tmp_path):
    (tmp_path / "a.yaml").write_text(
        'a: 1  # one\nb: "# no"\nc: {d: 2, e: 3}  # two\n             # lines\nf:\n  g: [1, 2]   # three\n# not of g\n'
    )
    two = dict.fromkeys(["x.c", "x.c.d", "x.c.e"], "two lines")
    assert comments(tmp_path / "a.yaml", "x.") == {"x.a": "one", **two, "x.f.g": "three"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("width", [80, 200])
def test_the_help_of_every_command_fits_the_terminal(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert cli.main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    monkeypatch.setenv("COLUMNS", "300")
    assert cli.main([*command.split(), "--help"]) == 0
    assert {*text.split()} == {*capsys.readouterr().out.split()}  # no word is broken
