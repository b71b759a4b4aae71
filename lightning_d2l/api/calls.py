"""train, sweep and study: the words of the command line, or keywords, with Python objects as results."""

from __future__ import annotations

from typing import Any

from lightning_d2l.api.ended import after
from lightning_d2l.api.finished import Run
from lightning_d2l.api.library import library, library_call
from lightning_d2l.api.swept import Sweep
from lightning_d2l.api.words import words_of
from lightning_d2l.config.program import PLUGIN
from lightning_d2l.plugins import LOADED, REGISTERED, Ended, is_loading
from lightning_d2l.plugins.origin import shown


@library_call
def train(*words: str, verbose: bool = True, **settings: Any) -> Run:
    """Train one run, as `python train.py WORDS` does.

    Parameters
    ----------
    *words : str
        What stands on the command line: "model=mlp", "optimizer.lr=0.2", "hydra.run.dir=outputs/mine".
    verbose : bool
        Whether to show progress: a line or a bar on a console, the curves in a notebook.
    **settings
        The same as keywords: `model="mlp", **{"optimizer.lr": 0.2}`, or the settings of a group as a mapping:
        `optimizer={"lr": 0.2}`. None is null, a list is one value.

    Returns
    -------
    Run
        The run, which is recorded in its folder. Its `status` is "completed" or "diverged", or "interrupted" after
        KeyboardInterrupt; it then has the metrics so far, and `resume=FOLDER` continues it.

    Raises
    ------
    RequestError
        If a word is wrong; nothing is written.
    RunFailed
        If the model, the data or a callback raises an error, which is its `__cause__`. The run is recorded.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> run = d2l.train("model=polynomial_regression", "trainer.max_epochs=2", seed=1, verbose=False)
    >>> run.status, [int(epoch) for epoch in run.history["epoch"]]
    ('completed', [1, 2])
    """
    _not_in_a_plugin()
    made = words_of(words, settings, several=False)
    with library(verbose=verbose, command=True) as program:
        from lightning_d2l.app import done
        from lightning_d2l.config.program import Program

        code, folder = done([*_registering(), *made], Program(), several=False)
    after(code, folder, program)
    assert folder is not None
    return Run(folder).completed_or_failed(program.error)


@library_call
def sweep(*words: str, verbose: bool = True, **settings: Any) -> Sweep | None:
    """Train every combination of the values that settings have, as `python train.py -m WORDS` does.

    Parameters
    ----------
    *words : str
        What stands on the command line: "model=mlp", "model.num_hiddens=16,64,256", "seed=range(5)".
    verbose : bool
        Whether to show progress and the outcome.
    **settings
        The same as keywords. A tuple, range or array holds several values of a setting, a list is one value:
        `model={"num_hiddens": (16, 64, 256)}, seed=range(5)`.

    Returns
    -------
    Sweep
        The sweep in its folder, whichever of its runs failed; after KeyboardInterrupt with the runs so far.
        None for a dry run, `sweep.dry_run=true`.

    Raises
    ------
    RequestError
        If a word is wrong, for any of the runs; nothing is written.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> small = {"data.n_train": 20, "trainer.max_epochs": 2, "logger": "none"}
    >>> sweep = d2l.sweep("model=polynomial_regression", "data.degree=1,3", seed=range(2), verbose=False, **small)
    >>> len(sweep.runs), list(sweep.results["data.degree"])
    (4, [1, 1, 3, 3])
    """
    return _sweep(["-m"], words, settings, verbose=verbose)


@library_call
def study(name: str, *words: str, verbose: bool = True, **settings: Any) -> Sweep | None:
    """Train the runs of a study: a sweep with a question. A notebook shows its answer, figure and table.

    Parameters
    ----------
    name : str
        A study, such as "capacity"; `python train.py --help` lists them.
    *words, verbose, **settings
        As those of `sweep`.

    Returns
    -------
    Sweep
        As `sweep` does.

    Raises
    ------
    RequestError
        As `sweep` does.

    Examples
    --------
    >>> import lightning_d2l as d2l
    >>> few = {"data.degree": (1, 3), "seed": 0, "optimizer": "exact", "logger": "none"}
    >>> study = d2l.study("capacity", verbose=False, **few)
    >>> study.answer.partition(" has")[0]
    'data.degree=3'
    """
    return _sweep([f"study={name}"], words, settings, verbose=verbose)


def _sweep(first: list[str], words: tuple[str, ...], settings: dict[str, Any], *, verbose: bool) -> Sweep | None:
    _not_in_a_plugin()
    made = [*first, *words_of(words, settings, several=True)]
    with library(verbose=verbose, command=True) as program:
        from lightning_d2l.app import done
        from lightning_d2l.config.program import Program

        code, folder = done([*_registering(), *made], Program(), several=True)
    if folder is None:
        return None
    after(code, folder, program)
    return Sweep(folder)


def _registering() -> list[str]:
    """The flags that name the files in which this program registered something, so that printed commands work."""
    files = [made.plugin.file for made in REGISTERED.values() if str(made.plugin.file) not in LOADED]
    there = dict.fromkeys(file for file in files if file is not None and file.is_file())  # a cell's is not
    return [word for file in there for word in (PLUGIN, shown(file))]


def _not_in_a_plugin() -> None:
    if is_loading():  # the program is named by --plugin, and has registered what it adds
        raise Ended
