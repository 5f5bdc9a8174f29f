"""FILE and FILE_THIN on a real kernel: images on XFS, whose snapshots share blocks (reflink), and on ext4, where they are copies. Data are
written before and compared after each step; file systems by property; a full file system, one whose disk fails; a satellite that is
killed between any two steps; a node that loses power."""
import storage
from lib_e2e import wait_for
from storage import (MIB, SIZE, WAIT_S, call, dropped, fill, forget, holds, killed_in, make, mounted, points, power, rolled_back, snapshot_life,
                     snapshots, take)

DIRECTORIES = {'thick': '/srv/xfs/thick', 'thin': '/srv/xfs/thin', 'plain': '/srv/ext4/plain'}
FIRST, SECOND = '/dev/disk/by-id/virtio-data0', '/dev/disk/by-id/virtio-data1'


class Bed(storage.Bed):
    DISKS = ('1G', '1G')
    POOLS = tuple((name, 'FILE' if name == 'thick' else 'FILE_THIN', directory) for name, directory in DIRECTORIES.items())

    def make_storage(self):
        self.guest.run(f'mkfs.xfs -q {FIRST} && mkfs.ext4 -q {SECOND}')
        self.bring_up()
        self.guest.run(f'mkdir -p {" ".join(DIRECTORIES.values())} && xfs_info /srv/xfs | grep -q reflink=1')

    def bring_up(self):
        self.guest.run(f'mkdir -p /srv/xfs /srv/ext4 && mount {FIRST} /srv/xfs && mount {SECOND} /srv/ext4')

    def left(self):
        return self.guest.run(f'ls -A {" ".join(DIRECTORIES.values())} | grep -v "^/" | grep .; true').split()

    def nothing_left(self):
        super().nothing_left()
        loops = self.guest.run('losetup -n -O BACK-FILE').split()
        assert not [path for path in loops if path.startswith('/srv')], loops


def shared(bed, pool, name):
    """KiB of an image that it has in common with others."""
    lines = bed.guest.run(f'sync; filefrag -v -k {DIRECTORIES[pool]}/{name}.img').splitlines()
    return sum(int(line.split(':')[3]) for line in lines if line.strip()[:1].isdigit() and 'shared' in line)


def life(bed, pool):
    """As with every kind of storage. Where blocks can be shared, what is made from something shares them, and takes no space; images of
    FILE, which have all of their space from the first moment, are copies all the same, and their snapshots are not."""
    used = {}

    def look(stage):
        if stage == 'made':
            size = int(bed.guest.run(f'stat -c %b {DIRECTORIES[pool]}/src_00000.img')) // 2
            assert (size >= SIZE) if pool == 'thick' else (size < MIB), size
            used['free'] = bed.free(pool)
        if stage == 'taken':
            both = shared(bed, pool, 'src_00000'), shared(bed, pool, 'src_00000_s1')
            print(f'        {pool}: the volume shares {both[0]} KiB, its snapshot {both[1]} KiB')
            assert both[0] == both[1], both
            assert both[0] >= 2 * MIB if pool != 'plain' else both[0] == 0, both
        if stage == 'restored':
            with_copy = shared(bed, pool, 'copy_00000')
            assert with_copy >= 2 * MIB if pool == 'thin' else with_copy == 0, with_copy
    snapshot_life(bed, pool, look=look)


def without_reflink(bed):
    """A volume in use cannot be copied: refused with cause and remedy, and nothing is made."""
    path = make(bed, 'fs', 'plain')
    bed.guest.run(f'mkfs.ext4 -q {path} && mkdir -p /run/mnt && mount {path} /run/mnt')
    answer = call(bed, 'POST', 'fs/snapshots', {'name': 's1'})
    assert answer.status >= 400 and 'reflink' in answer.text and 'XFS' in answer.text, answer.text
    assert snapshots(bed, 'fs') == {}
    bed.guest.run('umount /run/mnt')
    take(bed, 'fs', 's1')
    dropped(bed, 'fs')
    bed.nothing_left()


def file_systems(bed):
    """By property, on volumes of FILE_THIN: of the wanted kind, with options, made once, grown together with nothing but the volume."""
    for kind, options, size_kib in (('xfs', '-L mine', 320 * MIB), ('ext4', '-L mine', SIZE)):
        bed.define('fs', size_kib, {'FileSystem/Type': kind, 'FileSystem/MkfsParams': options})
        bed.place('fs', 'thin')
        path = bed.device('fs', size_kib)
        wait_for('the file system', lambda: bed.guest.run(f'blkid -o value -s TYPE {path}; true').strip() == kind, WAIT_S, 0.5)
        assert bed.guest.run(f'blkid -o value -s LABEL {path}').strip() == 'mine'
        bed.guest.run(f'mkdir -p /run/mnt && mount {path} /run/mnt && echo text >/run/mnt/file && umount /run/mnt')
        take(bed, 'fs', 's1')
        storage.restored(bed, 'fs', 's1', 'copy')  # is not formatted again
        copy = bed.device('copy', size_kib)
        bed.guest.run(f'mount -o ro{",nouuid,norecovery" if kind == "xfs" else ""} {copy} /run/mnt && test "$(cat /run/mnt/file)" = text && umount /run/mnt')
        dropped(bed, 'copy', 'fs')
        bed.nothing_left()


def foreign(bed):
    """A file that is not ours keeps its name and its bytes."""
    bed.guest.run('echo precious >/srv/xfs/thin/theirs_00000.img')
    bed.define('theirs', SIZE)
    told = bed.refused('theirs', 'thin')
    assert 'no mark' in told, told
    bed.delete('theirs')
    assert bed.guest.run('cat /srv/xfs/thin/theirs_00000.img') == 'precious\n'
    bed.guest.run('rm /srv/xfs/thin/theirs_00000.img')


def full(bed):
    """A file system without room: what does not fit is refused with cause and remedy, what is there can be read, and snapshots of it can go;
    all goes on when there is room."""
    make(bed, 'kept', 'thin')
    fill(bed, 'kept', 'first')
    take(bed, 'kept', 's1')
    bed.guest.run('sync; fallocate -l $(($(stat -f -c %a*%S /srv/xfs) - (4 << 20))) /srv/xfs/ballast; '
                  'dd if=/dev/zero of=/srv/xfs/rest bs=4k 2>/dev/null; sync')
    wait_for('a full pool', lambda: bed.free('thin') < 4 * MIB, WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.define('more', SIZE)
    told = bed.refused('more', 'thick')
    assert 'space' in told, told
    forget(bed, 'kept', 's1')
    assert bed.online()
    bed.guest.run('rm /srv/xfs/ballast /srv/xfs/rest; sync')
    wait_for('room', lambda: bed.free('thin') > 400 * MIB, WAIT_S, 0.5)
    take(bed, 'kept', 's1')
    fill(bed, 'kept', 'second')
    rolled_back(bed, 'kept', 's1')
    holds(bed, 'kept', 'first')
    dropped(bed, 'more', 'kept')
    bed.nothing_left()


def disk_fails(bed):
    """The disk below a pool refuses everything: an error of that pool, others work. After the node was started again all is there."""
    sectors = int(bed.guest.run(f'blockdev --getsz {SECOND}'))
    table = f'0 {sectors} linear {SECOND} 0'
    bed.guest.run(f'umount /srv/ext4 && dmsetup create weak --table "{table}" && mkfs.xfs -q -f /dev/mapper/weak && mkdir -p /srv/weak && '
                  'mount /dev/mapper/weak /srv/weak && mkdir /srv/weak/pool')
    bed.add_pool('weak', 'FILE_THIN', '/srv/weak/pool')
    make(bed, 'ill', 'weak')
    fill(bed, 'ill', 'first')
    take(bed, 'ill', 's1')
    bed.guest.run('sync; dmsetup suspend --nolockfs --noflush weak && dmsetup load weak --table "0 '
                  f'{sectors} error" && dmsetup resume weak; (echo x >/srv/weak/x; sync) 2>/dev/null; true')
    answer = call(bed, 'POST', 'ill/snapshots', {'name': 's2'})
    assert answer.status >= 400, answer.text
    assert list(snapshots(bed, 'ill')) == ['s1']
    told = bed.trouble('weak')
    assert '/srv/weak/pool' in told, told
    assert bed.online() and not bed.pool('thin').get('reports')
    make(bed, 'well', 'thin')
    dropped(bed, 'well')
    bed.bring_up = lambda: bed.guest.run(f'mkdir -p /srv/xfs /srv/ext4 /srv/weak && mount {FIRST} /srv/xfs && dmsetup create weak --table "{table}" '
                                         '&& mount /dev/mapper/weak /srv/weak')
    bed.lose_power()
    bed.well('weak')
    holds(bed, 'ill', 'first')
    take(bed, 'ill', 's3')
    dropped(bed, 'ill')
    wait_for('nothing of ours', lambda: not bed.guest.run('ls -A /srv/weak/pool').split(), WAIT_S, 1)


# Where the satellite is ended, and in what.
KILLS = (('create', 'file_before_name'), ('create', 'file_created'), ('create', 'file_attached'), ('grow', 'file_resized'),
         ('snapshot', 'file_copied'), ('snapshot', 'file_created'), ('restore', 'file_copied'), ('restore', 'file_created'),
         ('clone', 'file_copied:2'), ('clone', 'file_created:2'), ('rollback', 'file_detached'), ('rollback', 'file_copied:2'),
         ('rollback', 'file_before_name'), ('rollback', 'file_attached'), ('unsnap', 'file_wiped'), ('unsnap', 'file_removed'),
         ('delete', 'file_detached'), ('delete', 'file_wiped'), ('delete', 'file_removed'))
# file_kept is reached where rolling back fails for want of room: test_sat_crash
assert {point.split(':')[0] for _, point in KILLS} | {'file_kept'} == {p.lower() for p in points('FILE')}


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest, a satellite, three pools', Bed, work, image)
    if bed is None:
        return
    storage.run_checks(suite, bed, everything, [
        *((pool == 'thin', f'take, restore, grow, roll back, clone, delete in pool {pool}', life, pool) for pool in DIRECTORIES),
        (True, 'a mounted file system', mounted, 'thin'),
        (False, 'a mounted file system without reflink', without_reflink),
        (True, 'file systems by property', file_systems),
        (False, 'a file that is not ours', foreign),
        (False, 'a full file system', full),
        *((what == 'rollback' and point == 'file_before_name', f'{what}, killed at {point}', killed_in, 'thin', ('STORAGE',), what, point)
          for what, point in KILLS),
        *((pool == 'thick', f'a node that loses power: {pool}', power, pool) for pool in DIRECTORIES),
        (False, 'a disk that fails', disk_fails)])
