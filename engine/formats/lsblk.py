"""The block devices of this host, as lsblk(8) tells them."""

from __future__ import annotations

import json
from typing import Any, Final

from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Operation

_LSBLK: Final = Tool("lsblk", "util-linux")
_LIMITS: Final = Limits(cpu=30, memory=256 << 20)
_OUTPUT: Final = 16 << 20  # bytes: 150 of each device, and there may be thousands


def read(columns: str, *options: str) -> Operation[list[dict[str, Any]]]:
    """Return the devices, those on others as their children; `columns` are lsblk's, which are in
    lower case in what is returned.
    """
    arguments = ["--json", *options, "--output", columns]
    output = yield from process.run(_LSBLK, arguments, limits=_LIMITS, keep=_OUTPUT)
    devices: list[dict[str, Any]] = json.loads(output)["blockdevices"]
    return devices
