"""What every client must do with what is known of fields: units, dimensions, blocks, contracts of streams.

`FieldContract` is a part of `ClientContract` and has its fixtures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sim_clients import (
    About,
    Block,
    Client,
    Contract,
    Field,
    KeyMissing,
    NameRefused,
    SnapshotError,
    TensorError,
    keys,
)
from sim_clients.fields import FieldType

OpenClient = Callable[..., Client]

TEMPERATURE = np.arange(12, dtype=np.float32).reshape(3, 4)
WHOLE = Block(shape=(6, 4), offset=(0, 0))
LOWER = Block(shape=(6, 4), offset=(3, 0))


def kelvin(values: np.ndarray = TEMPERATURE, **changes: Any) -> Field:
    """Return the upper block of a temperature."""
    return Field(values, **{"units": "K", "dims": ("y", "x"), "block": WHOLE, **changes})


class FieldContract:
    """The tests; see the module's docstring."""

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"units": ""}, "its units '' are not 1 to 80 bytes of text without commas"),
            ({"units": "K, dims y"}, "its units 'K, dims y' are not"),
            ({"units": "K\n"}, "are not 1 to 80 bytes"),
            ({"units": " K"}, "' K' are not"),
            ({"units": "K" * 81}, "are not 1 to 80 bytes"),
            ({"units": "\udcff"}, "are not 1 to 80 bytes"),
            ({"units": 3}, "its units are text, got 3"),
            ({"dims": "yx"}, "a name for each dimension, as .* got 'yx'"),
            ({"dims": ("y",)}, "it has 2 dimensions, and names for 1"),
            ({"dims": ("x", "x")}, "two of its dimensions are called 'x'"),
            ({"block": (3, 4)}, r"a block is Block\(shape=.*got \(3, 4\)"),
            ({"block": Block((6,), (0,))}, r"the block \(3, 4\) at \(0,\) does not lie within .* \(6,\)"),
            (
                {"block": Block((6, 4), (4, 0))},
                r"the block \(3, 4\) at \(4, 0\) does not lie within .* \(6, 4\)",
            ),
            ({"block": Block((6, 4), (-1, 0))}, r"at \(-1, 0\) does not lie"),
            ({"block": Block((2**64, 4), (0, 0))}, r"at \(0, 0\) does not lie"),
            ({"block": Block((6, 4), (0,))}, r"at \(0,\) does not lie"),
            ({"block": Block((6.0, 4), (0, 0))}, "integers for each dimension"),  # type: ignore[arg-type]
        ],
    )
    def test_what_does_not_fit_a_field_is_refused_by_name(
        self, open_client: OpenClient, changes: dict[str, Any], says: str
    ) -> None:
        client = open_client("heat_0")
        with pytest.raises(TensorError, match=says) as caught:
            client.put_snapshot(0, {"T": kelvin(**changes)})
        assert caught.value.name == "T"
        assert client.announced() == 0 and client.contract() is None

    @pytest.mark.parametrize("dims", [("y", "the x"), ("y", 3), ("y", "")])
    def test_a_dimension_has_a_name(self, open_client: OpenClient, dims: Any) -> None:
        with pytest.raises(NameRefused, match="cannot name a dimension"):
            open_client("heat_0").put_snapshot(0, {"T": kelvin(dims=dims)})

    def test_what_is_known_of_fields_comes_back(self, open_client: OpenClient) -> None:
        put = open_client("heat_0").put_snapshot(
            3, {"T": kelvin(), "u": TEMPERATURE, "flux": Field(TEMPERATURE, units="W m⁻²")}, time=0.5
        )
        found = open_client("reader").get_snapshot(0)
        assert found.about == put.about
        assert found.about == {"T": About("K", ("y", "x"), WHOLE), "u": About(), "flux": About("W m⁻²")}
        assert found.time == 0.5
        np.testing.assert_array_equal(found.fields["T"], TEMPERATURE)

    def test_the_contract_is_that_of_the_first_snapshot(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        assert client.contract() is None
        client.put_snapshot(0, {"u": TEMPERATURE[0], "T": kelvin()}, time=1.0)
        assert open_client("reader").contract() == Contract(
            "heat_0.0.0", {"T": "float32 (6, 4) in blocks, K, dims y x", "u": "float32 (4,)"}
        )
        assert client.contract("other") is None

    @pytest.mark.parametrize(
        ("other", "says"),
        [
            (kelvin(TEMPERATURE.astype(float)), r"'T' is float64 \(6, 4\) in blocks, K, dims y x; "),
            (kelvin(block=Block((6, 5), (3, 0))), r"'T' is float32 \(6, 5\) in blocks, K, dims y x; "),
            (kelvin(units="°C"), r"'T' is float32 \(6, 4\) in blocks, °C, dims y x; "),
            (kelvin(units=None), r"'T' is float32 \(6, 4\) in blocks, dims y x; "),
            (kelvin(dims=("x", "y")), r"'T' is float32 \(6, 4\) in blocks, K, dims x y; "),
            (kelvin(dims=None), r"'T' is float32 \(6, 4\) in blocks, K; "),
            (kelvin(block=None), r"'T' is float32 \(3, 4\), K, dims y x; "),
            (TEMPERATURE, r"'T' is float32 \(3, 4\); "),
            (kelvin(np.zeros((6, 4), np.float32), block=None), r"'T' is float32 \(6, 4\), K, dims y x; "),
        ],
    )
    def test_what_differs_is_refused_in_a_sentence_that_names_both(
        self, open_client: OpenClient, other: Field | np.ndarray, says: str
    ) -> None:
        first, second = open_client("heat_0"), open_client("heat_0", 1)
        first.put_snapshot(0, {"T": kelvin()})
        has = r"the stream 'snapshots' has float32 \(6, 4\) in blocks, K, dims y x since heat_0\.0\.0$"
        for client, snapshot in ((first, "heat_0.0.4"), (second, "heat_0.1.4")):
            with pytest.raises(SnapshotError, match=says + has) as caught:
                client.put_snapshot(4, {"T": other})
            assert caught.value.snapshot == snapshot
        assert first.announced() == 1
        second.put_snapshot(4, {"T": kelvin(block=LOWER)})
        assert first.announced() == 2

    def test_other_names_of_fields_are_refused_too(self, open_client: OpenClient) -> None:
        open_client("heat_0").put_snapshot(0, {"T": kelvin(), "u": TEMPERATURE})
        other = open_client("heat_1")
        has = r"the stream 'snapshots' has"
        with pytest.raises(
            SnapshotError, match=rf"'u' is missing; {has} it as float32 \(3, 4\) since heat_0\.0\.0"
        ):
            other.put_snapshot(0, {"T": kelvin()})
        with pytest.raises(
            SnapshotError, match=rf"'v' is new, float32 \(3, 4\); {has} T, u since heat_0\.0\.0"
        ):
            other.put_snapshot(0, {"T": kelvin(), "u": TEMPERATURE, "v": TEMPERATURE})

    def test_the_blocks_of_a_rank_stay_where_they_are(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"T": kelvin()})
        with pytest.raises(
            SnapshotError, match=r"block of .*'T' is \(3, 4\) at \(3, 0\), it was .* at \(0, 0\)"
        ):
            client.put_snapshot(1, {"T": kelvin(block=LOWER)})
        with pytest.raises(SnapshotError, match=r"'T' is \(2, 4\) at \(0, 0\), it was \(3, 4\) at \(0, 0\)"):
            client.put_snapshot(1, {"T": kelvin(TEMPERATURE[:2])})
        client.put_snapshot(1, {"T": kelvin()})
        assert client.announced() == 1 + 1

    def test_ranks_with_blocks_of_other_sizes_agree(self, open_client: OpenClient) -> None:
        whole = np.arange(20.0).reshape(5, 4)
        for rank, (start, end) in enumerate([(0, 1), (1, 4), (4, 5)]):
            part = Field(whole[start:end], block=Block(whole.shape, (start, 0)))
            open_client("heat_0", rank).put_snapshot(0, {"T": part})
        assert open_client("reader").announced() == 3

    def test_of_two_who_come_at_once_one_makes_the_contract(self, open_client: OpenClient) -> None:
        clients = [open_client(f"heat_{i}") for i in range(8)]
        barrier, refused = threading.Barrier(len(clients)), []

        def put(client: Client, units: str) -> None:
            barrier.wait()
            try:
                client.put_snapshot(0, {"T": kelvin(units=units)})
            except SnapshotError:
                refused.append(units)

        threads = [
            threading.Thread(target=put, args=(client, "K" if i % 2 else "°C"))
            for i, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        contract = clients[0].contract()
        assert contract is not None
        loser = "°C" if ", K," in contract.fields["T"] else "K"
        assert refused == [loser] * 4
        assert clients[0].announced() == 4

    def test_a_contract_that_was_lost_is_made_anew(self, open_client: OpenClient) -> None:
        """Who has seen it offers it again, with what it puts next, and is held to it as all others are."""
        client, other = open_client("heat_0"), open_client("heat_1")
        client.put_snapshot(0, {"T": kelvin()})
        open_client("driver").forget_stream()
        assert client.contract() is None
        client.put_snapshot(1, {"T": kelvin()})
        described = {"T": "float32 (6, 4) in blocks, K, dims y x"}
        assert client.contract() == Contract("heat_0.0.0", described)
        client.put_snapshot(2, {"T": kelvin()})
        with pytest.raises(
            SnapshotError, match=r"'T' is float32 \(3, 4\); .* has .*, K, dims y x since heat_0"
        ):
            other.put_snapshot(0, {"T": TEMPERATURE})
        assert other.announced() == 2

    def test_who_finds_another_contract_than_before_is_refused(self, open_client: OpenClient) -> None:
        client, other = open_client("heat_0"), open_client("heat_1")
        client.put_snapshot(0, {"T": kelvin()})
        open_client("driver").forget_stream()
        other.put_snapshot(0, {"T": TEMPERATURE})
        says = r"'T' is float32 \(6, 4\) .*; the stream 'snapshots' has float32 \(3, 4\) since heat_1\.0\.0"
        for step in (1, 2):
            with pytest.raises(SnapshotError, match=says) as caught:
                client.put_snapshot(step, {"T": kelvin()})
            assert caught.value.snapshot == f"heat_0.0.{step}"
        assert (other.announced(), other.fill().items) == (1, 1)
        other.put_snapshot(1, {"T": TEMPERATURE})

    def test_a_stream_that_is_forgotten_begins_anew(self, open_client: OpenClient) -> None:
        client, other = open_client("heat_0", 3), open_client("heat_1")
        for step in range(3):
            client.put_snapshot(step, {"T": kelvin()}, time=1.0)
        other.put_snapshot(0, {"T": kelvin()}, stream="coarse")
        client.end_stream()
        open_client("driver").forget_stream()
        client.forget_stream()  # a second time is harmless, and this client too begins anew
        assert client.announced() == 0 and client.contract() is None
        assert not client.stream_ended("heat_0", 3)
        client.put_snapshot(0, {"T": TEMPERATURE.astype(float)})
        assert client.get_snapshot(0).about == {"T": About()}
        assert client.get_snapshot(0).time is None
        assert other.get_snapshot(0, "coarse").about["T"].units == "K"
        with pytest.raises(NameRefused, match="stream"):
            client.forget_stream("a stream")

    def test_the_names_of_snapshots(self, open_client: OpenClient) -> None:
        reader = open_client("reader")
        assert reader.snapshot_names() == []
        for rank in range(2):
            for step in (0, 5):
                open_client(f"heat.{rank}", rank).put_snapshot(step, {"T": kelvin()})
        names = [keys.SnapshotName(f"heat.{rank}", rank, step) for rank in range(2) for step in (0, 5)]
        assert sorted(reader.snapshot_names()) == names
        assert reader.snapshot_names(3) == reader.snapshot_names()[3:]
        assert reader.snapshot_names(4) == []
        with pytest.raises(KeyMissing, match="-1"):
            reader.snapshot_names(-1)

    def test_some_fields_are_received_where_they_belong(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"T": kelvin(block=LOWER), "u": TEMPERATURE.astype(np.int16)}, time=2.0)
        whole = np.zeros((4, 6), np.float32).T
        asked = []

        def place(name: str, is_now: FieldType, about: About) -> np.ndarray:
            asked.append((name, is_now, about))
            return whole[3:]

        found = client.get_snapshot(0, fields=["T"], place=place)
        assert asked == [("T", FieldType("float32", (3, 4)), About("K", ("y", "x"), LOWER))]
        np.testing.assert_array_equal(whole, np.vstack([np.zeros((3, 4)), TEMPERATURE]))
        assert (found.time, list(found.fields), list(found.about)) == (2.0, ["T"], ["T"])
        assert np.shares_memory(found.fields["T"], whole)
        only = client.get_snapshot(0, fields=["u"])
        np.testing.assert_array_equal(only.fields["u"], TEMPERATURE)
        assert only.fields["u"].dtype == np.int16

    @pytest.mark.parametrize(
        ("array", "says"),
        [
            (
                np.zeros((3, 5), np.float32),
                r"has float32 \(3, 4\), the array to be filled is float32 \(3, 5\)",
            ),
            (np.zeros((3, 4)), r"has float32 \(3, 4\), the array to be filled is float64 \(3, 4\)"),
            (np.broadcast_to(np.float32(0), (3, 4)), "read-only"),
        ],
    )
    def test_a_place_that_does_not_fit_is_refused(
        self, open_client: OpenClient, array: np.ndarray, says: str
    ) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"T": kelvin()})
        with pytest.raises(TensorError, match=says) as caught:
            client.get_snapshot(0, place=lambda name, is_now, about: array)
        assert caught.value.name == "T"

    @pytest.mark.parametrize("fields", [["p"], ["T", "p"]])
    def test_a_field_that_is_not_there_is_named(self, open_client: OpenClient, fields: Sequence[str]) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"T": kelvin()})
        with pytest.raises(SnapshotError, match="it has no field 'p'"):
            client.get_snapshot(0, fields=fields)
