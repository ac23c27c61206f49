"""Axes, colours, pictures and markup, each by itself."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.chart import MOST_POINTS, Chart, Point, Series, thin
from orchestrator.report.colour_maps import COUNT, diverging, linear_rgb, sequential, srgb
from orchestrator.report.fields import flat, relative_error
from orchestrator.report.markup import Markup, e, join
from orchestrator.report.pictures import NOT_A_NUMBER, field_picture, levels, limits, png
from orchestrator.report.scales import duration, linear_ticks, log_ticks, scale_of, short, time_unit

NUMBERS = st.floats(-1e29, 1e29, allow_nan=False)


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.booleans(), st.booleans())
def test_every_number_has_its_place_on_the_axis(values: list[float], log: bool, from_zero: bool) -> None:
    scale = scale_of(values, 100, 200, log=log, from_zero=from_zero)
    assert scale.low < scale.high
    places = [scale.place(value) for value in sorted(values)]
    assert all(100 - 1e-6 <= place <= 200 + 1e-6 for place in places)
    assert places == sorted(places)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 20
    assert all(100 - 1e-3 <= scale.place(tick) <= 200 + 1e-3 for tick in ticks)


def test_ticks_are_round_numbers() -> None:
    assert linear_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert linear_ticks(-0.13, 0.29) == pytest.approx([-0.1, 0, 0.1, 0.2])
    assert log_ticks(0.013, 0.9) == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5])
    assert log_ticks(1e-7, 2) == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1][::2], rel=1e-9)


def test_an_axis_is_logarithmic_only_where_that_fits() -> None:
    assert scale_of([0.01, 1], 0, 1, log=True).log
    assert not scale_of([0.5, 1], 0, 1, log=True).log
    assert not scale_of([0, 1], 0, 1, log=True).log
    assert not scale_of([-1, 1], 0, 1, log=True).log


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0.0 s"), (59.0, "59.0 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min"), (9e5, "10 d 10 h")],
)
def test_a_duration_is_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_numbers_and_units_are_short() -> None:
    assert [short(value) for value in (0.0, 0.123456, 1234.5, 1e-9, 3e12)] == [
        "0",
        "0.1235",
        "1234",
        "1e-09",
        "3e+12",
    ]
    assert [time_unit(span)[1] for span in (100.0, 200.0, 2e4, 1e6)] == ["s", "min", "h", "d"]


@pytest.mark.parametrize("count", [MOST_POINTS, MOST_POINTS + 1, 2 * MOST_POINTS - 1, 5003])
def test_a_thinned_series_is_a_part_of_it_with_its_extremes(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    points = [Point(float(at), value) for at, value in enumerate(values)]
    kept = thin(points)
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(kept) and set(kept) <= set(points)
    assert {min(values), max(values)} <= {point.y for point in kept}


@pytest.mark.parametrize("look", ["line", "dashes", "steps", "disc", "cross", "triangle"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_look_of_a_series_is_well_formed(look: str, count: int) -> None:
    points = [Point(float(at), 10.0**at) for at in range(count)]
    figure = ET.fromstring(Chart("a < b", "x & y", '"z"', [Series("s", points, 1, look)], log=True).markup())
    drawn = [each.attrib.get("d", "") for each in figure.iter("path")]
    assert drawn or [each.attrib["cx"] for each in figure.iter("circle")]


def test_a_chart_of_nothing_says_so() -> None:
    assert "Nothing to draw yet." in Chart("t", "x", "y", [Series("s", [])]).markup()


def test_the_sequential_map_grows_lighter_in_even_steps() -> None:
    lab = sequential()
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert lab.shape == (COUNT, 3)
    assert (np.diff(lab[:, 0]) > 0).all()
    assert steps.max() / steps.min() < 1.02
    assert lab[0, 0] < 0.25 and lab[-1, 0] > 0.9


def test_the_diverging_map_is_the_same_on_both_sides() -> None:
    lab = diverging()
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.02
    np.testing.assert_allclose(lab[:, 0], lab[::-1, 0])
    np.testing.assert_allclose(lab[COUNT // 2, 1:], 0, atol=1e-12)


@pytest.mark.parametrize("colour_map", [sequential, diverging])
def test_a_screen_can_show_every_colour_of_a_map(colour_map: object) -> None:
    assert callable(colour_map)
    rgb = linear_rgb(colour_map())
    assert rgb.min() > -1e-3 and rgb.max() < 1 + 1e-3


def test_oklab_of_white_and_of_primary_red() -> None:
    lab = np.array([[1.0, 0, 0], [0.627955, 0.224863, 0.125846], [0, 0, 0]])
    np.testing.assert_array_equal(srgb(lab), [[255, 255, 255], [255, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("signed", [False, True])
def test_a_png_file_is_read_back_as_it_was_drawn(signed: bool) -> None:
    numbers = np.random.default_rng(0).integers(0, COUNT + 1, (7, 11)).astype(np.uint8)
    read = matplotlib.image.imread(io.BytesIO(png(numbers, signed=signed)))
    colours = np.concatenate([srgb(diverging() if signed else sequential()), [NOT_A_NUMBER]])
    np.testing.assert_array_equal(np.rint(255 * read[..., :3]), colours[numbers])


def test_the_ends_and_the_middle_have_their_colours() -> None:
    values = np.array([[-2.0, 0.0, 2.0, np.nan, np.inf, 1e300]])
    assert levels(values, -2, 2).tolist() == [[0, COUNT // 2, COUNT - 1, COUNT, COUNT, COUNT]]
    assert limits([values]) == (-2, 2)
    assert levels(np.full((2, 2), 3.0), 3, 3).tolist() == [[0, 0], [0, 0]]
    assert limits([np.array([np.nan])]) == (0, 1)


def test_points_without_a_colour_are_counted() -> None:
    picture = field_picture("truth", np.array([[1.0, np.nan], [np.inf, 2]]), 1, 2, "K", signed=False)
    assert "truth, 2 points not finite, or above 1e+30 (grey)" in picture
    assert "2 K" in "".join(ET.fromstring(picture).itertext())


def test_a_field_of_more_directions_is_cut_in_the_middle_and_says_where() -> None:
    field = np.arange(2.0 * 5 * 3 * 4).reshape(2, 1, 5, 3, 4)
    plane, told = flat(field)
    np.testing.assert_array_equal(plane, field[1, 0, 2])
    assert told == "cut at index 1 of 0 to 1, 2 of 0 to 4 of the first directions"
    assert flat(np.zeros((1, 7, 1)))[0].shape == (7,)
    assert flat(np.zeros(()))[0].shape == (1,)


def test_the_relative_error() -> None:
    one = np.array([3.0, 4.0])
    assert relative_error(one, one) == relative_error(0 * one, 0 * one) == 0
    assert relative_error(one, 1.1 * one) == pytest.approx(0.1)
    assert relative_error(0 * one, one) == math.inf


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    made = ET.fromstring(join(e("p", text, title=text)))
    assert not list(made)
    assert "".join(made.itertext()).count("<") == text.count("<")


def test_markup_goes_in_as_it_is() -> None:
    assert e("p", Markup("<b/>"), "<b/>", None, 1.5) == "<p><b/>&lt;b/&gt;1.5</p>"
