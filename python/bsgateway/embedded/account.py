"""The user the embedded PostgreSQL runs as."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bsgateway.errors import StoreError

if sys.platform != "win32":
    import grp
    import pwd
if TYPE_CHECKING:
    from pathlib import Path

# systemd's table of uids (systemd.io/UIDS-GIDS) lists this range as used by nobody. It is inside the 65536 ids that a
# container usually maps.
UNUSED_UIDS = range(60706, 61184)
# A process reaches its working directory by this path whoever may enter the directories above it (Linux only).
WORKING_DIR = "/proc/self/cwd"
# How the messages of this package end: what always helps.
INSTEAD = "or set COLLECTOR_DATABASE_URL to a PostgreSQL of your own"


@dataclass(frozen=True)
class Account:
    """Another user than the one of this process, which then is root."""

    uid: int
    gid: int

    @classmethod
    def choose(cls, *directories: Path) -> Account | None:
        """The owner of the first of `directories` that exists and is not root's, else a uid that nothing else uses.

        None when this process is not root: the server then runs as the same user. Raises StoreError.
        """
        if os.geteuid() != 0:
            return None
        if not os.path.isdir(WORKING_DIR):
            raise StoreError(
                "root can run the embedded PostgreSQL only on Linux with /proc: "
                f"run the gateway as an ordinary user {INSTEAD}"
            )
        for directory in directories:
            if directory.exists() and (owner := directory.stat()).st_uid != 0:
                return cls(owner.st_uid, owner.st_gid)
        for uid in UNUSED_UIDS:
            if not _is_user(uid) and not _is_group(uid):
                return cls(uid, uid)
        raise StoreError(f"every uid of {UNUSED_UIDS} is taken: run the gateway as an ordinary user {INSTEAD}")

    def with_name(self) -> Account:
        """This user if it has an entry in the user database, which initdb insists on, else `nobody` in our group.

        Other processes of `nobody` are not in that group, so they can neither trace this one nor reach its files.
        """
        if _is_user(self.uid):
            return self
        try:
            return Account(pwd.getpwnam("nobody").pw_uid, self.gid)
        except KeyError:
            raise StoreError(
                "initdb needs the user 'nobody' when root runs it, and there is none: "
                f"run the gateway as an ordinary user {INSTEAD}"
            ) from None

    def take(self, tree: Path) -> None:
        """Become the owner of everything in `tree`. Follows no link, not even one put there meanwhile."""
        for _, _, names, directory in os.fwalk(tree):
            os.fchown(directory, self.uid, self.gid)
            for name in names:
                os.chown(name, self.uid, self.gid, dir_fd=directory, follow_symlinks=False)


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess.Popen` that start a child as `account`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def _is_user(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        pwd.getpwuid(uid)
        return True
    return False


def _is_group(gid: int) -> bool:
    with contextlib.suppress(KeyError):
        grp.getgrgid(gid)
        return True
    return False
