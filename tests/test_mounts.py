"""Which file system a path is on, and that none which spans hosts is written."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st

from traininglog import (
    NetworkFileSystem,
    SQLiteLog,
    Store,
    TrainingLogError,
    TrainingLogWarning,
    open_log,
    open_store,
)
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.file import mounts
from traininglog.sqlite.file.mounts import NETWORK, file_system, file_system_in

# -- the mount table ------------------------------------------------------------------------

#: A node of a cluster: homes mounted when first used, scratch on Lustre, a share bound elsewhere.
NODE = r"""
22 1 259:2 / / rw,relatime shared:1 - xfs /dev/nvme0n1p2 rw,attr2,inode64,noquota
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
26 22 0:24 / /tmp rw,nosuid,nodev shared:2 master:1 propagate_from:2 - tmpfs tmpfs rw,size=65536k
31 22 0:44 / /home rw,relatime shared:20 - autofs auto.home rw,fd=6,pgrp=1201,timeout=300,indirect
97 31 0:52 /export/home/ada /home/ada rw,nosuid shared:60 - nfs4 filer:/export/home/ada rw,vers=4.2
98 22 0:53 / /scratch rw,flock,lazystatfs shared:61 - lustre 10.0.0.1@o2ib:/scratch rw
99 98 259:3 / /scratch/local rw,relatime shared:62 - ext4 /dev/nvme0n1p3 rw
40 22 0:60 / /data rw,relatime shared:70 - autofs auto.direct rw,fd=7,direct
41 40 0:61 / /data rw,relatime shared:71 - nfs filer:/data rw,vers=3,nolock
42 22 0:53 /teams/my\040team /opt/team\040files rw,relatime shared:72 - lustre 10.0.0.1@o2ib:/x rw
43 22 0:70 / /mnt/disk ro - fuseblk /dev/sdb1 rw,user_id=0
44 22 0:71 / /mnt/a\134040b\011c\012d\043 rw - fuse.sshfs ada@other: rw,user_id=1000
"""[1:]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "xfs"),
        ("/runs.db", "xfs"),
        ("/tmp/runs.db", "tmpfs"),
        ("/tmpfile/runs.db", "xfs"),
        ("/tmp", "tmpfs"),
        ("/home/runs.db", "autofs"),
        ("/home/ada/no/such/folder/runs.db", "nfs4"),
        ("/home/ada2/runs.db", "autofs"),
        ("/scratch/ada/runs.db", "lustre"),
        ("/scratch/local/runs.db", "ext4"),
        ("/data/runs.db", "nfs"),
        ("/opt/team files/runs.db", "lustre"),
        ("/opt/team", "xfs"),
        ("/mnt/disk/runs.db", "fuseblk"),
        ("/mnt/a\\040b\tc\nd#/runs.db", "fuse.sshfs"),
    ],
)
def test_a_path_is_on_what_is_mounted_nearest_above_it(path, found):
    assert file_system_in(NODE, path) == found


def test_a_container_and_a_guest_see_their_own_mounts():
    container = (
        "1037 988 0:128 / / rw,relatime master:312 - overlay overlay rw,lowerdir=/l/A:/l/B\n"
        "1038 1037 0:131 / /proc rw,nosuid - proc proc rw\n"
        "1051 1037 0:52 /ada/project /work rw,relatime master:60 - nfs4 filer:/export/home rw\n"
        "1052 1037 259:2 /var/lib/docker/volumes/runs/_data /runs rw master:1 - ext4 /dev/sda2 rw\n"
    )
    assert file_system_in(container, "/runs.db") == "overlay"
    assert file_system_in(container, "/work/runs.db") == "nfs4"
    assert file_system_in(container, "/runs/runs.db") == "ext4"
    wsl = (
        "76 62 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro\n"
        "101 76 0:62 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\134,cache=5\n"
    )
    assert file_system_in(wsl, "/home/ada/runs.db") == "ext4"
    assert file_system_in(wsl, "/mnt/c/Users/ada/runs.db") == "9p"


def test_of_mounts_at_one_point_the_last_counts():
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /data rw - nfs4 filer:/data rw\n"
        "3 2 0:6 / /data rw - tmpfs tmpfs rw\n"
    )
    assert file_system_in(table, "/data/runs.db") == "tmpfs"


def test_a_mount_that_a_later_one_further_up_covers_does_not_count():
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /data/shared rw - nfs4 filer:/data rw\n"
        "3 1 0:6 / /data rw - xfs /dev/sdb1 rw\n"
    )
    assert file_system_in(table, "/data/shared/runs.db") == "xfs"


def test_a_table_whose_root_is_not_in_it_is_read_as_far_as_it_goes():
    """As in a chroot; and where a system that imitates Linux numbers nothing."""
    chroot = "50 49 0:5 / /data rw - nfs4 filer:/data rw\n51 50 8:2 / /data/here rw - ext4 /d rw\n"
    assert file_system_in(chroot, "/runs.db") is None
    assert file_system_in(chroot, "/data/runs.db") == "nfs4"
    assert file_system_in(chroot, "/data/here/runs.db") == "ext4"
    unnumbered = "0 0 0:0 / / rw - zfs pool rw\n0 0 0:0 / /net rw - nfs filer:/net rw\n"
    assert file_system_in(unnumbered, "/runs.db") == "zfs"
    assert file_system_in(unnumbered, "/net/runs.db") == "nfs"


@pytest.mark.parametrize("table", ["", "\n\n", "nonsense", "1 0 8:1 / / rw -", "1 0 8:1 / / rw"])
def test_what_is_no_mount_table_tells_nothing(table):
    assert file_system_in(table, "/runs.db") is None


def escaped(name):
    """Write a name as the kernel does."""
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\" else letter for letter in name)


def table_of(lines):
    """Write a mount table of (id, parent, point, type)."""
    return "".join(
        f"{number} {parent} 0:{number} / {escaped(point)} rw,relatime shared:{number} - {kind} "
        f"source\\040of{number} rw\n"
        for number, parent, point, kind in lines
    )


AWKWARD = st.text(" \t\n\r\\\v\f\x1c\x85\u00a0\u2028#-04é.", min_size=1, max_size=8)
ANY_BYTES = st.binary(min_size=1, max_size=8).map(
    lambda raw: os.fsdecode(raw.replace(b"/", b"x").replace(b"\0", b"y"))
)
NAMES = (AWKWARD | ANY_BYTES).filter(lambda name: name not in (".", ".."))


@given(folders=st.lists(NAMES, min_size=1, max_size=3), below=NAMES)
def test_a_mount_point_may_have_any_name(folders, below):
    point = "/" + "/".join(folders)
    table = table_of([(1, 0, "/", "ext4"), (2, 1, point, "nfs4")])
    assert file_system_in(table, point) == "nfs4"
    assert file_system_in(table, f"{point}/{below}") == "nfs4"
    assert file_system_in(table, point + "x") == "ext4"
    assert file_system_in(table, f"/{below}x/{point}") == "ext4"


def is_above(point, path):
    return point == "/" or f"{path}/".startswith(f"{point}/")


def mount_on(made, point, kind):
    """Add a mount to others: on the last one that was made above its point."""
    parent = [mount[0] for mount in made if is_above(mount[2], point)][-1]
    made.append((len(made) + 1, parent, point, kind))


POINTS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(
    lambda names: "/" + "/".join(names)
)


@given(points=st.lists(POINTS, max_size=8), path=POINTS, data=st.data())
def test_the_last_mount_made_above_a_path_is_the_one_it_is_on(points, path, data):
    """However the table is sorted: it tells what is mounted on what."""
    made = [(1, 0, "/", "type1")]
    for number, point in enumerate(points, 2):
        mount_on(made, point, f"type{number}")
    expected = [mount[3] for mount in made if is_above(mount[2], path)][-1]
    assert file_system_in(table_of(data.draw(st.permutations(made))), path) == expected


@given(points=st.lists(POINTS, max_size=8), path=POINTS)
def test_without_numbers_the_longest_point_counts_and_the_last_of_several(points, path):
    made = [(0, 0, point, f"type{number}") for number, point in enumerate(["/", *points])]
    fit = [mount for mount in made if is_above(mount[2], path)]
    expected = max(enumerate(fit), key=lambda pair: (len(pair[1][2]), pair[0]))[1][3]
    assert file_system_in(table_of(made), path) == expected


def test_local_types_are_not_taken_for_networks():
    local = {
        "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "autofs", "nfsd", "rpc_pipefs",
        "fuse", "fuseblk", "fuse.ntfs", "fuse.ntfs-3g", "fuse.fuse-overlayfs", "fuse.mergerfs",
        "fuse.encfs", "fuse.gocryptfs", "fuse.bindfs", "fuse.lxcfs", "fuse.portal",
    }  # fmt: skip
    assert not local & NETWORK


# -- paths of this machine ------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path, monkeypatch):
    """Make the mount table say that a folder is on a type of file system."""
    table = tmp_path / "mountinfo"
    made = [(1, 0, "/", "ext4")]
    monkeypatch.setattr(mounts, "MOUNT_TABLE", table)

    def add(folder, kind):
        mount_on(made, str(folder.resolve()), kind)
        table.write_bytes(os.fsencode(table_of(made)))

    table.write_bytes(os.fsencode(table_of(made)))
    return add


@pytest.fixture
def folder(tmp_path):
    """A folder that may be mounted on."""
    folder = tmp_path / "the files"
    folder.mkdir()
    return folder


def test_links_are_followed_to_where_the_file_is_or_would_be(mount, folder, tmp_path):
    mount(folder, "nfs4")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "runs.db").symlink_to(folder / "not yet.db")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (folder / "out").symlink_to(tmp_path)
    assert file_system(tmp_path / "link" / "new" / "runs.db") == "nfs4"
    assert file_system(tmp_path / "link" / ".." / "runs.txt") == "ext4"
    assert file_system(tmp_path / "runs.db") == "nfs4"
    assert file_system(folder / "out" / "elsewhere.db") == "ext4"
    assert file_system(tmp_path / "circle" / "runs.db") == "ext4"
    assert file_system(tmp_path / "x\0y") is None


def test_a_system_without_a_mount_table_tells_nothing_and_refuses_nothing(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(mounts, "MOUNT_TABLE", tmp_path / "none")
    assert file_system(folder) is None
    with SQLiteLog(folder / "runs.db") as log:
        log[1]["x"] = 1
    with Store(folder / "runs.db") as store:
        assert store.check().file_system is None
    monkeypatch.setenv("TRAININGLOG_STORE", str(folder / "runs.db"))
    assert " on " not in run("check").stdout.splitlines()[0]
    assert json.loads(run("check", "--json").stdout)["file_system"] is None


def test_the_table_of_a_running_linux_is_understood():
    if not mounts.MOUNT_TABLE.exists():
        pytest.skip("there is no mount table here: not Linux, or no /proc")
    assert file_system(Path("/proc/self/status")) == "proc"
    assert file_system(Path(__file__))


def test_mounts_that_are_really_made_are_found(tmp_path):
    """Over one another, bound elsewhere, covered, and under names that the table must escape."""
    if shutil.which("unshare") is None:
        pytest.skip("needs Linux's unshare, to mount where nobody else sees it")
    script = """
        cd "$1"; shift
        mkdir -p plain 'a b' twice bound covered/deep "$2"
        mount -t tmpfs none 'a b'
        mount -t tmpfs none twice; mount -t ramfs none twice
        mount --bind 'a b' bound
        mount -t tmpfs none covered/deep; mount -t ramfs none covered; mkdir covered/deep
        mount -t ramfs none "$2"
        ln -s 'a b' link
        exec "$1" -c '
import sys
from pathlib import Path
from traininglog.sqlite.file.mounts import file_system
for name in sys.argv[1:]:
    print(file_system(Path(name) / "no such folder" / "runs.db"))
        ' plain 'a b' twice bound covered covered/deep link "$2"
    """
    odd = "tab\there\nand \\040 \xe9"
    alone = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    trial = subprocess.run(
        [*alone, "mount", "-t", "tmpfs", "none", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if trial.returncode:
        pytest.skip(f"needs the right to mount in a namespace of its own: {trial.stderr.strip()}")
    done = subprocess.run(
        [*alone, "sh", "-ec", script, "sh", tmp_path, sys.executable, odd],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    here = str(file_system(tmp_path))
    assert done.stdout.split() == [
        here, "tmpfs", "ramfs", "tmpfs", "ramfs", "ramfs", "tmpfs", "ramfs"
    ]  # fmt: skip


# -- what is refused ------------------------------------------------------------------------


@pytest.fixture
def path(folder):
    """A store with one run, the last flush of which is still in the WAL."""
    path = folder / "runs.db"
    original = folder.with_name("original.db")
    with SQLiteLog(original) as log:
        log[1]["loss"] = 0.5
        log.status["name"] = "one"
        log.flush()
        for suffix in ("", "-wal"):
            shutil.copy(f"{original}{suffix}", f"{path}{suffix}")
    assert path.with_name("runs.db-wal").stat().st_size > 0
    return path


def contents(folder):
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def uuid_in(path):
    with Store(path, readonly=True) as store:
        return store.latest()


#: Every way to open a file for writing, or to make it.
WRITING = {
    "new run": lambda path, uuid: SQLiteLog(path),
    "text": lambda path, uuid: SQLiteLog(str(path)),
    "url": lambda path, uuid: open_log(f"sqlite:///{path}"),
    "run": SQLiteLog,
    "resume": lambda path, uuid: SQLiteLog(path, uuid, resume=True),
    "store": lambda path, uuid: Store(path),
    "store, create": lambda path, uuid: Store(path, create=True),
    "store, url": lambda path, uuid: open_store(f"sqlite:///{path}"),
}


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.sshfs", "9p"])
@pytest.mark.parametrize("way", WRITING)
def test_a_file_on_a_network_file_system_is_not_written_nor_made(way, kind, mount, folder, path):
    uuid = uuid_in(path)
    mount(folder, kind)
    for target in (path, folder / "new.db", folder / "no such folder" / "new.db"):
        before = contents(folder)
        with pytest.raises(NetworkFileSystem, match=f"network file system \\({kind}\\)") as caught:
            WRITING[way](target, uuid)
        assert contents(folder) == before
        assert str(target) in str(caught.value)


def test_the_refusal_says_what_to_do_instead(mount, folder):
    mount(folder, "nfs4")
    with pytest.raises(NetworkFileSystem) as caught:
        SQLiteLog(folder / "runs.db")
    assert isinstance(caught.value, TrainingLogError)
    assert isinstance(caught.value, OSError)
    assert caught.value.code == "network-file-system"
    for remedy in (
        "local path", "copy", "traininglog merge", "readonly=True", "unsafe",
        "TRAININGLOG_ALLOW_NETWORK=1",
    ):  # fmt: skip
        assert remedy in str(caught.value)


def test_a_link_from_a_local_folder_does_not_lead_past_the_refusal(mount, folder, path, tmp_path):
    (tmp_path / "local.db").symlink_to(path)
    (tmp_path / "new.db").symlink_to(folder / "new.db")
    mount(folder, "cifs")
    before = contents(folder)
    for link in ("local.db", "new.db"):
        with pytest.raises(NetworkFileSystem, match="cifs"):
            SQLiteLog(tmp_path / link)
    assert contents(folder) == before


def test_a_log_that_was_pickled_is_not_opened_on_a_network_file_system(mount, folder):
    with SQLiteLog(folder / "runs.db") as log:
        log[1]["x"] = 1
        pickled = pickle.dumps(log)
    mount(folder, "nfs")
    with pytest.raises(NetworkFileSystem):
        pickle.loads(pickled)


def test_local_folders_below_and_beside_a_network_are_written(mount, folder, tmp_path):
    (folder / "scratch").mkdir()
    mount(folder, "nfs4")
    mount(folder / "scratch", "ext4")
    for local in (folder / "scratch", tmp_path):
        with SQLiteLog(local / "runs.db") as log:
            log[1]["x"] = 1
        assert uuid_in(local / "runs.db") == log.uuid


def test_memory_is_on_no_file_system(mount):
    mount(Path("/"), "nfs4")
    with SQLiteLog(":memory:") as log:
        log[1]["x"] = 1


def test_reading_is_never_refused(mount, folder, path, tmp_path):
    mount(folder, "nfs4")
    before = path.read_bytes()
    with Store(path, readonly=True) as store:
        uuid = store.latest()
        assert store.runs("loss")["loss"].to_list() == [0.5]
        with SQLiteLog(path, uuid, readonly=True) as log:
            assert log.to_dict() == {1: {"loss": 0.5}}
        store.backup(tmp_path / "local.db")
    assert uuid_in(tmp_path / "local.db") == uuid
    assert path.read_bytes() == before


def test_reading_is_not_refused_for_the_journal_of_a_killed_process(mount, folder):
    """It is left for whoever may write; what is in the file is read."""
    path = folder / "runs.db"
    script = (
        "import os, sys; from traininglog import SQLiteLog; log = SQLiteLog(sys.argv[1]);"
        "log[1]['x'] = 1; log.flush(); log[2]['x'] = 2; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    journals = sorted(folder.glob("*-tail-*"))
    assert journals
    mount(folder, "nfs4")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TrainingLogWarning)
        with Store(path, readonly=True) as store:
            assert store.runs("x")["x"].to_list() == [1]
    assert "network file system" in str(told[0].message)
    assert sorted(folder.glob("*-tail-*")) == journals


def test_a_store_on_a_network_file_system_is_merged_into_a_local_one_and_copied_back(
    mount, folder, path, tmp_path
):
    """The two ways that the refusal names."""
    mount(folder, "nfs4")
    with Store(tmp_path / "local.db", create=True) as store:
        assert len(store.merge(path).added) == 1
        store.backup(folder / "copy.db")
    assert uuid_in(folder / "copy.db") == uuid_in(path)


# -- what is allowed ------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["1", "true", "Yes", "ON"])
def test_the_environment_may_allow_it(word, mount, folder, monkeypatch):
    mount(folder, "nfs4")
    monkeypatch.setenv("TRAININGLOG_ALLOW_NETWORK", word)
    with SQLiteLog(folder / "runs.db") as log:
        log[1]["x"] = 1
    with Store(folder / "runs.db") as store:
        assert store.latest() == log.uuid
    assert log.uuid == uuid_in(folder / "runs.db")


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_the_environment_may_say_no(word, mount, folder, monkeypatch):
    mount(folder, "nfs4")
    monkeypatch.setenv("TRAININGLOG_ALLOW_NETWORK", word)
    with pytest.raises(NetworkFileSystem):
        SQLiteLog(folder / "runs.db")


def test_a_settings_file_may_allow_it(mount, folder, tmp_path, monkeypatch):
    mount(folder, "nfs4")
    config = tmp_path / "config.toml"
    config.write_text("allow_network = true\n")
    monkeypatch.setenv("TRAININGLOG_CONFIG", str(config))
    with SQLiteLog(folder / "runs.db") as log:
        log[1]["x"] = 1
    config.write_text("allow_network = false\n")
    with pytest.raises(NetworkFileSystem):
        Store(folder / "runs.db")


def test_the_argument_counts_before_the_environment(mount, folder, monkeypatch):
    mount(folder, "nfs4")
    path = folder / "runs.db"
    database = Database(path, readonly=False, create=True, allow_network=True)
    assert database.allow_network
    database.close()
    monkeypatch.setenv("TRAININGLOG_ALLOW_NETWORK", "1")
    with pytest.raises(NetworkFileSystem):
        Database(path, readonly=False, allow_network=False)
    Database(path, readonly=True, allow_network=False).close()


# -- check, and the command line ------------------------------------------------------------


def test_check_tells_the_file_system_and_warns_of_a_network(mount, folder, path):
    with Store(path, readonly=True) as store:
        found = store.check()
        assert found.file_system == "ext4"
        assert not any("network" in line for line in found.warnings)
        mount(folder, "nfs4")
        found = store.check()
    assert found.file_system == "nfs4"
    assert found.ok
    assert any("network file system (nfs4)" in line for line in found.warnings)


def test_the_command_check_shows_the_file_system_and_the_wal(mount, folder, path):
    wal = path.with_name("runs.db-wal").stat().st_size
    mount(folder, "nfs4")
    result = run("check", "-s", path)
    first = result.stdout.splitlines()[0]
    assert " on nfs4 (" in first
    assert f"{wal / 1024:.1f} KiB in the WAL" in first
    assert "note: the file is on a network file system (nfs4)" in result.stdout
    found = json.loads(run("check", "-s", path, "--json").stdout)
    assert found["file_system"] == "nfs4"
    assert found["size"]["wal"] == wal
    assert any("nfs4" in line for line in found["warnings"])


def test_a_command_that_writes_ends_with_one_plain_line(mount, folder, path):
    mount(folder, "nfs4")
    for words in (["merge", path, "-s", folder / "all.db"], ["upgrade", "-s", path]):
        assert "network file system (nfs4)" in run(*words, status=1).stderr
    assert "all.db" not in contents(folder)
