"""The file system that a path is on, by the system's mount table, and the types that span hosts.

A WAL's index is memory that processes share, and leases are locks. Neither works between hosts.
File systems that only seem to support them damage the database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from traininglog.errors import NetworkFileSystem

#: The mount table of Linux, as this process sees it. Other systems have no such file.
MOUNT_TABLE = Path("/proc/self/mountinfo")

#: The types whose files several hosts may have open. All other types count as local: every
#: ``fuse.`` that keeps its files on this host (ntfs, overlay, encrypted folders), and also a bare
#: ``fuse``, as the table does not tell what is behind it.
NETWORK = frozenset({
    # Servers of files.
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "davfs", "fuse.davfs",
    "fuse.davfs2", "fuse.nfs", "fuse.sshfs", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.gvfsd-fuse",
    "fuse.kio-fuse", "fuse.afpfs",
    # Clusters.
    "lustre", "gpfs", "beegfs", "fhgfs", "ceph", "fuse.ceph", "fuse.ceph-fuse", "glusterfs",
    "fuse.glusterfs", "pvfs2", "orangefs", "wekafs", "panfs", "cvfs", "gfs2", "ocfs2", "juicefs",
    "fuse.juicefs", "fuse.mfs", "fuse.moosefs", "fuse.lizardfs", "fuse.seaweedfs", "quobyte",
    "fuse.quobyte", "fuse.cubefs", "fuse.fuse_dfs", "fuse.daos", "fuse.dfuse", "fuse.xtreemfs",
    # Buckets and drives in a cloud. These write whole files, some time later.
    "fuse.s3fs", "fuse.goofys", "fuse.geesefs", "fuse.mountpoint-s3", "fuse.gcsfuse",
    "fuse.blobfuse", "fuse.blobfuse2", "fuse.ossfs", "fuse.rclone", "fuse.drive",
    # Folders that a virtual machine shares with its host, such as WSL's /mnt/c and the bind mounts
    # of Docker Desktop. Both machines can open the file, each with its own locks and memory, as
    # over a network. The guest is not safe alone either: writers in one guest damaged a WAL on
    # virtiofs within a minute (2026-09; github.com/NousResearch/hermes-agent/issues/110848), and
    # 9p may refuse to share memory at all (github.com/cachix/devenv/pull/2985). This also refuses
    # some mounts that would work, such as a sandbox's own root of type 9p; the setting allows them.
    "9p", "virtiofs", "fuse.virtiofs", "fakeowner", "osxfs", "fuse.osxfs", "grpcfuse",
    "fuse.grpcfuse", "vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs",
})  # fmt: skip


class Mount(NamedTuple):
    """A line of the mount table."""

    id: str
    parent: str  #: the id of the mount that it is mounted on
    point: str  #: the mount point, as an absolute path
    type: str


def refuse_network(path: Path) -> None:
    """Raise `NetworkFileSystem` for a file, existing or not, that several hosts may share."""
    found = file_system(path)
    if found in NETWORK:
        raise NetworkFileSystem(
            f"{path} is on a network file system ({found}), where a database that is being "
            "written can be damaged: write it at a local path (copy it there first, if it exists, "
            "and back when it is closed), or write one file per host and `traininglog merge` "
            "them; readonly=True reads it here. To write it here all the same is unsafe: "
            "allow_network=True, or TRAININGLOG_ALLOW_NETWORK=1"
        )


def file_system(path: Path) -> str | None:
    """Return the type of file system that a path is on, or will be on once it is made.

    Returns None if the system does not tell, or if the path is impossible.
    """
    try:
        # First, as it makes an automounter mount the file system. By os.path, as Path raises for
        # cyclic links.
        real = os.path.realpath(path)
        table = MOUNT_TABLE.read_bytes()
    except (OSError, ValueError):  # no table, or a NUL in the name
        return None
    return file_system_in(os.fsdecode(table), real)


def is_mounted_alone(path: Path) -> bool:
    """Return whether a file is mounted without its folder (``docker run -v file:file``).

    Such a file has another name elsewhere, without the files that lie beside it here.
    """
    try:
        real = os.path.realpath(path)
        mount = mount_in(os.fsdecode(MOUNT_TABLE.read_bytes()), real)
    except (OSError, ValueError):
        return False
    return mount is not None and mount.point == real and not os.path.isdir(real)  # noqa: PTH112


def file_system_in(table: str, path: str) -> str | None:
    """Return the type of file system that a path without links is on; see `mount_in`."""
    mount = mount_in(table, path)
    return mount and mount.type


def mount_in(table: str, path: str) -> Mount | None:
    """Return the mount that a path without links is on, by the text of a mount table.

    This walks from the root down, as the kernel does. At each folder on the way, it takes the mount
    there whose parent is the mount reached so far. So the longest mount point wins, and of several
    at one point the last. A mount that a later mount further up covers does not count.
    """
    mounts = list(_mounts(table))
    known = {mount.id for mount in mounts}
    # A mount whose parent the table does not show (the root's, or in a chroot) counts wherever the
    # walk passes it: its parent is "".
    at = {
        (mount.parent if mount.parent in known - {mount.id} else "", mount.point): mount
        for mount in mounts
    }
    reached: Mount | None = None
    folder = PurePosixPath(path)
    for point in map(str, [*reversed(folder.parents), folder]):
        # Each mount is removed when passed, so that the loop ends for any table.
        while found := (reached and at.pop((reached.id, point), None)) or at.pop(("", point), None):
            reached = found
    return reached


def _mounts(table: str) -> Iterator[Mount]:
    # Only "\n" ends a line, and only " " ends a field; other white space is part of a name.
    for line in table.split("\n"):
        fields = line.split(" ")
        if "-" in fields[6:-1]:  # "-" ends the optional fields; see proc_pid_mountinfo(5)
            kind = fields[fields.index("-", 6) + 1]
            yield Mount(fields[0], fields[1], _unescaped(fields[4]), _unescaped(kind))


def _unescaped(field: str) -> str:
    r"""Unescape a field of the mount table: the kernel writes a space as ``\040``."""
    raw = re.sub(rb"\\([0-3][0-7]{2})", lambda code: bytes([int(code[1], 8)]), os.fsencode(field))
    return os.fsdecode(raw)
