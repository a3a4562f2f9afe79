"""A file that has no name until it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Self

from volary.engine.linux import rename_no_replace
from volary.engine.names import HIDDEN_PREFIX

_HIDDEN_SUFFIX = ".partial"
_REMOVED = re.compile(r"\.fuse_hidden[0-9a-f]{16}|\.nfs[0-9a-f]{24}")

# open(2): what a file system, or a kernel, without O_TMPFILE answers.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class NewFile:
    """A file being made in a directory, as a context: leaving it unpublished leaves nothing.

    Where the file system has O_TMPFILE the file has no name at all, so that a crash leaves
    nothing. Elsewhere it has a hidden name and an flock(2) that dies with its maker, by which
    `remove_orphan` knows what a crash left.
    """

    def __init__(self, dir_fd: int, *, mode: int = 0o600) -> None:
        self._dir_fd = dir_fd
        self._mode = mode
        self._hidden: str | None = None
        self.fd = -1

    def __enter__(self) -> Self:
        try:
            self.fd = os.open(
                ".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, self._mode, dir_fd=self._dir_fd
            )
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self._open_hidden()
        return self

    def _open_hidden(self) -> None:
        # Between the creation and the lock, somebody's scan may take the file for an orphan.
        while self._hidden is None:
            name = hidden_name()
            fd = os.open(
                name,
                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                self._mode,
                dir_fd=self._dir_fd,
            )
            if keep_from_scans(self._dir_fd, name, fd, remove=os.unlink):
                self._hidden, self.fd = name, fd

    def publish(self, name: str) -> None:
        """Give the file its name; raises FileExistsError when there is one of that name."""
        if self._hidden is None:
            # linkat(2) follows the link in /proc only with AT_SYMLINK_FOLLOW, and Python passes
            # that only when a directory's descriptor is given for the source.
            os.link(
                f"/proc/self/fd/{self.fd}",
                name,
                src_dir_fd=self._dir_fd,
                dst_dir_fd=self._dir_fd,
                follow_symlinks=True,
            )
            return
        try:
            rename_no_replace(self._dir_fd, self._hidden, name)
        except OSError as error:
            # NFS and old kernels cannot rename so; a second link does not replace either.
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            self._link_hidden(self._hidden, name)
            os.unlink(self._hidden, dir_fd=self._dir_fd)
        self._hidden = None

    def _link_hidden(self, hidden: str, name: str) -> None:
        try:
            os.link(hidden, name, src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)
        except PermissionError:  # link(2): the file system has no hard links
            raise OSError(
                errno.EOPNOTSUPP, "neither links nor renames without replacing"
            ) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._hidden is not None:
                os.unlink(self._hidden, dir_fd=self._dir_fd)
        finally:
            if self.fd >= 0:
                os.close(self.fd)


def keep_from_scans(dir_fd: int, name: str, fd: int, *, remove: Callable[..., None]) -> bool:
    """Lock what was just made with a hidden name, and is open; return False, and close it, when a
    scan has taken it for an orphan before.

    remove: what takes it away again (unlink or rmdir) where it cannot be locked.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if has_name(dir_fd, name, fd):
            return True
    except OSError:
        remove(name, dir_fd=dir_fd)
        os.close(fd)
        raise
    os.close(fd)
    return False


def has_name(dir_fd: int, name: str, fd: int) -> bool:
    """Say whether `name` is that of the open file `fd`: it may have been removed, or replaced.

    It cannot be told by the link count: FUSE and NFS keep that of a removed file that is open.
    """
    try:
        named = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def hidden_name() -> str:
    """Return a name for a file being made, that nobody else has."""
    return f"{HIDDEN_PREFIX}{secrets.token_hex(8)}{_HIDDEN_SUFFIX}"


def is_hidden(name: str) -> bool:
    """Say whether `name` is that of a file being made."""
    return name.startswith(HIDDEN_PREFIX) and name.endswith(_HIDDEN_SUFFIX)


def is_removed(name: str) -> bool:
    """Say whether `name` is what FUSE or NFS call a file that was removed while it was open: it
    goes when it is closed (libfuse's hide_node; Linux, fs/nfs/unlink.c).
    """
    return _REMOVED.fullmatch(name) is not None


def remove_orphan(dir_fd: int, name: str) -> bool:
    """Remove the hidden file, or empty directory, `name` if its maker is gone; return whether it
    was removed.
    """
    try:
        # Asked before it is opened: to open a FIFO or a device may wake somebody.
        mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return False
        way = os.O_RDWR if stat.S_ISREG(mode) else os.O_RDONLY | os.O_DIRECTORY
        fd = os.open(name, way | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
    except OSError:  # gone, or nothing that a maker of ours could have left
        return False
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) != stat.S_IFMT(mode):
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(mode):
            os.rmdir(name, dir_fd=dir_fd)
        else:
            os.unlink(name, dir_fd=dir_fd)
    except OSError:  # its maker is alive, or the file system is read-only
        return False
    finally:
        os.close(fd)
    return True
