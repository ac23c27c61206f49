"""An experiment's configuration: config.toml, its `[quick]` table, and `--set key=value`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "config.toml"
QUICK = "quick"

Config = dict[str, Any]


def load_config(experiment_dir: str | Path, *, quick: bool = False, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of an experiment; an empty one where it has no config.toml.

    Args:
        experiment_dir: the directory with config.toml.
        quick: let the values of the `[quick]` table replace those above it.
        overrides: `key=value`, the value written as in TOML (text may go without quotation marks), the key
            dotted for a value of a table. They come last.

    Raises:
        ConfigError: naming the key that is not in config.toml, or whose value has another type there.
    """
    path = Path(experiment_dir) / FILE
    config = _read(path) if path.exists() else {}
    shortened = config.pop(QUICK, {})
    if not isinstance(shortened, dict):
        raise ConfigError(f"[{QUICK}] must be a table", key=QUICK, path=path)
    changes = list(_leaves(shortened))
    _check(config, changes, path)
    for key, value in changes if quick else ():
        _replace(config, key, value, path)
    for override in overrides:
        key, value = _parsed(override, config, path)
        _replace(config, key, value, path)
    return config


def _read(path: Path) -> Config:
    try:
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", path=path) from error


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check(config: Config, changes: Sequence[tuple[str, Any]], path: Path) -> None:
    """Check the quick values also in a full run, so that a mistake in them shows at once."""
    for key, value in changes:
        _fitting(_default(config, key, path), value, key, path)


def _parsed(override: str, config: Config, path: Path) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: must be key=value", key=key)
    default = _default(config, key, path)
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except ValueError as error:
        if isinstance(default, str):
            return key, text
        raise ConfigError(
            f"--set {key}: {text!r} is not {_type_name(default)} as TOML writes it", key=key, path=path
        ) from error


def _replace(config: Config, key: str, value: Any, path: Path) -> None:
    fitting = _fitting(_default(config, key, path), value, key, path)
    *tables, name = key.split(".")
    for table in tables:
        config = config[table]
    config[name] = fitting


def _default(config: Config, key: str, path: Path) -> Any:
    known = dict(_leaves(config))
    if key not in known:
        near = _nearest(key, known)
        hint = f"; did you mean {near!r}?" if near else f"; it has: {', '.join(known) or 'nothing'}"
        raise ConfigError(f"there is no {key!r} in it{hint}", key=key, path=path)
    return known[key]


def _nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the key that was meant: near to this one, and not by the name of its table alone."""
    name = key.rpartition(".")[2]
    alike = [each for each in known if difflib.get_close_matches(name, [each.rpartition(".")[2]])]
    return next(iter(difflib.get_close_matches(key, alike, n=1, cutoff=0.5)), None)


def _fitting(default: Any, value: Any, key: str, path: Path) -> Any:
    """Return the value in the default's type; a whole number will do where the default is a real one.

    The items of a list are to be of the type of the default's first one.
    """
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) is not type(value):
        raise ConfigError(
            f"{key}: {value!r} is {_type_name(value)}, and must be {_type_name(default)} like {default!r}",
            key=key,
            path=path,
        )
    if isinstance(default, list) and default:
        return [_fitting(default[0], item, key, path) for item in value]
    return value


def _type_name(value: Any) -> str:
    names = {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list",
    }
    return names.get(type(value).__name__, type(value).__name__)
