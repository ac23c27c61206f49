"""Every public method of SmartRedis is called by a test of this folder, or says here why not."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import smartredis
from smartredis import Client, ConfigOptions, Dataset, DatasetConverter, LLInfo, LogContext

from tests.integration.smartredis.conftest import Deployment

CLASSES = (Client, ConfigOptions, Dataset, DatasetConverter, LogContext)
NOT_CALLED = {
    "ConfigOptions.from_pybind": "makes the Python object of a C++ one; create_from_environment calls it",
    "ConfigOptions.get_data": "the C++ object inside; Client() calls it",
    "ConfigOptions.set_configoptions": "puts a C++ object inside; from_pybind calls it",
    "Dataset.from_pybind": "makes the Python object of a C++ one; get_dataset calls it",
    "Dataset.get_data": "the C++ object inside; put_dataset calls it",
    "Dataset.set_data": "puts a C++ object inside; from_pybind calls it",
    "LogContext.from_pybind": "makes the Python object of a C++ one",
    "LogContext.get_context": "the C++ object inside; the logging functions call it",
    "LogContext.set_context": "puts a C++ object inside; from_pybind calls it",
}


def public_names() -> set[str]:
    """Return Class.method for each class, and the bare names of the package's functions."""
    methods = {
        f"{cls.__name__}.{name}"
        for cls in CLASSES
        for name, _ in inspect.getmembers(cls, callable)
        if not name.startswith("_")
    }
    functions = {name for name, item in vars(smartredis).items() if inspect.isfunction(item)}
    return methods | functions


def called_names() -> set[str]:
    """Return the name behind the last dot of every call in this folder's tests."""
    calls = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                calls.add(name)
    return calls


def test_nothing_public_is_left_out() -> None:
    calls = called_names()
    missing = {name for name in public_names() if name.rpartition(".")[2] not in calls}
    assert missing == NOT_CALLED.keys() & public_names() == set(NOT_CALLED)


@pytest.mark.parametrize("kind", [Client, Dataset, LogContext, ConfigOptions])
def test_whatever_can_write_the_log_writes_it(client: Client, deployment: Deployment, kind: type) -> None:
    objects = {Client: client, Dataset: Dataset("d"), LogContext: LogContext("c")}
    if kind is ConfigOptions:
        assert not hasattr(kind, "log_data")
        return
    before = deployment.keys()
    objects[kind].log_data(LLInfo, "data")
    objects[kind].log_warning(LLInfo, "warning")
    objects[kind].log_error(LLInfo, "error")
    assert deployment.keys() == before


def test_options_are_read_and_overridden(
    client: Client, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in deployment.address.environment("OTHER").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SR_LOG_LEVEL_OTHER", "INFO")
    options = ConfigOptions.create_from_environment("OTHER")
    assert options.is_configured("SSDB")
    kind = "Clustered" if deployment.address.clustered else "Standalone"
    assert options.get_string_option("SR_DB_TYPE") == kind
    options.override_integer_option("SR_CMD_TIMEOUT", 7)
    assert options.get_integer_option("SR_CMD_TIMEOUT") == 7
    options.override_string_option("SR_DB_TYPE", "Nonsense")
    assert options.get_string_option("SR_DB_TYPE") == "Nonsense"
    assert not options.is_configured("no_such_option")


def test_a_dataset_says_what_is_in_it(client: Client) -> None:
    data = Dataset("snapshot")
    data.add_tensor("u", np.ones((2, 3), np.float32))
    data.add_tensor("n", np.ones(4, np.int16))
    data.add_meta_scalar("time", 0.5)
    data.add_meta_string("solver", "heat")
    client.put_dataset(data)
    back = client.get_dataset("snapshot")
    assert back.get_tensor_dims("u") == [2, 3]
    # The client says float64 of float32 too, before anything is sent.
    assert back.get_tensor_type("u") is data.get_tensor_type("u")
    assert back.get_tensor_type("n") is np.int16
    assert sorted(back.get_metadata_field_names()) == ["solver", "time"]
    assert back.get_metadata_field_type("time") is np.float64
    assert back.get_metadata_field_type("solver") is str


def test_a_dataset_becomes_an_xarray(client: Client) -> None:
    pytest.importorskip("xarray", reason="pip install xarray")
    data = Dataset("run")
    field, x, y = np.arange(6.0).reshape(2, 3), np.array([0.0, 0.5]), np.array([0.0, 1.0, 2.0])
    for name, array in {"field": field, "x": x, "y": y}.items():
        data.add_tensor(name, array)
    for name, value in {"dim_x": "x", "dim_y": "y", "units": "K", "x_units": "m", "y_units": "m"}.items():
        data.add_meta_string(name, value)
    DatasetConverter.add_metadata_for_xarray(data, "field", ["dim_x", "dim_y"], ["x", "y"], ["units"])
    DatasetConverter.add_metadata_for_xarray(data, "x", ["dim_x"], attr_names=["x_units"])
    DatasetConverter.add_metadata_for_xarray(data, "y", ["dim_y"], attr_names=["y_units"])
    client.put_dataset(data)
    made = DatasetConverter.transform_to_xarray(client.get_dataset("run"))["field"]
    assert made.dims == ("x", "y")
    assert made.attrs == {"units": "K"}
    np.testing.assert_array_equal(made.sel(x=0.5).values, field[1])
    np.testing.assert_array_equal(made.coords["y"].values, y)
