"""Pools that are defined one after the other, and which of them are refused for another's sake."""

from __future__ import annotations

from typing import NamedTuple


class Try(NamedTuple):
    """A pool that is defined: `taken` says whether it is refused."""

    type: str
    target: str
    source: str
    taken: bool

    def document(self, name: str, home: str) -> str:
        """Return it as libvirt's document."""
        path = f"<path>{self.target.format(home=home)}</path>" if self.target else ""
        source = self.source.format(home=home)
        return (
            f"<pool type='{self.type}'><name>{name}</name><source>{source}</source>"
            f"<target>{path}</target></pool>"
        )


def _device(*paths: str) -> str:
    return "".join(f"<device path='{path}'/>" for path in paths)


def _export(path: str, *hosts: str) -> str:
    return "".join(f"<host {host}/>" for host in hosts) + f"<dir path='{path}'/>"


def _volume(path: str, *hosts: str) -> str:
    return _export(path, *hosts) + "<name>v</name>"


def _portal(host: str, iqn: str, initiator: str = "") -> str:
    own = f"<initiator><iqn name='{initiator}'/></initiator>" if initiator else ""
    return f"<host name='{host}'/><device path='{iqn}'/>{own}"


def _address(unique_id: int) -> str:
    return (
        f"<adapter type='scsi_host'><parentaddr unique_id='{unique_id}'>"
        "<address domain='0' bus='0' slot='31' function='2'/></parentaddr></adapter>"
    )


def _fibre(wwnn: str, more: str = "") -> str:
    return f"<adapter type='fc_host' wwnn='{wwnn}' wwpn='10000000c9831b4b' {more}/>"


_BY_PATH = "/dev/disk/by-path"
_HOST = "name='h'"

GROUPS = {
    "directories": (
        Try("dir", "{home}/a", "", taken=False),
        Try("dir", "{home}/a/", "", taken=True),
        Try("dir", "{home}//a", "", taken=True),
        Try("dir", "{home}/a/b", "", taken=False),
    ),
    "devices": (
        Try("fs", "{home}/a", _device("/dev/x"), taken=False),
        Try("fs", "{home}/b", _device("/dev/x"), taken=True),
        Try("disk", "/dev", _device("/dev/x"), taken=True),
        Try("logical", "/dev/v", "<name>v</name>" + _device("/dev/y", "/dev/x"), taken=True),
        Try("logical", "/dev/v", "<name>v</name>" + _device("/dev/y", "/dev/z"), taken=False),
        Try("logical", "/dev/w", "<name>w</name>", taken=False),
        Try("logical", "/dev/w", "<name>w</name>", taken=False),
        Try("zfs", "/dev/zvol/z", "<name>z</name>" + _device("/dev/x"), taken=True),
        Try("zfs", "/dev/zvol/z", "<name>z</name>", taken=False),
        Try("zfs", "/dev/zvol/z", "<name>z</name>", taken=False),
        Try("disk", "/dev", _device("/dev/z"), taken=True),
        Try("disk", "/dev", _device("/dev/w"), taken=False),
        Try("iscsi", _BY_PATH, _portal("h", "/dev/x"), taken=False),
        Try("fs", "{home}/c", _device("/dev/x/"), taken=False),
    ),
    "exports": (
        Try("netfs", "{home}/a", _export("/e", _HOST), taken=False),
        Try("netfs", "{home}/b", _export("/e", _HOST), taken=True),
        Try("netfs", "{home}/b", _export("/e", "name='h' port='1'"), taken=False),
        Try("netfs", "{home}/c", _export("/e", "name='i' port='2'"), taken=False),
        Try("netfs", "{home}/d", _export("/e", "name='i'"), taken=True),
        Try("netfs", "{home}/d", _export("/f", "name='i'"), taken=False),
    ),
    "iscsi": (
        Try("iscsi", _BY_PATH, _portal("h", "iqn.a"), taken=False),
        Try("iscsi", _BY_PATH, _portal("h", "iqn.a"), taken=True),
        Try("iscsi", _BY_PATH, _portal("i", "iqn.a"), taken=True),
        Try("iscsi", _BY_PATH, _portal("h", "iqn.b"), taken=False),
        Try("iscsi", _BY_PATH, _portal("h", "iqn.a", "iqn.me"), taken=False),
        Try("iscsi", _BY_PATH, _portal("i", "iqn.a", "iqn.me"), taken=True),
        Try("iscsi", _BY_PATH, _portal("i", "iqn.a", "iqn.you"), taken=False),
        Try("iscsi-direct", "", _portal("h", "iqn.a", "iqn.me"), taken=False),
        Try("iscsi-direct", "", _portal("h", "iqn.a", "iqn.me"), taken=False),
    ),
    "scsi": (
        Try("scsi", _BY_PATH, "<adapter name='host0'/>", taken=False),
        Try("scsi", _BY_PATH, "<adapter name='host0'/>", taken=True),
        Try("scsi", _BY_PATH, "<adapter name='scsi_host0'/>", taken=True),
        Try("scsi", _BY_PATH, "<adapter name='fc_host0'/>", taken=True),
        Try("scsi", _BY_PATH, "<adapter name='host1'/>", taken=False),
        Try("scsi", _BY_PATH, "<adapter name='host01'/>", taken=True),
        Try("scsi", _BY_PATH, "<adapter name='7'/>", taken=False),
        Try("scsi", _BY_PATH, "<adapter name='7'/>", taken=False),
        Try("scsi", _BY_PATH, _fibre("20000000c9831b4b"), taken=False),
        Try("scsi", _BY_PATH, _fibre("20000000c9831b4b", "parent='scsi_host9'"), taken=True),
        Try("scsi", _BY_PATH, _fibre("20000000c9831b4c", "parent='scsi_host1'"), taken=True),
        Try("scsi", _BY_PATH, _fibre("20000000c9831b4c", "parent='scsi_host5'"), taken=False),
        Try("scsi", _BY_PATH, "<adapter name='host5'/>", taken=True),
        Try("scsi", _BY_PATH, _address(1), taken=False),
        Try("scsi", _BY_PATH, _address(1), taken=True),
        Try("scsi", _BY_PATH, _address(2), taken=False),
    ),
    "mpath": (
        Try("mpath", "/dev/mapper", "", taken=False),
        Try("mpath", "/dev/mapper", "", taken=True),
    ),
    "rbd": (
        Try("rbd", "", "<host name='h'/><name>r</name>", taken=False),
        Try("rbd", "", "<host name='h'/><name>r</name>", taken=False),
    ),
    "gluster": (
        Try("gluster", "", _volume("/", _HOST), taken=False),
        Try("gluster", "", "<host name='h'/><name>v</name>", taken=True),
        Try("gluster", "", _volume("/x", _HOST), taken=False),
        Try("gluster", "", _volume("/", "name='i'"), taken=False),
        Try("gluster", "", _volume("/", "name='i' port='5'"), taken=False),
        Try("gluster", "", _volume("/", "name='j' port='5'"), taken=False),
        Try("gluster", "", _volume("/", "name='j'"), taken=True),
        Try("gluster", "", _volume("/", "name='i'", "name='k'"), taken=True),
        Try("gluster", "", _volume("/", "name='k'", "name='i'"), taken=False),
    ),
}
"""As libvirt 9.0.0 takes them."""
