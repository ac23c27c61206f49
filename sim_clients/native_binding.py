"""libpenstock's interface, `c/penstock.h`, as ctypes has it: the only file that spells it.

ctypes, and not an extension module: one library serves all languages and all Pythons, and it is compiled
without Python's headers, which a system's Python often lacks. A call costs half a microsecond more by it.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

MAX_RANK = 64

DTYPES = {
    "float64": 1,
    "float32": 2,
    "int64": 3,
    "int32": 4,
    "int16": 5,
    "int8": 6,
    "uint16": 7,
    "uint8": 8,
    "bool": 9,
    "float16": 10,
    "uint32": 12,
    "uint64": 13,
    "complex64": 14,
    "complex128": 15,
}
"""numpy's name -> penstock_dtype; numpy has no bfloat16."""


class CArray(Structure):
    """penstock_array."""

    _fields_ = (
        ("data", c_void_p),
        ("dtype", c_int),
        ("rank", c_int),
        ("dims", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
    )


class CField(Structure):
    """penstock_field."""

    _fields_ = (("name", c_char_p), ("array", CArray))


class CInfo(Structure):
    """penstock_info."""

    _fields_ = (("dtype", c_int), ("rank", c_int), ("dims", c_int64 * MAX_RANK), ("nbytes", c_size_t))


class CAbout(Structure):
    """penstock_about."""

    _fields_ = (
        ("units", c_char_p),
        ("rank", c_int),
        ("dims", POINTER(c_char_p)),
        ("shape", POINTER(c_int64)),
        ("offset", POINTER(c_int64)),
    )


class CFound(Structure):
    """penstock_found."""

    _fields_ = (("name", c_char_p), ("info", CInfo), ("about", CAbout))


class CSnapshot(Structure):
    """penstock_snapshot."""

    _fields_ = (
        ("producer", c_char_p),
        ("rank", c_int64),
        ("step", c_int64),
        ("has_time", c_int),
        ("time", c_double),
        ("count", c_int),
        ("fields", POINTER(CFound)),
    )


class CBound(Structure):
    """penstock_bound."""

    _fields_ = (
        ("items", c_int64),
        ("bytes", c_int64),
        ("policy", c_int),
        ("keep_every", c_int64),
        ("directory", c_char_p),
        ("wait", c_double),
    )


PLACE = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_char_p, POINTER(CInfo))
PLACE_OF = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int, c_char_p, POINTER(CInfo))
CHECK = ctypes.CFUNCTYPE(c_int, c_void_p)
EACH = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_char_p)

_client, _text, _array = c_void_p, c_char_p, POINTER(CArray)
_integer = POINTER(c_int64)
_flag = POINTER(c_int)
_fields = POINTER(CField)

_CALLS: dict[str, tuple[Any, ...]] = {
    "connect": (_text, c_double, POINTER(c_void_p)),
    "set_identity": (_client, _text, c_int64),
    "set_timeout": (_client, c_double),
    "put_tensor": (_client, _text, _array),
    "get_tensor": (_client, _text, _array),
    "get_tensor_to": (_client, _text, PLACE, c_void_p),
    "put_snapshot": (_client, _text, c_int64, c_double, _fields, c_int),
    "describe_field": (_client, _text, _text, POINTER(CAbout)),
    "contract": (_client, _text, POINTER(c_char_p)),
    "forget_stream": (_client, _text),
    "snapshot_names": (_client, _text, c_int64, POINTER(POINTER(c_char_p)), _integer),
    "get_snapshot": (_client, _text, c_int64, PLACE, c_void_p, POINTER(CSnapshot)),
    "get_snapshot_fields": (_client, _text, c_int64, _fields, c_int, POINTER(CSnapshot)),
    "get_snapshots": (
        *(_client, _text, _integer, c_int, PLACE_OF, c_void_p),
        *(POINTER(POINTER(CSnapshot)), POINTER(c_void_p), _flag),
    ),
    "snapshot_info": (_client, _text, c_int64, POINTER(CSnapshot)),
    "announced": (_client, _text, _integer),
    "end_stream": (_client, _text),
    "stream_ended": (_client, _text, _text, c_int64, _flag),
    "bound_stream": (_client, _text, POINTER(CBound)),
    "stream_meter": (_client, _text, EACH, c_void_p),
    "subscribe": (_client, _text, _text, _integer),
    "acknowledge": (_client, _text, _text, c_int64),
    "unsubscribe": (_client, _text, _text),
    "raise_flag": (_client, _text),
    "flag_raised": (_client, _text, _flag),
    "put_model": (_client, _text, c_char_p, c_size_t, c_int64, _text),
    "post_model": (_client, _text, c_char_p, c_size_t, c_int64, _text, _text, c_int),
    "promote_model": (_client, _text, c_int64),
    "report_error": (_client, _text, c_double, c_int64),
    "get_model": (_client, _text, c_int64, PLACE, c_void_p),
    "model_version": (_client, _text, _integer),
    "infer_versioned_to": (_client, _text, _array, c_int, c_int, PLACE, c_void_p, _integer),
    "infer_to": (_client, _text, c_int64, _array, c_int, c_int, PLACE, c_void_p),
    "put_tensor_async": (_client, _text, _array),
    "put_snapshot_async": (_client, _text, c_int64, c_double, _fields, c_int),
    "flush": (_client, c_double),
    "set_queue": (_client, c_size_t),
    "lease": (_client, c_int, c_int, _integer, POINTER(c_void_p)),
    "map_tensor": (_client, _text, POINTER(c_void_p)),
    "map_snapshot": (_client, _text, c_int64, POINTER(CSnapshot), POINTER(c_void_p)),
    "wait_tensor": (_client, _text, c_double),
    "wait_flag": (_client, _text, c_double),
    "wait_list": (_client, _text, c_int64, c_double, _integer),
    "wait_model": (_client, _text, c_int64, c_double, _integer),
}
"""Calls that return a penstock_status."""

_TEXTS = ("error", "error_doing", "error_subject", "error_reason")


class Library:
    """The loaded library: `library.put_tensor` is penstock_put_tensor."""

    def __init__(self, path: Path) -> None:
        self._loaded = ctypes.CDLL(str(path))
        self.close = self._function("close", (_client,), c_int)
        self.last_outcome = self._function("last_outcome", (_client,), c_int)
        self.transport = self._function("transport", (_client,), c_char_p)
        self.unmap = self._function("unmap", (c_void_p,), None)
        self.view_count = self._function("view_count", (c_void_p,), c_int)
        self.view_name = self._function("view_name", (c_void_p, c_int), c_char_p)
        self.view_array = self._function("view_array", (c_void_p, c_int), CArray)
        self.set_signal_check = self._function("set_signal_check", (_client, CHECK, c_void_p), None)

    def _function(self, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
        function = getattr(self._loaded, f"penstock_{name}")
        function.argtypes, function.restype = arguments, result
        return function

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Look a call up at its first use; from then on it is an ordinary attribute."""
        if name in _TEXTS:
            found = self._function(name, (_client,), c_char_p)
        elif name in _CALLS:
            found = self._function(name, _CALLS[name], c_int)
        else:
            raise AttributeError(name)
        setattr(self, name, found)
        return found  # type: ignore[no-any-return]


@functools.cache
def loaded(path: Path) -> Library:
    """Load the library, once in a process."""
    return Library(path)
