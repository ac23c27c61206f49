"""Names of keys, and the way back from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_clients import NameRefused, SnapshotError, keys

names = st.from_regex(r"[A-Za-z0-9_.+=/-]+", fullmatch=True)


@given(names, st.integers(0, 10**6), st.integers(0, 10**12))
def test_a_snapshot_name_is_read_back(producer: str, rank: int, step: int) -> None:
    name = keys.SnapshotName(producer, rank, step)
    assert keys.parse_snapshot(str(name)) == name


@pytest.mark.parametrize("name", ["", "heat_0", "heat_0.1", "heat_0.a.1", "heat_0.0.-1", ".0.1", "heat.0.1 "])
def test_another_form_is_refused_by_name(name: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        keys.parse_snapshot(name)
    assert caught.value.snapshot == name


@pytest.mark.parametrize("name", ["", "a b", "{a}", "a}", "a\n", "ü", None, 3])
def test_a_name_that_breaks_keys_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match="cannot name a field"):
        keys.checked("field", name)


@pytest.mark.parametrize("name", ["flag.stop", "flag.", "snapshots"])
def test_a_model_has_no_key_of_others(name: str) -> None:
    with pytest.raises(NameRefused, match=r"cannot name a model: the (keys of flags|stream of snapshots)"):
        keys.checked_model(name)


@given(names)
def test_the_model_of_a_key_is_found_again(name: str) -> None:
    assert keys.model_of_versions(keys.model_versions(name).encode()) == name


@pytest.mark.parametrize("key", [b"{\xff}.versions", b"{a b}.versions", b"{}.versions", b"{a}b}.versions"])
def test_a_key_of_others_has_no_model(key: bytes) -> None:
    assert keys.model_of_versions(key) is None


@given(names, names)
def test_all_scratch_of_a_client_lies_in_one_shard(one: str, other: str) -> None:
    def tag(key: str) -> str:
        return key[key.index("{") + 1 : key.index("}")]

    assert tag(keys.scratch("me", one)) == tag(keys.scratch("me", other))


def test_keys_are_those_of_smartredis() -> None:
    assert keys.tensor("heat_0.0.40", "u") == "{heat_0.0.40}.u"
    assert keys.metadata("heat_0.0.40") == "{heat_0.0.40}.meta"
    assert keys.model_version("closure", 17) == "closure@17"
