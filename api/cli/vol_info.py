"""`volary vol info`."""

from __future__ import annotations

import typer

from volary.api.cli.chain_tree import draw_chain
from volary.api.cli.printable import printable
from volary.api.cli.session import Session
from volary.api.cli.volume_document import link_document, volume_document
from volary.api.cli.volume_options import Identity, PoolName
from volary.api.volume import Volume
from volary.engine.backing_chain import ChainLink
from volary.engine.errors import VolaryError
from volary.engine.image_info import ImageInfo
from volary.engine.size import format_size
from volary.engine.volume_info import VolumeInfo

EXAMPLES = (
    "volary vol info a.qcow2",
    "volary --json vol info a.qcow2    sizes in bytes, the chain as a list",
)


def info(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Show a volume and what it is backed by.

    Of a backing file that is in no pool, only what the volume's own header says is shown: nothing
    is opened because of a header.
    """
    with Session(context) as session:
        volume = session.volume(name, pool)
        chain = _chain(session, volume)
        found = chain[0].info or volume.info()
        document = volume_document(volume.pool, found)
        if session.output.as_json:
            links = [link_document(link) for link in chain]
            session.output.document({**document, "chain": links})
            return
        facts = [
            ("Name", found.name),
            ("Pool", volume.pool.name),
            ("Key", volume.key),
            ("Path", volume.path),
            ("Type", found.type),
            ("Format", found.format),
            ("Capacity", format_size(found.capacity)),
            ("Allocation", format_size(found.allocation)),
            ("Physical", format_size(found.physical)),
            *_header(found),
        ]
        if len(chain) > 1:
            facts.append(("Chain", draw_chain(chain)))
        session.output.facts(facts)


def _chain(session: Session, volume: Volume) -> tuple[ChainLink, ...]:
    try:
        return session.start_chain(volume)
    except VolaryError as error:  # a pool further down does not start: the chain ends there
        chain = volume.chain()
        session.output.note(str(error))
        return chain


def _header(volume: VolumeInfo) -> list[tuple[str, str]]:
    """Return what the header says, as far as the format has it."""
    image = volume.image
    if image is None:
        return []
    facts = []
    if image.cluster_size is not None:
        facts.append(("Cluster size", format_size(image.cluster_size)))
    if image.compat is not None:
        facts += [
            ("Compat", image.compat),
            ("Lazy refcounts", "yes" if image.lazy_refcounts else "no"),
            ("Extended L2", "yes" if image.extended_l2 else "no"),
        ]
    facts.append(("Encryption", image.encryption or "none"))
    return facts + _files(image, trusted=volume.trusted)


def _files(image: ImageInfo, *, trusted: bool) -> list[tuple[str, str]]:
    facts = []
    if image.backing is not None:
        facts.append(("Backing file", printable(image.backing.name)))
        facts.append(("Backing format", printable(image.backing.format or "not said")))
        facts.append(("Created here", "yes" if trusted else "no: see --trust-backing of clone"))
    if image.data_file is not None:
        facts.append(("Data file", printable(image.data_file)))
    if image.problem is not None:
        facts.append(("Problem", printable(image.problem)))
    return facts
