"""An Ensemble: the same program over a grid of parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.application import Application, check_name
from orchestrator.errors import GridError
from orchestrator.resources import Resources

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
Value = str | int | float | bool | Path


@dataclass(frozen=True)
class Ensemble:
    """The same program once for each point of a full grid of parameters.

    Attributes:
        name: the members are called `<name>_0`, `<name>_1`, …
        command: as for an Application; `{parameter}` in it is replaced.
        grid: parameter -> its values; the last parameter varies fastest.
        resources: of each member.
        environment: of each member.
        replicas: how many members each point of the grid gets; `{replica}` is 0, 1, …
    """

    name: str
    command: Sequence[str | Path]
    grid: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.replicas < 1:
            raise GridError(self.name, "replicas", f"replicas={self.replicas}: at least 1 is needed")
        self._check_values()
        self._check_placeholders()

    def members(self) -> list[Application]:
        """Return the members, in the order of the grid."""
        return [
            Application(
                name=f"{self.name}_{number}",
                command=[_filled(item, point) for item in self.command],
                resources=self.resources,
                environment={key: _filled_text(text, point) for key, text in self.environment.items()},
            )
            for number, point in enumerate(self.points())
        ]

    def points(self) -> Iterator[dict[str, str]]:
        """Yield the parameters of each member as text."""
        for values in itertools.product(*self.grid.values()):
            for replica in range(self.replicas):
                point = {name: str(value) for name, value in zip(self.grid, values, strict=True)}
                yield {**point, "replica": str(replica)}

    def _check_values(self) -> None:
        for parameter, values in self.grid.items():
            if parameter == "replica" or not PLACEHOLDER.fullmatch(f"{{{parameter}}}"):
                raise GridError(self.name, parameter, f"{parameter!r} cannot be the name of a parameter")
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise GridError(self.name, parameter, f"{parameter!r} needs a list of at least one value")

    def _check_placeholders(self) -> None:
        texts = [*map(str, self.command), *self.environment.values()]
        used = {found for text in texts for found in PLACEHOLDER.findall(text)}
        for parameter in self.grid:
            if parameter not in used:
                raise GridError(
                    self.name, parameter, f"no command line uses the grid parameter {{{parameter}}}"
                )
        for parameter in sorted(used - set(self.grid) - {"replica"}):
            raise GridError(self.name, parameter, f"{{{parameter}}} in the command has no values in the grid")


def _filled(item: str | Path, point: Mapping[str, str]) -> str | Path:
    if isinstance(item, Path):
        return Path(_filled_text(str(item), point))
    return _filled_text(item, point)


def _filled_text(text: str, point: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: point[match.group(1)], text)
