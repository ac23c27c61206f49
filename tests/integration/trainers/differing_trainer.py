"""Train as `python -m trainers.train` does; the first two arguments are for rank 1 alone."""

from __future__ import annotations

import os
import sys

from trainers.command import main

main(sys.argv[3:] + (sys.argv[1:3] if os.environ["RANK"] == "1" else []))
