"""`python -m tests.trials [NAME ...] [--sample]`: attack, kill and starve the programs, and count what went wrong."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from tests.trials import (
    bad_requests,
    chunk_kills,
    disk,
    environment,
    hostile_config,
    hostile_files,
    kills,
    pruned_kills,
    races,
    slurm_kills,
)
from tests.trials.children import import_everything
from tests.trials.results import forget
from tests.trials.trial import HEAD, Case, Tally, sample, try_all

TRIALS: dict[str, tuple[Callable[[], list[Case]], int]] = {
    "config": (hostile_config.cases, 15),
    "files": (hostile_files.cases, 12),
    "kills": (kills.cases, 8),
    "requests": (bad_requests.cases, 5),
    "disk": (disk.cases, 6),
    "races": (races.cases, 2),
    "chunk_kills": (chunk_kills.cases, 2),
    "pruned_kills": (pruned_kills.cases, 1),
    "ray_kills": (lambda: chunk_kills.cases_of_ray() + pruned_kills.cases_of_ray(), 0),
    "slurm_kills": (lambda: slurm_kills.cases() + pruned_kills.cases_of_slurm(), 0),
    "environment": (environment.cases, 4),
}
"""Name of a trial to its cases, and how many of them a sample has."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRIALS)}, fuzz (default: all)")
    parser.add_argument("--sample", action="store_true", help="a few cases of each")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every Nth case, from the Ith")
    parser.add_argument("--minutes", type=float, default=10, help="of fuzz (default 10)")
    parser.add_argument("--match", default="", metavar="TEXT", help="only cases with this in their names")
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.names if name not in (*TRIALS, "fuzz")]:
        parser.error(f"{unknown[0]}: must be of {', '.join(TRIALS)}, fuzz")
    part, parts = map(int, args.part.split("/"))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, in all programs that are started here
    import_everything()
    tallies = []
    for name in args.names or (*TRIALS, "fuzz"):
        if name == "fuzz":
            from tests.trials.fuzz import TARGETS, fuzz

            tallies.append(
                fuzz([target for target in TARGETS if args.match in target], 0.3 if args.sample else args.minutes)
            )
            continue
        make, few = TRIALS[name]
        cases = [case for case in make() if args.match in case.name][part - 1 :: parts]
        tallies.append(try_all(name, sample(cases, few) if args.sample else cases))
        if name == "requests" and bad_requests.own_time:
            tallies[-1].notes.append(f"longest own time {max(bad_requests.own_time.values()):.2f} s")
        if name.endswith("_kills"):
            tallies[-1].notes += [f"{number} times {what}" for what, number in sorted(chunk_kills.killed.items())]
            chunk_kills.killed.clear()
    forget()
    print_table(tallies)
    return int(any(tally.faults for tally in tallies))


def print_table(tallies: list[Tally]) -> None:
    print(HEAD)
    for tally in tallies:
        print(tally.row())
        for note in tally.notes:
            print(f"{'':11}{note}")


if __name__ == "__main__":
    sys.exit(main())
