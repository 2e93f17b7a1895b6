"""The version of Lowu, as nodes report it."""

from __future__ import annotations

import platform

VERSION = "0.1.0"
CLIENT_VERSION = f"Lowu/v{VERSION}/python{platform.python_version()}"
