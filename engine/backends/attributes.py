"""Extended attributes of files, where a file system has them (xattr(7))."""

from __future__ import annotations

import errno
from typing import Final

NO_ATTRIBUTES: Final = (
    errno.ENODATA,
    errno.EOPNOTSUPP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EPERM,
    errno.ENOSYS,
)
"""What the calls answer where a file has no such attribute, its file system none at all, or no
room for one."""
