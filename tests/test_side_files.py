"""What lies beside a store is as open to others as the store, and looking leaves nothing."""

import os
import stat
import threading

import pytest
from people import GROUP, Person, commons

from traininglog import side_files
from traininglog.errors import StoreUnwritable

OWNER, MEMBER, STRANGER = 54301, 54302, 54303


@pytest.fixture
def people():
    """Give what makes people in a folder; they leave in the end."""
    made = []

    def make(*args, **options):
        made.append(Person(*args, **options))
        return made[-1]

    yield make
    for person in made:
        person.leave()


def has(path):
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


# -- one file -------------------------------------------------------------------------------


def test_a_side_file_has_the_mode_of_the_store_whatever_the_umask(tmp_path):
    store, side = tmp_path / "runs.db", tmp_path / "runs.db-owners"
    store.touch()
    for mode in (0o600, 0o640, 0o664, 0o666, 0o444):
        store.chmod(mode)
        before = os.umask(0o077)
        try:
            os.close(side_files.open_beside(store, side))
            assert stat.S_IMODE(side.stat().st_mode) == mode
            os.close(side_files.make_beside(store, tmp_path / f"new-{mode}"))
            assert stat.S_IMODE((tmp_path / f"new-{mode}").stat().st_mode) == mode
        finally:
            os.umask(before)
            side.unlink(missing_ok=True)


def test_a_side_file_that_is_there_gets_the_mode_of_the_store(tmp_path):
    store, side = tmp_path / "runs.db", tmp_path / "runs.db-owners"
    store.touch(0o664)
    store.chmod(0o664)
    side.touch(0o600)
    os.close(side_files.open_beside(store, side))
    assert stat.S_IMODE(side.stat().st_mode) == 0o664


def test_a_folder_of_kept_files_can_be_entered_by_who_may_read_the_store(tmp_path):
    store, folder = tmp_path / "runs.db", tmp_path / "runs.db-artifacts"
    store.touch()
    for mode, expected in ((0o600, 0o700), (0o640, 0o750), (0o664, 0o775), (0o666, 0o777)):
        store.chmod(mode)
        side_files.make_folder_beside(store, folder)
        assert stat.S_IMODE(folder.stat().st_mode) == expected
        side_files.make_folder_beside(store, folder)  # once more is as good
        folder.rmdir()


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "dangling link"])
def test_what_is_no_regular_file_is_named_as_in_the_way_and_left_alone(tmp_path, kind):
    store, side = tmp_path / "runs.db", tmp_path / "runs.db-owners"
    other = tmp_path / "other"
    store.touch()
    if kind == "folder":
        side.mkdir()
    elif kind == "fifo":
        os.mkfifo(side)
    else:
        side.symlink_to(other)
        if kind == "link":
            other.touch(0o600)
    with pytest.raises(StoreUnwritable, match=r"runs\.db-owners is in the way.*move it away"):
        side_files.open_beside(store, side)
    assert other.exists() == (kind == "link")
    if kind == "link":
        assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_a_file_that_has_another_name_elsewhere_keeps_its_mode(tmp_path):
    """A hard link may be somebody's file that has nothing to do with the store."""
    store, side, other = tmp_path / "runs.db", tmp_path / "runs.db-owners", tmp_path / "other"
    store.touch()
    store.chmod(0o666)
    other.touch()
    other.chmod(0o600)
    side.hardlink_to(other)
    os.close(side_files.open_beside(store, side))
    side_files.fit(store, side)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_many_threads_that_make_one_side_file_all_get_the_same(tmp_path):
    store, side = tmp_path / "runs.db", tmp_path / "runs.db-owners"
    store.touch()
    found, ready = [], threading.Barrier(8)

    def make():
        ready.wait()
        descriptor = side_files.open_beside(store, side)
        found.append(os.fstat(descriptor).st_ino)
        os.close(descriptor)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {side.stat().st_ino}


def test_root_gives_side_files_to_the_owner_of_the_store(people):
    with commons(mode=0o755, owner=OWNER, group=OWNER) as folder:
        store = folder / "runs.db"
        store.touch()
        os.chown(store, OWNER, GROUP)
        store.chmod(0o640)
        os.close(side_files.open_beside(store, folder / "a"))
        os.close(side_files.make_beside(store, folder / "b"))
        (folder / "c").touch()
        side_files.fit(store, folder / "c")
        assert {has(folder / name) for name in "abc"} == {(OWNER, GROUP, 0o640)}
        side_files.make_folder_beside(store, folder / "d")
        assert has(folder / "d") == (OWNER, GROUP, 0o750)


def test_a_user_gives_side_files_the_group_of_the_store_and_never_more_to_another(people):
    with commons(mode=0o777) as folder:
        store = folder / "runs.db"
        store.touch()
        os.chown(store, OWNER, GROUP)
        store.chmod(0o660)
        make = (
            "from traininglog import side_files\n"
            "os.close(side_files.open_beside(Path('runs.db'), Path('{0}')))"
        )
        people(folder, MEMBER).ask(make.format("a"))
        people(folder, STRANGER, groups=()).ask(make.format("b"))
        assert has(folder / "a") == (MEMBER, GROUP, 0o660)
        assert has(folder / "b") == (STRANGER, STRANGER, 0o600)


def test_a_side_file_that_nobody_uses_is_replaced_by_one_that_can_be_written(people):
    with commons(mode=0o2775, owner=OWNER) as folder:
        store, side = folder / "runs.db", folder / "runs.db-owners"
        for path in (store, side):
            path.touch()
            os.chown(path, OWNER, GROUP)
            path.chmod(0o644)
        store.chmod(0o664)
        member = people(folder, MEMBER)
        member.ask("from traininglog import file_locks, side_files")
        opening = "os.close(side_files.open_beside(Path('runs.db'), Path('runs.db-owners'){0}))"
        kind, message = member.refused(opening.format(""))
        assert kind == "StoreUnwritable"
        assert "runs.db-owners belongs to" in message
        assert "chmod --reference" in message
        unused = opening.format(", unused=file_locks.is_free")
        owner = people(folder, OWNER)
        owner.ask("import fcntl; d = os.open('runs.db-owners', os.O_RDWR); fcntl.lockf(d, 2, 1, 9)")
        assert member.refused(unused)[0] == "StoreUnwritable"
        owner.ask("os.close(d)")
        member.ask(unused)
        assert has(side) == (MEMBER, GROUP, 0o664)
        assert sorted(path.name for path in folder.iterdir()) == ["runs.db", "runs.db-owners"]
