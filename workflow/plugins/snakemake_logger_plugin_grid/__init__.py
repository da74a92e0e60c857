"""Snakemake logger plugin `grid`: the progress of many jobs in a few lines, in place of a block of text a job.

On a terminal one block that is redrawn; elsewhere a plain line now and then. Errors and warnings are always shown.
"""

from dataclasses import dataclass, field

from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from .handler import LogHandler

__all__ = ["LogHandler", "LogHandlerSettings"]


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Settings of the display; each one is the command line flag --logger-grid-NAME."""

    watch: str | None = field(
        default=None,
        metadata={
            "type": str,
            "help": "CSV file that a running job grows, as a glob pattern with wildcards in braces, such as "
            "'results/runs/*/{run}/history.csv'; its last line is shown for running jobs with these wildcards.",
        },
    )
    columns: str | None = field(
        default="epoch,validation.elbo",
        metadata={"type": str, "help": "Columns of the watched file to show, separated by commas."},
    )
    seconds: float | None = field(
        default=15.0,
        metadata={"type": float, "help": "Seconds between two lines where the output is no terminal."},
    )
