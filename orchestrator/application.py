"""What to run and with what: plain descriptions, checked before anything starts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from pathlib import Path

from orchestrator.errors import ApplicationError
from orchestrator.input_files import InputFiles
from orchestrator.resources import Resources
from orchestrator.template import can_be_given

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
RESERVED = re.compile(r"database(_\w+)?|run\.(json|part)|resume\.lock")
"""Names that a run needs for its databases, their shards and its record."""


@dataclass(frozen=True)
class Application:
    """One program to start.

    Attributes:
        name: also the name of its directory in the run, and the producer of its snapshots.
        command: the program and its arguments. A `Path` is made absolute where the Experiment script runs;
            so is a program named with a slash, and a Python script named directly after the interpreter,
            for the program itself runs in its own directory. Everything else is passed as it is.
        pre: lines of bash that run before it in the same shell, as in `["module load gcc"]`; where one ends
            with another exit code than 0, the program has failed with it. Each rank of a program runs them.
        prefix: words before the command, as in `["apptainer", "exec", Path("image.sif")]`: a container or a
            wrapper, which is found as the program else is; a `Path` in it must exist. What the command names
            may then be known to the container alone: it is passed as it is, each `Path` made absolute.
        resources: what it needs of the host.
        environment: variables on top of those of the Experiment script.
        parameters: what sets it apart from other members of its Ensemble: for the record, and in place of the
            tags in configured files. There each must have one, but for those `on_command_line`.
        on_command_line: names of parameters that its command has already.
        files: what it finds in its working directory when it starts.
        prefix_keys: its SmartRedis clients put `<name>.` before the keys of tensors and datasets.
        reads_from: names of programs with `prefix_keys` among which its SmartRedis clients can choose by
            `set_data_source`; at first they read from the first. A program with `prefix_keys` itself can read
            from itself too.
    """

    name: str
    command: Sequence[str | Path]
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str | int | float | Path] = field(default_factory=dict)
    prefix_keys: bool = False
    reads_from: Sequence[str] = ()
    pre: Sequence[str] = ()
    prefix: Sequence[str | Path] = ()
    files: InputFiles = field(default_factory=InputFiles)
    on_command_line: Collection[str] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "reads_from", checked_sources(self.name, self.reads_from))
        for where in ("command", "prefix"):
            object.__setattr__(self, where, checked_words(self.name, where, getattr(self, where)))
        object.__setattr__(self, "pre", checked_lines(self.name, self.pre))
        for variable, text in dict(self.environment).items():
            _check_variable(self.name, variable, text)
        object.__setattr__(self, "environment", dict(self.environment))
        check_files(self.name, self.files)
        for parameter, value in dict(self.parameters).items():
            _check_parameter(self.name, parameter, value)

    def argv(self) -> tuple[str, ...]:
        """Return the exact command, after checking that it can be started.

        Raises:
            ApplicationError: naming the executable or script that is missing or not executable.
        """
        if self.prefix:
            for path in (item for item in self.prefix[1:] if isinstance(item, Path)):
                if not path.exists():
                    raise ApplicationError(self.name, f"prefix: {str(path.absolute())!r} does not exist")
            words = (self._executable(self.prefix[0]), *map(_word, (*self.prefix[1:], *self.command)))
        else:
            executable = self._executable(self.command[0])
            rest = [_word(item) for item in self.command[1:]]
            if rest and rest[0].endswith(".py") and Path(executable).name.startswith("python"):
                rest[0] = self._script(rest[0])
            words = (executable, *rest)
        return after_lines(self.pre, words) if self.pre else words

    def _executable(self, program: str | Path) -> str:
        if isinstance(program, str) and "/" not in program:
            if self.pre:
                return program  # which of this name it is depends on what these lines do to PATH
            found = shutil.which(program, path=search_path(self.environment))
            if found is None:
                raise ApplicationError(self.name, f"there is no executable {program!r} on PATH")
            return found
        path = Path(program).absolute()
        if not path.exists():
            raise ApplicationError(self.name, f"the executable {str(path)!r} does not exist")
        if not path.is_file() or not os.access(path, os.X_OK):
            raise ApplicationError(
                self.name,
                f"{str(path)!r} is not executable; try `chmod +x {path}`, or name its interpreter first",
            )
        return str(path)

    def _script(self, script: str) -> str:
        path = Path(script).absolute()
        if not path.is_file():
            raise ApplicationError(self.name, f"the script {str(path)!r} does not exist")
        return str(path)


def after_lines(lines: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """Return the command of a shell that runs lines and then becomes a program. Pure.

    It is bash, for which sites export the function `module`. Each line stands in braces of its own, so that a
    comment at its end hides nothing.

    Args:
        lines: of bash.
        words: the program and its arguments.
    """
    script = "".join(f"{{ {line}\n}} || {_ended(line)}\n" for line in lines)
    return ("bash", "-c", f'{script}exec "$@"', "bash", *words)


def _ended(line: str) -> str:
    """Return what says in the log which line has failed, and ends the shell with its exit code."""
    said = shlex.quote(f"penstock: this line of pre has failed: {line}")
    return f"{{ code=$?; echo {said} >&2; exit $code; }}"


def checked_lines(name: str, lines: object) -> tuple[str, ...]:
    """Return lines of bash.

    Raises:
        ApplicationError: naming what is none.
    """
    if isinstance(lines, str) or not isinstance(lines, Sequence):
        raise ApplicationError(name, f'pre={lines!r}: a list of lines is needed, as in ["module load gcc"]')
    for line in lines:
        if not isinstance(line, str) or not line.strip() or "\n" in line or not can_be_given(line):
            raise ApplicationError(name, f"pre: {line!r} is no line of text")
    return tuple(lines)


def checked_words(name: str, where: str, words: object) -> tuple[str | Path, ...]:
    """Return the words of a command or a prefix.

    Raises:
        ApplicationError: naming what is no word.
    """
    if isinstance(words, str) or not isinstance(words, Sequence) or (where == "command" and not words):
        ours = "the program, then each of its arguments"
        what = (
            ours
            if where == "command"
            else 'words before the command, as in ["apptainer", "exec", "image.sif"]'
        )
        raise ApplicationError(name, f"the {where} is a list: {what}")
    for item in words:
        if not isinstance(item, str | Path) or not can_be_given(str(item)):
            raise ApplicationError(name, f"{item!r} in the {where} is neither text nor a Path")
    return tuple(words)


def _word(item: str | Path) -> str:
    return str(item.absolute()) if isinstance(item, Path) else item


def checked_sources(name: str, sources: object) -> tuple[str, ...]:
    """Return the names of the programs whose keys one reads.

    Raises:
        ApplicationError: naming what is no name of a program.
    """
    if isinstance(sources, str) or not isinstance(sources, Sequence):
        raise ApplicationError(name, f"reads_from={sources!r}: a list of names of programs is needed")
    for source in sources:
        if not isinstance(source, str) or not NAME.fullmatch(source):
            raise ApplicationError(name, f"reads_from: {source!r} cannot be the name of a program")
    return tuple(sources)


def check_files(name: str, files: object) -> None:
    """Refuse what does not describe input files.

    Raises:
        ApplicationError: naming it.
    """
    if not isinstance(files, InputFiles):
        raise ApplicationError(name, f"files={files!r}: InputFiles(copied=[...], configured=[...]) is needed")


def _check_parameter(name: str, parameter: object, value: object) -> None:
    if not isinstance(parameter, str) or not isinstance(value, str | Path | Real):
        raise ApplicationError(name, f"the parameter {parameter!r}={value!r} is neither text nor a number")
    if not can_be_given(str(value)):
        raise ApplicationError(name, f"the parameter {parameter!r}={value!r} cannot be given to a program")


def _check_variable(name: str, variable: object, text: object) -> None:
    if not isinstance(variable, str) or not variable or "=" in variable or not can_be_given(variable):
        raise ApplicationError(name, f"{variable!r} in the environment is no name of a variable")
    if not isinstance(text, str) or not can_be_given(text):
        raise ApplicationError(name, f"{variable}={text!r} in the environment: must be text")


def search_path(environment: Mapping[str, str]) -> str:
    """Return the PATH of a started program: that of its environment, after this virtual environment's."""
    path = environment.get("PATH", os.environ.get("PATH", os.defpath))
    own = _own_programs()
    if sys.prefix == sys.base_prefix or own in path.split(os.pathsep):
        return path
    return own + os.pathsep + path


@cache
def _own_programs() -> str:
    """Return the directory of the programs of this Python, asked for once for thousands of members."""
    return str(Path(sys.executable).parent)


def check_name(name: str) -> None:
    """Refuse a name that cannot be a directory and part of a key.

    Raises:
        ApplicationError: naming it.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ApplicationError(
            str(name),
            "a name has letters, digits, '_', '-' and '.', begins with a letter or digit, up to 100",
        )
    if RESERVED.fullmatch(name):
        raise ApplicationError(name, "this name is taken: a run has something of its own called so")
