"""A SmartSim driver: an application with a database beside it, reached by a Unix socket or a port."""

import json
import sys
from pathlib import Path

from smartsim import Experiment

model_file, how = sys.argv[1:3]
exp = Experiment("colocated", launcher="local")
solver = Path(__file__).with_name("application.py")
settings = exp.create_run_settings(sys.executable, [str(solver), model_file])
application = exp.create_model("application", settings)
common = {"db_cpus": 1, "custom_pinning": [0], "debug": True, "threads_per_queue": 2}
if how == "uds":
    application.colocate_db_uds(unix_socket=sys.argv[3], **common)
else:
    application.colocate_db_tcp(port=int(sys.argv[3]), ifname="lo", **common)
application.add_ml_model("attached", "TORCH", model_path=model_file, device="CPU")
script = Path("triple.py").absolute()
script.write_text("def triple(x):\n    return 3 * x\n")
application.add_script("script", script_path=str(script), device="CPU")
exp.generate(application, overwrite=True)
exp.start(application, block=True)
print(json.dumps({"application": str(exp.get_status(application)[0])}))
