from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from volary.engine.backends.new_directory import NewDirectory
from volary.engine.backends.new_file import NewFile, is_hidden, remove_orphan


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_a_file_has_no_name_until_it_is_published(dir_fd: int) -> None:
    with NewFile(dir_fd) as file:
        assert os.listdir(dir_fd) == []
        file.publish("a")
        assert os.listdir(dir_fd) == ["a"]
    assert os.listdir(dir_fd) == ["a"]


def test_a_file_that_is_not_published_leaves_nothing(dir_fd: int) -> None:
    with pytest.raises(RuntimeError, match="half way"), NewFile(dir_fd):
        raise RuntimeError("half way")
    assert os.listdir(dir_fd) == []


def test_publishing_replaces_nothing(dir_fd: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(FileExistsError), NewFile(dir_fd) as file:
        file.publish("a")
    assert (tmp_path / "a").read_text() == "precious"


def test_the_descriptor_is_closed_at_the_end(dir_fd: int) -> None:
    with NewFile(dir_fd) as file:
        fd = file.fd
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF


def test_a_hidden_file_nobody_holds_is_an_orphan(dir_fd: int, tmp_path: Path) -> None:
    name = ".volary-0123456789abcdef.partial"
    (tmp_path / name).write_bytes(b"half made")
    assert is_hidden(name)
    assert remove_orphan(dir_fd, name)
    assert os.listdir(dir_fd) == []


@pytest.mark.parametrize("kind", ["directory", "link", "fifo", "missing"])
def test_what_no_maker_left_is_not_removed(dir_fd: int, tmp_path: Path, kind: str) -> None:
    name = ".volary-0123456789abcdef.partial"
    (tmp_path / "other").write_text("precious")
    match kind:
        case "directory":
            (tmp_path / name / "inside").mkdir(parents=True)
        case "link":
            (tmp_path / name).symlink_to(tmp_path / "other")
        case "fifo":
            os.mkfifo(tmp_path / name)
    before = sorted(os.listdir(dir_fd))
    assert not remove_orphan(dir_fd, name)
    assert sorted(os.listdir(dir_fd)) == before
    assert (tmp_path / "other").read_text() == "precious"


def test_an_empty_directory_that_a_crash_left_is_removed(dir_fd: int, tmp_path: Path) -> None:
    name = ".volary-0123456789abcdef.partial"
    (tmp_path / name).mkdir()
    assert remove_orphan(dir_fd, name)
    assert not (tmp_path / name).exists()


def test_a_directory_that_is_being_made_is_no_orphan(dir_fd: int, tmp_path: Path) -> None:
    with NewDirectory(dir_fd, mode=0o700) as directory:
        (name,) = os.listdir(dir_fd)
        assert not remove_orphan(dir_fd, name)
        directory.publish("made")
    assert os.listdir(dir_fd) == ["made"]


def test_a_directory_that_is_not_published_leaves_nothing(dir_fd: int) -> None:
    with NewDirectory(dir_fd, mode=0o700):
        assert len(os.listdir(dir_fd)) == 1
    assert os.listdir(dir_fd) == []


def test_a_new_directory_replaces_nothing(dir_fd: int, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError), NewDirectory(dir_fd, mode=0o700) as directory:
        directory.publish("taken")
    assert os.listdir(dir_fd) == ["taken"]


def test_a_fifo_in_an_orphans_place_is_not_even_opened(dir_fd: int, tmp_path: Path) -> None:
    name = ".volary-0123456789abcdef.partial"
    os.mkfifo(tmp_path / name)
    reader = os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert not remove_orphan(dir_fd, name)
        watch = select.poll()
        watch.register(reader)
        assert watch.poll(0) == []  # fifo(7): it hangs up once a writer has come and gone
    finally:
        os.close(reader)
