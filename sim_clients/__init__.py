"""The contract: what is on the wire, and how a rank talks to the database."""

from sim_clients.about import About, Block, Field
from sim_clients.address import Address, HostPort
from sim_clients.client import Client
from sim_clients.connect import connect
from sim_clients.contract import Contract
from sim_clients.errors import (
    AddressError,
    BoundError,
    ClientBuildError,
    ClientError,
    DatabaseFull,
    DatabaseRefused,
    DatabaseUnavailable,
    GlobalFieldError,
    IdentityError,
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelMissing,
    ModelRejected,
    NameRefused,
    SnapshotDropped,
    SnapshotError,
    StreamError,
    StreamFull,
    TensorError,
    UnsupportedClientError,
    WaitTimeout,
)
from sim_clients.flow import Bound, Fill, Outcome
from sim_clients.local_model import LocalModel
from sim_clients.memory_client import MemoryClient, MemoryDatabase
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError
from sim_clients.snapshot import Snapshot

__all__ = [
    "About",
    "Address",
    "AddressError",
    "Block",
    "Bound",
    "BoundError",
    "Client",
    "ClientBuildError",
    "ClientError",
    "Contract",
    "DatabaseFull",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "Field",
    "Fill",
    "GlobalFieldError",
    "HostPort",
    "IdentityError",
    "IncompleteSnapshot",
    "InferenceFailed",
    "KeyMissing",
    "LocalModel",
    "MemoryClient",
    "MemoryDatabase",
    "ModelAbout",
    "ModelMissing",
    "ModelRejected",
    "ModelVersion",
    "NameRefused",
    "Outcome",
    "ReportedError",
    "Snapshot",
    "SnapshotDropped",
    "SnapshotError",
    "StreamError",
    "StreamFull",
    "TensorError",
    "UnsupportedClientError",
    "WaitTimeout",
    "connect",
]
