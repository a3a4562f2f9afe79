from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.conftest import NeedTool

from volary.engine.formats.local_path import local_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("base.qcow2", "base.qcow2"),
        ("../base.qcow2", "../base.qcow2"),
        ("/srv/images/base.qcow2", "/srv/images/base.qcow2"),
        ("./nbd:base", "./nbd:base"),
        ("/srv/a:b", "/srv/a:b"),
        ("file:/srv/base", "/srv/base"),
        ("file:///srv/base", "///srv/base"),
        ("file:/srv/a:b", "/srv/a:b"),
        ("\udcff.raw", "\udcff.raw"),
    ],
)
def test_a_path_is_a_path(name: str, path: str) -> None:
    assert local_path(name) == path


@pytest.mark.parametrize(
    "name",
    [
        "",
        "file:",
        "file:base",
        "file:../base",
        'json:{"driver":"raw"}',
        "nbd://host/export",
        "nbd:host:10809",
        "C:base",
        "C:/base",
        ":base",
        "FILE:/base",
        "fat:rw:/etc",
        "rbd:pool/image",
        "http://host/image",
    ],
)
def test_what_is_no_path_is_none(name: str) -> None:
    assert local_path(name) is None


@pytest.mark.parametrize("name", ["base", "./x:base", "file:{0}/base", "file://{0}/base"])
def test_qemu_opens_the_same_file(tmp_path: Path, need_tool: NeedTool, name: str) -> None:
    qemu_img = need_tool("qemu-img", "qemu-utils")
    name = name.format(tmp_path)
    path = local_path(name)
    assert path is not None
    (tmp_path / path).write_bytes(b"backing" * 512)
    overlay = tmp_path / "overlay"
    options = ["-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw"]
    create = [qemu_img, "create", *options, str(overlay), "1M"]
    subprocess.run(create, check=True)
    info = [qemu_img, "info", "--output=json", "--backing-chain", str(overlay)]
    found = json.loads(subprocess.run(info, check=True, capture_output=True).stdout)
    assert (tmp_path / found[1]["filename"]).samefile(tmp_path / path)
