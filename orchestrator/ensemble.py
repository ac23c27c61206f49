"""An Ensemble: the same program at many points of a space of parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

from orchestrator.application import (
    Application,
    check_files,
    check_name,
    checked_lines,
    checked_sources,
    checked_words,
)
from orchestrator.errors import GridError, SweepError
from orchestrator.input_files import InputFiles
from orchestrator.resources import Resources
from orchestrator.sweep import Point, Value
from orchestrator.sweep import grid as full_grid

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
REPLICA = "replica"


@dataclass(frozen=True)
class Ensemble:
    """The same program once for each point of a sweep.

    Attributes:
        name: the members are called `<name>_0`, `<name>_1`, …
        command: as for an Application; `{parameter}` in it is replaced.
        grid: parameter -> its values; a member for every combination, the last parameter varies fastest.
        resources: of each member. Given, a member waits for its turn until it finds them free; by default all
            start at once, and share cores where there are too few.
        environment: of each member; `{parameter}` in it is replaced.
        replicas: how many members each point gets; `{replica}` is 0, 1, …
        points: in place of `grid`: a list of points, each parameter -> value, as the functions of
            `orchestrator.sweep` return it; or a function without arguments that returns one.
        prefix_keys: as for an Application; then members that use the same names do not overwrite each other.
        reads_from: as for an Application.
        pre: as for an Application; `{parameter}` in it is replaced.
        prefix: as for an Application; `{parameter}` in it is replaced.
        files: as for an Application; `{parameter}` in their paths is replaced, and tags in configured ones.
    """

    name: str
    command: Sequence[str | Path]
    grid: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    resources: Resources | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    points: Sequence[Mapping[str, Value]] | Callable[[], Iterable[Mapping[str, Value]]] | None = None
    prefix_keys: bool = False
    reads_from: Sequence[str] = ()
    pre: Sequence[str] = ()
    prefix: Sequence[str | Path] = ()
    files: InputFiles = field(default_factory=InputFiles)
    _points: tuple[Point, ...] = field(init=False, repr=False, compare=False)
    _placeholders: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "reads_from", checked_sources(self.name, self.reads_from))
        object.__setattr__(self, "pre", checked_lines(self.name, self.pre))
        object.__setattr__(self, "prefix", checked_words(self.name, "prefix", self.prefix))
        check_files(self.name, self.files)
        if self.replicas < 1:
            raise GridError(self.name, "replicas", f"replicas={self.replicas}: at least 1 is needed")
        object.__setattr__(self, "_points", self._visited())
        for point in self._points:
            self._check_names(point, self._points[0])
        object.__setattr__(self, "_placeholders", self._in_braces())
        self._check_placeholders()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return tuple(self._points[0])

    def members(self) -> list[Application]:
        """Return the members, in the order of the points."""
        every = [(point, replica) for point in self._points for replica in range(self.replicas)]
        return [self._member(number, point, replica) for number, (point, replica) in enumerate(every)]

    def further(self, number: int, point: Mapping[str, Value], replica: int = 0) -> Application:
        """Return one more member, at another point.

        Args:
            number: of the member, in its name.
            point: a value for every parameter.
            replica: how many members there are at this point.

        Raises:
            GridError: naming the parameter that is missing, not known, or of a value that cannot be.
        """
        self._check_names(point, self._points[0])
        return self._member(number, point, replica)

    def _member(self, number: int, point: Mapping[str, Value], replica: int) -> Application:
        parameters = {**{name: point[name] for name in self.parameters}, REPLICA: replica}
        texts = {name: str(value) for name, value in parameters.items()}
        return Application(
            name=f"{self.name}_{number}",
            command=[_filled(item, texts) for item in self.command],
            resources=self.resources or Resources(),
            environment={key: _filled_text(text, texts) for key, text in self.environment.items()},
            parameters=parameters,
            prefix_keys=self.prefix_keys,
            reads_from=self.reads_from,
            pre=[_filled_text(line, texts) for line in self.pre],
            prefix=[_filled(item, texts) for item in self.prefix],
            files=self.files.filled(lambda text: _filled_text(text, texts)),
            on_command_line=self._placeholders | {REPLICA},
        )

    def _visited(self) -> tuple[Point, ...]:
        """Return all points, at least one; a function is called here, once."""
        if self.points is None:
            return tuple(self._gridded())
        if self.grid:
            raise GridError(self.name, "points", "give a grid or points, not both")
        points = self.points() if callable(self.points) else self.points
        if isinstance(points, str | Mapping) or not isinstance(points, Iterable):
            raise GridError(self.name, "points", f"points={points!r}: a list of points is needed")
        visited = tuple(points)
        for number, point in enumerate(visited):
            if not isinstance(point, Mapping):
                raise GridError(
                    self.name, "points", f"point {number}, {point!r}, is no mapping of parameters to values"
                )
        if not visited:
            raise GridError(self.name, "points", "there is no point, so there would be no member")
        return tuple(dict(point) for point in visited)

    def _gridded(self) -> list[Point]:
        try:
            return full_grid(self.grid) if self.grid else [{}]
        except SweepError as error:
            raise GridError(self.name, error.parameter, str(error)) from error

    def _check_names(self, point: Mapping[str, Value], first: Mapping[str, Value]) -> None:
        for parameter in first:
            if parameter not in point:
                raise GridError(self.name, parameter, f"the point {dict(point)} has no {parameter!r}")
        for parameter, value in point.items():
            if parameter == REPLICA or not _can_name(parameter):
                raise GridError(self.name, parameter, f"{parameter!r} cannot be the name of a parameter")
            if parameter not in first:
                known = ", ".join(first) or "none"
                raise GridError(
                    self.name, parameter, f"there is no parameter {parameter!r}; there is: {known}"
                )
            if not isinstance(value, str | Path | Real):
                raise GridError(
                    self.name, parameter, f"{parameter}={value!r} is neither text nor a number nor a Path"
                )

    def _in_braces(self) -> frozenset[str]:
        words = [*self.prefix, *self.command, *self.pre]
        texts = [*map(str, words), *self.environment.values(), *self.files.paths()]
        return frozenset(found for text in texts for found in PLACEHOLDER.findall(text))

    def _check_placeholders(self) -> None:
        used = self._placeholders
        kind = "grid parameter" if self.grid else "parameter"
        for parameter in self.parameters:
            if parameter not in used and not self.files.configured:  # these are read when it is started
                raise GridError(self.name, parameter, f"no command line uses the {kind} {{{parameter}}}")
        for parameter in sorted(used - set(self.parameters) - {REPLICA}):
            raise GridError(self.name, parameter, f"{{{parameter}}} in the command has no values")


def _can_name(parameter: object) -> bool:
    return isinstance(parameter, str) and PLACEHOLDER.fullmatch(f"{{{parameter}}}") is not None


def _filled(item: str | Path, texts: Mapping[str, str]) -> str | Path:
    if isinstance(item, Path):
        return Path(_filled_text(str(item), texts))
    return _filled_text(item, texts)


def _filled_text(text: str, texts: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: texts[match.group(1)], text)
