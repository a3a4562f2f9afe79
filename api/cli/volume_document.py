"""A volume for a program."""

from __future__ import annotations

from typing import Any

from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.backing_chain import ChainLink
from volary.engine.image_info import ImageInfo
from volary.engine.volume_info import VolumeInfo


def volume_document(pool: Pool, volume: VolumeInfo) -> dict[str, Any]:
    """Return a volume; sizes in bytes. `image` has what its header says, None of a raw one."""
    named = Volume(pool, volume.name)
    return {
        "name": volume.name,
        "pool": pool.name,
        "key": named.key,
        "path": named.path,
        "type": volume.type,
        "format": volume.format,
        "capacity": volume.capacity,
        "allocation": volume.allocation,
        "physical": volume.physical,
        "image": None if volume.image is None else _image(volume.image, trusted=volume.trusted),
    }


def _image(image: ImageInfo, *, trusted: bool) -> dict[str, Any]:
    backing = image.backing
    return {
        "cluster_size": image.cluster_size,
        "compat": image.compat,
        "lazy_refcounts": image.lazy_refcounts,
        "extended_l2": image.extended_l2,
        "encryption": image.encryption,
        "backing_file": None if backing is None else backing.name,
        "backing_format": None if backing is None else backing.format,
        "backing_trusted": None if backing is None else trusted,
        "data_file": image.data_file,
        "problem": image.problem,
    }


def link_document(link: ChainLink) -> dict[str, Any]:
    """Return one image of a backing chain; sizes in bytes, None where it was not looked at."""
    return {
        "name": link.name,
        "path": link.path,
        "pool": link.pool,
        "volume": link.volume,
        "format": link.format,
        "capacity": None if link.info is None else link.info.capacity,
        "allocation": None if link.info is None else link.info.allocation,
        "problem": link.problem,
    }
