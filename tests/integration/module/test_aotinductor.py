"""AOTInductor packages: told apart by content, allowed by the server's owner, checked before they run."""

from __future__ import annotations

import io
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.servers import StartServer
from tests.integration.torchscript import adder

F32 = np.float32
ALLOWED = ("AOTINDUCTOR", "yes", "THREADS_PER_QUEUE", "2")


class Network(torch.nn.Module):
    """`(x W + b, 2 y)`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x), y * 2


def exported() -> tuple[Network, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    network = Network().eval()
    samples = (torch.ones(2, 8), torch.zeros(2, 8))  # one tensor given twice would be taken for one input
    batch = {0: torch.export.Dim("batch")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network, torch.export.export(network, samples, dynamic_shapes=(batch, batch))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, bytes]:
    """A network, and the package compiled from it: up to a minute."""
    network, program = exported()
    path = tmp_path_factory.mktemp("aotinductor") / "network.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    return network, path.read_bytes()


def archive(**records: bytes) -> bytes:
    """Return an archive as torch makes them, with the given records ("/" is "__")."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        always = {".data/version": b"6\n", "archive_format": b"pt2", "byteorder": b"little"}
        for name, content in (always | {n.replace("__", "/"): c for n, c in records.items()}).items():
            archive.writestr(f"net/{name}", content)
    return file.getvalue()


def compiled_for(instructions: str, machine: str = "") -> bytes:
    """Return a package that claims to be compiled for something; there is no code in it."""
    metadata = f'{{"AOTI_DEVICE_KEY": "cpu", "AOTI_MACHINE": "{machine}", "AOTI_CPU_ISA": "{instructions}"}}'
    folder = "data__aotinductor__model__"
    return archive(
        **{f"{folder}w.wrapper_metadata.json": metadata.encode(), f"{folder}w.wrapper.so": b"\x7fELF"}
    )


def test_a_package_is_refused_unless_the_server_allows_it(db: redis.Redis) -> None:
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", compiled_for("AVX2"))
    assert "AOTINDUCTOR yes" in text
    assert db.exists("m") == 0


def test_what_was_only_exported_is_refused_with_the_way_out(db: redis.Redis) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(exported()[1], file)
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", file.getvalue())
    assert "torch._inductor.aoti_compile_and_package" in text


def test_code_for_another_host_is_refused_before_it_is_opened(start_server: StartServer) -> None:
    db = start_server(arguments=ALLOWED).connect()
    store = ("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB")
    assert "no AVX9000" in refusal(db, *store, compiled_for("AVX2 AVX9000"))
    assert "compiled for vax" in refusal(db, *store, compiled_for("", "vax"))
    assert refusal(db, *store, compiled_for(""))  # allowed, and no library
    assert db.ping()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_package_answers_as_its_network(
    start_server: StartServer, package: tuple[Network, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    network, blob = package
    server = start_server(arguments=ALLOWED)
    db = server.connect()
    before = set(Path("/tmp").iterdir())
    store_model(db, "m", blob)
    assert list(tmp_path.iterdir()) == []
    assert not {path for path in set(Path("/tmp").iterdir()) - before if any(path.rglob("*.wrapper.so"))}
    store_model(db, "script", adder())
    for rows in (2, 5):
        x, y = np.random.default_rng(rows).standard_normal((2, rows, 8)).astype(F32)
        put(db, "x", x)
        put(db, "y", y)
        execute(db, "m", ["x", "y"], ["a", "b"])
        with torch.no_grad():
            wanted = network.layer(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(get(db, "a"), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(get(db, "b"), 2 * y)
    assert info(db, "m")["errors"] == 0
    usage = db.memory_usage("m")
    assert usage is not None
    assert usage > len(blob)
    check_bad_inputs(db)
    check_many_at_once(db, server.connect)
    db.delete("m")
    execute(db, "script", ["x", "x"], ["c"])
    assert server.shutdown("NOSAVE") == 0


def check_bad_inputs(db: redis.Redis) -> None:
    """Compiled code knows sizes and types: others are refused, and nothing is read that is not there."""
    put(db, "short", np.ones((5, 3), F32))
    put(db, "double", np.ones((5, 8)))
    for bad in ("short", "double"):
        assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 2, bad, "y", "OUTPUTS", 2, "a", "b")
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 2, "a", "b")
    assert text == "Number of keys given as INPUTS here does not match model definition"
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 2, "x", "y", "OUTPUTS", 1, "a")
    assert text == "Number of keys given as OUTPUTS here does not match model definition"


def check_many_at_once(db: redis.Redis, connect: object) -> None:
    wrong: list[int] = []

    def run(seed: int) -> None:
        mine = connect()  # type: ignore[operator]
        for i in range(20):
            y = np.full((2 + i % 3, 8), seed * 100 + i, F32)
            put(mine, f"y{seed}", y)
            execute(mine, "m", [f"y{seed}", f"y{seed}"], [f"a{seed}", f"b{seed}"])
            if not np.array_equal(get(mine, f"b{seed}"), 2 * y):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
