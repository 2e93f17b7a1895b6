"""Log lines in FISCO BCOS's shape: ``level|time|[MODULE]text,key=value``.

One rotating file per node. Searches and mtail rules written for FISCO BCOS keep working.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE_BYTES_MAX = 64 * 1024 * 1024
FILES_KEPT = 5


class FiscoFormatter(logging.Formatter):
    """Formats a record as FISCO BCOS does."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``level|YYYY-MM-DD HH:MM:SS.ffffff|[NAME]message``."""
        moment = (
            datetime.fromtimestamp(record.created, UTC)
            .astimezone()
            .strftime("%Y-%m-%d %H:%M:%S.%f")
        )
        text = f"{record.levelname.lower()}|{moment}|[{record.name}]{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def start_file_log(folder: Path, level: str) -> None:
    """Send all log records to ``node.log`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        folder / "node.log",
        maxBytes=FILE_BYTES_MAX,
        backupCount=FILES_KEPT,
        encoding="utf-8",
        errors="backslashreplace",  # a path may not be valid text
    )
    handler.setFormatter(FiscoFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("DEBUG" if level == "trace" else level.upper())
