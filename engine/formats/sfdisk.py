"""Partition tables, read and written by sfdisk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from volary.engine.block_device import sector_size
from volary.engine.errors import StorageFailed, ToolFailed
from volary.engine.formats import process
from volary.engine.formats.partition_type import format_of
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Operation

LABELS: Final = ("dos", "gpt")
"""The kinds of tables that are read and written here."""

_SFDISK: Final = Tool("sfdisk", "fdisk", first_words=True)
_LIMITS = Limits(cpu=30, memory=256 << 20)
"""It takes a few milliseconds and a few mebibytes."""

_OUTPUT = 1 << 20
"""Bytes of what it prints that are kept: up to 500 of each partition, of which Linux shows 255."""

# The kernel is told by whoever calls this, of the one partition that has changed: the whole disk
# cannot be read anew while any of it is in use.
_WRITING: Final = (
    *("--quiet", "--no-reread", "--no-tell-kernel"),
    *("--wipe", "never", "--wipe-partitions", "never"),
)

_NONE = "does not contain a recognized partition table"
_NUMBER: Final = re.compile(r".*?([0-9]+)")
_LARGEST_DOS = 2**32 - 1
"""Sectors that a dos table can count."""

_GPT_ENTRIES = 128 * 128
"""Bytes of a gpt's partition entries, which follow two sectors (UEFI 2.10, 5.3.1)."""

_MOST_GPT = 128
_LOGICAL = 5
"""The number of the first logical partition of a dos table."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition; in bytes.

    type: its code, as sfdisk has it: "83", or a GUID in capitals.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str | None = None
    name: str | None = None

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What a disk is divided into; in bytes.

    label: "dos", "gpt", or another one that sfdisk knows.
    first, end: the first byte that a partition can have, and the one behind the last.
    partitions: by number.
    """

    label: str
    sector: int
    first: int
    end: int
    partitions: tuple[Partition, ...]

    @property
    def extended(self) -> Partition | None:
        """The partition of a dos table that holds the logical ones."""
        if self.label != "dos":
            return None
        return next(
            (each for each in self.primary if format_of("dos", each.type) == "extended"), None
        )

    @property
    def primary(self) -> tuple[Partition, ...]:
        """The partitions that are in the table itself."""
        return tuple(each for each in self.partitions if not self.is_logical(each.number))

    @property
    def logical(self) -> tuple[Partition, ...]:
        """The partitions that are in an extended one."""
        return tuple(each for each in self.partitions if self.is_logical(each.number))

    def is_logical(self, number: int) -> bool:
        """Say whether a partition of that number is in an extended one."""
        return self.label == "dos" and number >= _LOGICAL

    def next_number(self, *, logical: bool = False) -> int | None:
        """Return the number that the next partition gets; None when the table is full."""
        if logical:
            most = max((each.number for each in self.logical), default=_LOGICAL - 1)
            return None if self.extended is None else most + 1
        taken = {each.number for each in self.primary}
        return next((each for each in range(1, self.most + 1) if each not in taken), None)

    @property
    def most(self) -> int:
        """How many partitions the table itself can have."""
        return _MOST_GPT if self.label == "gpt" else _LOGICAL - 1

    def find(self, number: int) -> Partition | None:
        """Return the partition of that number."""
        return next((each for each in self.partitions if each.number == number), None)


def read(fd: int) -> Operation[PartitionTable | None]:
    """Return the table of the disk `fd`; None when it has none that sfdisk knows."""
    try:
        output = yield from _run(["--json", _path(fd)], fd)
    except ToolFailed as error:
        if _NONE in str(error):
            return None
        raise
    try:
        found = json.loads(output)["partitiontable"]
    except ValueError as error:  # of a long output, the end is kept
        raise StorageFailed(f"the partition table is not told in 1 MiB: {error}") from None
    return _table(found, os.lseek(fd, 0, os.SEEK_END))


def _table(found: dict[str, Any], size: int) -> PartitionTable:
    sector = int(found["sectorsize"])
    partitions = [
        Partition(
            _number(found["device"], entry["node"]),
            int(entry["start"]) * sector,
            int(entry["size"]) * sector,
            entry["type"],
            entry.get("uuid"),
            entry.get("name"),
        )
        for entry in found.get("partitions", [])
    ]
    first = int(found.get("firstlba", 1)) * sector
    end = min(size, _LARGEST_DOS * sector)
    if "lastlba" in found:
        end = (int(found["lastlba"]) + 1) * sector
    return PartitionTable(found["label"], sector, first, end, tuple(partitions))


def _number(device: str, node: str) -> int:
    match = _NUMBER.fullmatch(node.removeprefix(device))
    if match is None:
        raise StorageFailed(f"sfdisk calls a partition {node!r}, which has no number")
    return int(match[1])


def create(fd: int, label: str) -> Operation[None]:
    """Give the disk `fd` an empty table, of one of `LABELS`."""
    lines = [f"label: {label}"]
    if label == "gpt":
        # Behind the table. sfdisk would have the first MiB unusable, and libvirt, which has
        # partitions begin here, then finds no place.
        lines.append(f"first-lba: {2 + _GPT_ENTRIES // sector_size(fd)}")
    yield from _write(fd, lines)


def add(fd: int, table: PartitionTable, new: Partition, type_: str) -> Operation[None]:
    """Write the table with one more partition, which has this number, start and size.

    table: as it is on the disk.
    """
    start, size = new.start // table.sector, new.size // table.sector
    line = f"start={start}, size={size}, type={type_}"
    if new.number == table.next_number(logical=table.is_logical(new.number)):
        yield from _write(fd, [line], "--append")  # which takes that number by itself
    else:
        yield from _write(fd, [*(yield from _dump(fd)), f"{_path(fd)}p{new.number} : {line}"])


def remove(fd: int, number: int) -> Operation[None]:
    """Write the table without a partition that is in it; logical ones behind a logical one are
    renumbered.
    """
    yield from _write(fd, [], "--delete", behind=[str(number)])


def resize(fd: int, table: PartitionTable, number: int, size: int) -> Operation[None]:
    """Write the table with another size, in bytes, of a partition that is in it."""
    # Another one would be changed if it were not there.
    yield from _write(fd, [f"size={size // table.sector}"], "--partno", str(number))


def set_type(fd: int, number: int, type_: str) -> Operation[None]:
    """Write the table with another type of a partition that is in it."""
    yield from _write(fd, [], "--part-type", behind=[str(number), type_])


def _dump(fd: int) -> Operation[list[str]]:
    """Return the table as a script, which gives the same table again: numbers, identifiers, names
    and attributes, and the first sector's boot code stay.
    """
    output = yield from _run(["--dump", _path(fd)], fd)
    lines = os.fsdecode(output).rstrip("\n").split("\n")
    if not lines[0].startswith("label:"):  # of a long output, the end is kept
        raise StorageFailed("the partition table is longer than what sfdisk's words are kept of")
    return lines


def _write(
    fd: int, script: Sequence[str], *options: str, behind: Sequence[str] = ()
) -> Operation[None]:
    """Have sfdisk write a table, without a yield from its first byte to its last: whoever closes
    an operation early kills the program that it runs.

    behind: what follows the disk's path.
    """
    stdin = os.memfd_create("table", os.MFD_CLOEXEC)
    try:
        os.write(stdin, os.fsencode("\n".join([*script, ""])))
        with closing(_run([*_WRITING, *options, _path(fd), *behind], fd, stdin)) as work:
            for _ in work:
                pass
    finally:
        os.close(stdin)
    os.fsync(fd)
    yield from ()


def _run(arguments: list[str], fd: int, script: int | None = None) -> Operation[bytes]:
    try:
        return (
            yield from process.run(
                _SFDISK, arguments, limits=_LIMITS, fds=(fd,), stdin=script, keep=_OUTPUT
            )
        )
    except ToolFailed as error:
        raise ToolFailed(str(error).replace(_path(fd), "the disk")) from None


def _path(fd: int) -> str:
    return f"/proc/self/fd/{fd}"
