"""What one client writes the other reads, both ways: dtypes, orders, shapes, datasets, lists, models."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from smartredis import Client as Plain
from smartredis import Dataset

from sim_clients import Address, TensorError, connect
from sim_clients.fields import WIRE_DTYPES
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.smartredis_environment import environment_for
from tests.client_contract import Networks, field
from tests.integration.servers import RedisServer, ServerBinary

pytestmark = pytest.mark.usefixtures("native_library")

Place = Callable[[], Address]


@pytest.fixture(params=["one server", "cluster"])
def address(request: pytest.FixtureRequest, server_binary: ServerBinary) -> Address:
    if request.param == "cluster":
        found: Address = request.getfixturevalue("cluster_address")
        return found
    server: RedisServer = request.getfixturevalue("server")
    return Address.parse(server.address)


@pytest.fixture
def ours(address: Address) -> Iterator[NativeClient]:
    client = NativeClient(address, Identity("heat_0", 1))
    yield client
    client.close()


@pytest.fixture
def theirs(address: Address) -> Plain:
    """A SmartRedis client as any solver has it."""
    with environment_for(address):
        return Plain(None, logger_name="plain")


@pytest.mark.parametrize("dtype", WIRE_DTYPES)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4), (2, 3, 4, 5)])
def test_tensors_of_every_dtype_both_ways(
    ours: NativeClient, theirs: Plain, dtype: str, shape: tuple[int, ...]
) -> None:
    array = field(shape, dtype)
    ours.put_tensor("a", array)
    theirs.put_tensor("b", array)
    for found in (theirs.get_tensor("a"), ours.get_tensor("b"), ours.get_tensor("a")):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_extremes_of_every_dtype(ours: NativeClient, theirs: Plain) -> None:
    for dtype in WIRE_DTYPES:
        info: Any = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
        array = np.array([info.min, info.max, 0, 1], dtype)
        ours.put_tensor("x", array)
        np.testing.assert_array_equal(theirs.get_tensor("x"), array)


@pytest.mark.parametrize("dtype", WIRE_DTYPES)
def test_snapshots_of_every_dtype_both_ways(ours: NativeClient, theirs: Plain, dtype: str) -> None:
    u, v = field((4, 6), dtype)[::2, ::-3], np.asfortranarray(field((2, 3, 4), dtype))
    ours.put_snapshot(40, {"u": u, "v": v}, time=1.5)
    (found,) = (Dataset.from_pybind(each) for each in theirs.get_datasets_from_list("snapshots"))
    assert found.get_name() == "heat_0.1.40"
    assert sorted(found.get_tensor_names()) == ["u", "v"]
    np.testing.assert_array_equal(found.get_tensor("u"), u)
    np.testing.assert_array_equal(found.get_tensor("v"), v)
    np.testing.assert_array_equal(found.get_meta_scalars("time"), [1.5])
    assert theirs.dataset_exists("heat_0.1.40")
    dataset = Dataset("heat_1.0.7")
    dataset.add_tensor("u", field((4, 6), dtype))
    theirs.put_dataset(dataset)
    theirs.append_to_list("snapshots", dataset)
    back = ours.get_snapshot(1)
    assert (back.producer, back.rank, back.step, back.time) == ("heat_1", 0, 7, None)
    np.testing.assert_array_equal(back.fields["u"], field((4, 6), dtype))


def test_models_both_ways(ours: NativeClient, theirs: Plain, address: Address, networks: Networks) -> None:
    ours.put_model("closure", networks.doubles, 1)
    theirs.put_tensor("in", field())
    theirs.run_model("closure", ["in"], ["out"])
    np.testing.assert_array_equal(theirs.get_tensor("out"), 2 * field())
    other = connect(address, producer="trainer", client="smartredis")
    assert other.model_version("closure") == 1
    other.put_model("closure", networks.triples, 2)
    assert ours.model_version("closure") == 2
    np.testing.assert_array_equal(ours.infer("closure", field()), 3 * field())
    np.testing.assert_array_equal(ours.infer("closure", field(), version=1), 2 * field())
    np.testing.assert_array_equal(other.infer("closure", field(), version=1), 2 * field())
    other.close()


def test_flags_both_ways(ours: NativeClient, theirs: Plain) -> None:
    ours.raise_flag("a")
    theirs.put_tensor("flag.b", np.ones(1, np.uint8))
    assert theirs.tensor_exists("flag.a") and ours.flag_raised("b")


# ---- Any array there is

shapes = hnp.array_shapes(min_dims=1, max_dims=6, max_side=7)
arrays = st.sampled_from(WIRE_DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))


@st.composite
def views(draw: st.DrawFn) -> np.ndarray:
    """An array whose axes are in any order, with steps and backwards."""
    array = draw(arrays)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = draw(st.tuples(*[st.sampled_from([1, 2, -1, -3])] * array.ndim))
    view: np.ndarray = array[tuple(slice(None, None, step) for step in steps)]
    return view


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=views())
def test_any_view_of_any_array_arrives(ours: NativeClient, theirs: Plain, array: np.ndarray) -> None:
    ours.put_tensor("view", array)
    place = np.empty(array.shape[::-1], array.dtype).T
    ours.get_tensor_into("view", place)
    for found in (ours.get_tensor("view"), theirs.get_tensor("view"), place):
        assert found.dtype == array.dtype
        assert found.tobytes() == np.ascontiguousarray(array).tobytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays, swap=st.booleans())
def test_the_byte_order_of_the_machine_alone_is_sent(
    ours: NativeClient, array: np.ndarray, swap: bool
) -> None:
    given_ = array.astype(array.dtype.newbyteorder(">" if swap else "="))
    if given_.dtype.isnative:
        ours.put_tensor("x", given_)
        assert ours.get_tensor("x").tobytes() == array.tobytes()
    else:
        with pytest.raises(TensorError, match="byte order"):
            ours.put_tensor("x", given_)


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_go_through_in_pieces(ours: NativeClient, theirs: Plain, order: Any) -> None:
    array = np.random.default_rng(0).random((1500, 1501)).astype(np.float32, order=order)
    for view in (array, array[::-2, 3:700:5], array.T):
        ours.put_tensor("large", view)
        np.testing.assert_array_equal(theirs.get_tensor("large"), view)
        np.testing.assert_array_equal(ours.get_tensor("large"), view)


# ---- Datasets with metadata, by the C interface


class Datasets:
    """The dataset calls of penstock.h, which the Python client does not need itself."""

    def __init__(self, client: NativeClient) -> None:
        self.library = client._c._loaded
        self.client = client._call._handle

    def __call__(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, f"penstock_{name}")(*arguments)
        text = self.library.penstock_error
        text.argtypes, text.restype = (ctypes.c_void_p,), ctypes.c_char_p
        assert status == 0, text(self.client)


def test_metadata_both_ways(ours: NativeClient, theirs: Plain) -> None:
    call, dataset = Datasets(ours), ctypes.c_void_p()
    call("dataset_new", call.client, b"run", ctypes.byref(dataset))
    numbers = {1: 1.5, 2: 2.5, 3: -3, 4: -4, 13: 5, 12: 6}
    names = {1: "float64", 2: "float32", 3: "int64", 4: "int32", 13: "uint64", 12: "uint32"}
    for code, number in numbers.items():
        for value in (number, 2 * number):
            array = np.array([value], names[code])
            call(
                "dataset_add_scalar", dataset, names[code].encode(), code, ctypes.c_void_p(array.ctypes.data)
            )
    for text in (b"me", b"", b"you"):
        call("dataset_add_string", dataset, b"who", text)
    call("put_dataset", call.client, dataset)
    ours._c._loaded.penstock_dataset_free(dataset)
    found = theirs.get_dataset("run")
    for code, name in names.items():
        np.testing.assert_array_equal(found.get_meta_scalars(name), np.array([1, 2], name) * numbers[code])
        assert found.get_meta_scalars(name).dtype == name
    assert found.get_meta_strings("who") == ["me", "", "you"]
    theirs_made = Dataset("other")
    theirs_made.add_tensor("u", field())
    theirs_made.add_meta_scalar("t", 0.5)
    theirs_made.add_meta_string("by", "them")
    theirs.put_dataset(theirs_made)
    call("get_dataset", call.client, b"other", ctypes.byref(dataset))
    get = ours._c._loaded.penstock_dataset_get_string
    get.restype = ctypes.c_char_p
    assert get(dataset, b"by", 0) == b"them" and get(dataset, b"by", 1) is None
    dtype, values, count = ctypes.c_int(), ctypes.POINTER(ctypes.c_double)(), ctypes.c_int()
    call("dataset_get_scalars", dataset, b"t", *map(ctypes.byref, (dtype, values, count)))
    assert (dtype.value, values[0], count.value) == (1, 0.5, 1)
    ours._c._loaded.penstock_dataset_free(dataset)
