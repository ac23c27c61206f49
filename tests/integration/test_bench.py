"""Benchmarks run and report what they say; what they measure passes or fails nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import write_report
from tests.integration.servers import system_binary, wheel_binary

ROOT = Path(__file__).parents[2]


def measured(name: str, directory: Path) -> tuple[str, dict[str, Any]]:
    """Run the short form of a benchmark; return what it printed and its report."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", name, "--quick", "--out", str(directory)],
        cwd=ROOT, capture_output=True, text=True, timeout=115, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((directory / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="no redis-benchmark: apt install redis-tools"
)
def test_the_short_form_measures_every_part(tmp_path: Path) -> None:
    printed, report = measured("inference", tmp_path)
    assert {"environment", "latency", "engines", "throughput", "cnn", "beside", "stores"} == set(report)
    assert "one core" in report["latency"]["mlp64"]
    names = [row["name"] for row in report["stores"]["33 KB"]["series"]]
    assert names == ["SET", "AI.MODELSTORE"]
    assert (tmp_path / "inference.png").stat().st_size > 1000
    assert "AI.MODELEXECUTE" in printed


def test_the_short_form_measures_the_buffers(tmp_path: Path) -> None:
    printed, report = measured("buffers", tmp_path)
    assert set(report) == {"environment", "1000 samples held", "20000 samples held"}
    names = ["batch_of", "Fifo", "Firo", "Reservoir", "Pairs"]
    for part in list(report.values())[1:]:
        assert [row["name"] for row in part["series"]] == names
    assert "Reservoir" in printed


@pytest.mark.slow
def test_the_short_form_measures_what_feeds_a_network(tmp_path: Path) -> None:
    printed, report = measured("feed", tmp_path)
    assert {"memory, one core", "fetch, one core", "idle, one core"} < set(report)
    names = [row["name"] for row in report["memory, one core"]["series"]]
    assert names == ["DataLoader", "batch_of", "Loader, 0 ahead", "Loader, 2 ahead"]
    rows = report["idle, one core"]["series"]
    assert [(row["client"], row["ahead"]) for row in rows] == [
        ("shared memory", 0),
        ("shared memory", 2),
        ("socket", 0),
        ("socket", 2),
    ]
    assert all(row["snapshots a step"] > 0 for row in rows)
    assert "redis-py MGET" in printed


@pytest.mark.slow
def test_the_short_form_measures_the_server_s_memory(tmp_path: Path) -> None:
    printed, report = measured("memory", tmp_path)
    server = system_binary() or wheel_binary()
    rows = report[server.name]["series"]
    assert [row["series"] for row in rows] == [
        "NativeClient, shared memory",
        "NativeClient, socket",
        "SmartRedis",
        "SET by redis-py",
        "SET by redis-py, a plain redis-server",
    ]
    assert all(1 <= row["last"] <= row["most"] for row in rows)
    assert "SET by redis-py" in printed


@pytest.mark.slow
def test_the_short_form_measures_launching(tmp_path: Path) -> None:
    printed, report = measured("launch", tmp_path)
    *rates, gap, memory, parsl = list(report.values())[1:]
    for rate in rates:
        names = [row["name"] for row in rate["series"]]
        assert names == [
            "posix_spawn loop",
            "the same with directory and log",
            "the same, one at a time",
            "Experiment",
        ]
    assert [row["name"] for row in gap["series"]] == ["posix_spawn loop", "Experiment"]
    assert [row["members"] for row in memory["series"]] == [100, 1000]
    rows = memory["series"]
    assert all(0 < row["before_kb"] <= row["joined_kb"] <= row["all_ended_kb"] for row in rows)
    assert [row["name"] for row in parsl.get("series", [])] in ([], ["Parsl's HTEX", "Experiment"])
    assert ("--get-peers" in printed) is ("skipped" in parsl)


@pytest.mark.slow
def test_the_short_form_measures_the_clients(tmp_path: Path) -> None:
    printed, report = measured("clients", tmp_path)
    for size in ("4 KB", "256 KB", "4 MB", "64 MB"):
        put, get = (report["system"][size][f"{way}, one core"]["series"] for way in ("put", "get"))
        assert [row["name"] for row in put] == [
            "raw socket",
            "SET, C",
            "libpenstock",
            "NativeClient",
            "SmartRedis",
        ]
        assert {"GET, C", "libpenstock", "NativeClient", "NativeClient, into"} < {row["name"] for row in get}
    assert "libpenstock" in printed


@pytest.mark.slow
def test_the_short_form_measures_shared_memory(tmp_path: Path) -> None:
    _, report = measured("shared", tmp_path)
    for size in ("4 KB", "1 MB", "64 MB"):
        puts, gets, maps = (
            {row["name"] for row in report[size][f"{way}, one core"]["series"]}
            for way in ("put", "get", "map")
        )
        assert {"memcpy", "NativeClient", "NativeClient, in place", "NativeClient, socket"} < puts
        assert {"NativeClient, into", "np.load, /dev/shm", "SmartRedis"} < gets
        assert maps == {"PING", "NativeClient, map_tensor", "np.load, mapped"}


@pytest.mark.slow
def test_the_short_form_measures_what_a_solver_feels(tmp_path: Path) -> None:
    _, report = measured("solver", tmp_path)
    rows = report["pushing 2 MB every 20 ms"]["series"]
    names = ["no push", "NativeClient, shared memory", "NativeClient, Unix socket", "SmartRedis"]
    assert [row["name"] for row in rows] == names


@pytest.mark.slow
def test_the_short_form_measures_a_cluster(tmp_path: Path) -> None:
    _, report = measured("cluster", tmp_path)
    for part in ("put 4 KB", "get 4 KB", "infer, 4 MB in and out"):
        rows = report[f"{part}, one core"]["series"]
        assert [row["name"] for row in rows] == ["one server", "three shards"]
        assert all(row["wall_us"] > 0 and row["cpu_us"] > 0 for row in rows)


def test_a_report_has_a_table_and_a_plot_of_sizes(tmp_path: Path) -> None:
    def comparison(us: float) -> dict[str, Any]:
        rows = [
            {"name": name, "wall_us": us * ratio, "ratio": ratio, "ratio_low": 1, "ratio_high": 3}
            for name, ratio in (("memcpy", 1.0), ("ours", 2.0))
        ]
        return {"reference": "memcpy", "rounds": 9, "dropped": 2, "series": rows}

    sizes = {"4 KB": {"put": comparison(10)}, "4 MB": {"put": comparison(1000)}}
    (tmp_path / "shared.json").write_text(json.dumps({"environment": {"cpu": "a cpu"}, "system": sizes}))
    written = write_report(tmp_path)
    assert [path.name for path in written] == ["shared.md", "shared.png"]
    text = written[0].read_text()
    assert "| memcpy | 10 µs | 1000 µs |" in text
    assert "| ours | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 3.00) |" in text
    assert "9/9 rounds, 4 dropped" in text
    assert written[1].stat().st_size > 1000
