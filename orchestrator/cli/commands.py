"""The commands. Each is a file beside this one, imported when it is used: `penstock` starts at once."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from orchestrator.script import exit_code


class Entry(NamedTuple):
    """Where a command is: a file of this package, and a function or a group of commands in it."""

    file: str
    function: str


COMMANDS = {
    "build": Entry("build", "build"),
    "flags": Entry("flags", "flags"),
    "doctor": Entry("doctor", "doctor"),
    "run": Entry("run", "run"),
    "ps": Entry("runs", "ps"),
    "logs": Entry("logs", "logs"),
    "stop": Entry("stop", "stop"),
    "report": Entry("report", "report"),
    "db": Entry("db", "db"),
    "model": Entry("model", "model"),
    "smartsim-setup": Entry("smartsim_setup", "smartsim_setup"),
}


class LazyCommands(TyperGroup):
    """Finds the commands in the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        found = getattr(import_module(f"orchestrator.cli.{entry.file}"), entry.function)
        if isinstance(found, typer.Typer):
            group = get_command(found)
            group.name = cmd_name
            for each in getattr(group, "commands", {}).values():
                each.callback = _at_the_edge(each.callback)
            return group
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(found)
        command = get_command(single)
        command.callback = _at_the_edge(command.callback)
        return command


app = typer.Typer(
    cls=LazyCommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        print(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def penstock(
    _: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run a simulation and the neural network that learns from it side by side."""


def main() -> None:
    """Run the command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    app(prog_name="penstock")


def _at_the_edge(act: Callable[..., Any] | None) -> Callable[..., Any]:
    """Let a command leave the process with its exit code, an error as a sentence."""

    def acted(**options: Any) -> None:
        if act is None:
            raise AssertionError("every command of the table is a function")
        code = exit_code(lambda: act(**options), debug=bool(options.get("debug")))
        if code:
            raise typer.Exit(code)

    return acted
