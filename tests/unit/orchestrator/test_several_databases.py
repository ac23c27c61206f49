"""Identifiers of databases, the environment of a program with several, and prefixes of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Application, Ensemble, Experiment, Orchestrator
from orchestrator.database import Database, as_databases, database_environment
from orchestrator.environment import program_environment
from orchestrator.errors import ApplicationError, UsageError
from orchestrator.node import Node
from orchestrator.redis_config import Endpoint


def database(identifier: str = "", socket: str = "/s") -> Database:
    node = Node("database_0", 0, Endpoint(unix_socket=Path(socket)), Path("/d"))
    return Database([node], [], identifier)


@pytest.mark.parametrize("identifier", ["a-b", "1a", "_a", "a b", "ä", "x" * 25, "fields_0", "a\n", 3, None])
def test_an_identifier_that_cannot_end_a_variable_is_refused(identifier: Any) -> None:
    with pytest.raises(UsageError, match=r"identifier=.*SSDB_"):
        Orchestrator(identifier=identifier)


def test_a_database_and_its_shards_are_called_by_the_identifier() -> None:
    assert Orchestrator().name == "database"
    assert Orchestrator(identifier="fields").name == "database_fields"


@pytest.mark.parametrize("name", ["database_fields", "database_fields_0", "database_0", "database"])
def test_no_program_is_called_like_a_database(name: str) -> None:
    with pytest.raises(ApplicationError, match="taken"):
        Application(name, ["true"])


def test_a_program_finds_the_first_by_no_name_too() -> None:
    found = database_environment([database("a", "/a"), database("b", "/b")])
    assert (found["SSDB"], found["SSDB_a"], found["SSDB_b"]) == ("unix:///a", "unix:///a", "unix:///b")
    assert found["SR_DB_TYPE"] == found["SR_DB_TYPE_b"] == "Standalone"


def test_the_one_without_an_identifier_is_what_a_program_finds_by_no_name() -> None:
    found = database_environment([database("a", "/a"), database("", "/plain")])
    assert found["SSDB"] == "unix:///plain" and found["SSDB_a"] == "unix:///a"
    assert database_environment([]) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([database("a"), database("a")], "two databases with the identifier 'a'"),
        ([database(), database()], "two databases without one"),
        ("database", "'database': give what start"),
        ([None], "None"),
    ],
)
def test_databases_that_cannot_be_told_apart_are_refused(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_databases(given)


@pytest.mark.parametrize(("identifier", "said"), [("a", "already that is called 'a'"), ("", "already;")])
def test_a_second_database_of_an_identifier_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identifier: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with Experiment("e", "dry_run") as exp:
        exp.start(Orchestrator(identifier=identifier, module=()))
        exp.start(Orchestrator(identifier="other", module=()))
        with pytest.raises(UsageError, match=f"{said}.*identifier="):
            exp.start(Orchestrator(identifier=identifier, module=()))


def prefixes(application: Application) -> tuple[str | None, str | None]:
    environment = program_environment(application, {})
    return environment.get("SSKEYOUT"), environment.get("SSKEYIN")


def test_prefixes_are_given_to_who_asks_for_them() -> None:
    assert prefixes(Application("a", ["true"])) == (None, None)
    assert prefixes(Application("a", ["true"], prefix_keys=True)) == ("a", "a")
    assert prefixes(Application("a", ["true"], reads_from=["b", "c"])) == (None, "b,c")
    assert prefixes(Application("a", ["true"], reads_from=["b", "a"], prefix_keys=True)) == ("a", "b,a")


def test_members_have_prefixes_of_their_own() -> None:
    heat = Ensemble("heat", ["echo", "{nu}"], grid={"nu": [1, 2]}, prefix_keys=True, reads_from=["spin_up"])
    assert [prefixes(member) for member in heat.members()] == [
        ("heat_0", "spin_up,heat_0"),
        ("heat_1", "spin_up,heat_1"),
    ]


@pytest.mark.parametrize("sources", ["heat_0", 3, [3], ["a,b"], [""]])
def test_what_is_read_from_must_be_names_of_programs(sources: Any) -> None:
    with pytest.raises(ApplicationError, match="reads_from"):
        Application("a", ["true"], reads_from=sources)
    with pytest.raises(ApplicationError, match="reads_from"):
        Ensemble("a", ["true"], reads_from=sources)
