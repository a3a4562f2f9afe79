"""`volary vol`."""

from __future__ import annotations

import typer

from volary.api.cli import (
    vol_clone,
    vol_create,
    vol_delete,
    vol_info,
    vol_resize,
    vol_transfer,
    vol_wipe,
)
from volary.api.cli.command_group import command_group, epilog
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import Identity, PoolName
from volary.api.volume import Volume
from volary.engine.size import format_size
from volary.engine.volume_info import VolumeInfo

app = command_group(
    "Volumes: the disk images of a pool.\n\n"
    "Without --pool, the pool is 'default', which is made at its first use. "
    "Sizes are bytes, or such as 8G, 500MB or '8 GiB'.",
    "volary vol create a.raw 8G",
    "volary vol create b.raw 8G --prealloc full --pool images",
    "volary vol clone a.raw c.qcow2 --format qcow2",
    "volary vol list",
    "volary vol delete a.raw b.raw",
)

app.command(epilog=epilog(*vol_create.EXAMPLES))(vol_create.create)
app.command(epilog=epilog(*vol_clone.EXAMPLES))(vol_clone.clone)


@app.command("list")
def list_volumes(context: typer.Context, pool: PoolName = None) -> None:
    """List the volumes of a pool.

    A format with "(problem)" is that of an image whose header is broken, or cannot be read:
    `info` says why.
    """
    with Session(context) as session:
        where = session.pool_in_use(pool)
        found = sorted(where.volume_infos(), key=lambda volume: volume.name)
        if session.output.as_json:
            session.output.document([volume_document(where, volume) for volume in found])
            return
        session.output.table(
            ("NAME", "FORMAT", "CAPACITY", "ALLOCATION", "PATH"),
            [
                (
                    volume.name,
                    _format(volume),
                    format_size(volume.capacity),
                    format_size(volume.allocation),
                    Volume(where, volume.name).path,
                )
                for volume in found
            ],
            right="CAPACITY ALLOCATION",
        )


def _format(volume: VolumeInfo) -> str:
    broken = volume.image is not None and volume.image.problem is not None
    return f"{volume.format} (problem)" if broken else volume.format


app.command(epilog=epilog(*vol_info.EXAMPLES))(vol_info.info)


@app.command()
def path(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Print where a volume is, for a hypervisor."""
    with Session(context) as session:
        volume = session.volume(name, pool)
        session.output.result(volume.path, {"path": volume.path})


@app.command()
def key(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Print a volume's key, which is unique in the world."""
    with Session(context) as session:
        volume = session.volume(name, pool)
        session.output.result(volume.key, {"key": volume.key})


@app.command()
def dumpxml(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Print a volume as libvirt's XML document."""
    with Session(context) as session:
        xml = session.volume(name, pool).xml()
        session.output.result(xml.rstrip("\n"), {"xml": xml})


app.command(cls=vol_resize.ResizeCommand, epilog=epilog(*vol_resize.EXAMPLES))(vol_resize.resize)
app.command(epilog=epilog(*vol_transfer.UPLOAD_EXAMPLES))(vol_transfer.upload)
app.command(epilog=epilog(*vol_transfer.DOWNLOAD_EXAMPLES))(vol_transfer.download)
app.command(epilog=epilog(*vol_wipe.EXAMPLES))(vol_wipe.wipe)
app.command(epilog=epilog(*vol_delete.EXAMPLES))(vol_delete.delete)
