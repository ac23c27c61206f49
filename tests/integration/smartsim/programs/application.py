"""A solver that SmartSim has started: it runs a model its driver attached, one of its own, and a script."""

import sys

import numpy as np
from smartredis import Client

client = Client(cluster=False)
x = np.arange(6, dtype=np.float32).reshape(2, 3)
client.put_tensor("x", x)
client.run_model("attached", ["x", "x"], ["y"])
np.testing.assert_array_equal(client.get_tensor("y"), 2 * x)
client.set_model_from_file("own", sys.argv[1], "TORCH", "CPU")
client.run_model("own", ["x", "y"], ["z"])
np.testing.assert_array_equal(client.get_tensor("z"), 3 * x)
client.run_script("script", "triple", ["x"], ["w"])
np.testing.assert_array_equal(client.get_tensor("w"), 3 * x)
print("all answers are right")
