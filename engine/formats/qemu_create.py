"""Creating images with qemu-img: qed, vmdk, vdi, vpc, luks, and qcow2 that are encrypted."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from volary.engine.encryption import Encryption
from volary.engine.errors import InvalidSpec, ToolFailed
from volary.engine.formats.fill_holes import fill_holes
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_img import Taken, limits_for, run
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import VolumeSpec

_NO_CPU_TIME = "Unable to get accurate CPU usage"
_TRIES = 20

_DESCRIPTOR_OFFSET = 512
_DESCRIPTOR_SIZE = 20 * 512
"""Where QEMU puts the descriptor of a sparse vmdk: its sectors 1 to 20."""


def create(fd: int, spec: VolumeSpec, *, backing: OpenImage | None = None) -> Operation[None]:
    """Make the empty file `fd` a qed, vmdk, vdi, vpc, luks or (encrypted) qcow2 image.

    The capacity is rounded up to sectors of 512 bytes. LUKS takes some 5 seconds of CPU time by
    QEMU's default, of which 2 are what guessing a passphrase once is to take.

    spec: with its capacity, and with its backing file's format.
    backing: the image below, opened: a vmdk notes its content's id; not needed otherwise, as
        nothing is read of it.

    Raises `InvalidSpec` for what qemu-img cannot make, `ToolMissing`, `ToolFailed`, and OSError
    with ENOSPC, EDQUOT or EFBIG.
    """
    if spec.capacity is None:
        raise InvalidSpec(f"volume {spec.name!r}: the capacity is not known")
    if spec.format == "vmdk":
        _check_vmdk(spec, backing)
    yield from _try_again(lambda: _create(fd, spec, backing))
    if spec.format == "vmdk":
        _name_in_descriptor(fd, spec, backing)
    if spec.preallocation in ("falloc", "full"):
        yield from fill_holes(fd, 0, preallocation=spec.preallocation)


def _create(fd: int, spec: VolumeSpec, backing: OpenImage | None) -> Operation[None]:
    """Try once."""
    taken = Taken(fd)
    with ExitStack() as undo:
        use = Arguments(undo)
        options = _options(spec, use)
        arguments = ["-q", "-f", spec.format]
        if options:
            arguments += ["-o", ",".join(options)]
        if spec.backing is not None:
            name = spec.backing.name
            if spec.format == "vmdk" and backing is not None:
                name = use.path(backing.fd, backing.name)
            # -u: what is below is not opened; its name and format are only noted.
            arguments += ["-u", "-b", name, "-F", spec.backing.format or "raw"]
        arguments += [use.path(fd, f"volume {spec.name!r}"), str(spec.capacity)]
        # Only tables that are there from the start are more work for a larger capacity.
        limits = limits_for(0 if spec.preallocation == "off" else spec.capacity or 0)
        yield from run(
            use, "create", arguments, limits=limits, at=lambda _: Done(taken=taken.now())
        )


def _try_again(start: Callable[[], Operation[None]]) -> Operation[None]:
    """Do it again when QEMU could not measure how fast the CPU derives a key from a passphrase.

    Up to version 9 it divides by the thread's time in user mode, which the kernel may still
    account as 0 after the first milliseconds: a third of all tries here, each over after 10 ms.
    """
    for left in reversed(range(_TRIES)):
        try:
            yield from start()
        except ToolFailed as error:
            if _NO_CPU_TIME not in str(error) or not left:
                raise
        else:
            return


def _options(spec: VolumeSpec, use: Arguments) -> list[str]:
    """Return the format's options as -o takes them."""
    wanted: dict[str, Any] = {
        "cluster_size": spec.cluster_size,
        "compat": spec.compat,
        "lazy_refcounts": spec.lazy_refcounts,
        "extended_l2": spec.extended_l2,
    }
    if spec.format == "vpc":
        wanted["force_size"] = True  # or else the capacity is that of some old disk's geometry
    if spec.format == "vmdk":
        wanted["subformat"] = "monolithicSparse"
    if spec.format == "qcow2" and spec.preallocation != "off":
        wanted["preallocation"] = "metadata"  # and what the tables point to is filled afterwards
    if spec.encryption is not None:
        wanted |= _encryption_options(spec.encryption, spec.format, use)
    return [f"{key}={_escaped(value)}" for key, value in wanted.items() if value is not None]


def _encryption_options(how: Encryption, format_: str, use: Arguments) -> dict[str, Any]:
    wanted = {
        "key-secret": use.secret(how.passphrase("the volume")),
        "cipher-alg": how.cipher,
        "cipher-mode": how.mode,
        "hash-alg": how.hash,
        "ivgen-alg": how.ivgen,
        "ivgen-hash-alg": how.ivgen_hash,
    }
    if format_ == "luks":
        return wanted
    return {"encrypt.format": "luks"} | {f"encrypt.{key}": wanted[key] for key in wanted}


def _escaped(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace(",", ",,")  # a comma begins the next option


def _check_vmdk(spec: VolumeSpec, backing: OpenImage | None) -> None:
    if '"' in spec.name:
        raise InvalidSpec(f"volume {spec.name!r}: a vmdk cannot note a name with a quotation mark")
    if spec.backing is None:
        return
    if backing is None or backing.driver != "vmdk":
        raise InvalidSpec(f"volume {spec.name!r}: the backing file of a vmdk is a vmdk")
    if '"' in spec.backing.name:
        raise InvalidSpec(
            f"volume {spec.name!r}: a vmdk cannot note the name of its backing file "
            f"{spec.backing.name!r}, which has a quotation mark"
        )


def _name_in_descriptor(fd: int, spec: VolumeSpec, backing: OpenImage | None) -> None:
    """Put names in a vmdk's descriptor where QEMU put those of /proc/self/fd."""
    text = os.pread(fd, _DESCRIPTOR_SIZE, _DESCRIPTOR_OFFSET).rstrip(b"\0")
    text = text.replace(b'SPARSE "%d"' % fd, b'SPARSE "%s"' % os.fsencode(spec.name))
    if spec.backing is not None and backing is not None:
        text = text.replace(
            b'parentFileNameHint="/proc/self/fd/%d"' % backing.fd,
            b'parentFileNameHint="%s"' % os.fsencode(spec.backing.name),
        )
    os.pwrite(fd, text.ljust(_DESCRIPTOR_SIZE, b"\0"), _DESCRIPTOR_OFFSET)
