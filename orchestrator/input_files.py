"""Which files a program finds in its working directory when it starts: a description."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from orchestrator.errors import UsageError
from orchestrator.template import DEFAULT_MARK, can_be_given, can_be_mark

Named: TypeAlias = Sequence[str | Path] | Mapping[str, str | Path]


class How(str, enum.Enum):
    """What becomes of a file."""

    COPIED = "copied"
    LINKED = "linked"
    CONFIGURED = "configured"


class InputFile(NamedTuple):
    """One file or directory: what becomes of it, its path in the working directory, where it comes from."""

    how: How
    target: str
    source: Path


@dataclass(frozen=True)
class InputFiles:
    """The files that are laid into a program's working directory before it starts; directories too.

    Each is a list of paths, whose last part is the name there; or a mapping from other names, as in
    `{"run.nml": HERE / "templates/run_{scheme}.nml"}`. A path is taken from where the Experiment script runs.

    Attributes:
        copied: they are the program's own, to write to.
        linked: by a symbolic link: for what is large and only read.
        configured: text in which `;parameter;` is replaced by the value; a directory is copied with every
            file in it configured. A parameter that has no tag is an error, and a tag without a value too.
        tag: what is before and after the name of a parameter, where `;` means something else in the text.
    """

    copied: Named = ()
    linked: Named = ()
    configured: Named = ()
    tag: str = DEFAULT_MARK

    def __post_init__(self) -> None:
        for how in How:
            object.__setattr__(self, how.value, _by_target(how.value, getattr(self, how.value)))
        if not can_be_mark(self.tag):
            raise UsageError(
                f"InputFiles(tag={self.tag!r}): must be one to eight signs that no name has, as '@'"
            )
        _check_apart([each.target for each in self])

    def __iter__(self) -> Iterator[InputFile]:
        for how in How:
            for target, source in dict(getattr(self, how.value)).items():
                yield InputFile(how, target, Path(source))

    def __bool__(self) -> bool:
        return any(getattr(self, how.value) for how in How)

    def filled(self, fill: Callable[[str], str]) -> InputFiles:
        """Return the same with every path changed by a function.

        Raises:
            UsageError: two have the same name now, or one has a name that cannot be.
        """
        if not self:
            return self
        by_how: dict[How, dict[str, str]] = {how: {} for how in How}
        for each in self:
            target = _checked_target(each.how.value, fill(each.target))
            if target in by_how[each.how]:
                raise UsageError(
                    f"InputFiles({each.how.value}=...): there are two called {target!r}; {RENAME}"
                )
            by_how[each.how][target] = fill(str(each.source))
        copied, linked, configured = by_how.values()
        return replace(self, copied=copied, linked=linked, configured=configured)

    def paths(self) -> list[str]:
        """Return every path, of where a file is taken from and where it is to be."""
        return [text for each in self for text in (each.target, str(each.source))]


def _by_target(how: str, files: object) -> dict[str, Path]:
    if isinstance(files, str | Path) or not isinstance(files, Sequence | Mapping):
        raise UsageError(f"InputFiles({how}={files!r}): a list of paths is needed, or names to paths")
    pairs = files.items() if isinstance(files, Mapping) else [(None, each) for each in files]
    found: dict[str, Path] = {}
    for name, source in pairs:
        if not isinstance(source, str | Path) or not str(source) or not can_be_given(str(source)):
            raise UsageError(f"InputFiles({how}=...): {source!r} is no path")
        target = _checked_target(how, Path(source).name if name is None else name)
        if target in found:
            raise UsageError(f"InputFiles({how}=...): there are two called {target!r}; {RENAME}")
        found[target] = Path(source)
    return found


RENAME = 'give one another name, as in {"name": path}'


def _checked_target(how: str, target: object) -> str:
    path = PurePosixPath(target) if isinstance(target, str) and can_be_given(target) else None
    if path is None or path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(
            f"InputFiles({how}=...): {target!r} is no name in the working directory of a program; {RENAME}"
        )
    return str(path)


def _check_apart(targets: Sequence[str]) -> None:
    """Refuse two of one name, and one inside another, of which it would depend who is laid first."""
    seen: set[str] = set()
    for target in sorted(targets, key=len):
        for above in (target, *map(str, PurePosixPath(target).parents)):
            if above in seen:
                what = "there are two called" if above == target else f"{target!r} would be in"
                raise UsageError(f"InputFiles: {what} {above!r}; {RENAME}")
        seen.add(target)
