"""COMMAND GETKEYS: a cluster client can route every command, and broken ones crash nothing."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.integration.ai_commands import refusal

KEYS = [
    ("AI.TENSORSET t FLOAT 1 BLOB x", "t"),
    ("AI.TENSORGET t META BLOB", "t"),
    ("PENSTOCK.PUT t FLOAT 1 OFFSET 4096 LEASE 64", "t"),
    ("PENSTOCK.MAP t", "t"),
    ("AI.MODELSTORE m TORCH CPU BLOB x", "m"),
    ("AI.MODELGET m", "m"),
    ("AI.MODELDEL m", "m"),
    ("PENSTOCK.PROMOTE m m@1", "m m@1"),
    ("AI.DAGEXECUTE_RO ROUTING r |> PENSTOCK.TAG m", "r m"),
    ("AI.SCRIPTSET s CPU SOURCE x", "s"),
    ("AI.SCRIPTSTORE s CPU ENTRY_POINTS 1 f SOURCE x", "s"),
    ("AI.SCRIPTGET s", "s"),
    ("AI.SCRIPTDEL s", "s"),
    ("AI.INFO m", "m"),
    ("AI.INFO m RESETSTAT", "m"),
    ("AI.MODELEXECUTE m INPUTS 2 a b OUTPUTS 1 c", "m a b c"),
    ("AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 2 c d TIMEOUT 60000000", "m a c d"),
    ("ai.modelexecute m inputs 1 a outputs 1 c", "m a c"),
    ("AI.MODELSET m TORCH CPU BLOB x", "m"),
    ("AI.MODELRUN m INPUTS a b OUTPUTS c d", "m a b c d"),
    ("AI.MODELRUN m TIMEOUT 5 INPUTS a OUTPUTS c", "m a c"),
    ("AI.DAGEXECUTE LOAD 2 a b PERSIST 1 c |> AI.MODELEXECUTE m INPUTS 2 a b OUTPUTS 1 c", "a b c m"),
    ("AI.DAGEXECUTE ROUTING r |> AI.TENSORSET x FLOAT |> AI.TENSORGET x", "r"),
    (
        "AI.DAGEXECUTE_RO LOAD 1 a TIMEOUT 5 |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 c |> AI.TENSORGET c",
        "a m",
    ),
    ("AI.DAGEXECUTE LOAD 1 a |> AI.SCRIPTEXECUTE s f KEYS 2 k l INPUTS 1 a OUTPUTS 1 x", "a s k l"),
    ("AI.DAGRUN LOAD 1 a PERSIST 1 c |> AI.MODELRUN m INPUTS a OUTPUTS c", "a c m"),
    ("AI.DAGRUN_RO LOAD 1 a |> AI.SCRIPTRUN s f INPUTS a OUTPUTS c", "a s"),
    ("AI.SCRIPTEXECUTE s f INPUTS 2 a b OUTPUTS 1 c", "s a b c"),
    ("AI.SCRIPTEXECUTE s f KEYS 2 k1 k2 INPUTS 1 a ARGS 2 x y OUTPUTS 1 c TIMEOUT 10", "s k1 k2 a c"),
    ("AI.SCRIPTEXECUTE s f KEYS 1 k", "s k"),
    ("AI.SCRIPTRUN s f INPUTS a b OUTPUTS c d", "s a b c d"),
    ("AI.SCRIPTRUN s f INPUTS a $ b c OUTPUTS d", "s a b c d"),
    ("AI.SCRIPTRUN s f TIMEOUT 100 INPUTS $ a OUTPUTS d", "s a d"),
]

BROKEN = [
    "AI.MODELEXECUTE m",
    "AI.MODELEXECUTE m INPUTS",
    "AI.MODELEXECUTE m INPUTS x a OUTPUTS 1 c",
    "AI.MODELEXECUTE m INPUTS 99999999999999999999 a OUTPUTS 1 c",
    "AI.MODELEXECUTE m INPUTS 9223372036854775807 a OUTPUTS 1 c",
    "AI.MODELEXECUTE m INPUTS 2147483647 a OUTPUTS 1 c",
    "AI.MODELEXECUTE m INPUTS -1 a OUTPUTS 1 c",
    "AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 5 c",
    "AI.MODELEXECUTE m INPUTS 1 a OUTPUTS",
    "AI.DAGEXECUTE LOAD 99999999999999999999 a |> AI.TENSORGET a",
    "AI.DAGEXECUTE LOAD 2147483647 a |> AI.TENSORGET a",
    "AI.DAGEXECUTE LOAD 1 a |> AI.MODELEXECUTE m",
    "AI.DAGRUN |>",
    "AI.MODELRUN m",
    "AI.MODELRUN m INPUTS a b",
    "AI.MODELRUN m OUTPUTS a INPUTS b c d",
    "AI.SCRIPTEXECUTE s f KEYS 99999999999 a",
    "AI.SCRIPTEXECUTE s f INPUTS -3 a OUTPUTS 1 b",
    "AI.SCRIPTEXECUTE s f INPUTS 1",
    "AI.SCRIPTRUN s f INPUTS",
    "AI.SCRIPTRUN s f",
    "AI.SCRIPTRUN s",
]


@pytest.mark.parametrize(("command", "keys"), KEYS)
def test_keys_are_found(db: redis.Redis, command: str, keys: str) -> None:
    found = db.execute_command("COMMAND GETKEYS", *command.split())
    assert sorted(found) == sorted(keys.split())


@pytest.mark.parametrize("command", BROKEN)
def test_a_broken_command_yields_no_key_that_is_not_in_it(db: redis.Redis, command: str) -> None:
    words: list[Any] = command.split()
    try:
        found = db.execute_command("COMMAND GETKEYS", *words)
    except redis.ResponseError:
        found = []
    assert set(found) <= set(words[1:])
    assert refusal(db, *words)


def test_config_has_no_keys(db: redis.Redis) -> None:
    assert refusal(db, "COMMAND GETKEYS", "AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("AI.TENSORSET", {"write", "denyoom"}),
        ("AI.TENSORGET", {"readonly"}),
        ("AI.MODELSTORE", {"write", "denyoom"}),
        ("AI.MODELGET", {"readonly"}),
        ("AI.MODELDEL", {"write"}),
        ("AI.MODELEXECUTE", {"write", "denyoom", "movablekeys"}),
        ("AI.MODELSET", {"write", "denyoom"}),
        ("AI.DAGEXECUTE", {"write", "denyoom", "movablekeys"}),
        ("AI.DAGEXECUTE_RO", {"readonly", "movablekeys"}),
        ("AI.DAGRUN", {"write", "denyoom", "movablekeys"}),
        ("AI.DAGRUN_RO", {"readonly", "movablekeys"}),
        ("AI.MODELRUN", {"write", "denyoom", "movablekeys"}),
        ("AI.SCRIPTSTORE", {"write", "denyoom"}),
        ("AI.SCRIPTSET", {"write", "denyoom"}),
        ("AI.SCRIPTGET", {"readonly"}),
        ("AI.SCRIPTDEL", {"write"}),
        ("AI.SCRIPTRUN", {"write", "denyoom", "movablekeys"}),
        ("AI.SCRIPTEXECUTE", {"write", "denyoom", "movablekeys"}),
        ("AI.INFO", {"readonly"}),
        ("AI.CONFIG", {"write"}),
    ],
)
def test_flags_are_those_of_redisai(db: redis.Redis, command: str, flags: set[str]) -> None:
    (facts,) = db.execute_command("COMMAND INFO", command)
    found = {flag.decode() for flag in facts[2]}
    assert flags <= found
    assert not ({"write", "readonly", "denyoom"} & found) - flags
