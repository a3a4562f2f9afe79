"""What is on a device, told by its signatures: of file systems, partition tables, RAID, LVM, LUKS,
swap and all else that libblkid knows.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Operation

_WIPEFS: Final = Tool("wipefs", "util-linux")
_LIMITS = Limits(cpu=30, memory=256 << 20)
"""It takes a few milliseconds and a few mebibytes: signatures are at known places."""


class Signature(NamedTuple):
    """What a device holds.

    type: in libblkid's words, such as "ext4", "gpt" or "crypto_LUKS".
    usage: "filesystem", "raid", "crypto" or "other"; "" for a partition table.
    """

    type: str
    usage: str


def read(device: str) -> Operation[tuple[Signature, ...]]:
    """Return what the device or image holds, each kind once; nothing of it is changed.

    It may be more than one, where a new owner has left what an old one wrote.
    """
    output = yield from process.run(
        _WIPEFS,
        [device, "--no-act", "--json", "--output", "TYPE,USAGE"],
        limits=_LIMITS,
    )
    found: list[dict[str, Any]] = json.loads(output or b"{}").get("signatures", [])
    # A kind that has several places to be told by is listed with each of them.
    kinds = (Signature(entry["type"], entry["usage"] or "") for entry in found)
    return tuple(dict.fromkeys(kinds))


def wipe(device: str, *, but: str | None = None) -> Operation[None]:
    """Have the device or image hold nothing known any more, `but` what is of that type: no other
    byte is changed. Fails when somebody uses the device.
    """
    kept = [] if but is None else ["--types", f"no{but}"]
    yield from process.run(_WIPEFS, [device, "--all", "--quiet", *kept], limits=_LIMITS)


def told(found: tuple[Signature, ...]) -> str:
    """Return what to say of it, such as "ext4 (filesystem), gpt"."""
    return ", ".join(f"{kind} ({usage})" if usage else kind for kind, usage in found) or "nothing"
