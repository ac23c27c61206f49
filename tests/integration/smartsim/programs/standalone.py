"""A SmartSim driver: a database of its own, with a model and a script attached to the application."""

import json
import sys
from pathlib import Path

from smartredis import Client
from smartsim import Experiment

model_file, port = sys.argv[1], int(sys.argv[2])
exp = Experiment("standalone", launcher="local")
threads = {"threads_per_queue": 2, "intra_op_threads": 1, "inter_op_threads": 1}
db = exp.create_database(port=port, interface="lo", **threads)
exp.generate(db)
exp.start(db)
solver = Path(__file__).with_name("application.py")
settings = exp.create_run_settings(sys.executable, [str(solver), model_file])
application = exp.create_model("application", settings)
application.add_ml_model("attached", "TORCH", model_path=model_file, device="CPU")
application.add_script("script", script="def triple(x):\n    return 3 * x\n", device="CPU")
exp.generate(application)
exp.start(application, block=True)
db.set_max_message_size(1 << 30)
client = Client(cluster=False, address=db.get_address()[0])
facts = client.get_db_node_info(db.get_address())[0]
found = {
    "application": str(exp.get_status(application)[0]),
    "active": db.is_active(),
    "threads_per_queue": facts["ai_load_time_configs"]["ai_threads_per_queue"],
    "pid": facts["Server"]["process_id"],
}
exp.stop(db)
found["after"] = db.is_active()
print(json.dumps(found, default=str))
