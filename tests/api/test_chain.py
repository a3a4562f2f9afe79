from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.formats.image_corpus import SAMPLES
from tests.system.host_image import MIB, put_qcow2

import volary
from volary import BackingFile, PoolSpec, PoolStart, VolumeSpec

OUTSIDE = "/etc/hostname"


def overlay(pool: volary.Pool, name: str, below: str, format_: str | None = None) -> volary.Volume:
    """Return an overlay that somebody put there."""
    put_qcow2(Path(pool.target) / name, BackingFile(below, format_))
    pool.refresh()
    return pool.volume(name)


@pytest.fixture
def other(conn: volary.Connection, tmp_path: Path) -> volary.Pool:
    return conn.create_pool(PoolSpec("other", target=tmp_path / "other"), PoolStart.BUILD)


@pytest.fixture
def base(pool: volary.Pool) -> volary.Volume:
    return pool.create_volume(VolumeSpec("base", capacity=MIB))


def refused(volume: volary.Volume, why: str) -> None:
    """Check that the last link says why, and that it is not cloned nor resized for it."""
    problem = volume.chain()[-1].problem
    assert problem is not None
    assert why in problem
    before = sorted(os.listdir(volume.pool.target))
    with pytest.raises(volary.VolaryError, match=r"^((?!trust_backing).)*$"):
        volume.pool.clone_volume(volume, VolumeSpec("clone"), trust_backing=True)
    with pytest.raises(volary.VolaryError, match=r"^((?!trust_backing).)*$"):
        volume.resize(4 * MIB, trust_backing=True)
    assert sorted(os.listdir(volume.pool.target)) == before
    volume.upload([])  # nobody holds it


def test_a_volume_alone_is_its_own_chain(base: volary.Volume) -> None:
    (link,) = base.chain()
    assert (link.name, link.path) == (base.path, base.path)
    assert (link.pool, link.volume, link.format) == ("images", "base", "raw")
    assert link.info == base.info()
    assert link.problem is None


def test_a_chain_goes_through_pools(base: volary.Volume, other: volary.Pool) -> None:
    middle = other.create_volume(
        VolumeSpec("middle", format="qcow2", backing=BackingFile(base.path))
    )
    top = base.pool.create_volume(
        VolumeSpec("top", format="qcow2", backing=BackingFile(middle.path))
    )
    assert [(link.pool, link.volume, link.format) for link in top.chain()] == [
        ("images", "top", "qcow2"),
        ("other", "middle", "qcow2"),
        ("images", "base", "raw"),
    ]


def test_a_relative_name_is_relative_to_its_overlay(base: volary.Volume) -> None:
    for name in ("base", "./base", "../images/base"):
        links = overlay(base.pool, "top", name, "raw").chain()
        assert [link.volume for link in links] == ["top", "base"]
        assert links[1].name == name
        assert links[1].path == base.path


def test_a_loop_is_told(pool: volary.Pool) -> None:
    overlay(pool, "b", "a", "qcow2")
    top = overlay(pool, "a", "b", "qcow2")
    assert [link.volume for link in top.chain()] == ["a", "b", None]
    refused(top, "a loop")


def test_a_volume_that_is_backed_by_itself_is_told(pool: volary.Pool) -> None:
    refused(overlay(pool, "a", "a", "qcow2"), "a loop")


def test_a_loop_by_another_name_is_told(pool: volary.Pool, target: Path) -> None:
    refused(overlay(pool, "a", f"{target}/../{target.name}/./a", "qcow2"), "a loop")


def test_a_chain_is_followed_so_far_and_no_further(pool: volary.Pool, target: Path) -> None:
    put_qcow2(target / "v0")
    for number in range(1, 201):
        put_qcow2(target / f"v{number}", BackingFile(f"v{number - 1}", "qcow2"))
    pool.refresh()
    deepest = pool.volume("v199").chain()
    assert len(deepest) == 200
    assert deepest[-1].problem is None
    assert len(pool.volume("v200").chain()) == 201
    assert str(pool.volume("v200").chain()[-1].problem) == "the chain has more than 200 images"


def test_fewer_images_are_read_together_than_are_looked_at(
    pool: volary.Pool, target: Path
) -> None:
    put_qcow2(target / "v0")
    for number in range(1, 33):
        put_qcow2(target / f"v{number}", BackingFile(f"v{number - 1}", "qcow2"))
    pool.refresh()
    assert pool.volume("v32").chain()[-1].problem is None
    with pytest.raises(volary.VolumeUnreadable, match="more than 32 images"):
        pool.clone_volume(pool.volume("v32"), VolumeSpec("clone"), trust_backing=True)


@pytest.mark.parametrize(
    "name",
    [
        'json:{"driver":"file","filename":"/etc/hostname"}',
        "nbd://localhost/export",
        "nbd:localhost:10809",
        "ssh://host/etc/hostname",
        "https://host/image",
        "file:relative",
    ],
)
def test_a_name_that_is_no_path_is_told_and_not_opened(pool: volary.Pool, name: str) -> None:
    top = overlay(pool, "top", name, "raw")
    link = top.chain()[-1]
    assert (link.name, link.path, link.volume) == (name, None, None)
    refused(top, "is no local path, and is not opened")


def test_a_file_outside_of_every_pool_is_told_and_not_opened(pool: volary.Pool) -> None:
    top = overlay(pool, "top", OUTSIDE, "raw")
    assert top.chain()[-1].path == OUTSIDE
    refused(top, "is in no pool, and is not opened: define a pool with the target /etc")


@pytest.mark.parametrize("name", ["/", "..", ".", "sub/../.."])
def test_a_directory_is_no_backing_file(pool: volary.Pool, name: str) -> None:
    refused(overlay(pool, "top", name, "raw"), "")


def test_a_link_in_a_pool_is_not_followed_out(pool: volary.Pool, target: Path) -> None:
    (target / "link").symlink_to(OUTSIDE)
    refused(overlay(pool, "top", "link", "raw"), "no volume 'link'")


def test_a_file_in_an_inactive_pool_is_told_and_not_opened(
    conn: volary.Connection, base: volary.Volume, tmp_path: Path
) -> None:
    stopped = conn.define_pool(PoolSpec("stopped", target=tmp_path / "stopped"))
    stopped.build()
    put_qcow2(tmp_path / "stopped" / "below")
    refused(
        overlay(base.pool, "top", str(tmp_path / "stopped" / "below"), "qcow2"), "is not active"
    )


def test_a_missing_backing_file_is_told(pool: volary.Pool) -> None:
    refused(overlay(pool, "top", "gone", "raw"), "no volume 'gone'")


def test_a_header_below_that_cannot_be_believed_is_told(pool: volary.Pool, target: Path) -> None:
    (target / "below").write_bytes(put_qcow2(target / "below")[:80])
    refused(overlay(pool, "top", "below", "qcow2"), "")


def test_a_format_that_is_not_what_the_overlay_says_is_told(base: volary.Volume) -> None:
    top = overlay(base.pool, "top", "base", "qcow2")
    assert top.chain()[-1].format == "qcow2"
    refused(top, "qcow2")


def test_an_image_with_its_data_in_another_file_is_not_cloned(
    pool: volary.Pool, target: Path
) -> None:
    (sample,) = [sample for sample in SAMPLES if sample.name == "qcow2-v3-data-file"]
    with open(target / "image", "wb") as file:
        file.write(sample.data)
        file.truncate(max(sample.size, len(sample.data)))
    put_qcow2(target / "data.raw")
    pool.refresh()
    image = pool.volume("image")
    assert image.info().image == sample.info
    with pytest.raises(volary.VolumeUnreadable, match=r"'data\.raw', which is not opened"):
        pool.clone_volume(image, VolumeSpec("clone"))
    with pytest.raises(volary.VolumeUnreadable, match=r"'data\.raw', which is not opened"):
        image.resize(2 * MIB)
    assert sorted(os.listdir(target)) == ["data.raw", "image"]


def test_an_overlay_of_somebody_elses_file_needs_capacity_and_format(pool: volary.Pool) -> None:
    for backing in (BackingFile(OUTSIDE), BackingFile(OUTSIDE, "raw")):
        with pytest.raises(volary.VolumeUnreadable, match="is in no pool"):
            pool.create_volume(VolumeSpec("top", format="qcow2", backing=backing))
    spec = VolumeSpec("top", capacity=MIB, format="qcow2", backing=BackingFile(OUTSIDE, "raw"))
    assert pool.create_volume(spec).info().capacity == MIB


PROGRAM = """
import sys, volary
from volary import BackingFile, PoolSpec, PoolStart, VolumeSpec
with volary.open(state_dir=sys.argv[1] + "/state") as conn:
    pool = conn.create_pool(PoolSpec("p", target=sys.argv[1] + "/p"), PoolStart.BUILD)
    for number, name in enumerate((sys.argv[2], "link", "top0")):
        below = BackingFile(name, "raw" if number < 2 else "qcow2")
        spec = VolumeSpec("top%d" % number, capacity=1 << 20, format="qcow2", backing=below)
        try:
            top = pool.create_volume(spec)
        except volary.VolumeNotFound:
            continue
        pool.refresh()
        top.info()
        print(*[link.problem for link in top.chain()])
        for call in (
            lambda: pool.clone_volume(top, VolumeSpec("clone")),
            lambda: pool.clone_volume(top, VolumeSpec("clone", format="qcow2")),
            lambda: top.resize(4 << 20),
        ):
            try:
                call()
            except volary.VolumeUnreadable as error:
                print(error)
            else:
                raise SystemExit("it was not refused")
"""


def test_nothing_outside_of_the_pools_is_opened_because_of_a_header(
    tmp_path: Path, need_tool: Callable[[str, str], str]
) -> None:
    strace = need_tool("strace", "strace")
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "link").symlink_to(outside)
    calls = tmp_path / "calls"
    # %file: every system call that takes a name.
    traced = [strace, "-f", "-qq", "-e", "trace=%file", "-s", "4096", "-o", str(calls)]
    ended = subprocess.run(
        [*traced, sys.executable, "-c", PROGRAM, str(tmp_path), str(outside)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if "ptrace" in ended.stderr:
        pytest.skip("this process may trace no other one")
    assert ended.returncode == 0, ended.stderr
    assert "is in no pool" in ended.stdout
    lines = calls.read_text().splitlines()
    assert any(f'"{tmp_path}/p"' in line for line in lines)
    # As an argument of the program it is named when that is executed, and never again.
    named = [line for line in lines if f'"{outside}"' in line and "execve(" not in line]
    assert named == []


def test_an_overlay_that_would_close_a_loop_is_refused(
    pool: volary.Pool, base: volary.Volume
) -> None:
    a = pool.create_volume(VolumeSpec("a", format="qcow2", backing=base))
    b = pool.create_volume(VolumeSpec("b", format="qcow2", backing=a))
    a.delete()
    with pytest.raises(volary.VolumeUnreadable, match="a loop"):
        pool.create_volume(VolumeSpec("a", format="qcow2", backing=b))
    b.delete()


def test_an_overlay_can_be_made_on_one_whose_base_is_gone(
    pool: volary.Pool, base: volary.Volume
) -> None:
    a = pool.create_volume(VolumeSpec("a", format="qcow2", backing=base))
    base.delete()
    pool.create_volume(VolumeSpec("b", format="qcow2", backing=a))
