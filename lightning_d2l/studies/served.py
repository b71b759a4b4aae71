"""TensorBoard's server, with a page that opens its view."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.escape import terminal
from lightning_d2l.studies.view import PAGE, View, newest, view_of

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# TensorBoard hides the highest values of a chart, such as those of the first epoch, unless its settings say otherwise.
# They are in the browser's storage, and no address has them. The pages with a list of runs at the left read the part
# behind #, Time Series reads the query.
START = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>TensorBoard</title>
<script>
const settings = JSON.parse(localStorage.getItem("_tb_global_settings") || "{}");
if (!("ignoreOutliers" in settings)) {
  localStorage.setItem("_tb_global_settings", JSON.stringify({...settings, ignoreOutliers: false}));
}
if (localStorage.getItem("_ignoreYOutliers") === null) {
  localStorage.setItem("_ignoreYOutliers", "false");
}
const query = location.search || "?" + QUERY;
const asked = new URLSearchParams(query);
const parts = [location.hash.slice(1) || "timeseries"];
if (asked.get("runFilter")) parts.push("regexInput=" + encodeURIComponent(asked.get("runFilter")));
if (asked.get("smoothing")) parts.push("_smoothingWeight=" + encodeURIComponent(asked.get("smoothing")));
location.replace("/" + query + "#" + parts.join("&"));
</script>
</html>
"""


def serve(folder: Path, host: str, port: int | None) -> None:
    """Start TensorBoard on a folder, or on `latest`; print its address, and serve until KeyboardInterrupt.

    Without a port the first free one from 6006 up is taken. Raises RequestError if the folder has no events, if
    tensorboard is not installed, or if host or port can't be used.
    """
    if port is not None and not 0 <= port < 2**16:
        raise RequestError(f"--port={port}: must be a whole number from 0 to 65535")
    folder = newest() if str(folder) == "latest" else folder
    view = view_of(folder)
    url = start(view, host, port)
    print(f"TensorBoard shows {terminal(str(folder))}: {view.words}\n{url.rstrip('/')}{view.path}")
    print("Ctrl-C ends it.", flush=True)
    while True:
        time.sleep(3600)


def start(view: View, host: str, port: int | None) -> str:
    """Start TensorBoard in a thread of its own; returns its address. Raises RequestError as `serve`."""
    try:
        from tensorboard import program
    except ImportError as error:
        raise RequestError("board: tensorboard is not installed: pip install tensorboard") from error

    def server(app: Application, flags: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(_with_start(app, view), flags)

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    made = program.TensorBoard(server_class=server)
    made.configure(logdir=str(view.logdir.resolve()), host=host, port=port)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # notices on how it loads data
            return str(made.launch())
    except program.TensorBoardPortInUseError as error:
        raise RequestError(f"--port={port}: already in use; without --port a free one is taken") from error
    except program.TensorBoardServerException as error:
        raise RequestError(f"--host={host}: {error.msg}") from error
    except (OSError, SystemExit) as error:  # the server prints the reason and ends the program
        reason = error.strerror if isinstance(error, OSError) else next(iter(said.getvalue().splitlines()), None)
        raise RequestError(f"--host={host}: can't be listened at ({reason or error})") from error


def _with_start(app: Application, view: View) -> Application:
    """TensorBoard's application with the page that opens a view."""
    page = START.replace("QUERY", json.dumps(view.query)).encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PAGE:
            return app(environ, start_response)
        start_response("200 OK", [*headers, ("Cache-Control", "no-store")])
        return [page]

    return application
