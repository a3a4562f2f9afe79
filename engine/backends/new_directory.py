"""A directory that has a hidden name until it is as it is to be."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from volary.engine.backends.new_file import hidden_name, keep_from_scans
from volary.engine.linux import rename_no_replace


class NewDirectory:
    """A directory being made in another one, as a context: leaving it unpublished leaves nothing.

    It has an flock(2) that dies with its maker, by which `remove_orphan` knows what a crash left.
    """

    def __init__(self, dir_fd: int, *, mode: int) -> None:
        self._dir_fd = dir_fd
        self._mode = mode
        self._hidden: str | None = None
        self.fd = -1

    def __enter__(self) -> Self:
        # Between the creation and the lock, somebody's scan may take it for an orphan.
        while self._hidden is None:
            name = hidden_name()
            os.mkdir(name, self._mode, dir_fd=self._dir_fd)
            try:
                fd = os.open(
                    name,
                    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                    dir_fd=self._dir_fd,
                )
            except FileNotFoundError:
                continue
            if keep_from_scans(self._dir_fd, name, fd, remove=os.rmdir):
                self._hidden, self.fd = name, fd
        return self

    def publish(self, name: str) -> None:
        """Give it its name; raises FileExistsError when there is one of that name."""
        assert self._hidden is not None  # noqa: S101 - for the type checker
        rename_no_replace(self._dir_fd, self._hidden, name)
        self._hidden = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._hidden is not None:
                os.rmdir(self._hidden, dir_fd=self._dir_fd)
        finally:
            os.close(self.fd)
