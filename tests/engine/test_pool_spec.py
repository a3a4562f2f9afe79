from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.pool_source import (
    FcHostAdapter,
    ParentAddress,
    PoolSource,
    ScsiHostAdapter,
    SourceAuth,
    SourceDevice,
    SourceHost,
)
from volary.engine.pool_spec import PoolSpec, normal_target

_DEVICE = PoolSource(devices=(SourceDevice("/dev/vdb"),))
_HOST = PoolSource(hosts=(SourceHost("h"),))
_RBD = replace(_HOST, name="x")
_WWN = "20000000c9831b4b"
_ANYTHING: Any = "anything"


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/srv//x/../images/", "/srv/x/../images"),
        ("/srv/./images", "/srv/./images"),
        ("//srv//images", "//srv/images"),
        ("///srv/images", "/srv/images"),
        ("//", "//"),
        ("/", "/"),
        (Path("/srv/images"), "/srv/images"),
    ],
)
def test_a_target_loses_slashes_alone(target: str | Path, kept: str) -> None:
    assert PoolSpec("a", target=target).target == kept


@pytest.mark.parametrize(
    ("path", "normal"), [("/srv//x/../images/", "/srv/images"), ("//srv", "/srv"), ("a/..", ".")]
)
def test_paths_are_compared_by_their_letters(path: str, normal: str) -> None:
    assert normal_target(path) == normal


@pytest.mark.parametrize(
    ("kind", "name", "target"),
    [("logical", "vg", "/dev/vg"), ("zfs", "tank/a", "/dev/zvol/tank/a"), ("rbd", "p", "")],
)
def test_a_type_may_make_its_target(kind: str, name: str, target: str) -> None:
    hosts = (SourceHost("h"),) if kind == "rbd" else ()
    source = PoolSource(hosts=hosts, name=name)
    spec = PoolSpec("a", type=kind, source=source)
    assert spec.target == target
    assert PoolSpec("a", type=kind, target=target, source=source) == spec
    assert spec.with_uuid().target == target


def test_a_source_has_what_it_has_if_nothing_is_said() -> None:
    source = PoolSource(hosts=(SourceHost("h"),))
    assert PoolSpec("a", type="gluster", source=source).source == replace(
        source, name="a", directory="/"
    )
    assert PoolSpec("a", type="logical").source == PoolSource(name="a", format="lvm2")


UUID_TEXT = "70a2c9f0-4f1b-4f3a-9d62-31a6c0f9e1aa"


@pytest.mark.parametrize(
    "text", [UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.replace("-", ""), f" - {UUID_TEXT}\n"]
)
def test_a_uuid_may_be_text(text: str) -> None:
    assert PoolSpec("a", target="/a", uuid=text).uuid == UUID(UUID_TEXT)


def test_a_uuid_is_made_when_none_is_given() -> None:
    spec = PoolSpec("a", target="/a")
    assert spec.with_uuid().uuid != spec.with_uuid().uuid


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "a/b"}, "pool name 'a/b' has a '/'"),
        ({"name": "x" * 252}, "has 252 bytes; at most 251"),
        ({"type": "dri"}, "unknown type 'dri'; known: dir"),
        ({"target": "images"}, "target 'images' is relative"),
        ({"target": ""}, "target '' is no path"),
        ({"target": None}, "target None is no path; give an absolute one"),
        ({"target": b"/a"}, "target b'/a' is no path"),
        ({"target": "/a\ufffe"}, "target '/a.ufffe' has U.FFFE"),
        ({"target": "/a\nb"}, "control character"),
        ({"target": "/a\0"}, "control character"),
        ({"target": "/" + "a" * 4096}, "target has 4097 bytes"),
        ({"uuid": "x"}, "uuid 'x' is none"),
        ({"uuid": 5}, "uuid 5 is none"),
        ({"uuid": "{" + UUID_TEXT + "}"}, "is none"),
        ({"mode": 0o1777}, "mode: 1023 is not within 0 and 0o777"),
        ({"mode": "01777"}, "mode: 1023 is not within"),
        ({"label": ""}, "label: '' is no text"),
        ({"label": "a\nb"}, "label 'a.nb' has a control character"),
        ({"label": "\ud800"}, "label .* UTF-8 cannot hold"),
        ({"cow": "yes"}, "cow: 'yes' is neither True nor False"),
        ({"refresh_allocation": "guess"}, "unknown refresh_allocation 'guess'; known: default"),
        ({"mount_options": ["ro"]}, "mount_options are not for type 'dir', but for fs, netfs"),
        ({"config_options": [("a", "b")]}, "config_options are not for type 'dir', but for rbd"),
        ({"source": PoolSource(name="x")}, "source: name is not for type 'dir'; it has no source"),
        ({"source": PoolSource(format="x")}, "unknown format 'x'; known: none for this type"),
        ({"type": "logical"}, "target '/a': type 'logical' has '/dev/a'; leave it out"),
        ({"type": "logical", "target": "", "name": "."}, "pool name '.' means a directory"),
        ({"type": "logical", "target": "", "source": PoolSource(name="../x")}, "leads out"),
        ({"type": "fs"}, "type 'fs' needs a source with devices"),
        ({"type": "fs", "source": _DEVICE, "mount_options": "ro"}, "'ro' is no sequence"),
        (
            {"type": "rbd", "target": "", "source": _RBD, "config_options": 5},
            "config_options: 5 is no sequence",
        ),
        ({"source": "/dev/sdb"}, "source: '/dev/sdb' is no PoolSource"),
        ({"type": "logical", "target": 5}, "target 5 is no path"),
        ({"type": "fs", "source": replace(_DEVICE, format="zfs")}, "unknown format 'zfs'; known"),
        (
            {"type": "fs", "source": replace(_DEVICE, format="xfs", protocol_version="4")},
            "format 'xfs' has no protocol_version",
        ),
        ({"type": "netfs"}, "type 'netfs' needs a source with hosts"),
        ({"type": "rbd", "target": "", "source": _HOST}, "needs a source with name"),
        ({"type": "rbd", "source": _RBD}, "target '/a': type 'rbd' has none"),
        (
            {"type": "rbd", "target": "", "source": _RBD, "mode": 0o700},
            "mode, owner, group and label are not for type 'rbd'",
        ),
        (
            {"type": "rbd", "target": "", "source": _RBD, "config_options": ["ab"]},
            "'ab' is no tuple of a name and a value",
        ),
        ({"type": "mpath", "cow": True}, "cow are not for type 'mpath', but for dir, fs"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        PoolSpec(**{"name": "a", "target": "/a", **options})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: SourceHost(""), "source host: '' is no text"),
        (lambda: SourceHost("h", -1), "source host 'h': port: -1 is not within 0 and 65535"),
        (lambda: SourceHost("h", _ANYTHING), "port: 'anything' is not within"),
        (lambda: SourceDevice("a\0b"), "source device .* control character"),
        (lambda: SourceDevice("a", _ANYTHING), "part_separator: 'anything' is neither"),
        (lambda: ParentAddress(-1), "unique_id of its parent address: -1"),
        (lambda: ParentAddress(1, slot=32), "slot of its parent address: 32 is not within 0 and"),
        (ScsiHostAdapter, "either its name or its parent's address"),
        (lambda: ScsiHostAdapter("a", ParentAddress(1)), "either its name or"),
        (lambda: ScsiHostAdapter(parent_address=_ANYTHING), "is no ParentAddress"),
        (lambda: FcHostAdapter("x", _WWN), "wwnn: 'x' is no World Wide Name"),
        (lambda: FcHostAdapter(_WWN, _WWN, parent_wwnn=_WWN), "go together; give both"),
        (lambda: FcHostAdapter(_WWN, _WWN, parent_fabric_wwn="1"), "parent_fabric_wwn: '1' is"),
        (lambda: FcHostAdapter(_WWN, _WWN, managed=_ANYTHING), "managed: 'anything' is neither"),
        (lambda: SourceAuth("none", "u", "s"), "auth: unknown type 'none'; known: chap, ceph"),
        (lambda: SourceAuth("chap", "", "s"), "auth: username: '' is no text"),
        (lambda: SourceAuth("chap", "u", ""), "auth: usage of the secret: '' is no text"),
        (lambda: PoolSource(hosts=_ANYTHING), "source: hosts: 'anything' is no sequence"),
        (lambda: PoolSource(hosts=(_ANYTHING,)), "source: 'anything' is no SourceHost"),
        (lambda: PoolSource(adapter=_ANYTHING), "source: 'anything' is no adapter"),
        (lambda: PoolSource(auth=_ANYTHING), "source: 'anything' is no SourceAuth"),
        (lambda: PoolSource(vendor=""), "source: vendor: '' is no text"),
    ],
)
def test_a_part_of_a_source_that_cannot_be_meant_is_refused(
    make: Callable[[], object], reason: str
) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        make()
