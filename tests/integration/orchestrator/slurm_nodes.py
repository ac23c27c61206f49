"""A real Slurm of several nodes on this machine, for tests; needs root.

Each node is a slurmd in network, UTS, IPC and mount namespaces of its own: it has an address, a host name, a
/dev/shm, a /etc/hosts and a directory for temporary files, where it shares with others what it is told to. A
bridge joins them to this host, where the controller and munge run. The cores of every node are the same ones
of this machine; the last has two GPUs, which are empty files. Files, keys and logs are below one directory.

Daemons stay in the foreground, as children that the kernel ends with the thread that started them, so that
they do not outlive a test run that is killed; the next start removes the namespaces and bridge of such a run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator.watcher import read_stat

TOOLS = ("slurmctld", "slurmd", "munged", "sbatch", "ip", "nsenter", "unshare", "setpriv")
PREFIX = "penstock"
FIRST_ADDRESS = 11
GPUS = 2
USED = (Path(__file__).parents[3], Path(sys.prefix), Path.home())
DEADLINE_S = 60.0
NODE = """
set -e
hostname "$0"
mount -t tmpfs tmpfs /dev/shm
mount --bind "$1" /etc/hosts
mount --bind "$2" /proc/sys/kernel/random/boot_id
temporary=$3; shift 3
mount --bind "$temporary" /mnt
mount -t tmpfs tmpfs "$temporary"
for path; do mkdir -p "$temporary/$path"; mount --bind "/mnt/$path" "$temporary/$path"; done
umount /mnt
exec slurmd -D -N "$0"
"""


def missing() -> str | None:
    """Return why there can be no such Slurm here; None where there can."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"there is no {', '.join(lacking)} (Debian: apt install slurm-wlm munge iproute2)"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if subprocess.run(["unshare", "--net", "--uts", "--ipc", "--mount", "true"], check=False).returncode:
        return "this machine lets nobody make namespaces"
    return None


class SlurmNodes:
    """A Slurm with a controller and nodes n1, n2, …, as a context.

    Args:
        directory: of all its files; its path must leave room for the name of a Unix socket.
        count: of the nodes.
        cores: of each node, at most those of this machine.
        shared: directories that all nodes see, though they are among the temporary ones; as are the home,
            the checkout and its Python where somebody has them there.
    """

    def __init__(self, directory: Path, count: int = 4, cores: int = 2, shared: Sequence[Path] = ()) -> None:
        self.directory = directory
        self.names = [f"n{number + 1}" for number in range(count)]
        self.cores = cores
        self._shared = (directory, *shared, *USED)
        self.environment = {"SLURM_CONF": str(directory / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._number = 0

    @property
    def bridge(self) -> str:
        """The network device of this host that reaches the nodes."""
        return f"{PREFIX}{self._number}"

    def address(self, name: str) -> str:
        """Return the address of a node."""
        return f"10.77.{self._number}.{FIRST_ADDRESS + self.names.index(name)}"

    def __enter__(self) -> SlurmNodes:
        remove_stale()
        try:
            self._make_bridge()
            self._write_files()
            self._start_munge()
            self._start_controller()
            for name in self.names:
                self.start_node(name)
            self.wait_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End the daemons, every process in the namespaces, the namespaces and the bridge."""
        for daemon in reversed(list(self._daemons.values())):
            daemon.kill()
            daemon.wait()
        self._daemons.clear()
        remove(self._number)

    def command(self, *words: str, check: bool = True, timeout_s: float = DEADLINE_S) -> str:
        """Run a command of Slurm and return what it prints."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=timeout_s
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def allocate(self, nodes: int = 4, *options: str) -> str:
        """Get an allocation without a program, and return the number of its job."""
        command = ["salloc", "--no-shell", f"--nodes={nodes}", "--exclusive", *options]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr.partition("Granted job allocation ")[2].split()[0]

    def release(self) -> None:
        """Cancel every job, and wait until the nodes are idle."""
        jobs = self.command("squeue", "--noheader", "--format=%i").split()
        if jobs:
            self.command("scancel", *jobs, check=False)  # some may end meanwhile
        self.wait_idle()

    def inside(self, name: str, *words: str) -> list[str]:
        """Return the command that runs another one on a node, but not as a job."""
        return ["nsenter", f"--target={self.pid(name)}", "--net", "--uts", "--ipc", "--mount", *words]

    def pid(self, name: str) -> int:
        """Return the process of a node's slurmd."""
        return self._daemons[name].pid

    def steps(self) -> list[str]:
        """Return the steps that run programs, as JOB.STEP."""
        listed = self.command("squeue", "--steps", "--noheader", "--format=%i").split()
        return [step for step in listed if not step.endswith((".extern", ".batch"))]

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        namespace = f"{self.bridge}-{name}"
        if not Path("/run/netns", namespace).exists():
            self._make_namespace(namespace, name)
        boot_id = self.directory / f"{name}.boot_id"
        boot_id.write_text(Path("/proc/sys/kernel/random/uuid").read_text())
        apart = ("nsenter", f"--net=/run/netns/{namespace}", "unshare", "--uts", "--ipc", "--mount")
        temporary = Path(tempfile.gettempdir())
        shared = [path.relative_to(temporary) for path in self._shared if path.is_relative_to(temporary)]
        own = (self.directory / "hosts", boot_id, temporary, *shared)
        self._start(name, *apart, "sh", "-c", NODE, name, *map(str, own))

    def kill_node(self, name: str) -> None:
        """Kill the slurmd of a node; its programs go on."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def wait_idle(self) -> None:
        """Wait until every node is there and has nothing to do."""
        asked = ("sinfo", "--noheader", "--states=idle", "--format=%D")
        until(lambda: self.command(*asked, check=False) == str(len(self.names)))

    def log(self) -> str:
        """Return the ends of the logs of all daemons."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def _start(self, name: str, *command: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _start_controller(self) -> None:
        """Start it where this host's name is the address of the bridge, so that it listens there alone."""
        script = 'mount --bind "$0" /etc/hosts && exec slurmctld -D'
        self._start("slurmctld", "unshare", "--mount", "sh", "-c", script, str(self.directory / "hosts"))

    def _start_munge(self) -> None:
        key, sock = self.directory / "munge.key", self.directory / "munge.sock"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        files = {"pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        own = [f"--{option}={self.directory / name}" for option, name in files.items()]
        self._start("munged", "munged", "-F", "--force", f"--key-file={key}", f"--socket={sock}", *own)
        until(sock.exists)

    def _make_bridge(self) -> None:
        """Take the first number that nobody has: making the bridge is what takes it."""
        for number in range(256):
            made = _ip("link", "add", f"{PREFIX}{number}", "type", "bridge", check=False)
            if made:
                self._number = number
                _remove_devices(number)
                _ip("link", "set", self.bridge, "alias", _who(os.getpid()))
                _ip("address", "add", f"10.77.{number}.1/24", "dev", self.bridge)
                _ip("link", "set", self.bridge, "up")
                return
        raise AssertionError("256 bridges are there already")

    def _make_namespace(self, namespace: str, name: str) -> None:
        outside = f"p{self._number}{name}"
        _ip("netns", "add", namespace)
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", outside, "master", self.bridge, "up")
        _ip("-n", namespace, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", namespace, "link", "set", device, "up")

    def _write_files(self) -> None:
        here = socket.gethostname()
        hosts = ["127.0.0.1 localhost", f"10.77.{self._number}.1 {here}"]
        hosts += [f"{self.address(name)} {name}" for name in self.names]
        (self.directory / "hosts").write_text("\n".join(hosts) + "\n")
        for directory in ("state", *(f"spool_{name}" for name in self.names)):
            (self.directory / directory).mkdir()
        (self.directory / "slurm.conf").write_text(self._configuration(here))
        for gpu in range(GPUS):
            (self.directory / f"gpu{gpu}").touch()
        gpus = f"NodeName={self.names[-1]} Name=gpu File={self.directory}/gpu[0-{GPUS - 1}]\n"
        (self.directory / "gres.conf").write_text(gpus)

    def _configuration(self, here: str) -> str:
        own = f"10.77.{self._number}.1"
        facts = {
            "ClusterName": "penstock",
            "SlurmctldHost": f"{here}({own})",
            "SlurmctldPort": _free_port(own),
            "SlurmdPort": 6818,
            "SlurmUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self.directory / 'munge.sock'}",
            "CommunicationParameters": "NoCtldInAddrAny",
            "StateSaveLocation": self.directory / "state",
            "SlurmdSpoolDir": self.directory / "spool_%n",
            "SlurmctldPidFile": self.directory / "slurmctld.pid",
            "SlurmdPidFile": self.directory / "%n.pid",
            "SlurmdParameters": "config_overrides",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/affinity",
            "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none",
            "MpiDefault": "none",
            "SelectType": "select/cons_tres",
            "GresTypes": "gpu",
            "SelectTypeParameters": "CR_CPU",
            "SchedulerParameters": "bf_interval=1,sched_interval=5",
            "ReturnToService": 2,
            "SlurmdTimeout": 10,
            "KillWait": 5,
            "PropagateResourceLimits": "NONE",
        }
        lines = [f"{key}={text}" for key, text in facts.items()]
        lines += [f"NodeName={name} NodeAddr={self.address(name)} CPUs={self.cores}" for name in self.names]
        lines[-1] += f" Gres=gpu:{GPUS}"
        lines += ["PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"]
        return "\n".join(lines) + "\n"


def until(true: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until a function returns something true."""
    deadline = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < deadline, f"waited {deadline_s} s in vain"
        time.sleep(0.02)


def remove(number: int) -> None:
    """Remove a bridge and its namespaces, with all processes in these."""
    bridge = f"{PREFIX}{number}"
    for namespace in [path.name for path in Path("/run/netns").glob(f"{bridge}-*")]:
        until(lambda namespace=namespace: not _kill_all(namespace))
        _ip("netns", "delete", namespace)
    _remove_devices(number)
    _ip("link", "delete", bridge, check=False)


def _remove_devices(number: int) -> None:
    """Remove the ends of namespaces that are on this host; the kernel does so too, and takes its time."""
    devices = Path("/sys/class/net")
    for device in [path.name for path in devices.glob(f"p{number}n*")]:
        _ip("link", "delete", device, check=False)
    until(lambda: not list(devices.glob(f"p{number}n*")))


def _kill_all(namespace: str) -> list[int]:
    pids = [int(word) for word in _printed("netns", "pids", namespace).split()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)
    return pids


def remove_stale() -> None:
    """Remove what a test run that was killed has left."""
    for number, owner in _bridges():
        if owner and owner != _who(int(owner.partition(" ")[0])):
            remove(number)


def _bridges() -> Iterator[tuple[int, str]]:
    for path in Path("/sys/class/net").glob(f"{PREFIX}[0-9]*"):
        yield int(path.name.removeprefix(PREFIX)), (path / "ifalias").read_text().strip()


def _who(pid: int) -> str:
    stat = read_stat(pid)
    return f"{pid} {stat.start_time if stat is not None and stat.state not in 'ZX' else 'gone'}"


def _ip(*words: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.returncode == 0


def _printed(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
