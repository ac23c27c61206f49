"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Debug = Annotated[
    bool, typer.Option("--debug", metavar="", help="Show where in the code an error was raised.")
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON, for a program to read.")]
