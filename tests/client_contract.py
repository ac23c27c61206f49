"""What every client must do, whatever lies beneath it.

`ClientContract` is inherited by one test class for each client. A subclass gives the fixtures `open_client`
(a client of the same database for a producer and rank), `open_prefixed` (one with prefixes of keys),
`remove_tensor` and `networks` (models as that database takes them).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sim_clients import (
    About,
    Client,
    Field,
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelMissing,
    ModelRejected,
    NameRefused,
    SnapshotError,
    TensorError,
    keys,
)
from sim_clients.fields import WIRE_DTYPES
from tests.field_contract import FieldContract, OpenClient
from tests.model_contract import ModelContract, Networks, field
from tests.stream_contract import StreamContract

OpenPrefixed = Callable[..., Client]
"""Opens a client of a producer with variables in its environment, name after name and value."""
RemoveTensor = Callable[[str], None]


class ClientContract(FieldContract, ModelContract, StreamContract):
    """The tests, with those of fields, versions of models and streams; see the module's docstring."""

    def test_a_snapshot_comes_back_as_it_was_put(self, open_client: OpenClient) -> None:
        u, p = field(), field((5,), "float64")
        open_client("heat_0", 2).put_snapshot(40, {"u": u, "p": p}, time=0.25)
        found = open_client("trainer").get_snapshot(0)
        assert (found.producer, found.rank, found.step, found.time) == ("heat_0", 2, 40, 0.25)
        assert found.fields.keys() == {"u", "p"}
        np.testing.assert_array_equal(found.fields["u"], u)
        np.testing.assert_array_equal(found.fields["p"], p)
        assert found.fields["u"].dtype == u.dtype

    def test_a_snapshot_without_a_time_has_none(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"u": field()})
        assert client.get_snapshot(0).time is None

    def test_snapshots_stand_in_the_order_of_their_announcement(self, open_client: OpenClient) -> None:
        first, second = open_client("a"), open_client("b.with.dots")
        first.put_snapshot(0, {"u": field()})
        second.put_snapshot(7, {"u": field()})
        first.put_snapshot(1, {"u": field()})
        reader = open_client("reader")
        assert reader.announced() == 3
        assert [reader.get_snapshot(i).name for i in range(3)] == ["a.0.0", "b.with.dots.0.7", "a.0.1"]

    def test_streams_are_apart(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_snapshot(5, {"u": field()}, stream="coarse")
        client.put_snapshot(4, {"v": field((2,))}, stream="fine")
        assert (client.announced("coarse"), client.announced("fine"), client.announced()) == (1, 1, 0)

    @pytest.mark.parametrize("dtype", WIRE_DTYPES)
    def test_every_dtype_of_the_wire_arrives(self, open_client: OpenClient, dtype: str) -> None:
        client = open_client("heat_0")
        client.put_tensor("t", field(dtype=dtype))
        found = client.get_tensor("t")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, field(dtype=dtype))

    @pytest.mark.parametrize(
        "array",
        [np.asfortranarray(field()), field()[:, ::2], field().T, field((2, 3, 4)).transpose(1, 0, 2)],
        ids=["fortran", "strided", "transposed", "permuted"],
    )
    def test_memory_order_does_not_change_the_numbers(
        self, open_client: OpenClient, array: np.ndarray
    ) -> None:
        client = open_client("heat_0")
        client.put_tensor("t", array)
        client.put_snapshot(0, {"u": array})
        for found in (client.get_tensor("t"), client.get_snapshot(0).fields["u"]):
            np.testing.assert_array_equal(found, array)
            assert found.flags.c_contiguous
            assert found.flags.owndata

    @pytest.mark.parametrize(
        ("array", "says"),
        [
            (np.float32(3.0), "expected a numpy array"),
            (np.array(3.0), "0-dimensional"),
            (np.zeros((0, 3)), "no elements"),
            (np.zeros(3, ">f4"), "byte order"),
            (np.zeros(3, np.float16), "float16"),
            (np.zeros(3, np.complex64), "complex64"),
            (np.zeros(3, bool), "bool"),
            (np.zeros(3, np.uint32), "uint32"),
            ([1.0, 2.0], "list"),
            (np.ma.masked_greater(np.arange(3.0), 1.0), "no mask"),
        ],
    )
    def test_what_the_wire_cannot_carry_is_refused_by_name(
        self, open_client: OpenClient, array: np.ndarray, says: str
    ) -> None:
        client = open_client("heat_0")
        with pytest.raises(TensorError, match=says) as caught:
            client.put_snapshot(0, {"good": field(), "temperature": array})
        assert caught.value.name == "temperature"
        assert client.announced() == 0
        with pytest.raises(TensorError, match=says):
            client.put_tensor("t", array)
        with pytest.raises(TensorError, match=f"input 1 of closure.*{says}"):
            client.infer("closure", field(), array)

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({}, "no fields"),
            ({"u": field()}, "'p' is missing"),
            (
                {"u": field(), "p": field(), "q": field()},
                r"'q' is new, float32 \(3, 4\); the stream .* has p, u",
            ),
            (
                {"u": field((4, 3)), "p": field()},
                r"'u' is float32 \(4, 3\); the stream .* has float32 \(3, 4\)",
            ),
            ({"u": field(), "p": field(dtype="float64")}, "'p' is float64"),
        ],
    )
    def test_a_snapshot_unlike_the_one_before_is_refused_and_loses_nothing(
        self, open_client: OpenClient, fields: dict[str, np.ndarray], says: str
    ) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"u": field(), "p": field()})
        with pytest.raises(SnapshotError, match=says) as caught:
            client.put_snapshot(1, fields)
        assert caught.value.snapshot == "heat_0.0.1"
        assert client.announced() == 1
        client.put_snapshot(1, {"u": field(), "p": field()})
        assert client.get_snapshot(1).step == 1

    @pytest.mark.parametrize("step", [-1, 3, 2, 3.5, "4"])
    def test_a_step_must_grow(self, open_client: OpenClient, step: int) -> None:
        client = open_client("heat_0")
        client.put_snapshot(3, {"u": field()})
        with pytest.raises(SnapshotError, match="step"):
            client.put_snapshot(step, {"u": field()})
        assert client.announced() == 1

    def test_a_step_may_be_numpys(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        assert client.put_snapshot(np.int64(3), {"u": field()}).name == "heat_0.0.3"
        assert client.get_snapshot(0).step == 3

    def test_a_field_may_be_called_time(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"time": field()}, time=0.5)
        found = client.get_snapshot(0)
        assert found.time == 0.5
        np.testing.assert_array_equal(found.fields["time"], field())

    def test_names_that_would_break_a_key_are_refused(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        with pytest.raises(NameRefused, match=r"'\{u\}' cannot name a field"):
            client.put_snapshot(0, {"{u}": field()})
        with pytest.raises(NameRefused, match="'meta' cannot name a field: SmartRedis keeps"):
            client.put_snapshot(0, {"meta": field()})
        with pytest.raises(NameRefused, match="stream"):
            client.put_snapshot(0, {"u": field()}, stream="a stream")
        with pytest.raises(NameRefused, match="model"):
            client.put_model("clo@sure", b"", 1)
        with pytest.raises(NameRefused, match="tensor"):
            client.put_tensor("", field())

    def test_an_incomplete_snapshot_names_its_missing_fields(
        self, open_client: OpenClient, remove_tensor: RemoveTensor
    ) -> None:
        client = open_client("heat_0")
        client.put_snapshot(8, {"u": field(), "v": field(), "w": field()})
        remove_tensor(keys.tensor("heat_0.0.8", "w"))
        remove_tensor(keys.tensor("heat_0.0.8", "u"))
        with pytest.raises(IncompleteSnapshot, match="u, w") as caught:
            open_client("reader").get_snapshot(0)
        assert caught.value.snapshot == "heat_0.0.8"

    @pytest.mark.parametrize("position", [-1, 1, 99])
    def test_a_position_that_was_not_announced(self, open_client: OpenClient, position: int) -> None:
        client = open_client("heat_0")
        client.put_snapshot(0, {"u": field()})
        with pytest.raises(KeyMissing, match="snapshots"):
            client.get_snapshot(position)

    def test_a_tensor_that_is_not_there(self, open_client: OpenClient) -> None:
        with pytest.raises(KeyMissing, match="'nothing'"):
            open_client("heat_0").get_tensor("nothing")

    def test_a_tensor_is_replaced(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.put_tensor("t", field())
        client.put_tensor("t", field((2,), "int64"))
        np.testing.assert_array_equal(open_client("other").get_tensor("t"), field((2,), "int64"))

    def test_a_new_field_is_put_and_then_read_only(self, open_client: OpenClient) -> None:
        client, other = open_client("a"), open_client("b")
        array = client.new_field((64, 33), "float32")
        assert (array.shape, array.dtype, array.flags.writeable) == ((64, 33), np.float32, True)
        array[...] = field((64, 33))
        client.put_tensor("t", array)
        np.testing.assert_array_equal(other.get_tensor("t"), field((64, 33)))
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        other.put_tensor("t", field((2, 2)))
        np.testing.assert_array_equal(array, field((64, 33)))

    def test_new_fields_of_a_snapshot(self, open_client: OpenClient) -> None:
        client = open_client("a")
        for step in range(4):
            u, slice_of_it = client.new_field((40, 40)), client.new_field(100, "int64")
            u[...] = step
            slice_of_it[...] = np.arange(100)
            client.put_snapshot(step, {"u": u, "v": slice_of_it[::2], "w": u})
            assert not u.flags.writeable
            assert slice_of_it.flags.writeable
        for step in range(4):
            found = open_client("b").get_snapshot(step).fields
            assert (found["u"] == step).all()
            assert (found["w"] == step).all()
            np.testing.assert_array_equal(found["v"], np.arange(0, 100, 2))

    @pytest.mark.parametrize(
        ("shape", "dtype"), [((), "float32"), ((0, 3), "float32"), ((-1,), "int32"), ((2,), "complex64")]
    )
    def test_a_new_field_that_could_not_be_put_is_refused(
        self, open_client: OpenClient, shape: tuple[int, ...], dtype: str
    ) -> None:
        with pytest.raises(TensorError, match="a new field"):
            open_client("a").new_field(shape, dtype)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_a_mapped_tensor_is_read_only_and_stays(self, open_client: OpenClient, order: str) -> None:
        client, other = open_client("a"), open_client("b")
        client.put_tensor("t", np.array(field((30, 70)), order=order))  # type: ignore[call-overload]
        mapped = other.map_tensor("t")
        client.put_tensor("t", np.zeros((30, 70), np.float32))
        client.put_tensor("s", np.zeros((30, 70), np.float32))
        np.testing.assert_array_equal(mapped, field((30, 70)))
        with pytest.raises(ValueError, match="read-only"):
            mapped[0, 0] = 1
        row = mapped[3]
        del mapped
        other.close()
        np.testing.assert_array_equal(row, field((30, 70))[3])

    def test_a_mapped_snapshot(self, open_client: OpenClient) -> None:
        u, p = field(), field((5,), "float64")
        open_client("heat_0", 2).put_snapshot(40, {"u": u, "p": p}, time=0.25)
        found = open_client("trainer").map_snapshot(0)
        assert (found.producer, found.rank, found.step, found.time) == ("heat_0", 2, 40, 0.25)
        for name, expected in (("u", u), ("p", p)):
            np.testing.assert_array_equal(found.fields[name], expected)
            assert not found.fields[name].flags.writeable

    @pytest.mark.parametrize("mapped", [False, True])
    def test_several_snapshots_at_once(
        self, open_client: OpenClient, remove_tensor: RemoveTensor, mapped: bool
    ) -> None:
        client, other = open_client("heat_0", 1), open_client("heat_1")
        for step in range(6):
            described = Field(field() + step, units="K", dims=("y", "x"))
            client.put_snapshot(step, {"u": described, "p": np.full(5, step)}, time=step / 2)
            other.put_snapshot(step, {"u": field() - step, "p": np.zeros(5, np.int64)}, stream="other")
        for positions in ([0, 1, 2, 3, 4, 5], [1, 3, 4], [5]):
            found = client.get_snapshots(positions, mapped=mapped)
            assert [(one.name, one.time) for one in found] == [(f"heat_0.1.{i}", i / 2) for i in positions]
            for one in found:
                np.testing.assert_array_equal(one.fields["u"], field() + one.step)
                np.testing.assert_array_equal(one.fields["p"], np.full(5, one.step))
                assert one.about["u"] == About("K", ("y", "x"))
        assert [one.name for one in other.get_snapshots([2, 4], "other", mapped=mapped)] == [
            "heat_1.0.2",
            "heat_1.0.4",
        ]
        assert client.get_snapshots([], mapped=mapped) == []
        remove_tensor(keys.tensor("heat_0.1.3", "p"))
        for positions, steps in (([1, 2, 3, 4], [1, 2]), ([4, 5, 6, 7], [4, 5])):
            found = client.get_snapshots(positions, mapped=mapped)
            assert [one.step for one in found] == steps[: len(found)] != []
        for positions, error in (([3, 4], IncompleteSnapshot), ([6, 7], KeyMissing), ([-1, 0], KeyMissing)):
            with pytest.raises(error):
                client.get_snapshots(positions, mapped=mapped)
            assert [one.step for one in client.get_snapshots([4, 5], mapped=mapped)][:1] == [4]

    def test_there_is_nothing_to_map(self, open_client: OpenClient, remove_tensor: RemoveTensor) -> None:
        client = open_client("a")
        with pytest.raises(KeyMissing, match="none"):
            client.map_tensor("none")
        for position in (0, -1):
            with pytest.raises(KeyMissing):
                client.map_snapshot(position)
        client.put_snapshot(1, {"u": field(), "p": field()})
        remove_tensor(keys.tensor("a.0.1", "p"))
        with pytest.raises(IncompleteSnapshot, match="p"):
            client.map_snapshot(0)

    def test_flags(self, open_client: OpenClient) -> None:
        client, other = open_client("heat_0"), open_client("heat_1")
        assert not other.flag_raised("stop")
        client.raise_flag("stop")
        client.raise_flag("stop")
        assert other.flag_raised("stop")
        assert not other.flag_raised("sto")

    def test_all_can_be_asked_to_stop(self, open_client: OpenClient) -> None:
        client, other = open_client("trainer"), open_client("heat_1")
        assert not client.stop_requested() and not other.stop_requested()
        client.request_stop()
        client.request_stop()
        assert client.stop_requested() and other.stop_requested()
        assert other.flag_raised("stop")

    def test_the_end_of_a_stream_is_told_by_rank_and_stream(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0", 1), open_client("trainer")
        assert not reader.stream_ended("heat_0", 1)
        client.end_stream()
        assert reader.stream_ended("heat_0", 1)
        assert not reader.stream_ended("heat_0", 0)
        assert not reader.stream_ended("heat_0", 1, stream="other")

    def test_inference_by_the_live_version_and_by_an_older_one(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer, solver = open_client("trainer"), open_client("solver")
        trainer.put_model("closure", networks.doubles, 1)
        assert solver.model_version("closure") == 1
        np.testing.assert_allclose(solver.infer("closure", field()), 2 * field())
        trainer.put_model("closure", networks.triples, 5)
        assert solver.model_version("closure") == 5
        np.testing.assert_allclose(solver.infer("closure", field()), 3 * field())
        np.testing.assert_allclose(solver.infer("closure", field(), version=5), 3 * field())
        np.testing.assert_allclose(solver.infer("closure", field(), version=1), 2 * field())

    def test_inference_with_two_inputs_in_any_memory_order(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("solver")
        client.put_model("product", networks.multiplies_matrices, 1)
        x, y = field((3, 4)), np.asfortranarray(field((4, 2)))
        np.testing.assert_allclose(client.infer("product", x, y), x @ y)

    def test_inference_with_two_outputs(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("solver")
        client.put_model("both", networks.doubles_and_triples, 1)
        doubled, tripled = client.infer_outputs("both", field(), count=2)
        np.testing.assert_allclose(doubled, 2 * field())
        np.testing.assert_allclose(tripled, 3 * field())
        (tripled,) = client.infer_outputs("both", field(), count=2, version=1)[1:]
        np.testing.assert_allclose(tripled, 3 * field())

    def test_inference_with_another_number_of_outputs(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("solver")
        client.put_model("both", networks.doubles_and_triples, 1)
        for count in (1, 3):
            with pytest.raises(InferenceFailed, match="'both'"):
                client.infer_outputs("both", field(), count=count)
        for no_count in (0, 1.5, True):
            with pytest.raises(TensorError, match="count"):
                client.infer_outputs("both", field(), count=no_count)  # type: ignore[arg-type]

    def test_the_archive_of_a_model_comes_back_as_it_was_posted(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        trainer, solver = open_client("trainer"), open_client("solver")
        trainer.put_model("closure", networks.doubles, 1)
        assert solver.get_model("closure") == networks.doubles
        trainer.put_model("closure", networks.triples, 5)
        assert solver.get_model("closure") == networks.triples
        assert solver.get_model("closure", 1) == networks.doubles
        assert solver.get_model("closure", version=5) == networks.triples

    def test_the_archive_of_no_model(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("solver")
        with pytest.raises(ModelMissing, match="'closure' yet"):
            client.get_model("closure")
        client.put_model("closure", networks.doubles, 1)
        with pytest.raises(ModelMissing, match="no version 2"):
            client.get_model("closure", 2)
        with pytest.raises(ModelRejected, match="version"):
            client.get_model("closure", 0)
        with pytest.raises(NameRefused, match="model"):
            client.get_model("clo@sure")

    def test_inference_before_any_model(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("solver")
        with pytest.raises(ModelMissing, match="'closure' yet") as caught:
            client.infer("closure", field())
        assert (caught.value.name, caught.value.version) == ("closure", None)
        with pytest.raises(ModelMissing, match="'closure'"):
            client.model_version("closure")
        client.put_model("closure", networks.doubles, 1)
        with pytest.raises(ModelMissing, match="version 2"):
            client.infer("closure", field(), version=2)

    def test_inference_with_a_wrong_shape(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("solver")
        client.put_model("product", networks.multiplies_matrices, 1)
        with pytest.raises(InferenceFailed, match="'product'") as caught:
            client.infer("product", field((3, 4)), field((3, 4)))
        assert "Traceback" not in str(caught.value)
        np.testing.assert_allclose(
            client.infer("product", field((1, 4)), field((4, 1))), field((1, 4)) @ field((4, 1))
        )

    def test_inference_with_a_wrong_number_of_inputs(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("solver")
        client.put_model("product", networks.multiplies_matrices, 1)
        with pytest.raises(InferenceFailed, match="'product'"):
            client.infer("product", field((3, 4)))
        with pytest.raises(TensorError, match="at least one input"):
            client.infer("product")

    def test_a_garbage_model_is_rejected_and_the_live_one_stays(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("trainer")
        client.put_model("closure", networks.doubles, 1)
        with pytest.raises(ModelRejected, match="'closure'"):
            client.put_model("closure", networks.garbage, 2)
        assert client.model_version("closure") == 1
        np.testing.assert_allclose(client.infer("closure", field()), 2 * field())
        with pytest.raises(ModelMissing):
            client.infer("closure", field(), version=2)

    @pytest.mark.parametrize("version", [1.5, 2.0, "3", None, True, 0, -1, np.float64(2)])
    def test_a_version_is_a_whole_number(
        self, open_client: OpenClient, networks: Networks, version: object
    ) -> None:
        client = open_client("trainer")
        with pytest.raises(ModelRejected, match="a version is a whole number, 1 or greater"):
            client.put_model("closure", networks.doubles, version)  # type: ignore[arg-type]
        client.put_model("closure", networks.doubles, np.int64(1))  # type: ignore[arg-type]
        assert client.model_version("closure") == 1
        with pytest.raises(ModelRejected, match="a version is a whole number"):
            client.infer("closure", field(), version=1.5)  # type: ignore[arg-type]

    def test_what_is_no_model_is_rejected_before_it_is_sent(
        self, open_client: OpenClient, networks: Networks
    ) -> None:
        client = open_client("trainer")
        with pytest.raises(ModelRejected, match="'TPU'"):
            client.put_model("closure", networks.doubles, 1, device="TPU")
        with pytest.raises(ModelRejected, match="got an empty one"):
            client.put_model("closure", b"", 1)
        with pytest.raises(ModelRejected, match="got str"):
            client.put_model("closure", "closure.pt", 1)  # type: ignore[arg-type]
        with pytest.raises(ModelMissing):
            client.model_version("closure")

    def test_names_that_are_none(self, open_client: OpenClient) -> None:
        client = open_client("solver")
        for ask in (client.get_tensor, client.model_version, lambda name: client.infer(name, field())):
            with pytest.raises(NameRefused):
                ask(None)  # type: ignore[arg-type]

    def test_a_time_is_a_number(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        with pytest.raises(SnapshotError, match="a time is a number, s, got 'noon'"):
            client.put_snapshot(0, {"u": field()}, time="noon")  # type: ignore[arg-type]
        assert client.announced() == 0

    @pytest.mark.parametrize("version", [4, 3, 1])
    def test_a_version_must_be_newer(self, open_client: OpenClient, networks: Networks, version: int) -> None:
        client = open_client("trainer")
        client.put_model("closure", networks.doubles, 4)
        with pytest.raises(ModelRejected, match="not newer than the live version 4"):
            client.put_model("closure", networks.triples, version)
        np.testing.assert_allclose(client.infer("closure", field(), version=4), 2 * field())

    def test_closing_twice_is_harmless(self, open_client: OpenClient, networks: Networks) -> None:
        client = open_client("solver")
        client.put_model("closure", networks.doubles, 1)
        client.infer("closure", field())
        client.close()
        client.close()
        assert open_client("other").model_version("closure") == 1

    def test_prefixes_keep_tensors_of_the_same_name_apart(self, open_prefixed: OpenPrefixed) -> None:
        for name, value in (("heat_0", 1.0), ("heat_1", 2.0)):
            member = open_prefixed(name, "SSKEYOUT", name, "SSKEYIN", name)
            member.put_tensor("u", np.full(3, value))
            assert member.get_tensor("u").tolist() == [value] * 3
        reader = open_prefixed("reader", "SSKEYIN", "heat_1,heat_0")
        assert reader.get_tensor("u").tolist() == [2.0] * 3
        reader.put_tensor("plain", field())
        assert open_prefixed("other").get_tensor("plain").shape == (3, 4)
        with pytest.raises(KeyMissing, match="'u'"):
            open_prefixed("other").get_tensor("u")

    def test_a_prefix_of_what_is_written_is_none_of_what_is_read(self, open_prefixed: OpenPrefixed) -> None:
        """As with SmartRedis."""
        client = open_prefixed("heat_0", "SSKEYOUT", "heat_0")
        client.put_tensor("u", field())
        with pytest.raises(KeyMissing, match="'u'"):
            client.get_tensor("u")

    def test_snapshots_flags_and_models_of_a_client_with_a_prefix_reach_all(
        self, open_prefixed: OpenPrefixed, networks: Networks, remove_tensor: RemoveTensor
    ) -> None:
        solver = open_prefixed("heat_0", "SSKEYOUT", "heat_0", "SSKEYIN", "heat_0")
        trainer = open_prefixed("trainer")
        trainer.put_model("doubles", networks.doubles, 1)
        np.testing.assert_array_equal(solver.infer("doubles", field()), 2 * field())
        for step in range(2):
            solver.put_snapshot(step, {"u": field(), "p": field()}, time=0.5)
        solver.end_stream()
        assert trainer.stream_ended("heat_0") and trainer.announced() == solver.announced() == 2
        for client in (solver, trainer):
            found = client.get_snapshot(0)
            assert (found.producer, found.rank, found.step, found.time) == ("heat_0", 0, 0, 0.5)
            np.testing.assert_array_equal(found.fields["u"], field())
        remove_tensor("heat_0.{heat_0.0.1}.p")
        with pytest.raises(IncompleteSnapshot, match=r"heat_0\.0\.1.* p$"):
            trainer.get_snapshot(1)
