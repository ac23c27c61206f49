"""One process, by posix_spawn of the C library: it begins in its directory, in a session of its own.

Python's own posix_spawn knows no working directory, and subprocess costs twice as much, which counts where
thousands of short programs are started. ctypes lets other threads run meanwhile. A C library that lacks what
is needed (glibc before 2.34), files to be inherited and programs to be looked for on PATH are for subprocess.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

SPAWN_SETSIGDEF, SPAWN_SETSID = 0x04, 0x80  # of spawn.h
LARGEST = 1024
"""Bytes that are enough for each of these structures in every C library."""
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
NULL_DEVICE = os.fsencode(os.devnull)
NEEDED = ("posix_spawn", "posix_spawn_file_actions_addchdir_np", "posix_spawn_file_actions_addclosefrom_np")
DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores and no other program expects to be."""


class Process(Protocol):
    """A process that was started, with its number; None is the exit code as long as nobody has waited."""

    pid: int
    returncode: int | None

    def wait(self) -> int:
        """Wait for its end and return its exit code; negative is the signal that killed it."""
        ...


class Spawned:
    """A process that was started by posix_spawn."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for its end and return its exit code; negative is the signal that killed it."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def spawn(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    output: int,
    inherits: Sequence[int] = (),
) -> Process:
    """Start a process and return when it has become the program.

    Args:
        command: the program and its arguments.
        directory: where it begins.
        environment: all of it.
        output: the open file that gets its output and errors. It has no input.
        inherits: other open files that it gets, by their numbers.

    Raises:
        OSError: the operating system refused.
    """
    library = _library()
    if library is None or inherits or "/" not in command[0]:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=inherits,
        )
    return _spawned(library, command, directory, environment, output)


def _spawned(
    library: _Library, command: Sequence[str], directory: Path, environment: Mapping[str, str], output: int
) -> Spawned:
    pid = ctypes.c_int()
    argv = _strings(map(os.fsencode, command))
    variables = _strings(f"{name}={text}".encode(ENCODING, ERRORS) for name, text in environment.items())
    quick, actions = library.quick, ctypes.create_string_buffer(LARGEST)
    error = (
        quick.posix_spawn_file_actions_init(actions)
        or quick.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(directory))
        or quick.posix_spawn_file_actions_addopen(actions, 0, NULL_DEVICE, os.O_RDONLY, 0)
        or quick.posix_spawn_file_actions_adddup2(actions, output, 1)
        or quick.posix_spawn_file_actions_adddup2(actions, output, 2)
        or quick.posix_spawn_file_actions_addclosefrom_np(actions, 3)
        or library.posix_spawn(ctypes.byref(pid), argv[0], actions, library.attributes, argv, variables)
    )
    quick.posix_spawn_file_actions_destroy(actions)
    if error:
        raise OSError(error, os.strerror(error), command[0])
    return Spawned(pid.value)


def _strings(words: Iterable[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    every = (*words, None)
    return (ctypes.c_char_p * len(every))(*every)


class _Library(NamedTuple):
    """The C library: what returns at once, in calls that no other thread runs beside, and what does not."""

    quick: ctypes.PyDLL
    posix_spawn: Any
    attributes: ctypes.Array[ctypes.c_char]


@cache
def _library() -> _Library | None:
    """Return the C library, None where it lacks something."""
    quick = ctypes.PyDLL(None)
    if not all(hasattr(quick, name) for name in NEEDED):
        return None
    return _Library(quick, ctypes.CDLL(None).posix_spawn, _attributes(quick))


def _attributes(library: ctypes.PyDLL) -> ctypes.Array[ctypes.c_char]:
    """Return what is the same of all: a session of their own, and signals as programs expect them."""
    signals, attributes = ctypes.create_string_buffer(LARGEST), ctypes.create_string_buffer(LARGEST)
    library.sigemptyset(signals)
    for number in DEFAULTED:
        library.sigaddset(signals, number)
    library.posix_spawnattr_init(attributes)
    library.posix_spawnattr_setsigdefault(attributes, signals)
    library.posix_spawnattr_setflags(attributes, ctypes.c_short(SPAWN_SETSIGDEF | SPAWN_SETSID))
    return attributes
