"""A Ray cluster on this computer, in a process of its own: a head without processors, and nodes with one each.

Lines on standard input: `add NAME=VALUE ...` adds a node with these environment variables, `remove N` kills all
processes of node N, as if its computer had died. Each is answered by a line.
"""

import importlib.util
import secrets
import subprocess
import sys

import pytest

QUIET = {"include_dashboard": False}
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or sys.platform != "linux", reason="needs Ray, and Linux for its clusters"
)


class Nodes:
    """A cluster with so many nodes; what a program needs to use it is its `environment`."""

    def __init__(self, number: int) -> None:
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.process = subprocess.Popen(
            [sys.executable, __file__], env={**self.environment, "PATH": "/usr/bin:/bin"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.environment["RAY_ADDRESS"] = self._line()
        for _ in range(number):
            self.add()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def _do(self, *words: str) -> None:
        assert self.process.stdin
        print(*words, file=self.process.stdin, flush=True)
        assert self._line() == "done"

    def add(self, **environment: str) -> None:
        """Add a node with a processor, whose workers have further environment variables."""
        self._do("add", *(f"{name}={value}" for name, value in environment.items()))

    def remove(self, number: int) -> None:
        """Kill all processes of a node, by its number in the order in which they were added, from 0."""
        self._do("remove", str(number))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **QUIET})
    print(cluster.address, flush=True)
    nodes = []
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "add":
            nodes.append(cluster.add_node(**QUIET, env_vars=dict(entry.split("=", 1) for entry in rest)))
        else:
            cluster.remove_node(nodes[int(rest[0])], allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
