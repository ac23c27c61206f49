"""`python -m orchestrator.cli` is `penstock`."""

from orchestrator.cli.commands import main

main()
