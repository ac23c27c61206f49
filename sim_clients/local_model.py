"""A model of the database, run in the solver's own process: no round trip, and always the live version.

    closure = client.local_model("closure")
    for step in range(steps):
        stress = closure(u)          # as client.infer("closure", u), in this process

The database is asked which version is live when a call comes `follow_every_s` after the last look: a short
command, some ten microseconds. A newer version is fetched and loaded within that call; calls that are going
on in other threads end on the version that they began with.

A version that cannot be had is named once, by the call that has looked, and the one before goes on answering.
So it does while the database is gone: that is a RuntimeWarning, and looks that fail take at most a twentieth
of the time.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sim_clients import keys
from sim_clients.errors import ClientError, DatabaseUnavailable, InferenceFailed, ModelMissing
from sim_clients.fields import Array, model_inputs

if TYPE_CHECKING:
    from sim_clients.client import Client
    from sim_clients.torch_program import Program

    Load = Callable[[str, bytes], Program]

FOLLOW_EVERY_S = 1.0
_FAILED_LOOK_REST = 20
"""A look that failed is followed by so many times its own length without one."""
_FIRST_VERSION_EVERY_S = 0.02
"""How often the database is asked for a first version that is waited for."""


class _Loaded(NamedTuple):
    version: int
    program: Program


class LocalModel:
    """A callable that answers as `Client.infer` does, by the version that is live.

    Args:
        client: of the database; it is used by the calls that look, one at a time.
        name: of the model.
        follow_every_s: how long a call may take for granted what is live, s; 0 looks at every call, None
            never, but for the first call and `refresh`.
        wait_s: how long the first look waits for a first version, s.
        compiled: accept AOTInductor packages, which run with this process' rights.

    Raises:
        NameRefused: the name cannot be part of a key.
        UnsupportedClientError: torch cannot be imported.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        follow_every_s: float | None = FOLLOW_EVERY_S,
        wait_s: float = 0.0,
        compiled: bool = False,
    ) -> None:
        # Here and not above: torch takes a second to import, and who lets the database run needs none.
        from sim_clients.torch_program import load_program  # noqa: PLC0415

        self._client = client
        self._name = keys.checked("model", name)
        self._follow_every_s = float("inf") if follow_every_s is None else follow_every_s
        self._wait_s = wait_s
        self._load: Load = partial(load_program, compiled=compiled)
        self._looking = threading.Lock()
        self._loaded: _Loaded | None = None
        self._looked_at = float("-inf")
        self._rest_s = self._follow_every_s
        self._told: ClientError | None = None  # why the last look failed
        self._unloadable: tuple[int, InferenceFailed] | None = None

    @property
    def version(self) -> int:
        """The version that answers, 0 before the first look."""
        return self._loaded.version if self._loaded else 0

    def refresh(self) -> int:
        """Look which version is live, load it where it is another, and return it.

        Raises:
            ModelMissing: no model of this name has been posted, within `wait_s` where this is the first look.
            InferenceFailed: torch cannot load it; the version before goes on answering.
            DatabaseUnavailable
        """
        with self._looking:
            return self._look().version

    def __call__(self, *inputs: Array) -> Array:
        """Run the model on some inputs and return its only output.

        Args:
            inputs: one array for each argument of the model, in any memory order; they are not written to.

        Raises:
            TensorError: an input that the wire could not carry either.
            InferenceFailed: with torch's reason, for example a wrong shape.
            ModelMissing, DatabaseUnavailable: as by `refresh`, before a version is loaded. Later a version
                that is missing, or that torch cannot load, is named once; a lost database is a warning.
        """
        outputs = self.outputs(*inputs)
        if len(outputs) != 1:
            raise InferenceFailed(
                f"{self._name}@{self.version}", f"it has {len(outputs)} outputs: ask for them by outputs()"
            )
        return outputs[0]

    def outputs(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the model and return all its outputs, for example a mean and a spread; see `__call__`."""
        arrays = model_inputs(self._name, inputs)
        return self._current().program(arrays)

    def _current(self) -> _Loaded:
        loaded = self._loaded
        if loaded is not None and not self._due():
            return loaded
        with self._looking:
            loaded = self._loaded  # another thread may have looked meanwhile
            if loaded is None:
                return self._look()
            return self._look_again(loaded) if self._due() else loaded

    def _due(self) -> bool:
        return time.monotonic() - self._looked_at >= self._rest_s

    def _look_again(self, loaded: _Loaded) -> _Loaded:
        """Look, with the lock held; what fails is told once, and what is loaded goes on answering."""
        begin = time.monotonic()
        try:
            return self._look()
        except ClientError as error:
            self._looked_at = time.monotonic()
            self._rest_s = max(self._follow_every_s, _FAILED_LOOK_REST * (self._looked_at - begin))
            before, self._told = self._told, error
            gone = isinstance(error, DatabaseUnavailable)
            if type(before) is type(error) and (gone or str(before) == str(error)):
                return loaded
            if not gone:
                raise
            told = f"{error}; version {loaded.version} of the model '{self._name}' goes on answering"
            warnings.warn(told, RuntimeWarning, stacklevel=5)
            return loaded

    def _look(self) -> _Loaded:
        """Look, with the lock held."""
        live = self._client.model_version(self._name) if self._loaded else self._first_version()
        if self._loaded is None or live != self._loaded.version:
            self._loaded = self._fetched(live)
        self._looked_at, self._rest_s, self._told = time.monotonic(), self._follow_every_s, None
        return self._loaded

    def _first_version(self) -> int:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                return self._client.model_version(self._name)
            except ModelMissing:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_FIRST_VERSION_EVERY_S)

    def _fetched(self, live: int) -> _Loaded:
        while True:
            if self._unloadable is not None and self._unloadable[0] == live:  # a version never changes
                raise self._unloadable[1].with_traceback(None)
            try:
                archive = self._client.get_model(self._name, live)
                return _Loaded(live, self._load(keys.model_version(self._name, live), archive))
            except InferenceFailed as error:
                self._unloadable = live, error
                raise
            except ModelMissing:  # it may have been replaced and removed since
                before, live = live, self._client.model_version(self._name)
                if live == before:
                    raise
