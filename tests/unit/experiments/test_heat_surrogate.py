"""The heated plate against its exact solution, and the judgement of a run."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXPERIMENT = Path(__file__).parents[3] / "experiments" / "heat_surrogate"


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The experiment's own modules can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXPERIMENT))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXPERIMENT)):
            del sys.modules[name]


@pytest.fixture
def heat(experiment: None) -> ModuleType:
    return importlib.import_module("heat")


@pytest.fixture
def report(experiment: None) -> ModuleType:
    return importlib.import_module("report")


@pytest.fixture
def plate(heat: ModuleType) -> Any:
    return heat.Plate(32, 400, 1.5, 0.005, 0.015)


def test_a_wave_decays_as_it_must(heat: ModuleType, plate: Any) -> None:
    member = heat.Member(plate, seed=1)
    x = plate.positions
    wave = np.cos(2 * np.pi * (x[:, None] + 2 * x[None, :]))
    decay = np.exp(-member.diffusivity * (2 * np.pi) ** 2 * (1 + 4) * plate.jump_time)
    found = member.advance(wave, np.zeros_like(wave))
    assert heat.relative_error(found, decay * wave) < 0.03


def test_a_steady_heater_warms_to_the_exact_field(heat: ModuleType, plate: Any) -> None:
    member = heat.Member(plate, seed=1)
    rate = member.diffusivity * (2 * np.pi) ** 2
    source = np.tile(np.sin(2 * np.pi * plate.positions)[:, None], (1, plate.points))
    exact = source * (1 - np.exp(-rate * plate.jump_time)) / rate
    assert heat.relative_error(member.advance(np.zeros_like(source), source), exact) < 0.01


def test_heat_is_kept(heat: ModuleType, plate: Any) -> None:
    member = heat.Member(plate, seed=3)
    u = member.initial + 2
    for _ in range(3):
        source = member.next_source()
        assert abs(source.mean()) < 1e-12
        u = member.advance(u, source)
    assert u.mean() == pytest.approx(2)


def test_the_solver_converges_with_the_grid(heat: ModuleType) -> None:
    errors = []
    for points in (16, 32):
        plate = heat.Plate(points, 1600, 1.5, 0.01, 0.01)
        wave = np.cos(2 * np.pi * plate.positions)[:, None] * np.ones(points)
        exact = np.exp(-0.01 * (2 * np.pi) ** 2 * 1.5) * wave
        found = heat.Member(plate, seed=0).advance(wave, np.zeros_like(wave))
        errors.append(heat.relative_error(found, exact))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_draws_are_those_of_marsaglia(heat: ModuleType) -> None:
    draws = heat.Draws(0, 0)
    draws._state = 1
    left = 1 ^ 1 << 13
    right = left ^ left >> 7
    assert draws._next() == right ^ right << 17


def test_draws_have_the_moments_of_their_distributions(heat: ModuleType) -> None:
    draws = heat.Draws(7, 3)
    uniform = np.array([draws.uniform(2, 4) for _ in range(20_000)])
    normal = np.array([draws.normal() for _ in range(20_000)])
    assert 2 <= uniform.min() < 2.01 and 3.99 < uniform.max() < 4
    assert uniform.mean() == pytest.approx(3, abs=0.02)
    assert uniform.var() == pytest.approx(4 / 12, rel=0.05)
    assert (normal.mean(), normal.var()) == (pytest.approx(0, abs=0.03), pytest.approx(1, rel=0.05))
    assert (np.abs(normal) < 1.96).mean() == pytest.approx(0.95, abs=0.01)


def test_neighbouring_seeds_and_waves_have_nothing_in_common(heat: ModuleType) -> None:
    drawn = [
        [draws.uniform() for _ in range(200)]
        for draws in (heat.Draws(seed, wave) for seed in range(6) for wave in range(6))
    ]
    correlations = np.corrcoef(drawn) - np.eye(36)
    assert np.abs(correlations).max() < 0.35


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_other_languages_do_not_have_is_refused(heat: ModuleType, seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        heat.Draws(seed, 0)


def test_members_and_waves_differ_and_come_back(heat: ModuleType, plate: Any) -> None:
    def drawn(seed: int, wave: int) -> tuple[float, float, float]:
        member = heat.Member(plate, seed, wave)
        return member.diffusivity, member.initial[0, 0], member.next_source()[0, 0]

    different = {drawn(seed, wave) for seed in range(5) for wave in range(5)}
    assert len(different) == 25
    assert drawn(3, 4) == drawn(3, 4)


@pytest.mark.parametrize(
    ("plate", "says"), [((64, 100, 1.5, 0.005, 0.015), "jump_steps"), ((32, 400, 1.5, 0.02, 0.01), "0.02")]
)
def test_a_plate_that_cannot_be_is_refused(heat: ModuleType, plate: tuple[float, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        heat.Plate(*plate)


GOOD = {
    "relative_error": 0.02,
    "times_better_than_persistence": 50.0,
    "versions_while_solvers_ran": 5,
    "versions_answered": 4,
    "inferences_failed": 0,
}
BARS = {
    "relative_error": 0.05,
    "times_better_than_persistence": 5.0,
    "versions_while_solvers_ran": 3,
    "versions_answered": 3,
}


def test_a_good_run_misses_nothing(report: ModuleType) -> None:
    assert report.missed_bars(GOOD, BARS) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("relative_error", 0.05),
        ("relative_error", float("nan")),
        ("times_better_than_persistence", 4.9),
        ("times_better_than_persistence", float("nan")),
        ("versions_while_solvers_ran", 2),
        ("versions_answered", 2),
        ("inferences_failed", 1),
    ],
)
def test_each_missed_bar_is_named(report: ModuleType, name: str, value: float) -> None:
    missed = report.missed_bars(GOOD | {name: value}, BARS)
    assert list(missed) == [name]
    assert name in missed[name]


def test_the_numbers_are_those_that_the_programs_wrote(report: ModuleType, tmp_path: Path) -> None:
    def write(program: str, content: dict[str, Any]) -> None:
        (tmp_path / program).mkdir()
        (tmp_path / program / "report.json").write_text(json.dumps(content))

    write("heat_0", {"ended": 100.0, "snapshots": 7})
    write("held_out_0", {"ended": 50.0, "snapshots": 5})
    jumps = [{"version": v, "inference_s": v / 1000} for v in (1, 1, 3)]
    write("coupled", {"jumps": jumps, "failed": 2, "without_model": 4})
    write("evaluation", {"version": 3, "errors": [0.1, 0.3], "persistence": [1.0, 3.0]})
    history = [
        {"unix_time": time, "version": version, "step": step}
        for time, version, step in ((10.0, 1, 5), (20.0, None, 10), (49.0, 2, 15), (51.0, 3, 20))
    ]
    result = report.measured(tmp_path, history, ["heat_0", "held_out_0"])
    assert result["relative_error"] == pytest.approx(0.2)
    assert result["times_better_than_persistence"] == pytest.approx(10)
    assert (result["versions_posted"], result["versions_while_solvers_ran"]) == (3, 2)
    assert (result["answered_by"], result["versions_answered"]) == ([1, 3], 2)
    assert (result["inferences"], result["inferences_failed"]) == (5, 2)
    assert result["jumps_before_a_model"] == 4
    assert (result["snapshots"], result["training_steps"], result["last_version"]) == (12, 20, 3)
    assert result["inference_ms_median"] == pytest.approx(1.0)


def test_the_comparison_of_buffers_gives_all_the_same_samples(
    experiment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = importlib.import_module("compare_buffers")
    monkeypatch.setattr(compare, "EXAMINED", 1)
    monkeypatch.setattr(compare, "WATERMARK", 16)
    runs = compare.compared(range(1), ticks=8)
    steps = {(run["solvers"].split()[0], run["buffer"]): run["steps"] for run in runs}
    assert steps["slow", "fifo"] == 0  # 8 samples, below the watermark
    assert steps["fast", "fifo"] == 7  # from the second tick on, when there are 16
    assert steps["fast", "firo"] == 6
    assert steps["fast", "reservoir"] == 7
    assert {run["samples"] for run in runs if run["solvers"].startswith("fast")} == {64}
    assert all(np.isfinite(run["errors"]).all() and len(run["errors"]) == 8 for run in runs)
    compare.draw(tmp_path / "buffers.png", runs)
    assert (tmp_path / "buffers.png").stat().st_size > 1000
    assert len(compare.summary(runs).rows) == 6


def test_streams_of_other_seeds_are_other_samples(experiment: None) -> None:
    compare = importlib.import_module("compare_buffers")
    first = [[sample["u"].tobytes() for sample in compare.stream(seed, 8)] for seed in (0, 0, 1)]
    assert first[0] == first[1]
    assert not set(first[0]) & set(first[2])
