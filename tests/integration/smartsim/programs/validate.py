"""SmartSim's own check of an installation, `smart validate`, for torch and ONNX.

The argument is where torch is installed: SmartSim's Python has the rest, and needs no torch of its own.
"""

import json
import sys

sys.path.append(sys.argv[1])  # behind SmartSim's own packages

from pathlib import Path

from smartsim._core._cli.validate import test_install
from smartsim._core.types import Device
from smartsim._core.utils.helpers import installed_redisai_backends

test_install(str(Path.cwd()), None, Device.CPU, with_tf=False, with_pt=True, with_onnx=True)
print(json.dumps({"backends": sorted(installed_redisai_backends())}))
