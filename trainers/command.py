"""`python -m trainers.train`, and under torchrun: a training without a script of one's own.

The options are the attributes of `Training`, and what the buffer needs. The network is named
`module:factory`: a function without arguments that returns it, or a class, in a module that Python finds.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from sim_clients import ClientError, connect
from trainers.errors import TrainerError, TrainingRefused
from trainers.reservoir import buffer_named
from trainers.train import Training, train

_IN_SCRIPTS_ONLY = ("until", "terms")
_ATTRIBUTE = re.compile(r"^ {4}([a-z_, ]+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the arguments say.

    Raises:
        SystemExit: with a sentence that says what went wrong.
    """
    given = vars(parser().parse_args(arguments))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(given["seed"])
    try:
        training = Training(**{n: _tupled(given[n]) for n in _options()})
        buffer = buffer_named(
            given["buffer"], given["capacity"], watermark=given["watermark"], seed=given["seed"]
        )
        network = network_named(given["network"])
        client = connect()
        train(network, client, training, buffer, given["directory"])
        client.close()
    except (ClientError, TrainerError) as error:
        sys.exit(f"trainers.train: {error}")


def _options() -> dict[str, Field[Any]]:
    """Return the attributes of `Training` that can be said in words, by their names."""
    return {one.name: one for one in fields(Training) if one.name not in _IN_SCRIPTS_ONLY}


def network_named(name: str) -> torch.nn.Module:
    """Return what the factory of a name like `module:factory` makes.

    Raises:
        TrainingRefused: there is none of that name, or what it returns is no network.
    """
    module, _, factory = name.partition(":")
    try:
        network = getattr(import_module(module), factory)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        expected = f"module:factory, of no arguments, that Python finds here or by PYTHONPATH ({error})"
        raise TrainingRefused("network", name, expected) from error
    if not isinstance(network, torch.nn.Module):
        raise TrainingRefused("network", name, f"a factory of a torch.nn.Module, not of {network!r}")
    return network


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        "python -m trainers.train",
        description="Train a network on a stream of snapshots while it flows. The database is found by the "
        "environment, as by every program of an Experiment. Under torchrun, ranks share the work.",
    )
    parser.add_argument("--network", required=True, metavar="MODULE:FACTORY", help="what makes it")
    parser.add_argument("--seed", type=int, default=0, help="of the network and of the draws (default: 0)")
    parser.add_argument("--buffer", default="reservoir", help="fifo, firo or reservoir (the default)")
    parser.add_argument("--capacity", type=int, default=4000, help="samples in each rank's (default: 4000)")
    parser.add_argument("--watermark", type=int, default=16, help="before the first step (default: 16)")
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="of checkpoint and history (default: this one)"
    )
    hints, words = get_type_hints(Training), dict(_documented())
    for one in _options().values():
        _add(parser, one, hints[one.name], words.get(one.name, ""))
    return parser


def _add(parser: argparse.ArgumentParser, one: Field[Any], kind: Any, words: str) -> None:
    option = f"--{one.name}"
    required = one.default is MISSING
    shown = one.default.value if isinstance(one.default, Enum) else one.default
    default = "" if required else f" (default: {shown})"
    said: dict[str, Any] = {"help": (words + default).replace("%", "%%"), "required": required}
    if not required:
        said["default"] = one.default
    if kind is bool:
        parser.add_argument(option, action="store_true", help=words)
    elif get_origin(kind) is tuple:
        parser.add_argument(option, nargs="+", metavar="NAME", **said)
    elif get_origin(kind) is Literal:
        parser.add_argument(option, choices=get_args(kind), **said)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        words_of_it = ",".join(each.value for each in kind)
        parser.add_argument(option, type=kind, metavar=f"{{{words_of_it}}}", **said)
    else:
        types = [each for each in get_args(kind) or (kind,) if each is not type(None)]
        parser.add_argument(option, type=types[0], **said)


def _documented() -> list[tuple[str, str]]:
    """Return what the docstring of `Training` says of each attribute."""
    found = _ATTRIBUTE.findall(inspect.cleandoc(Training.__doc__ or ""))
    return [(name, " ".join(words.split())) for names, words in found for name in names.split(", ")]


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
