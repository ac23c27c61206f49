"""Every path of a run: the only place that makes them.

A run has two places. Its *run directory*, `runs/<experiment>/<id>/`, is the user's: `run.json`, and for each
program a directory with its log. Its *runtime directory*, private and short-lived, holds what must be on this
host and short: the Unix sockets (whose paths are limited to 107 bytes) and the lock that its driver holds.
A link in the user's state directory leads from anywhere to the runs.

As a program, `python -m orchestrator.run_files RUNTIME`, it removes from another host what a run has there.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RunError

SOCKET_PATH_LIMIT = 107
LONGEST_IDENTIFIER = 24
"""Of a database: its socket is called so."""
LONGEST_SOCKET_NAME = len("/database_.sock") + LONGEST_IDENTIFIER
TAIL_LINES = 20
TAIL_BYTES, LONG_TAIL_BYTES = 1 << 14, 1 << 20
RECORD = "run.json"
RESUMED_ID = re.compile(r"(.+)-r(\d+)")
QUEUED = "queued"
BEFORE = "before"
"""In the record of a run that is queued to be resumed: what it said of the run until then."""
OUT_OF_TIME = "out_of_time"


@dataclass(frozen=True)
class RunFiles:
    """The paths of one run. Making an object makes nothing on disk.

    Attributes:
        run_id: `<experiment>-<time>-<random>`.
        directory: the run directory.
        runtime: the runtime directory.
        batch: the number of the batch job that the driver is, or will be.
        earlier: the id that the run had before it was resumed.
    """

    run_id: str
    directory: Path
    runtime: Path
    batch: str | None = None
    earlier: str | None = None

    @classmethod
    def plan(
        cls, experiment: str, run_dir: Path | None = None, job: str | None = None, *, resume: bool = False
    ) -> RunFiles:
        """Choose the paths of a new run.

        Args:
            experiment: its name.
            run_dir: the run directory itself; `runs/<experiment>/<id>` under the current one by default.
            job: of the batch system, in which this driver runs. If it was submitted with this run directory,
                the run is the one that was queued then, and keeps its id.
            resume: go on with the run in this directory. It gets a new id, so that what still ends the
                leftovers of the old one ends none of its own.
        """
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        directory = run_dir if run_dir is not None else Path("runs") / experiment / stamp
        runtime = _runtime_parent() / f"penstock-{stamp}"
        if resume and run_dir is None:
            raise RunError("a run is resumed in its directory, and none is given: pass run_dir on")
        queued = _queued(directory) if job is not None else {}
        queued = queued if queued.get("batch") == job else {}
        if resume:
            earlier = str(as_it_was(read_record(directory)).get("run"))
            run_id = queued.get("run") or _next_id(str(read_record(directory).get("run")))
            return cls(run_id, directory.absolute(), runtime, job if queued else None, earlier)
        if queued:
            return cls(queued["run"], directory.absolute(), runtime, job)
        return cls(f"{experiment}-{stamp}", directory.absolute(), runtime)

    @property
    def record(self) -> Path:
        """What is known of the run, as JSON."""
        return self.directory / RECORD

    @property
    def batch_script(self) -> Path:
        """What was submitted to the batch system."""
        return self.directory / "batch.sh"

    @property
    def batch_log(self) -> Path:
        """What a driver prints that is a batch job."""
        return batch_log_of(self.directory)

    @property
    def lock(self) -> Path:
        """Held by the driver as long as it lives."""
        return self.runtime / "driver.lock"

    @property
    def resume_lock(self) -> Path:
        """Held by a driver that has resumed the run as long as it lives."""
        return self.directory / "resume.lock"

    def job_directory(self, name: str) -> Path:
        """Where a program runs."""
        return self.directory / name

    def shard_directory(self, database: str, number: int) -> Path:
        """Where a shard of a database runs."""
        return self.directory / database / f"shard_{number}"

    def saves(self, database: str) -> Path:
        """Where a database is saved for a resume: a directory for each time, called by its number."""
        return self.directory / database / "saved"

    def socket(self, name: str) -> Path:
        """The Unix socket of a database of one shard."""
        return self.runtime / f"{name}.sock"

    def share(self, name: str, host: str) -> Path:
        """The file by which the ranks of a program on one host agree on their database."""
        return self.runtime / f"{name}.{host}.share"

    def create(self) -> None:
        """Make both directories and the link in the state directory.

        Raises:
            RunError: naming what cannot be made, or that the directory belongs to another run.
        """
        try:
            with ExitStack() as undo:
                self.directory.mkdir(parents=True, exist_ok=True)
                if self.batch is None and self.earlier is None:
                    self._claim()
                    undo.callback(self.record.unlink)
                self.runtime.mkdir(mode=0o700)
                undo.callback(self.runtime.rmdir)
                self._register()
                undo.pop_all()
        except OSError as error:
            raise RunError(
                f"the directories of the run cannot be made: {error}. "
                "Give another --run-dir, XDG_STATE_HOME or XDG_RUNTIME_DIR",
                run=self.run_id,
            ) from error

    def create_queued(self, script: str, submit: Callable[[], str]) -> str:
        """Make the run directory of a run that waits for its batch job; return the number of that.

        That of a run to be resumed is there, and what an earlier job has left in it gets another name.

        Args:
            script: of the job.
            submit: submits it, writes its record, and returns its number; or leaves no job.

        Raises:
            RunError: as `create` does.
        """
        try:
            with ExitStack() as undo:
                self.directory.mkdir(parents=True, exist_ok=True)
                if self.earlier is None:
                    self._claim()
                    undo.callback(self.record.unlink)
                for path in filter(Path.exists, (self.batch_script, self.batch_log)):
                    kept = path.rename(path.with_name(f"{self.earlier}.{path.name}"))
                    undo.callback(kept.rename, path)
                self.batch_script.write_text(script)
                self._register()
                undo.callback(self._unregister)
                job = submit()
                undo.pop_all()
            return job
        except OSError as error:
            raise RunError(f"the run directory cannot be made: {error}", run=self.run_id) from error

    def _register(self) -> None:
        """Make the link in the state directory, unless whoever queued the run has."""
        registry().mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget_removed_runs(self.directory, self.run_id)
        if self.earlier is not None:
            (registry() / self.earlier).unlink(missing_ok=True)
        link = registry() / self.run_id
        if not link.is_symlink():
            link.symlink_to(self.directory)

    def _unregister(self) -> None:
        (registry() / self.run_id).unlink(missing_ok=True)
        if self.earlier is not None:
            (registry() / self.earlier).symlink_to(self.directory)

    def _claim(self) -> None:
        """Take the directory by making an empty record in it: of two runs at once, one finds it there."""
        try:
            self.record.touch(exist_ok=False)
        except FileExistsError as error:
            raise RunError(
                f"{self.directory} holds a run already; give another --run-dir", run=self.run_id
            ) from error

    def abandon(self) -> None:
        """Give the directory back where nothing was recorded in it: the run has not begun."""
        if self.record.exists() and self.record.stat().st_size == 0:
            self.record.unlink()
            self._unregister()

    def remove_runtime(self) -> None:
        """Remove the runtime directory, unless the watcher has."""
        if self.runtime.exists():
            shutil.rmtree(self.runtime)

    def write_record(self, text: str) -> None:
        """Replace the record of the run by this JSON."""
        replace_record(self.directory, text)


def log_of(job_directory: Path) -> Path:
    """The output and errors of the program that runs in a directory."""
    return job_directory / "log.txt"


def batch_log_of(directory: Path) -> Path:
    """What the driver of a run prints where it is a batch job."""
    return directory / "batch.log"


def colocated_directory(job_directory: Path) -> Path:
    """Where the databases beside a program tell where they are: a file for each host."""
    return job_directory / "colocated"


def registry() -> Path:
    """The user's directory of links to runs."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "penstock" / "runs"


def database_history() -> Path:
    """What the user has typed at the prompt of a database."""
    return registry().parent / "db_history"


def registered_runs() -> Iterator[tuple[str, Path]]:
    """Yield (id, run directory) of the runs whose record is written and still exists, the newest first.

    A directory that was removed and is used again is that of the newest of its runs.
    """
    known: set[tuple[int, int] | None] = set()
    for link, directory in _links():
        place = _place(directory)
        if _is_written(directory / RECORD) and (place is None or place not in known):
            known.add(place)
            yield link.name, directory


def _links() -> list[tuple[Path, Path]]:
    """Return the links of the registry and where they lead to, the newest first. Some may go meanwhile."""
    found: list[tuple[int, Path, Path]] = []
    for link in registry().iterdir() if registry().is_dir() else ():
        with suppress(FileNotFoundError):
            if link.is_symlink():
                found.append((link.lstat().st_mtime_ns, link, link.readlink()))
    return [(link, directory) for _, link, directory in sorted(found, reverse=True)]


def _next_id(run_id: str) -> str:
    """Return the id of a run when it is resumed: `-r1` comes after it, then `-r2`."""
    stem, number = match.groups() if (match := RESUMED_ID.fullmatch(run_id)) else (run_id, "0")
    return f"{stem}-r{int(number) + 1}"


def as_it_was(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record that a run had before it was queued to be resumed; the same where it is not."""
    before = record.get(BEFORE) if record.get("state") == QUEUED else None
    return {name: fact for name, fact in {**record, **(before or {})}.items() if name != BEFORE}


def _queued(directory: Path) -> dict[str, Any]:
    """Return the record of a run that waits for its batch job; an empty one where none does."""
    record = read_record(directory) if _is_written(directory / RECORD) else {}
    return record if record.get("state") == QUEUED else {}


def _is_written(record: Path) -> bool:
    """Tell whether a record has been written. One that cannot be looked at has: who reads it says why."""
    try:
        return record.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _forget_removed_runs(directory: Path, run_id: str) -> None:
    """Remove the links to runs that are gone, and those to the directory of this run: it is no other's."""
    own = _place(directory)
    for link, there in _links():
        if _is_gone(there) or (link.name != run_id and own is not None and _place(there) == own):
            link.unlink(missing_ok=True)


def _place(directory: Path) -> tuple[int, int] | None:
    """Return what a directory is, by whatever path; None where that cannot be told."""
    try:
        stat = directory.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _is_gone(path: Path) -> bool:
    """Tell whether there is certainly nothing: what only cannot be looked at now may come back."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def runtime_here(runtime: Path) -> Path:
    """Return the runtime directory of a run on this host, given that on the driver's; makes nothing.

    It is the same where there can be one: TMPDIR and XDG_RUNTIME_DIR may be the driver's host's alone.
    """
    parent = runtime.parent
    return runtime if os.access(parent, os.W_OK | os.X_OK) else _runtime_parent() / runtime.name


def read_record(directory: Path) -> dict[str, Any]:
    """Return the record of a run.

    Raises:
        RunError: it cannot be read.
    """
    try:
        record = json.loads((directory / RECORD).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"the record of the run in {directory} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise RunError(f"the record of the run in {directory} is no JSON object")
    return record


def replace_record(directory: Path, text: str) -> None:
    """Replace the record of a run in one step, so that a reader never sees half of it.

    Raises:
        RunError: it cannot be written, and is what it was.
    """
    path = directory / RECORD
    part = path.with_suffix(".part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise RunError(f"the record of the run cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def take_lock(lock: Path) -> int:
    """Take the driver's lock and return its descriptor; the kernel frees it when the driver ends."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def lock_is_held(lock: Path) -> bool:
    """Tell whether a driver holds this lock."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def tail(log: Path, lines: int = TAIL_LINES, *, until: str | None = None, since: int = 0) -> str:
    """Return the last lines of a log, or nothing where there is no log.

    Args:
        log: the file.
        lines: how many.
        until: a pattern; what comes from its line on is left out.
        since: so many bytes at its beginning are left out.
    """
    text = _last(log, TAIL_BYTES if until is None else LONG_TAIL_BYTES, since)
    found = re.search(until, text) if until is not None else None
    if found is not None:
        text = text[: text.rfind("\n", 0, found.start()) + 1]
    return "\n".join(text.splitlines()[-lines:])


def _last(log: Path, count: int, since: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(since, file.tell() - count))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _runtime_parent() -> Path:
    """The user's runtime directory, else the one for temporary files, else /tmp: the first short enough."""
    longest = SOCKET_PATH_LIMIT - LONGEST_SOCKET_NAME - len("/penstock-20260101-000000-abcdef")
    wanted = (os.environ.get("XDG_RUNTIME_DIR"), _temporary(), "/tmp")
    for candidate in wanted:
        found = Path(candidate).absolute() if candidate else None
        if found and len(os.fsencode(found)) <= longest and os.access(found, os.W_OK | os.X_OK):
            return found
    raise RunError(
        f"no directory is short enough for a Unix socket (at most {longest} bytes) and writable: tried "
        + ", ".join(str(candidate) for candidate in wanted if candidate)
    )


def _temporary() -> str | None:
    """Return the directory for temporary files; None where not one of those is good for a file."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    shutil.rmtree(runtime_here(Path(sys.argv[1])), ignore_errors=True)
