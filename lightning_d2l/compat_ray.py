"""Names of Ray that are private, in one place; seen in 2.52 to 2.60. Importing this file imports no Ray."""

from __future__ import annotations

import contextlib


def silence() -> None:
    """Keep what Ray's own processes report, such as the last lines of a dead node's log, off this program's output.

    `log_to_driver=False` is for what workers print alone. Ray writes everything to files of its own as well.
    """
    from ray._private import worker

    with contextlib.suppress(AttributeError):
        worker.print_to_stdstream = lambda *_, **__: None  # what `listen_error_messages` calls
