"""The two-scale Lorenz-96 system against itself, what is fitted to it, and the judgement of a run."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sim_clients.memory_client import MemoryClient, MemoryDatabase

EXPERIMENT = Path(__file__).parents[3] / "experiments" / "lorenz96_closure"


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
def lorenz96(experiment: None) -> ModuleType:
    return importlib.import_module("lorenz96")


@pytest.fixture
def system(lorenz96: ModuleType) -> Any:
    return lorenz96.System(12, 5, 10.0, 1.0, 10.0, 10.0)


def rates(system: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equations as they are written, index by index, for one member."""
    slow, fast, count = len(x), system.fast, len(y)
    b, c = system.amplitude_ratio, system.time_ratio
    exchange = system.coupling * c / b
    dx, dy = np.empty(slow), np.empty(count)
    for k in range(slow):
        own = y[k * fast : (k + 1) * fast].sum()
        dx[k] = x[k - 1] * (x[(k + 1) % slow] - x[k - 2]) - x[k] + system.forcing - exchange * own
    for j in range(count):
        dy[j] = c * b * y[(j + 1) % count] * (y[j - 1] - y[(j + 2) % count]) - c * y[j]
        dy[j] += exchange * x[j // fast]
    return dx, dy


def test_a_step_follows_the_equations(lorenz96: ModuleType, system: Any) -> None:
    draw, dt = np.random.default_rng(0), 1e-4
    x, y = draw.normal(2, 3, (3, 12)), draw.normal(0, 0.3, (3, 60))
    truth = lorenz96.Truth(system, x.copy(), y.copy(), dt)
    truth.advance(1)
    for member in range(3):
        first = rates(system, x[member], y[member])
        middle = rates(system, x[member] + dt / 2 * first[0], y[member] + dt / 2 * first[1])
        np.testing.assert_allclose((truth.x[member] - x[member]) / dt, middle[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose((truth.y[member] - y[member]) / dt, middle[1], rtol=1e-3, atol=1e-3)


def test_steps_are_of_fourth_order(lorenz96: ModuleType, system: Any) -> None:
    start = lorenz96.Truth.spun_up(system, 2, seed=1, dt=0.005)

    def after(dt: float) -> np.ndarray:
        truth = lorenz96.Truth(system, start.x.copy(), start.y.copy(), dt)
        truth.advance(lorenz96.steps_of(0.08, dt))
        return np.concatenate([truth.x, truth.y], axis=1)

    exact = after(0.00025)
    coarse, fine = np.abs(after(0.004) - exact).max(), np.abs(after(0.002) - exact).max()
    assert coarse / fine == pytest.approx(16, rel=0.25)


def test_members_do_not_see_each_other(lorenz96: ModuleType, system: Any) -> None:
    both = lorenz96.Truth.spun_up(system, 2, seed=3, dt=0.005)
    alone = lorenz96.Truth(system, both.x[1:].copy(), both.y[1:].copy(), 0.005)
    both.advance(100)
    alone.advance(100)
    np.testing.assert_allclose(both.x[1:], alone.x, rtol=1e-12)


def test_the_coarse_solver_with_the_true_tendency_is_the_whole_one(lorenz96: ModuleType, system: Any) -> None:
    truth = lorenz96.Truth.spun_up(system, 3, seed=2, dt=0.005)
    truth = lorenz96.Truth(system, truth.x, truth.y, 0.0005)
    coarse = lorenz96.Coarse(system, truth.x, 0.0005, lambda x: truth.subgrid())
    for _ in range(100):
        coarse.step()
        truth.advance(1)
    np.testing.assert_allclose(coarse.x, truth.x, atol=0.02)


def test_without_coupling_no_closure_is_exact(lorenz96: ModuleType, system: Any) -> None:
    alone = replace(system, coupling=0.0)
    truth = lorenz96.Truth(alone, np.random.default_rng(5).normal(2, 3, (1, 12)), np.zeros((1, 60)), 0.002)
    coarse = lorenz96.Coarse(alone, truth.x, 0.002, np.zeros_like)
    truth.advance(300)
    for _ in range(300):
        coarse.step()
    np.testing.assert_allclose(coarse.x, truth.x, rtol=1e-9)


def test_a_solver_that_blows_up_says_when(lorenz96: ModuleType, system: Any) -> None:
    start = lorenz96.Truth.spun_up(system, 1, seed=1, dt=0.005).x
    coarse = lorenz96.Coarse(system, start, 0.01, lambda x: 50 * x)
    with pytest.raises(lorenz96.BlownUp, match="time units") as raised:
        for _ in range(1000):
            coarse.step()
    assert raised.value.time == pytest.approx(coarse.steps * 0.01)
    nothing = lorenz96.Coarse(system, start, 0.01, lambda x: np.nan * x)
    with pytest.raises(lorenz96.BlownUp):
        nothing.step()


@pytest.mark.parametrize(("time", "dt"), [(0.1, 0.03), (0.001, 0.01)])
def test_a_time_that_is_no_number_of_steps_is_refused(lorenz96: ModuleType, time: float, dt: float) -> None:
    with pytest.raises(ValueError, match=f"{dt:g}"):
        lorenz96.steps_of(time, dt)
    assert lorenz96.steps_of(0.1, 0.001) == 100


@pytest.mark.parametrize(("name", "value"), [("slow", 3), ("fast", 0), ("amplitude_ratio", 0.0)])
def test_a_system_that_cannot_be_is_refused(system: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(system, **{name: value})


def test_a_nudged_truth_stays_with_the_coarse_solver(lorenz96: ModuleType, system: Any) -> None:
    coupled = importlib.import_module("coupled")
    start = lorenz96.Truth.spun_up(system, 2, seed=4, dt=0.005)
    coarse = lorenz96.Coarse(system, start.x, 0.01, lambda x: -0.3 * x)
    near, far = (
        coupled.Nudged(system, start, 1, dt=0.01, truth_dt=0.005, nudging_time=time) for time in (0.02, 1e9)
    )
    apart: dict[Any, list[float]] = {near: [], far: []}
    for _ in range(300):
        before = coarse.x
        coarse.step()
        for nudged, distances in apart.items():
            nudged.follow(before, coarse.x)
            distances.append(float(np.abs(nudged.truth.x - coarse.x[:1]).mean()))
    assert np.mean(apart[near][100:]) < 0.1
    assert np.mean(apart[far][100:]) > 1


def test_the_network_is_the_same_at_each_point_of_the_circle(experiment: None) -> None:
    network = importlib.import_module("network").Closure(10.0, upstream=2, downstream=1, width=8).eval()
    x = torch.randn(3, 36)
    with torch.no_grad():
        b = network(x)
        torch.testing.assert_close(network(x.roll(5, dims=1)), b.roll(5, dims=1))
        changed = x.clone()
        changed[:, 10] += 1
        differs = (network(changed) != b).any(dim=0).nonzero()[:, 0].tolist()
    assert b.shape == x.shape
    assert differs == [9, 10, 11, 12]  # those downstream of which it is 1, and upstream 2, at most


@pytest.mark.parametrize("sides", [(0, 0), (0, 2), (3, 0)])
def test_a_stencil_may_have_one_side(experiment: None, sides: tuple[int, int]) -> None:
    closure = importlib.import_module("network").Closure
    network = closure(10.0, upstream=sides[0], downstream=sides[1], width=8)
    for shape in ((2, 36), (4, 2, 36)):
        x = torch.randn(shape)
        torch.testing.assert_close(network(x)[..., 5], network(x.roll(1, dims=-1))[..., 6])
        assert network(x).shape == shape
    with pytest.raises(ValueError, match="-1"):
        closure(10.0, upstream=-1, downstream=1, width=8)


@pytest.fixture
def climate(experiment: None) -> ModuleType:
    return importlib.import_module("climate")


def collected(climate: ModuleType, states: np.ndarray, path: Path) -> Any:
    made = climate.Climate()
    for state in states:
        made.add(state)
    made.save(path)
    return climate.load(path)


def test_a_climate_has_the_moments_and_the_density_of_its_states(climate: ModuleType, tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(2.5, 3.5, (500, 4, 36))
    found = collected(climate, states, tmp_path / "climate.npz")
    assert found.mean == pytest.approx(states.mean())
    assert found.variance == pytest.approx(states.var())
    np.testing.assert_array_equal(found.counts, np.histogram(states, climate.EDGES)[0])
    np.testing.assert_array_equal(found.strip, states[-climate.STRIP :, 0])
    twice = found + found
    assert (twice.mean, twice.variance) == (pytest.approx(found.mean), pytest.approx(found.variance))
    assert climate.hellinger(twice.density, found.density) == pytest.approx(0, abs=1e-9)


def test_what_is_beyond_the_cells_is_counted(climate: ModuleType, tmp_path: Path) -> None:
    found = collected(climate, np.array([[[-500.0, 500.0, -30.5, 0.5]]]), tmp_path / "climate.npz")
    assert (found.counts[0], found.counts[-1], found.counts[30]) == (2, 1, 1)


def test_the_distance_of_hellinger_is_that_of_two_bells(climate: ModuleType) -> None:
    places = np.linspace(-12, 12, 4801)
    one, other = (np.exp(-((places - mean) ** 2) / 2) for mean in (0.0, 1.0))
    exact = np.sqrt(1 - np.exp(-1 / 8))
    assert climate.hellinger(one / one.sum(), other / other.sum()) == pytest.approx(exact, rel=1e-6)
    assert climate.hellinger(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)


def test_fits_take_the_snapshots_of_those_who_are_named(experiment: None) -> None:
    fits = importlib.import_module("fits")
    server = MemoryClient(MemoryDatabase(), producer="truth_0")
    x = np.linspace(-3, 3, 72, dtype=np.float32).reshape(2, 36)
    for step in range(3):
        server.put_snapshot(step, {"x": x + step, "b": 2 * (x + step)})
    found = fits.snapshots(server, ["truth_0"])
    assert found[0].shape == found[1].shape == (6, 36)
    np.testing.assert_allclose(found[1], 2 * found[0])
    with pytest.raises(fits.NoSnapshots, match="held_out_0"):
        fits.snapshots(server, ["held_out_0"])


def test_a_closure_explains_what_it_says_of_b(experiment: None) -> None:
    fits = importlib.import_module("fits")
    b = np.random.default_rng(1).normal(0, 2, (50, 36))
    assert fits.unexplained_share(b, b) == 0
    assert fits.unexplained_share(np.full_like(b, b.mean()), b) == pytest.approx(1)


def test_a_closure_that_blows_up_has_no_climate(
    experiment: None, system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = importlib.import_module("fits")
    monkeypatch.chdir(tmp_path)
    given = Namespace(members=2, seed=1, truth_dt=0.005, dt=0.01, every=0.1, spin_up=0.1, free_time=1.0)
    assert fits.free_run(system, "wild", lambda x: 50 * x, given) == pytest.approx(0.1, abs=0.1)
    assert not (tmp_path / "wild.npz").exists()
    assert fits.free_run(system, "none", np.zeros_like, given) is None
    found = importlib.import_module("climate").load(tmp_path / "none.npz")
    assert found.counts.sum() == 10 * 2 * 12


@pytest.mark.parametrize("factor", [1.0, 1.5, float("nan")])
def test_the_error_of_the_live_version_is_reported(
    experiment: None, lorenz96: ModuleType, system: Any, factor: float
) -> None:
    coupled = importlib.import_module("coupled")
    truth = lorenz96.Truth.spun_up(system, 2, 1, 0.005)
    answers = {1: np.zeros_like(truth.x), 2: factor * truth.subgrid()}
    database = MemoryDatabase(load=lambda model: lambda x: answers[int(model)].astype(np.float32))
    client = MemoryClient(database, producer="coupled")
    for version in answers:
        client.put_model("closure", str(version).encode(), version)
        assert coupled.report_error(client, truth) == version
    errors = [report.value for version in answers for report in client.reported_errors("closure", version)]
    assert errors == [pytest.approx(1), pytest.approx(abs(factor - 1), abs=1e-6, nan_ok=True)]


@pytest.fixture
def report(experiment: None) -> ModuleType:
    return importlib.import_module("report")


BARS = {
    "horizons": 10,
    "versions_answered": 4,
    "versions_while_coupled": 3,
    "worse_gone_back_from": 1,
    "times_better_than_none": 10.0,
    "times_better_than_linear": 1.5,
    "unexplained_against_linear": 0.75,
    "mean_error": 0.02,
    "variance_error": 0.02,
}
GOOD = {
    "horizons": 10,
    "versions_answered": 9,
    "versions_while_coupled": 8,
    "worse_gone_back_from": 1,
    "times_better_than_none": 40.0,
    "times_better_than_linear": 2.5,
    "unexplained_against_linear": 0.6,
    "mean_error": 0.002,
    "variance_error": 0.004,
}


def test_what_is_farther_from_the_truth_is_not_called_closer(report: ModuleType) -> None:
    assert report.closer(86.4) == "86.4 times closer"
    assert report.closer(0.5) == "2.0 times farther"


def test_a_good_run_misses_nothing(report: ModuleType) -> None:
    assert report.missed_bars(GOOD, BARS) == {}
    assert set(BARS) == {*report.AT_LEAST, *report.AT_MOST}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizons", 9),
        ("versions_answered", 3),
        ("versions_while_coupled", 2),
        ("worse_gone_back_from", 0),
        ("times_better_than_none", 9.9),
        ("times_better_than_linear", 1.4),
        ("times_better_than_linear", float("nan")),
        ("unexplained_against_linear", 0.8),
        ("unexplained_against_linear", float("nan")),
        ("mean_error", 0.03),
        ("variance_error", float("nan")),
    ],
)
def test_each_missed_bar_is_named(report: ModuleType, name: str, value: float) -> None:
    missed = report.missed_bars(GOOD | {name: value}, BARS)
    assert list(missed) == [name]
    assert name in missed[name]


def test_climates_are_compared_with_all_of_the_truth(
    report: ModuleType, climate: ModuleType, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)

    def normal(mean: float, deviation: float) -> Any:
        return collected(climate, draw.normal(mean, deviation, (400, 4, 36)), tmp_path / "climate.npz")

    climates = {"closure": normal(2.5, 3.5), "linear": normal(2.5, 3.2), "none": normal(3, 4.5)}
    climates["cubic"] = None  # it blew up
    result = report.compared(climates, [normal(2.5, 3.5), normal(2.5, 3.5)])
    distance = result["hellinger"]
    assert distance["closure"] < distance["linear"] < distance["none"] < distance["cubic"] == 1
    assert distance["floor"] == pytest.approx(distance["closure"], abs=0.02)
    assert result["times_better_than_linear"] == pytest.approx(distance["linear"] / distance["closure"])
    assert "cubic" not in result["mean"]
    assert result["variance"]["none"] == pytest.approx(4.5**2, rel=0.05)
    assert max(result["mean_error"], result["variance_error"]) < 0.02


def test_the_numbers_are_those_that_the_programs_wrote(report: ModuleType, tmp_path: Path) -> None:
    def write(program: str, content: dict[str, Any]) -> None:
        (tmp_path / program).mkdir()
        (tmp_path / program / "report.json").write_text(json.dumps(content))

    write("truth_0", {"ended": 100.0, "snapshots": 7})
    write("held_out_0", {"ended": 50.0, "snapshots": 5})
    versions = [{"version": v, "unix_time": at, "time": at} for v, at in ((1, 11.0), (3, 30.0), (3, 40.0))]
    coupled = {"versions": versions, "snapshots": 9, "learned_time": 3.0, "free_time": 50.0, "inferences": 70}
    write("coupled", coupled)
    write("fits", {"unexplained": {"closure": 0.12, "linear": 0.24}, "blown_up": {}})
    write("cost", {"1": {"database": 2e-5, "process": 1e-5, "none": 5e-6, "largest_difference": 0.0}})
    write("trainer", {"worse_version": 4, "gone_back_from": [2, 4]})
    lines = [{"unix_time": at, "version": v, "step": at} for at, v in ((10, 1), (20, None), (25, 2))]
    (tmp_path / "trainer" / "history.jsonl").write_text("\n".join(map(json.dumps, lines)))

    result = report.measured(tmp_path, ["truth_0", "held_out_0"])
    assert result["unexplained_against_linear"] == pytest.approx(0.5)
    assert (result["versions_posted"], result["versions_while_coupled"]) == (2, 1)
    assert (result["gone_back_from"], result["worse_gone_back_from"]) == (2, 1)
    assert result["versions_answered"] == 2
    assert (result["snapshots_of_truths"], result["snapshots_while_coupled"]) == (12, 9)
    assert result["step_us"]["1"] == pytest.approx({"database": 20, "process": 10, "none": 5})


def test_a_picture_shows_also_that_a_solver_blew_up(
    report: ModuleType, climate: ModuleType, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    truth, ours = (
        collected(climate, draw.normal(2.5, 3.5, (30, 2, 36)), tmp_path / "climate.npz") for _ in range(2)
    )
    climates = {"closure": ours, "linear": ours, "cubic": None, "none": None}
    result = report.compared(climates, [truth, truth])
    report.draw(tmp_path / "picture.png", climates, truth, result, 0.1)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
