"""Where log lines go: ``logging`` under the name ``mcvae``, written to a file or to the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def log_to(target: str | os.PathLike | None, level: int = logging.INFO) -> Iterator[None]:
    """Send the package's log lines to a file (appended), or to standard error if ``target`` is None, inside the block.

    In a file, an exception is logged before it goes on, so that a job's log ends with its cause: the sentence of a
    user's mistake, the traceback of anything else.
    """
    logger = logging.getLogger("mcvae")
    if target is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(target, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT, datefmt="%Y-%m-%d %H:%M:%S"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    except Exception as error:
        if target is not None:
            logger.error("%s", error, exc_info=not isinstance(error, UserError))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.level, logger.propagate = before
