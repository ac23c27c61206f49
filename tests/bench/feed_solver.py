"""A solver for `bench_feed`: puts two fields of 256 x 256 floats a hundred times a second, until it is ended.

`python feed_solver.py ADDRESS PRODUCER STREAM`
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np

from sim_clients import Address, connect

EVERY_S = 0.01

address, producer, stream = sys.argv[1:]
client = connect(Address.parse(address), producer=producer)
start = time.monotonic()
for step in itertools.count():
    u = np.full((256, 256), step % 1000, np.float32)
    client.put_snapshot(step, {"u": u, "v": u + 1}, stream=stream)
    time.sleep(max(0.0, start + (step + 1) * EVERY_S - time.monotonic()))
