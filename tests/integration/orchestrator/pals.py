"""A stand-in for the mpiexec of Cray PALS: the flags that Penstock gives, its words, its exit codes.

It starts ranks on this host alone, whatever hosts it is given. A signal goes to all ranks, one that fails
takes the others along, and 128 more than a signal is what it ends with.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys


def main() -> int:
    """Start the ranks, and return what mpiexec ends with."""
    if sys.argv[1:] == ["--version"]:
        print("mpiexec version 1.2.12 revision 0 (a stand-in)")
        return 0
    given = parse(sys.argv[1:])
    cores = cores_of_ranks(given.cpu_bind)
    ranks: list[subprocess.Popen[bytes]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: tell(ranks, number))
    try:
        for rank in range(given.n):
            ranks.append(start(given.program, rank, given.ppn, cores))
    except OSError as error:
        tell(ranks, signal.SIGKILL)
        print(f"mpiexec: {given.program[0]}: {error}", file=sys.stderr, flush=True)
        return 255
    return wait(ranks, given.hosts.split(","), given.ppn)


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line; an option that PALS does not know ends it."""
    parser = argparse.ArgumentParser("mpiexec", allow_abbrev=False)
    parser.add_argument("-n", type=int, required=True)
    parser.add_argument("--hosts", default=os.uname().nodename)
    parser.add_argument("--ppn", type=int, default=10000)
    parser.add_argument("--cpu-bind", default="none")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def cores_of_ranks(bind: str) -> list[set[int]] | None:
    """Return the cores of the ranks of a host."""
    if not bind.startswith("list:"):
        return None
    return [numbers(text) for text in bind.removeprefix("list:").split(":")]


def numbers(text: str) -> set[int]:
    """Return the numbers of `0-2,5`."""
    pairs = [part.partition("-") for part in text.split(",")]
    return {number for first, _, last in pairs for number in range(int(first), int(last or first) + 1)}


def start(program: list[str], rank: int, ppn: int, cores: list[set[int]] | None) -> subprocess.Popen[bytes]:
    """Start one rank in a session of its own, as a daemon of PALS does."""
    environment = {**os.environ, "PALS_RANKID": str(rank), "PALS_LOCAL_RANKID": str(rank % ppn)}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores[rank % ppn] if cores else before)
    try:
        return subprocess.Popen(program, env=environment, start_new_session=True)
    finally:
        os.sched_setaffinity(0, before)


def wait(ranks: list[subprocess.Popen[bytes]], hosts: list[str], ppn: int) -> int:
    """Wait for all ranks; the first that fails ends the others, and is told first."""
    by_pid = {process.pid: rank for rank, process in enumerate(ranks)}
    first = 0
    for _ in ranks:
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        ranks[by_pid[pid]].returncode = code
        if code == 0:
            continue
        how = f"died from signal {-code}" if code < 0 else f"exited with code {code}"
        host = hosts[min(by_pid[pid] // ppn, len(hosts) - 1)]
        print(f"{host}: rank {by_pid[pid]} {how}", file=sys.stderr, flush=True)
        first = first or (128 - code if code < 0 else code)
        tell(ranks, signal.SIGTERM)
    return first


def tell(ranks: list[subprocess.Popen[bytes]], number: int) -> None:
    """Send a signal to all ranks that run."""
    for process in ranks:
        if process.returncode is None:
            process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main())
