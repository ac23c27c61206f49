"""Laying input files into the working directory of a program, just before it starts.

The driver does it, since all hosts see a run directory. What is there already stays: when a program
is tried again, or started again in a resumed run, its files may have become its own by what it wrote to them.
So each is laid under another name and then renamed: a driver that is killed leaves no half of one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from orchestrator.input_files import How
from orchestrator.sources import PART, Input
from orchestrator.template import Template


def lay(inputs: Sequence[Input], directory: Path) -> None:
    """Lay what is not there yet.

    Raises:
        OSError: naming the file that cannot be read or written.
    """
    for each in inputs:
        target = directory / each.target
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = directory / PART
            _remove(part)
            _make(each, part)
            part.rename(target)


def by_hand(each: Input) -> list[str]:
    """Return the commands of a shell that do the same in a working directory. Pure.

    Values are put in one after another, so none may have a tag in it.
    """
    source, target = shlex.quote(str(each.source)), shlex.quote(each.target)
    parent = str(PurePosixPath(each.target).parent)
    made = [] if parent == "." else [f"mkdir -p {shlex.quote(parent)}"]
    if each.configured is None:
        return [*made, f"{'ln -s' if each.how is How.LINKED else 'cp -rL'} {source} {target}"]
    edits = {
        shlex.quote(str(PurePosixPath(each.target) / path)): _sed(template, each)
        for path, template in each.configured.templates.items()
        if template.tags
    }
    return [*made, f"cp -rL {source} {target}", *(f"sed -i {how} {path}" for path, how in edits.items())]


def _sed(template: Template, each: Input) -> str:
    edits = []
    for name in dict.fromkeys(tag.name for tag in template.tags):
        tag = re.sub(r"([][\\/.*^$])", r"\\\1", f"{each.mark}{name}{each.mark}")
        value = re.sub(r"([\\/&\n])", r"\\\1", each.values[name])
        edits.append("-e " + shlex.quote(f"s/{tag}/{value}/g"))
    return " ".join(edits)


def _make(each: Input, path: Path) -> None:
    if each.how is How.LINKED:
        each.source.stat()  # raises where it leads nowhere
        path.symlink_to(each.source)
        return
    if each.configured is None:
        _copy(each.source, path)
    else:
        _write(each.source, path, each.configured.templates, each.values)


def _copy(source: Path, path: Path) -> None:
    """Copy a file or directory; what a link leads to is copied too."""
    if source.is_dir():
        path.mkdir()
        for each in source.iterdir():
            _copy(each, path / each.name)
    else:
        shutil.copyfile(source, path)
    _let_write(path, source)


def _write(
    source: Path, path: Path, templates: Mapping[PurePosixPath, Template], values: Mapping[str, str]
) -> None:
    """Write what is configured. What has come to a directory since that was read is none of it."""
    if source.is_dir():
        _copy_directories(source, path)
    for inner, template in templates.items():
        (path / inner).write_bytes(template.filled(values))
        _let_write(path / inner, source / inner)


def _copy_directories(source: Path, path: Path) -> None:
    path.mkdir()
    for each in source.iterdir():
        if each.is_dir():
            _copy_directories(each, path / each.name)
    _let_write(path, source)


def _let_write(path: Path, source: Path) -> None:
    """Give a copy the permissions of its source, and let the program write to it."""
    own = stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR
    path.chmod(stat.S_IMODE(source.stat().st_mode) & 0o777 | own)


def _remove(path: Path) -> None:
    """Remove what a driver that was killed has left, if any."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
