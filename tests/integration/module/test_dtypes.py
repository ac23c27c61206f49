"""Dtypes that RedisAI does not know: stored, read, saved, run, given only to clients that ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import redis

from tests.integration.ai_commands import NAMES, NEW_TYPES, execute, get, put, refusal, store_model
from tests.integration.module.test_rdb_format import decoded
from tests.integration.servers import StartServer
from tests.integration.torchscript import forward, identity

SIZES = {"BFLOAT16": 2, **{name: np.dtype(dtype).itemsize for name, dtype in NEW_TYPES.items()}}
BF16_ONE, BF16_MINUS_2_5 = b"\x80\x3f", b"\x20\xc0"


def sample(dtype: npt.DTypeLike) -> np.ndarray[Any, Any]:
    """Return (2, 3) values that are wrong when half of their bits are lost."""
    if np.dtype(dtype).kind == "u":
        end = int(np.iinfo(dtype).max)
        return np.array([[0, 1, 2], [end - 2, end - 1, end]], dtype)
    factor = 1 - 2j if np.dtype(dtype).kind == "c" else 1
    return (factor * np.array([[0, 1, 2], [3, 5, 7]]) / 8).astype(dtype)


@pytest.mark.parametrize("dtype", NEW_TYPES.values())
def test_blobs_come_back_bit_by_bit(db: redis.Redis, dtype: type[np.generic]) -> None:
    put(db, "t", sample(dtype))
    back = get(db, "t")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, sample(dtype))


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_zeros_and_lengths(db: redis.Redis, name: str, size: int) -> None:
    assert db.execute_command("AI.TENSORSET", "t", name.lower(), 2, 3) == b"OK"
    assert db.execute_command("AI.TENSORGET", "t", "META", "BLOB") == [
        *(b"dtype", name.encode(), b"shape", [2, 3], b"blob", bytes(6 * size)),
    ]
    wrong = "data length does not match tensor shape and type"
    assert refusal(db, "AI.TENSORSET", "t", name, 2, "BLOB", bytes(2 * size - 1)) == wrong


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("FLOAT16", ["1", "-2.5", "65504", "inf"], [b"1", b"-2.5", b"65504", b"inf"]),
        ("BFLOAT16", ["1", "-2.5", "0.1", "-inf"], [b"1", b"-2.5", b"0.10009765625", b"-inf"]),
        ("UINT32", [0, 1, 2**31, 2**32 - 1], [0, 1, 2**31, 2**32 - 1]),
        ("UINT64", [0, 1, 2**63, 2**64 - 1], [b"0", b"1", b"9223372036854775808", b"18446744073709551615"]),
        ("COMPLEX64", ["1+2j", "3", "-4.5j", "(1e+3-1e-3j)"], [b"1+2j", b"3+0j", b"0-4.5j", b"1000-0.001j"]),
        ("COMPLEX128", ["0.1-0j", "nan+infj", "+1+1j", "2J"], [b"0.1-0j", b"nan+infj", b"1+1j", b"0+2j"]),
    ],
)
def test_values_are_written_and_read(db: redis.Redis, name: str, given: list[Any], read: list[Any]) -> None:
    assert db.execute_command("AI.TENSORSET", "t", name, 4, "VALUES", *given) == b"OK"
    assert db.execute_command("AI.TENSORGET", "t", "VALUES") == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("UINT32", value) for value in (-1, 2**32, "1.5")),
        *(("UINT64", value) for value in (-1, 2**64, "0x1")),
        *(
            ("COMPLEX64", value)
            for value in ("", "j+1", "1+2", "1+2i", "1+-2j", "()", "1 + 2j", "1+2j3", "+")
        ),
        *(("FLOAT16", value) for value in ("", "one", "1+2j")),
    ],
)
def test_a_value_that_its_type_cannot_hold_is_refused(db: redis.Redis, name: str, value: Any) -> None:
    assert refusal(db, "AI.TENSORSET", "t", name, 1, "VALUES", value) == "invalid value"
    assert db.exists("t") == 0


def test_halves_are_rounded_once_to_the_nearest_even(db: redis.Redis) -> None:
    """Against numpy, which does the same from a double; the last ones go wrong by way of a float."""
    texts = ["0.1", "2049", "2051", "65519.99", "65520", "1e-8", "6e-8", "5.9e-8", "3e-5", "1e300", "-0.0"]
    texts += [repr(1 + 2**-11 + 2**-40), repr(1 + 2**-11 - 2**-40)]
    assert db.execute_command("AI.TENSORSET", "t", "FLOAT16", len(texts), "VALUES", *texts) == b"OK"
    with np.errstate(over="ignore"):
        expected = np.array([float(text) for text in texts]).astype(np.float16)
    assert db.execute_command("AI.TENSORGET", "t", "BLOB") == expected.tobytes()


def test_the_file_names_them_by_kind_and_bits(start_server: StartServer) -> None:
    plain = start_server(options={"rdbcompression": "no"}).connect()
    kinds = {"FLOAT16": (2, 16), "BFLOAT16": (4, 16), "UINT32": (1, 32), "UINT64": (1, 64)}
    kinds |= {"COMPLEX64": (5, 64), "COMPLEX128": (5, 128)}
    for name, (kind, bits) in kinds.items():
        blob = bytes(range(1, bits // 8 + 1))
        plain.execute_command("AI.TENSORSET", "t", name, 1, "BLOB", blob)
        assert decoded(plain, "t") == (("AI_TENSOR", 4), [kind, bits, 1, 1, blob]), name
        dump = plain.dump("t")
        assert dump is not None
        plain.restore("u", 0, dump, replace=True)
        assert plain.execute_command("AI.TENSORGET", "u") == plain.execute_command("AI.TENSORGET", "t")


@pytest.mark.parametrize("dtype", NEW_TYPES.values())
def test_a_model_takes_them_and_gives_them_to_who_asks(db: redis.Redis, dtype: type[np.generic]) -> None:
    store_model(db, "m", identity())
    put(db, "x", sample(dtype))
    assert execute(db, "m", ["x"], ["y"], "NATIVE") == b"OK"
    back = get(db, "y")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, sample(dtype))


def test_a_bfloat16_model(db: redis.Redis) -> None:
    store_model(db, "m", forward("return x + x"))
    db.execute_command("AI.TENSORSET", "x", "BFLOAT16", 2, "BLOB", BF16_ONE + BF16_MINUS_2_5)
    execute(db, "m", ["x"], ["y"], "TIMEOUT", 60_000, "NATIVE")
    assert db.execute_command("AI.TENSORGET", "y") == [
        *(b"dtype", b"BFLOAT16", b"shape", [2], b"blob", b"\x00\x40\xa0\xc0"),
    ]


@pytest.mark.parametrize(
    ("name", "wide"), [("float16", np.float32), ("bfloat16", np.float32), ("uint32", np.int64)]
)
def test_who_does_not_ask_gets_a_wider_type_with_the_same_values(
    db: redis.Redis, name: str, wide: type[np.generic]
) -> None:
    store_model(db, "m", forward(f"return x.to(torch.{name})"))
    x = np.array([[0.5, 1024.0, 0.0], [3.0, 2.0**-24, np.inf]], np.float32)  # FLOAT16's smallest, and its end
    if name == "uint32":
        x = np.array([[0, 1, 2], [2**31, 2**32 - 2, 2**32 - 1]])
    put(db, "x", x.astype(np.int64) if name == "uint32" else x)
    execute(db, "m", ["x"], ["y"])
    back = get(db, "y")
    assert back.dtype == wide
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("dtype", [np.uint64, np.complex64, np.complex128])
def test_who_does_not_ask_never_meets_what_has_no_wider_type(
    db: redis.Redis, dtype: type[np.generic]
) -> None:
    store_model(db, "m", identity())
    put(db, "x", sample(dtype))
    name = NAMES[np.dtype(dtype)]
    text = f"an output is of type {name}, which is given only to a command that says NATIVE"
    assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == text
    assert db.exists("y") == 0


def test_a_conjugated_view_arrives_conjugated(db: redis.Redis) -> None:
    store_model(db, "m", forward("return torch.conj(x).t()"))
    put(db, "x", sample(np.complex64))
    execute(db, "m", ["x"], ["y"], "NATIVE")
    np.testing.assert_array_equal(get(db, "y"), sample(np.complex64).conj().T)


def test_scripts_take_and_give_them(db: redis.Redis) -> None:
    source = (
        "def double(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0] * 2\n"
    )
    db.execute_command("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "double", "SOURCE", source)
    put(db, "x", sample(np.float16))
    command = ("AI.SCRIPTEXECUTE", "s", "double", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert db.execute_command(*command, "NATIVE") == b"OK"
    assert get(db, "y").dtype == np.float16
    assert db.execute_command(*command) == b"OK"
    assert get(db, "y").dtype == np.float32
