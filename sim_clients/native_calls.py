"""Calls of libpenstock for one client: statuses become the errors of the contract, Ctrl-C ends a call."""

from __future__ import annotations

import ctypes
import threading
import warnings
import weakref
from collections.abc import Generator
from typing import Any, NoReturn

from sim_clients.errors import (
    AddressError,
    ClientError,
    DatabaseFull,
    DatabaseRefused,
    DatabaseUnavailable,
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelMissing,
    ModelRejected,
    NameRefused,
    SnapshotDropped,
    SnapshotError,
    StreamFull,
    TensorError,
    WaitTimeout,
)
from sim_clients.fields import Array
from sim_clients.flow import OUTCOMES, Outcome
from sim_clients.native_arrays import Places
from sim_clients.native_binding import CHECK, Library

MODEL_MISSING = 12


class Calls:
    """One penstock_client and what its calls need.

    Args:
        library: the loaded library.
        address: of the database, for errors.
        connect_timeout_s: how long a server that is not there is looked for, s.

    Attributes:
        turn: held during a call, and by whoever reads what a call has returned before the next one.
    """

    def __init__(self, library: Library, address: str, connect_timeout_s: float) -> None:
        self.library = library
        self.address = address
        self.places = Places()
        self._signals = _Signals()
        self.turn = threading.RLock()  # a penstock_client is used by one thread at a time
        self._calling = False
        handle = ctypes.c_void_p()
        status = library.connect(address.encode(), connect_timeout_s, ctypes.byref(handle))
        if status:
            self._raise(status, None, None)
        self._handle: ctypes.c_void_p | None = handle
        library.set_signal_check(handle, self._signals.callback, None)
        self._end = weakref.finalize(self, _leave, library, handle)

    def close(self) -> None:
        """Send what is queued, and leave.

        Raises:
            ClientError: some of it did not arrive.
        """
        with self.turn:
            self._check_free()
            handle, self._handle = self._handle, None
            if handle is None or self._end.detach() is None:
                return
            status = self.library.close(handle)
            if status:
                self._raise(status, None, None)

    def transport(self) -> str:
        """Return how large arrays travel; "" once the client is closed."""
        with self.turn:
            found: bytes = b"" if self._handle is None else self.library.transport(self._handle)
            return found.decode()

    def __call__(self, function: Any, *arguments: Any, version: int | None = None) -> dict[str, Array]:
        """Call a function of the library, one thread after the other, and return what it gave to `places`.

        Args:
            function: `library.put_tensor` and so on.
            arguments: those behind the client.
            version: of the model, for the error that it is missing.

        Raises:
            ClientError: see `Client`.
            BaseException: what a signal handler of Python's has raised meanwhile.
        """
        with self.turn:
            if self._handle is None:
                raise DatabaseUnavailable(self.address, "call a client", "this client is closed")
            self._check_free()
            self._calling = True
            try:
                status = function(self._handle, *arguments)
            finally:
                self._calling = False
            if status:
                self._raise(status, self._handle, version)
            return self.places.taken()

    def outcome(self) -> Outcome:
        """Return what became of the last snapshot that was put, or where the last that was got had been."""
        with self.turn:
            return OUTCOMES[self.library.last_outcome(self._handle)]

    def _check_free(self) -> None:
        """Refuse what a signal handler asks in the middle of a call of this thread's."""
        if self._calling:
            raise ClientError(
                "a signal handler called a client in the middle of another call of it; let the handler note "
                "the signal, and call afterwards"
            )

    def _raise(self, status: int, handle: ctypes.c_void_p | None, version: int | None) -> NoReturn:
        self.places.taken()
        self.places.taken_of()
        for holder in (self._signals, self.places):
            if holder.error is not None:
                error, holder.error = holder.error, None
                raise error
        raise _error(self.library, status, handle, self.address, version)


def _leave(library: Library, handle: ctypes.c_void_p) -> None:
    """Close a client that nobody has closed, and warn where something of its queue did not arrive."""
    if library.close(handle):
        warnings.warn(library.error(None).decode(errors="replace"), RuntimeWarning, stacklevel=2)


class _Signals:
    """Runs Python's signal handlers while the library waits, and keeps what they raise.

    The library calls `send` of a generator, which is no Python function: the handlers run where the generator
    goes on, inside its `try`, and nothing they raise can be lost between C and Python.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        watch = self._watch()
        next(watch)
        self.callback = CHECK(watch.send)

    def _watch(self) -> Generator[int, object, None]:
        while True:
            try:
                yield int(self.error is not None)
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  raised again when the library has returned
                self.error = error


def _error(
    library: Library, status: int, handle: ctypes.c_void_p | None, address: str, version: int | None
) -> Exception:
    text, doing, subject, reason = (
        part(handle).decode(errors="replace")
        for part in (library.error, library.error_doing, library.error_subject, library.error_reason)
    )
    what, _, why = reason.partition(": ")
    errors: dict[int, Exception] = {
        2: AddressError(reason, subject),
        4: DatabaseUnavailable(address, doing, reason),
        5: DatabaseFull(subject, reason),
        6: DatabaseRefused(address, doing, reason),
        7: NameRefused(what, subject, why),
        8: TensorError(subject, reason),
        9: SnapshotError(subject, reason),
        10: IncompleteSnapshot(subject, reason),
        11: KeyMissing(subject),
        MODEL_MISSING: ModelMissing(subject, version),
        13: ModelRejected(subject, reason),
        14: InferenceFailed(subject, reason),
        15: WaitTimeout(doing, subject, reason),
        16: MemoryError(text),
        18: StreamFull(subject, reason),
        19: SnapshotDropped(subject, what, why),
    }
    return errors.get(status) or ClientError(text)
