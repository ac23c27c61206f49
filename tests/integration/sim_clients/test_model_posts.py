"""Posts that fail half-way on a cluster: no shard is left with another version than the others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import redis

from sim_clients import (
    Address,
    Client,
    DatabaseFull,
    DatabaseUnavailable,
    ModelMissing,
    ModelRejected,
    connect,
)
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.redis_models import RedisModels
from tests.client_contract import Networks, field
from tests.integration.servers import RedisServer, ShardCluster, wait_until
from trainers import Publisher

OpenNamed = Callable[[str], Client]
pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(params=["native", "smartredis"])
def open_client(request: pytest.FixtureRequest, cluster_address: Address) -> Iterator[OpenNamed]:
    opened: list[Client] = []

    def open_named(producer: str) -> Client:
        opened.append(connect(cluster_address, producer=producer, client=request.param))
        return opened[-1]

    yield open_named
    for client in opened:
        client.close()


def keys_of(cluster: ShardCluster, version: int = 0) -> list[list[bytes]]:
    """Return for each shard the keys of a version of `closure`, 0 the plain name."""
    pattern = f"{{*}}.closure@{version}" if version else "{*}.closure"
    found = []
    for shard in cluster.shards:
        with shard.connect() as db:
            found.append(db.keys(pattern))
    return found


def live_tags(cluster: ShardCluster) -> list[bytes | None]:
    """Return the TAG of the plain name in each shard."""
    tags: list[bytes | None] = []
    for shard, names in zip(cluster.shards, keys_of(cluster), strict=True):
        with shard.connect() as db:
            tags.append(db.execute_command("AI.MODELGET", names[0], "META")[5] if names else None)
    return tags


def promotions(db: redis.Redis) -> int:
    """Return how often a server was asked to promote, or whether it could."""
    stats = {name.lower(): facts for name, facts in db.info("commandstats").items()}
    return int(stats.get("cmdstat_penstock.promote", {"calls": 0})["calls"])


def test_a_version_is_sent_once_and_shared_by_its_name(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    before = []
    for shard in shared_cluster.shards:
        with shard.connect() as db:
            db.config_resetstat()
    client.put_model("closure", networks.doubles, 1)
    for shard in shared_cluster.shards:
        with shard.connect() as db:
            stats = {name.lower(): facts["calls"] for name, facts in db.info("commandstats").items()}
            before.append((stats["cmdstat_ai.modelstore"], stats["cmdstat_penstock.promote"]))
    assert before == [(1, 2)] * 3
    assert live_tags(shared_cluster) == [b"1"] * 3


def test_where_one_shard_refuses_the_version_none_has_it(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    with shared_cluster.shards[2].connect() as full:
        full.config_set("maxmemory", 1)
        try:
            with pytest.raises(DatabaseFull):
                client.put_model("closure", networks.triples, 2)
        finally:
            full.config_set("maxmemory", 0)
    assert keys_of(shared_cluster, 2) == [[], [], []]
    assert live_tags(shared_cluster) == [b"1"] * 3
    assert [each.version for each in client.model_versions("closure")] == [1]
    client.put_model("closure", networks.triples, 2)
    assert live_tags(shared_cluster) == [b"2"] * 3


def test_a_full_database_does_not_keep_a_version_from_being_removed(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2)
    with shared_cluster.shards[2].connect() as full:
        full.config_set("maxmemory", 1)
        try:
            with pytest.raises(DatabaseFull):  # what is kept of it
                client.remove_model_version("closure", 1)
        finally:
            full.config_set("maxmemory", 0)
    assert keys_of(shared_cluster, 1) == [[], [], []]
    client.remove_model_version("closure", 1)
    assert client.model_versions("closure")[0].state == "removed"


def test_where_one_shard_has_lost_the_version_none_swaps(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2, promote=False)
    with shared_cluster.shards[1].connect() as db:
        assert db.delete(keys_of(shared_cluster, 2)[1][0]) == 1
    with pytest.raises(ModelMissing, match="version 2 of the model 'closure'"):
        client.promote("closure", 2)
    assert live_tags(shared_cluster) == [b"1"] * 3


@pytest.mark.parametrize("live", [1, 0])
def test_where_the_swap_itself_fails_on_a_shard_all_go_back(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks, live: int
) -> None:
    """The last shard takes no writes for a while; meanwhile the first, which agreed, loses the version."""
    client = open_client("trainer")
    if live:
        client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2, promote=False)
    raised: list[BaseException] = []

    def promote() -> None:
        try:
            client.promote("closure", 2)
        except ModelRejected as error:
            raised.append(error)

    with shared_cluster.shards[0].connect() as first, shared_cluster.shards[2].connect() as last:
        asked = promotions(first)
        last.execute_command("CLIENT", "PAUSE", 60000, "WRITE")
        thread = threading.Thread(target=promote)
        thread.start()
        try:
            wait_until(lambda: promotions(first) > asked, "the first shard to be asked")
            assert first.delete(keys_of(shared_cluster, 2)[0][0]) == 1
        finally:
            last.execute_command("CLIENT", "UNPAUSE")
            thread.join()
    (error,) = raised
    lived = {each.version: each.was_live for each in client.model_versions("closure")}
    assert lived == ({1: True, 2: False} if live else {2: False})
    assert "there is no such model" in str(error) or "no version 2 of" in str(error)
    if live:
        assert "; version 1 is live again" in str(error)
        assert live_tags(shared_cluster) == [b"1"] * 3
        np.testing.assert_array_equal(open_client("solver").infer("closure", field()), 2 * field())
    else:
        assert "; none is live" in str(error)
        assert live_tags(shared_cluster) == [None] * 3


def test_keys_of_others_are_no_models(
    shared_cluster: ShardCluster, cluster_address: Address, networks: Networks
) -> None:
    models, trainer = RedisModels(cluster_address), connect(cluster_address, producer="trainer")
    trainer.put_model("closure", networks.doubles, 1)
    database = redis.RedisCluster("127.0.0.1", cluster_address.endpoints[0].port)
    for key in (b"{\xff}.versions", b"{a b}.versions"):
        database.hset(key, "1", "x")
    database.set("{mine}.versions", "x")
    assert models.names() == ["closure"]
    with pytest.raises(ModelRejected, match=r"what the key \{mine\}.versions has was not posted by"):
        models.versions("mine")
    database.close()
    trainer.close()


@pytest.mark.parametrize("gone", ["for once", "for good"])
def test_a_connection_that_breaks_in_the_swap_is_told_as_such_with_what_each_shard_has(
    cluster_address: Address, networks: Networks, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """The last shard: once it does not answer the swap, once nothing at all from then on."""
    models, trainer = RedisModels(cluster_address), connect(cluster_address, producer="trainer")
    trainer.put_model("closure", networks.doubles, 1)
    trainer.put_model("closure", networks.triples, 2, promote=False)
    ask, last, broken = RedisModels._ask, cluster_address.endpoints[-1].port, []

    def breaking(self: RedisModels, database: Any, place: Any, *words: object) -> Any:
        swaps = words[0] == "PENSTOCK.PROMOTE" and "CHECK" not in words
        if place.node.port == last and ((swaps and not broken) or (broken and gone == "for good")):
            broken.append(words)
            raise redis.ConnectionError("Connection reset by peer")
        return ask(self, database, place, *words)

    monkeypatch.setattr(RedisModels, "_ask", breaking)
    with pytest.raises(
        DatabaseUnavailable, match=r"make version 2 of closure live.*reset by peer; "
    ) as caught:
        models.promote("closure", 2)
    if gone == "for once":
        assert "version 1 is live again" in caught.value.reason
    else:
        shards = [f"127.0.0.1:{each.port}" for each in cluster_address.endpoints]
        for shard in shards[:-1]:
            assert f"{shard} has version 1" in caught.value.reason
        assert f"{shards[-1]} does not answer: promote one when all answer" in caught.value.reason
    monkeypatch.undo()
    assert {each.version: each.was_live for each in models.versions("closure")} == {1: True, 2: False}
    models.promote("closure", 2)
    assert {each.version: each.was_live for each in models.versions("closure")} == {1: True, 2: True}
    trainer.close()


def test_a_shard_that_hangs_in_the_swap_keeps_none_of_the_others_from_going_back(
    shared_cluster: ShardCluster, cluster_address: Address, networks: Networks
) -> None:
    """One shard has the registry; the second is paused until the third, which has agreed, is stopped."""
    trainer = connect(cluster_address, producer="trainer", client="native")
    trainer.put_model("closure", networks.doubles, 1)
    trainer.put_model("closure", networks.triples, 2, promote=False)
    late, hung = (shard for shard in shared_cluster.shards if not has_registry(shard))
    raised: list[BaseException] = []

    def promote() -> None:
        brief = NativeClient(cluster_address, Identity("brief", 0), timeout_s=1.0, connect_timeout_s=0.3)
        try:
            brief.promote("closure", 2)
        except DatabaseUnavailable as error:
            raised.append(error)
        brief.close()

    with late.connect() as waiting, hung.connect() as agreeing:
        asked = promotions(agreeing)
        waiting.execute_command("CLIENT", "PAUSE", 60000, "WRITE")
        thread = threading.Thread(target=promote)
        thread.start()
        try:
            wait_until(lambda: promotions(agreeing) > asked, "the last shard to be asked")
            os.kill(hung.pid, signal.SIGSTOP)
        finally:
            waiting.execute_command("CLIENT", "UNPAUSE")
            thread.join()
            os.kill(hung.pid, signal.SIGCONT)
    (error,) = raised
    for shard in shared_cluster.shards:
        told = "does not answer" if shard is hung else "has version 1"
        assert f"{shard.address} {told}" in str(error)
    assert {each.version: each.was_live for each in trainer.model_versions("closure")}[2] is False
    trainer.promote("closure", 1)
    assert live_tags(shared_cluster) == [b"1"] * 3
    trainer.close()


@pytest.mark.parametrize("kinds", [("native", "native"), ("native", "smartredis")])
def test_two_promotions_at_the_same_moment_leave_all_shards_on_one_version(
    shared_cluster: ShardCluster, cluster_address: Address, networks: Networks, kinds: tuple[str, str]
) -> None:
    clients = [connect(cluster_address, producer=f"p{i}", client=kind) for i, kind in enumerate(kinds)]
    clients[0].put_model("closure", networks.doubles, 1)
    clients[0].put_model("closure", networks.triples, 2)
    rounds = 100 if kinds == ("native", "native") else 10
    together, found = threading.Barrier(2), []

    def promote(client: Client, version: int) -> None:
        for _ in range(rounds):
            together.wait(60)
            client.promote("closure", version)
            together.wait(60)
            if version == 1:
                found.append(set(live_tags(shared_cluster)))

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(promote, client, i + 1) for i, client in enumerate(clients)]:
            each.result()
    assert len(found) == rounds and all(len(tags) == 1 for tags in found)
    with shared_cluster.shards[-1].connect() as registry:
        assert registry.exists("{closure}.swap") == 0
    for client in clients:
        client.close()


def test_who_was_killed_in_a_swap_is_waited_for_until_the_key_expires(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    with shared_cluster.shards[-1].connect() as registry:
        registry.set("{closure}.swap", "somebody", px=300)
        client.put_model("closure", networks.triples, 2)
        assert registry.exists("{closure}.swap") == 0
        registry.set("{closure}.swap", "somebody", px=300)
        client.remove_model_version("closure", 1)
    assert live_tags(shared_cluster) == [b"2"] * 3


def test_who_waits_for_his_turn_gives_up_with_his_time_out(
    cluster_address: Address, shared_cluster: ShardCluster, networks: Networks
) -> None:
    with closing(NativeClient(cluster_address, Identity("trainer", 0))) as trainer:
        trainer.put_model("closure", networks.doubles, 1)
        trainer.put_model("closure", networks.triples, 2, promote=False)
    with (
        shared_cluster.shards[-1].connect() as registry,
        closing(NativeClient(cluster_address, Identity("trainer", 0), timeout_s=3.0)) as client,
    ):
        registry.set("{closure}.swap", "somebody")
        for change in (client.promote, client.remove_model_version):
            with pytest.raises(ModelRejected, match=CHANGING):
                change("closure", 2)
    assert live_tags(shared_cluster) == [b"1"] * 3


CHANGING = "other programs have been changing which version is live for .* s; try again"


@pytest.mark.slow
def test_nobody_waits_for_ever_for_his_turn(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    """By far not as long as the time-out of a client, which is ten minutes."""
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    with shared_cluster.shards[-1].connect() as registry:
        registry.set("{closure}.swap", "somebody")
        with pytest.raises(ModelRejected, match=CHANGING):
            client.put_model("closure", networks.triples, 2)
    assert live_tags(shared_cluster) == [b"1"] * 3


def left_behind(cluster: ShardCluster, shard: int) -> None:
    """Have a shard answer by version 1 of `closure`, as one that a killed program did not reach."""
    (plain,), (version,) = keys_of(cluster)[shard], keys_of(cluster, 1)[shard]
    with cluster.shards[shard].connect() as db:
        db.execute_command("PENSTOCK.PROMOTE", plain, version)


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_who_starts_ends_the_swap_in_which_another_was_killed(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks, shard: int
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2)
    left_behind(shared_cluster, shard)
    assert sorted(filter(None, live_tags(shared_cluster))) == [b"1", b"2", b"2"]
    live = client.model_version("closure")
    client.end_swap("closure")
    assert live_tags(shared_cluster) == [str(live).encode()] * 3


def test_a_first_version_that_reached_one_shard_reaches_all(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    for shard, names in list(zip(shared_cluster.shards, keys_of(shared_cluster), strict=True))[:2]:
        with shard.connect() as db:
            db.delete(*names)
    client.end_swap("closure")
    assert live_tags(shared_cluster) == [b"1"] * 3


def test_where_all_shards_agree_nothing_is_asked_of_a_full_database(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.end_swap("closure")  # there is none
    client.put_model("closure", networks.doubles, 1)
    with shared_cluster.shards[0].connect() as full:
        asked = promotions(full)
        full.config_set("maxmemory", 1)
        try:
            client.end_swap("closure")
        finally:
            full.config_set("maxmemory", 0)
        assert promotions(full) == asked


def test_a_trainer_whose_turn_does_not_come_is_warned_and_goes_on(
    shared_cluster: ShardCluster, cluster_address: Address, networks: Networks
) -> None:
    """The one that was killed holds its turn until it expires, longer than this client waits for anything."""
    client = NativeClient(cluster_address, Identity("trainer", 0), timeout_s=0.5)
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2)
    left_behind(shared_cluster, 1)
    with shared_cluster.shards[-1].connect() as registry:
        registry.set("{closure}.swap", "somebody", px=60_000)
        with pytest.warns(RuntimeWarning, match="shards answer by different versions until the next"):
            Publisher(client, "closure").end_swap()
        registry.delete("{closure}.swap")
    client.close()


def test_a_key_of_a_trial_that_another_program_has_is_none(
    open_client: OpenNamed, shared_cluster: ShardCluster, networks: Networks
) -> None:
    client = open_client("trainer")
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2)
    with shared_cluster.shards[-1].connect() as registry:
        for write in (("RPUSH", "{closure}.trial", "x"), ("SET", "{closure}.trial", "2 " + "1" * 5000)):
            registry.delete("{closure}.trial")
            registry.execute_command(*write)
            assert not any(each.fallback for each in client.model_versions("closure"))
        registry.delete("{closure}.trial")
    client.remove_model_version("closure", 1)


def test_a_version_that_is_promoted_while_it_is_removed_stays_live_or_is_gone_and_not_both(
    open_client: OpenNamed, cluster_address: Address, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promotion comes between the look at what is live and the removal: it waits, and is too late."""
    client, admin, delete = open_client("trainer"), RedisModels(cluster_address), RedisModels._delete
    client.put_model("closure", networks.doubles, 1)
    client.put_model("closure", networks.triples, 2, promote=False)
    checked: list[threading.Thread] = []
    raised: list[ModelRejected | ModelMissing] = []

    def promote() -> None:
        try:
            client.promote("closure", 2)
        except (ModelRejected, ModelMissing) as error:
            raised.append(error)

    def late(self: RedisModels, database: Any, name: str, version: int) -> int:
        checked.append(threading.Thread(target=promote))
        checked[0].start()
        return delete(self, database, name, version)

    monkeypatch.setattr(RedisModels, "_delete", late)
    admin.remove("closure", 2)
    checked[0].join(60)
    assert len(raised) == 1
    states = {each.version: (each.state, each.live) for each in client.model_versions("closure")}
    assert states == {1: ("stored", True), 2: ("removed", False)}
    np.testing.assert_array_equal(client.infer("closure", field()), 2 * field())


def has_registry(shard: RedisServer) -> bool:
    with shard.connect() as db:
        return bool(db.keys("{closure}.versions"))


def test_the_number_of_a_post_that_was_cut_off_is_nobodys(
    open_client: OpenNamed, cluster_address: Address, networks: Networks
) -> None:
    """Not even that of one of the same name: the other may be hung, and go on."""
    port = cluster_address.endpoints[0].port
    with redis.RedisCluster(host="127.0.0.1", port=port) as db:
        db.hset("{closure}.versions", "1", "posting by trainer.0 0123456789abcdef")
    trainer = open_client("trainer")
    assert [(each.version, each.state) for each in trainer.model_versions("closure")] == [(1, "posting")]
    with pytest.raises(ModelRejected, match="there was a version 1 before"):
        trainer.put_model("closure", networks.doubles, 1)
    trainer.put_model("closure", networks.doubles, 2)
    assert [(each.version, each.live) for each in trainer.model_versions("closure")] == [
        (1, False),
        (2, True),
    ]


def test_of_two_posters_of_one_name_one_has_a_number(open_client: OpenNamed, networks: Networks) -> None:
    posters = [(open_client("trainer"), networks.doubles), (open_client("trainer"), networks.triples)]
    together = threading.Barrier(2)

    def post(client: Client, network: bytes, version: int) -> bool:
        together.wait(60)
        try:
            client.put_model("closure", network, version, promote=False)
        except ModelRejected as error:
            assert "there was a version" in str(error)
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for version in range(1, 11):
            posts = [pool.submit(post, *poster, version) for poster in posters]
            won = [each.result() for each in posts]
            assert sorted(won) == [False, True]
            answer = posters[0][0].infer("closure", field(), version=version)
            np.testing.assert_array_equal(answer, (2 if won[0] else 3) * field())
