"""The input files of programs, looked at when these are described, before anything starts.

What is configured is read then, once for all programs that are started together, so that all of them get the
same text. What is copied or linked from the directory of the run may come later: another program makes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.application import Application
from orchestrator.errors import InputFileError
from orchestrator.input_files import RENAME, How, InputFile
from orchestrator.run_files import colocated_directory, log_of
from orchestrator.template import Template, can_be_tag, is_text, parsed

PART = ".penstock.part"
"""In a working directory: what is being laid, before it is complete."""
OURS = (PART, *(path.name for path in (log_of(Path()), colocated_directory(Path()))))
SHOWN = 5


@dataclass(frozen=True)
class Configured:
    """The templates of a file, by the empty path, or of all files of a directory, by their paths in it."""

    templates: Mapping[PurePosixPath, Template]
    checksum: str


@dataclass(frozen=True)
class Input:
    """One file or directory that a program finds, looked at.

    Attributes:
        how: what becomes of it.
        source: its absolute path.
        target: its path in the working directory.
        mark: of the tags in it.
        configured: what it is made from, where it is.
        values: what is written in place of the tags.
    """

    how: How
    source: Path
    target: str
    mark: str = ""
    configured: Configured | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> set[str]:
        """The names of the parameters in it."""
        templates = self.configured.templates.values() if self.configured is not None else ()
        return {tag.name for template in templates for tag in template.tags}

    def as_json(self) -> dict[str, Any]:
        """Return what a record tells of it."""
        checksum = {} if self.configured is None else {"checksum": self.configured.checksum}
        return {"how": self.how.value, "source": str(self.source), "target": self.target, **checksum}


class Sources:
    """The files of programs that are started together: each is looked at once."""

    def __init__(self) -> None:
        self._trees: dict[Path, tuple[Path, ...]] = {}
        self._configured: dict[tuple[Path, str], Configured] = {}

    def inputs(self, application: Application, directory: Path) -> tuple[Input, ...]:
        """Check and return what a program finds in its working directory.

        Args:
            application: the program.
            directory: its working directory.

        Raises:
            InputFileError: naming the file, and the line and parameter where it is about these.
        """
        if not application.files:
            return ()
        values = {name: _text(value) for name, value in application.parameters.items()}
        inputs = tuple(self._readable(application, each, directory, values) for each in application.files)
        _check_parameters(application, inputs)
        return inputs

    def _readable(
        self, application: Application, file: InputFile, directory: Path, values: Mapping[str, str]
    ) -> Input:
        try:
            return self._input(application, file, directory, values)
        except OSError as error:  # also of a directory above it, or a name that is too long
            source = file.source.absolute()
            raise InputFileError(
                application.name, f"{str(source)!r} cannot be read: {error}", source
            ) from error

    def _input(
        self, application: Application, file: InputFile, directory: Path, values: Mapping[str, str]
    ) -> Input:
        name, source, mark = application.name, file.source.absolute(), application.files.tag
        if PurePosixPath(file.target).parts[0] in OURS:
            raise InputFileError(name, f"the run has a {file.target!r} of its own there; {RENAME}", source)
        there = source.exists()
        awaited = file.how is not How.CONFIGURED and source.is_relative_to(directory.parent)
        if not there and not awaited:
            raise InputFileError(name, f"the input file {str(source)!r} does not exist", source)
        if there and file.how is not How.LINKED:
            self._check_tree(name, source, directory)
        if file.how is not How.CONFIGURED:
            return Input(file.how, source, file.target)
        configured = self._read(name, source, mark)
        for path, template in configured.templates.items():
            _check_tags(name, source / path, template, mark, values)
        return Input(file.how, source, file.target, mark, configured, values)

    def _check_tree(self, name: str, source: Path, directory: Path) -> None:
        if directory.resolve().is_relative_to(source.resolve()):
            raise InputFileError(
                name, f"{str(source)!r} cannot be copied: the directory of the run is in it", source
            )
        self._tree(name, source)

    def _tree(self, name: str, source: Path) -> tuple[Path, ...]:
        """Return the files of a directory, or the file."""
        if source not in self._trees:
            self._trees[source] = tuple(_files_in(name, source, ()))
        return self._trees[source]

    def _read(self, name: str, source: Path, mark: str) -> Configured:
        if (source, mark) not in self._configured:
            tree = self._tree(name, source)
            texts = {PurePosixPath(path.relative_to(source)): _content(name, path) for path in tree}
            digest = hashlib.sha256()
            for path, text in sorted(texts.items()):
                digest.update(f"{path} {len(text)}\n".encode() + text)
            templates = {path: parsed(text, mark) for path, text in texts.items()}
            self._configured[source, mark] = Configured(templates, digest.hexdigest())
        return self._configured[source, mark]


def _files_in(name: str, source: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files of a directory, through links too, or the file; refuse what cannot be copied."""
    if source.is_dir():
        real = source.resolve()
        if real in above:
            raise InputFileError(name, f"{str(source)!r} cannot be copied: it leads to where it is", source)
        for each in sorted(source.iterdir()):
            yield from _files_in(name, each, (*above, real))
        return
    if not source.is_file():
        what = "leads nowhere" if source.is_symlink() and not source.exists() else "is no file"
        raise InputFileError(name, f"{str(source)!r} cannot be copied: it {what}", source)
    if not os.access(source, os.R_OK):
        raise InputFileError(name, f"{str(source)!r} cannot be read; try `chmod +r {source}`", source)
    yield source


def _content(name: str, path: Path) -> bytes:
    text = path.read_bytes()
    if not is_text(text):
        raise InputFileError(name, f"{str(path)!r} is no text, so nothing in it is configured; copy it", path)
    return text


def _check_tags(name: str, path: Path, template: Template, mark: str, values: Mapping[str, str]) -> None:
    for tag in template.tags:
        if tag.name not in values:
            there = ", ".join(list(values)[:SHOWN]) or "none"
            raise InputFileError(
                name,
                f"{path}, line {tag.line}: there is no parameter {tag.name!r} for {mark}{tag.name}{mark}; "
                f"there is: {there}. Where that is no tag, choose another: InputFiles(..., tag='@')",
                path,
                tag.line,
                tag.name,
            )


def _check_parameters(application: Application, inputs: tuple[Input, ...]) -> None:
    """Refuse a parameter that is used nowhere, where there are files that could."""
    read = [each for each in inputs if each.configured is not None]
    if not read:
        return
    used = {name for each in read for name in each.tags} | set(application.on_command_line)
    mark = application.files.tag
    for parameter in application.parameters:
        if parameter not in used:
            where = ", ".join(str(each.source) for each in read[:SHOWN])
            hint = "" if can_be_tag(parameter) else f"; it cannot be: {parameter!r} is no name for a tag"
            raise InputFileError(
                application.name,
                f"the parameter {parameter!r} is used nowhere: no {mark}{parameter}{mark} in {where}{hint}",
                read[0].source,
                None,
                parameter,
            )


def _text(value: str | int | float | Path) -> str:
    return str(value.absolute()) if isinstance(value, Path) else str(value)
