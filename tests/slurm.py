"""A real SLURM of one node on this machine, with its own munge; needs root, and the programs of slurm-wlm and munge.

python -m tests.slurm FOLDER     starts it; then export SLURM_CONF=FOLDER/slurm.conf
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
PATIENCE = 30  # seconds
ARRAY = 2  # MaxArraySize, so that arrays are cut
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
MaxArraySize={array}
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
KillWait=20
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=2 State=UP
"""


def missing() -> str:
    """Why no SLURM can be started here, or an empty string."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        return "SLURM's daemons need root"
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"no {lacking[0]} (apt-get install slurm-wlm munge)" if lacking else ""


class Cluster:
    """SLURM, with its files in a folder whose path must be short, since the path of a socket must be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self.node = socket.gethostname().partition(".")[0]

    def start(self) -> None:
        """Start the daemons; raises RuntimeError if the node does not get idle."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        ports = dict(zip(("control", "node"), _free_ports(2), strict=True))
        words = {"folder": self.folder, "host": self.node, "array": ARRAY, **ports}
        (self.folder / "slurm.conf").write_text(CONF.format(**words))
        places = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid",
                  "log-file": "munged.log", "seed-file": "munged.seed"}  # fmt: skip
        self.run("munged", "--force", *(f"--{name}={self.folder / place}" for name, place in places.items()))
        self.run("slurmctld")
        self.start_node()
        self.wait_for_node()

    def wait_for_node(self) -> None:
        """Wait until the node takes tasks; on a busy machine SLURM may have given it up for a while."""
        end = time.monotonic() + 2 * PATIENCE
        while "idle" not in self.heal():
            if time.monotonic() > end:
                log = self.folder / "slurmctld.log"
                raise RuntimeError(f"no node gets idle: {log.read_text()[-2000:] if log.exists() else 'no log'}")
            time.sleep(0.2)

    def heal(self) -> str:
        """The node's state; SLURM drains a node that still trained a task which it had queued again: it is resumed."""
        if "drain" in (state := self.run("sinfo", "-h", "-o", "%T", check=False)):
            self.run("scontrol", "update", f"NodeName={self.node}", "State=RESUME", check=False)
        return state

    def described(self) -> str:
        """The node, the tasks, and the last lines of the controller's log, for the message of a test that fails."""
        log = (self.folder / "slurmctld.log").read_text()[-3000:]
        return f"{self.run('sinfo', '-N', '-l', check=False)}\n{self.run('squeue', check=False)}\n{log}"

    def run(self, *words: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            words, env={**os.environ, **self.env}, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if check and done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
        return done.stdout

    def start_node(self, hidden: Path | None = None) -> None:
        """Start slurmd; tasks that ran when it was killed run on. Its tasks see the folder `hidden` empty.

        Raises RuntimeError if nothing can be mounted here.
        """
        if hidden is None:
            self.run("slurmd")
        else:
            self.run("unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{hidden}' && exec slurmd")

    def kill_node(self) -> None:
        """Kill slurmd."""
        self._end("slurmd", signal.SIGKILL)

    def stop(self) -> None:
        """Cancel all jobs, and end the daemons."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("scancel", "--user=root", check=False)
            end = time.monotonic() + PATIENCE
            while self.run("squeue", "-h", check=False) and time.monotonic() < end:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name, signal.SIGTERM)

    def _end(self, name: str, signum: int) -> None:
        """Send a daemon of this folder a signal, and wait until it is gone."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            os.kill(pid, signum)
        except (OSError, ValueError):
            return
        end = time.monotonic() + PATIENCE
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    Cluster(Path(sys.argv[1])).start()
    print(f"export SLURM_CONF={Path(sys.argv[1]).absolute() / 'slurm.conf'}")
