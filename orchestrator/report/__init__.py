"""The page about a run: read from its directory, drawn by ourselves, one file that needs no network."""

from orchestrator.report.page import PAGE, write_report

__all__ = ["PAGE", "write_report"]
