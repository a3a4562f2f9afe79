"""Pool definitions that are saved at the same time, those with uncommon names, those of every
type, and those that libvirt and Volary find of each other's.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from tests.system.deadline import wait_until
from tests.system.leftovers import names
from tests.system.own_libvirtd import SystemLibvirtd

import volary
from volary.engine.pool_type import POOL_TYPES

CORPUS = Path(__file__).parent.parent / "corpus" / "pools"
DOCUMENTS = {
    name: (CORPUS / f"{name}.xml").read_text()
    for name in (
        *("dir-full", "fs-full", "netfs-full", "logical-full", "disk-full", "iscsi-full"),
        *("iscsi-direct-full", "scsi-host-by-parent", "fc-host-full", "mpath-smallest"),
        *("rbd-full", "gluster-full", "zfs-full", "sheepdog-full", "vstorage-full"),
        "name-with-special-characters",
    )
}
"""One or more of each type, which can be defined beside each other."""

MISSING_TYPES = ("sheepdog", "vstorage")  # in Debian's libvirt


def reopened(state: Path) -> dict[str, str]:
    """Return name and target of every pool that a new engine finds."""
    with volary.open(state_dir=state) as conn:
        return {pool.name: pool.target for pool in conn.pools()}


@pytest.mark.parametrize(
    "name", ["p", "x" * 251, "\N{GRINNING FACE}" * 62, "a b&<c>'\"", "-", "ü"]
)
def test_a_pool_of_any_valid_name_comes_back(tmp_path: Path, name: str) -> None:
    state, target = tmp_path / "state", str(tmp_path / "target")
    with volary.open(state_dir=state) as conn:
        conn.define_pool(volary.PoolSpec(name, target=target))
    assert reopened(state) == {name: target}


def test_pools_whose_long_names_begin_alike_can_be_defined_at_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    specs = [
        volary.PoolSpec("x" * 220 + str(number), target=tmp_path / f"target-{number}")
        for number in range(40)
    ]
    together = Barrier(4)

    def define(mine: list[volary.PoolSpec]) -> None:
        for spec in mine:
            together.wait(10)
            conn.define_pool(spec)

    with volary.open(state_dir=state) as conn:
        threads = [Thread(target=define, args=(specs[part::4],)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert reopened(state) == {spec.name: spec.target for spec in specs}


def test_no_temporary_file_stays_in_the_state_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with volary.open(state_dir=state) as conn:
        pool = conn.define_pool(volary.PoolSpec("p", target=tmp_path / "target"))
        pool.autostart = True
        assert names(state) == [".volary.lock", "autostart", "p.xml"]
        pool.undefine()
        assert names(state) == [".volary.lock", "autostart"]
        assert names(state / "autostart") == []


def documents(state: Path) -> dict[str, str]:
    """Return the document of every pool that a new engine finds."""
    with volary.open(state_dir=state) as conn:
        return {pool.name: pool.xml() for pool in conn.pools()}


def test_a_definition_of_every_type_survives_a_restart_to_the_byte(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with volary.open(state_dir=state) as conn:
        defined = {}
        for document in DOCUMENTS.values():
            pool = conn.define_pool(document)
            defined[pool.name] = pool.xml()
        assert {pool.type for pool in conn.pools()} == set(POOL_TYPES)
    stored = {path.name: path.read_bytes() for path in state.glob("*.xml")}
    assert documents(state) == defined
    assert {path.name: path.read_bytes() for path in state.glob("*.xml")} == stored


def test_what_nobody_reads_stays_until_the_pool_is_defined_anew(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "images.xml").write_text(
        DOCUMENTS["dir-full"].replace("</pool>", "<!-- mine --><more of='it'/></pool>")
    )
    with volary.open(state_dir=state) as conn:
        pool = conn.pool("images")
        pool.autostart = True
        assert "<!-- mine --><more of='it'/>" in (state / "images.xml").read_text()
        conn.define_pool(pool.xml())
        assert "mine" not in (state / "images.xml").read_text()


@pytest.fixture
def libvirtd(system_libvirtd: SystemLibvirtd) -> Iterator[SystemLibvirtd]:
    """A daemon without pools, before and after."""
    yield system_libvirtd
    for pool in system_libvirtd.connection.listAllStoragePools():
        if pool.isActive():
            pool.destroy()
        pool.undefine()


def test_libvirts_configuration_is_a_state_directory(
    libvirtd: SystemLibvirtd, tmp_path: Path
) -> None:
    theirs = {}
    for document in DOCUMENTS.values():
        if document.startswith(tuple(f"<pool type='{kind}'" for kind in MISSING_TYPES)):
            continue
        pool = libvirtd.connection.storagePoolDefineXML(document, 0)
        theirs[pool.name()] = pool.XMLDesc(0)
    for name in ("images", "disk"):
        libvirtd.connection.storagePoolLookupByName(name).setAutostart(True)
    state = shutil.copytree(libvirtd.storage, tmp_path / "state", symlinks=True)
    for link in (state / "autostart").iterdir():
        # libvirt's links are absolute: lead them to where the files are now.
        assert os.readlink(link) == f"/etc/libvirt/storage/{link.name}"
        link.unlink()
        link.symlink_to(state / link.name)
    stored = {path.name: path.read_bytes() for path in state.glob("*.xml")}
    with volary.open(state_dir=state) as conn:
        pools = conn.pools()
        # A document without a UUID got one from libvirt, so that all of them have one.
        assert {pool.name: pool.xml() for pool in pools} == theirs
        assert {pool.name for pool in pools if pool.autostart} == {"images", "disk"}
    assert {path.name: path.read_bytes() for path in state.glob("*.xml")} == stored


def test_libvirt_reads_what_volary_has_defined(libvirtd: SystemLibvirtd, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with volary.open(state_dir=state) as conn:
        for document in DOCUMENTS.values():
            if not document.startswith(tuple(f"<pool type='{kind}'" for kind in MISSING_TYPES)):
                conn.define_pool(document)
        conn.pool("images").autostart = True
        ours = {pool.name: pool.xml() for pool in conn.pools()}
    shutil.copytree(state, libvirtd.storage, symlinks=True, dirs_exist_ok=True)
    # A hangup has it read its configuration again.
    os.kill(int(libvirtd.root.parent.name), signal.SIGHUP)
    connection = libvirtd.connection
    wait_until(lambda: len(connection.listAllStoragePools()) == len(ours), "libvirt has read them")
    assert {pool.name(): pool.XMLDesc(0) for pool in connection.listAllStoragePools()} == ours
    started = {pool.name() for pool in connection.listAllStoragePools() if pool.autostart()}
    assert started == {"images"}


def test_a_state_directory_serves_libvirt_and_volary_in_turn(
    libvirtd: SystemLibvirtd, tmp_path: Path
) -> None:
    connection = libvirtd.connection
    document = DOCUMENTS["dir-full"].replace("/srv/images", str(tmp_path / "images"))
    connection.storagePoolDefineXML(document, 0)
    with volary.open(state_dir=libvirtd.storage) as conn:
        pool = conn.pool("images")
        pool.autostart = True
        conn.define_pool(pool.xml().replace("0755", "0700"))
        ours = pool.xml()
    assert "0700" in ours
    os.kill(int(libvirtd.root.parent.name), signal.SIGHUP)
    theirs = connection.storagePoolLookupByName("images")
    wait_until(lambda: theirs.XMLDesc(0) == ours, "libvirt has read the new definition")
    assert theirs.autostart()
