"""Solvers in C, C++ and Fortran beside SmartRedis: over a Unix socket, TCP and a cluster."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import redis
from smartredis import Client as Plain

from sim_clients import Address, connect
from sim_clients.compiler_flags import Language
from sim_clients.errors import ClientBuildError
from sim_clients.fortran_library import find_fortran_compiler
from sim_clients.native_library import SOURCE as C_SOURCE
from sim_clients.smartredis_environment import environment_for
from tests.client_contract import Networks
from tests.integration.module.arena_client import wait_for
from tests.integration.servers import RedisServer
from tests.steps import missing

PROGRAMS = Path(__file__).parent / "programs"
SIGNED = ("float64", "float32", "int64", "int32", "int16", "int8")
UNSIGNED = ("uint16", "uint8")  # which Fortran does not have
PATTERN = np.add.outer(10 * np.arange(3), np.arange(4))
Compile = Callable[..., Path]


def compiler_of(language: str) -> list[str]:
    """Return the compiler with its warnings as errors, where it has no false ones."""
    if language == "fortran":
        try:
            return [find_fortran_compiler()]
        except ClientBuildError as error:
            missing(str(error))
    name = {"c": "cc", "c++": "c++"}[language]
    if shutil.which(name) is None:
        missing(f"there is no {name}: install gcc or clang")
    standard = {"c": "-std=c11", "c++": "-std=c++17"}[language]
    return [name, standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def source_of(language: str, name: str) -> Path:
    return PROGRAMS / (name + {"c": ".c", "c++": ".cc", "fortran": ".f90"}[language])


def ran(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )


def compiled(command: list[str]) -> None:
    done = ran(command)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def compile_solver(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile a solver as docs/solvers.md says, once."""

    @cache
    def compile_once(language: str, name: str = "solver") -> Path:
        program = tmp_path_factory.mktemp("solver") / "solver"
        compiler = compiler_of(language)
        told = ran([sys.executable, "-m", "orchestrator.cli", "flags", language])
        assert told.returncode == 0, told.stderr
        compiled([*compiler, str(source_of(language, name)), *shlex.split(told.stdout), "-o", str(program)])
        return program

    return compile_once


@pytest.fixture(params=["unix", "tcp", "cluster"])
def address(
    request: pytest.FixtureRequest,
    shared_server: RedisServer,
    tcp_server: RedisServer,
    cluster_address: Address,
) -> Address:
    """Each way of finding the database, which is empty."""
    if request.param == "cluster":
        return cluster_address
    server = {"unix": shared_server, "tcp": tcp_server}[request.param]
    with server.connect() as connection:
        connection.execute_command("FLUSHALL", "SYNC")
    return Address.parse(server.address)


@pytest.fixture
def plain(address: Address) -> Plain:
    """SmartRedis, which has put a tensor of each of its dtypes."""
    with environment_for(address):
        client = Plain(None, logger_name="plain")
    put_patterns(client)
    return client


def put_patterns(plain: Plain) -> None:
    for dtype in (*SIGNED, *UNSIGNED):
        plain.put_tensor(f"plain.{dtype}", PATTERN.astype(dtype))


@pytest.mark.parametrize("language", [language.value for language in Language])
def test_a_solver_and_smartredis_understand_each_other(
    compile_solver: Compile,
    address: Address,
    plain: Plain,
    networks: Networks,
    tmp_path: Path,
    language: str,
) -> None:
    program = compile_solver(language)
    (tmp_path / "twice.pt").write_bytes(networks.doubles)
    done = ran([str(program), str(tmp_path / "twice.pt")], **address.environment())
    assert (done.returncode, done.stdout) == (0, "everything was as it must be\n"), done.stderr
    for dtype in SIGNED if language == "fortran" else (*SIGNED, *UNSIGNED):
        assert_same(plain.get_tensor(f"own.{dtype}"), PATTERN.astype(dtype))
    assert_same(plain.get_tensor("section"), grid(6, 8)[1::2, 7::-3])
    if language == "fortran":
        fortran_orders(plain)
    producer = {"c": "solver_c", "c++": "solver_cc", "fortran": "solver_fortran"}[language]
    announced_snapshots(address, producer)
    versions_on_trial(address, producer)
    plain.put_tensor("in", PATTERN.astype(np.float32))
    plain.run_model("twice", ["in"], ["out"])
    assert_same(plain.get_tensor("out"), 2 * PATTERN.astype(np.float32))


@pytest.mark.parametrize("language", ["c++", "fortran"])
def test_a_solver_shares_memory_with_the_database(
    compile_solver: Compile, sharing_server: RedisServer, language: str
) -> None:
    with sharing_server.connect() as db:
        db.flushall()
        done = ran([str(compile_solver(language, "sharing"))], SSDB=sharing_server.address)
        assert (done.returncode, done.stdout) == (0, "everything was as it must be\n"), done.stderr
        client = connect(Address.parse(sharing_server.address), producer="reader", rank=0)
        for step in range(3):
            found = client.map_snapshot(step).fields["u"]
            assert_same(found, step + np.arange(60_000.0).reshape(200, 300))
        del found
        client.close()
        wait_for(db, used=3 * -(-480_000 // 4096) * 4096, leased=0, pinned=0, quarantined=0)


def test_arrays_of_characters_are_refused(compile_solver: Compile, server: RedisServer) -> None:
    """gfortran passes a length with each that no interface knows: those of the texts behind it are wrong."""
    done = ran([str(compile_solver("fortran", "characters"))], SSDB=server.address)
    assert (done.returncode, done.stdout) == (0, "everything was as it must be\n"), done.stderr
    told = [line.partition("'")[2].partition("'")[0] for line in done.stderr.splitlines()]
    names = ["early", "long", "one", "letters", "text", "text", *2 * ["input", "output"], "u", "p"]
    assert told == names, done.stderr
    assert done.stderr.count("it is of characters, which cannot be sent") == len(names)


def grid(rows: int, columns: int) -> npt.NDArray[np.float64]:
    """100 i + j with indices from 1."""
    return np.add.outer(100.0 * np.arange(1, rows + 1), np.arange(1.0, columns + 1))


def assert_same(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def fortran_orders(plain: Plain) -> None:
    """What Fortran calls a(i, j) is [i][j]."""
    assert_same(plain.get_tensor("pointer"), grid(6, 8)[::-1])
    assert_same(plain.get_tensor("expression"), 2 * grid(6, 8))
    assert_same(plain.get_tensor("number"), np.array([42], np.int32))
    for name, shape in (("rank4", (2, 3, 2, 2)), ("rank7", (2, 1, 3, 1, 2, 1, 2))):
        assert_same(plain.get_tensor(name), np.arange(1, 25, dtype=np.int32).reshape(shape, order="F"))


def announced_snapshots(address: Address, producer: str) -> None:
    client = connect(address, client="smartredis")
    assert client.announced() == 3
    for position, time in enumerate((0.0, 5.0)):
        found = client.get_snapshot(position)
        assert (found.producer, found.rank, found.step) == (producer, 2, 10 * position)
        assert found.time == time
        assert_same(found.fields["u"], PATTERN + 10.0 * position)
        assert_same(found.fields["p"], PATTERN.astype(np.float32))
    assert_same(client.get_snapshot(2).fields["u"], PATTERN + 20.0)
    assert client.stream_ended(producer, 2)
    assert client.stop_requested()
    client.close()


def versions_on_trial(address: Address, producer: str) -> None:
    """The solver has posted a second version, called it, reported that it blew up, and gone back."""
    client = connect(address, producer="trainer")
    first, second = client.model_versions("twice")
    assert (first.version, first.live, second.version, second.was_live) == (1, True, 2, False)
    assert (second.about.loss, second.about.steps, second.about.parent) == (0.5, 40, 1)
    assert client.reported_errors("twice", 1) == [(0.25, producer, 2)]
    (report,) = client.reported_errors("twice", 2)
    assert np.isnan(report.value)
    client.close()


@pytest.mark.parametrize("element", ["char", "long double", "std::string"])
def test_an_element_that_the_database_does_not_have_is_an_error_of_compilation(
    tmp_path: Path, element: str
) -> None:
    program = tmp_path / "program.cc"
    program.write_text(
        "#include <penstock.hpp>\n"
        f"void put(penstock::Client& client, const std::vector<{element}>& u) {{\n"
        '  client.put_tensor("u", u);\n}\n'
    )
    command = [*compiler_of("c++"), "-fsyntax-only", f"-I{C_SOURCE}", str(program)]
    done = ran(command)
    assert done.returncode != 0 and "this type has no dtype in the database" in done.stderr
    program.write_text(program.read_text().replace(f"<{element}>", "<double>"))
    compiled(command)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["unix"], indirect=True)
def test_what_cmake_installs_is_found_by_pkg_config(
    address: Address, plain: Plain, db: redis.Redis, networks: Networks, tmp_path: Path
) -> None:
    compilers = {language.value: compiler_of(language.value) for language in Language}
    if shutil.which("pkg-config") is None:
        missing("there is no pkg-config: apt install pkg-config")
    build, prefix = str(tmp_path / "build"), tmp_path / "installed"
    compiled(["cmake", "-S", str(C_SOURCE), "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}"])
    compiled(["cmake", "--build", build])
    compiled(["cmake", "--install", build])
    (tmp_path / "twice.pt").write_bytes(networks.doubles)
    libraries = next(prefix.glob("lib*"))
    for language, compiler in compilers.items():
        package = "penstock-fortran" if language == "fortran" else "penstock"
        asked = ["pkg-config", "--cflags", "--libs", package]
        flags = ran(asked, PKG_CONFIG_PATH=str(next(prefix.rglob("pkgconfig"))))
        assert flags.returncode == 0, flags.stderr
        program = str(tmp_path / f"solver_{language}")
        found = [*shlex.split(flags.stdout), f"-Wl,-rpath,{libraries}"]
        compiled([*compiler, str(source_of(language, "solver")), *found, "-o", program])
        db.flushall()
        put_patterns(plain)
        done = ran([program, str(tmp_path / "twice.pt")], **address.environment())
        assert done.returncode == 0, done.stderr
