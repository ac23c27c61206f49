"""Text, lists and dictionaries of TorchScript meet the limits of memory; within them they work as ever."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import Module, RedisServer, ServerBinary, ServerConfig, wait_until
from tests.integration.torchscript import forward

NUMBERS = "megabyte = int(x[0]) * 1000000\nmany = int(x[0]) * 1000000000000\n"
"""Torch computes what is constant when it compiles: in the test's own process."""
GROWING = {
    "a list": "l = [0]\nwhile True:\n    l.append(1)\nreturn x + l[0]",
    "a list of its own": "l = [0]\nwhile True:\n    l += l\nreturn x + l[0]",
    "a list before it": "l = [0]\nwhile True:\n    l = l + [1, 2]\n    l = l + l\nreturn x + l[0]",
    "an extended list": "l = [0]\nwhile True:\n    l.extend(l)\nreturn x + l[0]",
    "a list at its front": "l = [0] * (4 * megabyte)\nwhile True:\n    l.insert(0, 1)\nreturn x + l[0]",
    "zeros": "l = [0] * many\nreturn x + l[0]",
    "zeros from the right": "l = many * [0]\nreturn x + l[0]",
    "more than a number can say": "l = [0] * 1000000 * many\nreturn x + l[0]",
    "text": "s = 'x'\nwhile True:\n    s += s\nreturn x + len(s)",
    "text with spaces": "return x + len('x'.ljust(many))",
    "text after spaces": "return x + len('x'.rjust(many))",
    "text between spaces": "return x + len('x'.center(many))",
    "zeros before text": "return x + len('x'.zfill(many))",
    "spaces": "return x + len('\\t\\t'.expandtabs(many))",
    "joined text": "s = 'x'.ljust(megabyte)\nreturn x + len(s.join([s] * 1000))",
    "replaced text": "s = 'x'.ljust(megabyte)\nreturn x + len(s.replace(' ', s))",
    "text between all characters": "s = 'x'.ljust(megabyte)\nreturn x + len(s.replace('', s))",
    "formatted text": "s = 'x'\nwhile True:\n    s = '{}{}'.format(s, s)\nreturn x + len(s)",
    "text with percents": "s = 'x'\nwhile True:\n    s = '%s%s' % (s, s)\nreturn x + len(s)",
    "a printed list": "s = 'x'\nwhile True:\n    s = str([s, s])\nreturn x + len(s)",
    "a printed array": "return x + len(str(x[0].expand(many)))",
    "an array as a list": "l: List[float] = x[0].expand(many).tolist()\nreturn x + l[0]",
    "a list of signs": "return x + len(list('x'.ljust(megabyte)))",
    "parts of a text": "return x + len(''.ljust(megabyte).split(' '))",
    "parts from the right": "return x + len(''.ljust(megabyte).rsplit(' '))",
    "lines": "return x + len(''.ljust(megabyte).replace(' ', '\\n').splitlines())",
    "a part of a list": "l = [0] * (500000 * int(x[0]))\nreturn x + len(l[:] + l[1:] + l[2:] + l[3:])",
    "rows of an array": "return x + len(x[0].expand(many).unbind())",
    "parts of an array": "return x + len(x[0].expand(many).split(1))",
    "so many parts of an array": "return x + len(x[0].expand(many).chunk(many))",
    "sections of an array": "return x + len(x.tensor_split(many))",
    "a dictionary": "d = {0: 1}\ni = 0\nwhile True:\n    d[i] = i\n    i += 1\nreturn x + d[0]",
}


@pytest.fixture(scope="module", params=["BACKEND_MEMORY_LIMIT", "maxmemory"])
def limited_server(
    request: pytest.FixtureRequest, server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[RedisServer]:
    """A server whose runs may take 16 MB; what one of them is refused must not be lacking in the next."""
    backend = request.param == "BACKEND_MEMORY_LIMIT"
    limits = ("BACKEND_MEMORY_LIMIT", "16") if backend else ()
    directory = short_directory / f"limited-{server_binary.name}-{request.param}"
    config = ServerConfig(server_binary, directory, (module.with_arguments(*limits),))
    with RedisServer(config) as server, server.connect() as db:
        put(db, "x", np.ones(2, np.float32))
        store_model(db, "warm", forward("return x"))
        if not backend:
            db.config_set("maxmemory", db.info("memory")["used_memory"] + (16 << 20))
            much = "return x + len([0] * (2 * megabyte))"
            wait_until(lambda: "maxmemory leaves" in refused(db, much), "the server to measure what is left")
        yield server
    shutil.rmtree(directory)


@pytest.fixture
def limited(limited_server: RedisServer) -> Iterator[redis.Redis]:
    """A connection to it; after the test it must still be alive."""
    with limited_server.connect() as db:
        yield db
        assert db.ping()


def refused(db: redis.Redis, source: str) -> str:
    store_model(db, "m", forward(NUMBERS + source))
    try:
        execute(db, "m", ["x"], ["y"])
    except redis.ResponseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", GROWING)
def test_what_grows_without_bound_is_refused(limited: redis.Redis, kind: str) -> None:
    text = refused(limited, GROWING[kind])
    assert "memory limit exceeded" in text or "more memory than maxmemory leaves" in text


def test_without_a_limit_the_host_s_memory_is_one(db: redis.Redis) -> None:
    put(db, "x", np.ones(2, np.float32))
    assert "this host has no" in refused(db, GROWING["zeros"])


def test_what_is_small_works_as_ever(limited: redis.Redis) -> None:
    source = """
l = [1, 2]
l.append(3)
l.insert(0, 4)
l += [5]
l = l + [6] * 2
l.extend([7])
d = {"a": 1}
d["b"] = 2
d.update({"c": 3})
s = "-".join(["a", "b"]) + "c".ljust(3) + "d".rjust(3) + "e".center(3) + "1".zfill(3)
s = s.replace("a", "zz")
assert l == [4, 1, 2, 3, 5, 6, 6, 7]
assert s == "zz-bc    d e 001", s
assert d.setdefault("d", 9) == 9 and len(d) == 4
assert list("ab") == ["a", "b"] and list(l) == l
assert "{} {}".format(1, "b") == "1 b" and "%s-%d" % ("a", 2) == "a-2"
assert str([1, 2]) == "[1, 2]" and "a b".split(" ") == ["a", "b"]
z: List[float] = x.tolist()
assert z == [1.0, 1.0]
y = [x, x] + [x]
return torch.cat(y) * 2 + torch.add(x.sum(), 1)
"""
    store_model(limited, "m", forward(source.strip()))
    execute(limited, "m", ["x"], ["y"])
    assert get(limited, "y").tolist() == [5.0] * 6
