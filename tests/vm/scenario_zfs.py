"""ZFS and ZFS_THIN on a real kernel with real ZFS: data are written before and compared after each of creating, growing, taking snapshots,
restoring, rolling back, cloning and deleting, in an order that makes everything depend on everything; foreign volumes, devices in use, a
full pool, a degraded, a suspended and a lost one; no udev; a satellite that is killed between any two steps. The image needs ZFS:
tests/vm/image_zfs."""
import subprocess

import storage
from lib_e2e import BUILD, wait_for
from storage import MIB, SIZE, WAIT_S, call, dropped, fill, holds, killed_in, make, mounted, points, power, rolled_back, snapshot_life, take

BLOCK_KIB = 16


class Bed(storage.Bed):
    DISKS, MEMORY_MIB, EXTRA = ('1G', '1G'), 1024, ('zfs.squashfs',)

    def make_storage(self):
        self.lacking()
        self.load()
        self.guest.run('zpool create -f -m none -O compression=off tank mirror /dev/disk/by-id/virtio-data0 /dev/disk/by-id/virtio-data1 '
                       '&& zfs create tank/thin && zfs create tank/thick', WAIT_S)
        self.satellite.stop()

    def load(self):
        self.guest.run('mkdir -p /run/zfs && mount /dev/disk/by-id/virtio-zfs /run/zfs && /run/zfs/load && '
                       'echo $((128 << 20)) >/sys/module/zfs/parameters/zfs_arc_max', WAIT_S)

    def bring_up(self):
        self.load()
        self.guest.run('zpool import -d /dev/disk/by-id tank && udevadm settle', WAIT_S)

    def add_node(self):
        """It is there, since before it had ZFS."""
        self.wait_online()
        for name, driver in (('thick', 'zfs'), ('thin', 'zfsthin')):
            subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.cluster.address('c1'), 'storage-pool', 'create', driver, 'n1',
                            name, f'tank/{name}'], check=True, stdout=subprocess.DEVNULL, timeout=WAIT_S)

    def lacking(self):
        """Before the module is there: the node says so, and refuses a pool with the reason."""
        self.satellite.start()
        super().add_node()
        node = self.rest.get('/v1/nodes/n1').ok().json
        assert 'ZFS' not in node['storage_providers'] and 'zfs' in str(node['unsupported_providers']['ZFS']), node
        answer = self.rest.call('POST', '/v1/nodes/n1/storage-pools', {
            'storage_pool_name': 'early', 'provider_kind': 'ZFS', 'props': {'StorDriver/StorPoolName': 'tank'}})
        assert answer.status >= 400 and 'zfsutils' in answer.text, answer.text

    def left(self):
        """Everything in the two datasets."""
        return [n for n in self.guest.run('zfs list -H -o name -r -t all tank').split() if n.count('/') > 1]

    def nothing_left(self):
        super().nothing_left()
        assert not self.guest.run('ls /sys/block').count('zd'), 'a device is left'


def reserved(bed, name):
    return int(bed.guest.run(f'zfs get -Hp -o value refreservation {name}'))


def life(bed, pool):
    """As with every kind of storage; a thick one has its space from the first to the last moment."""
    free = bed.free(pool)

    def look(stage):
        if stage == 'made':
            path = bed.device('src', SIZE)
            assert path == f'/dev/zvol/tank/{pool}/src_00000', path
            if pool == 'thick':
                wait_for('less free space', lambda: bed.free(pool) <= free - SIZE, WAIT_S, 0.5)
                assert reserved(bed, 'tank/thick/src_00000') >= SIZE * 1024
            else:
                assert reserved(bed, 'tank/thin/src_00000') == 0
        if stage == 'grown':
            assert bed.volume('copy')['usable_size_kib'] == SIZE + 8 * MIB + BLOCK_KIB, bed.volume('copy')
            if pool == 'thick':
                assert reserved(bed, 'tank/thick/copy_00000') >= (SIZE + 8 * MIB) * 1024
    snapshot_life(bed, pool, look=look)


def options(bed):
    """Options of the user reach the volume, sizes are whole blocks of it; those that would be dangerous are refused by name."""
    bed.define('opt', SIZE + 1)
    call(bed, 'PUT', 'opt', {'override_props': {'StorDriver/ZfscreateOptions': '-o volblocksize=64k -o compression=lz4'}}).ok()
    bed.place('opt', 'thin')
    bed.device('opt', SIZE + 1)
    assert bed.volume('opt')['usable_size_kib'] == SIZE + 64, bed.volume('opt')
    assert bed.guest.run('zfs get -Hp -o value volblocksize,compression tank/thin/opt_00000').split() == ['65536', 'lz4']
    bed.delete('opt')
    bed.define('opt2', SIZE)
    call(bed, 'PUT', 'opt2', {'override_props': {'StorDriver/ZfscreateOptions': '-o mountpoint=/; touch /run/bad'}}).ok()
    told = bed.refused('opt2', 'thin')
    assert 'mountpoint' in told, told
    bed.delete('opt2')
    bed.guest.run('test ! -e /run/bad')
    bed.nothing_left()


def foreign(bed):
    """A volume that is not ours keeps its name and its bytes, as does one that only looks like ours to go."""
    bed.guest.run('zfs create -V 24M tank/thin/theirs_00000 && zfs create -s -V 1M tank/thin/.deleted.1.x && udevadm settle && '
                  'echo precious | dd of=/dev/zvol/tank/thin/theirs_00000 conv=sync,fsync 2>/dev/null')
    bed.define('theirs', SIZE)
    told = bed.refused('theirs', 'thin')
    assert 'no mark' in told, told
    bed.delete('theirs')
    assert bed.guest.run('head -c 8 /dev/zvol/tank/thin/theirs_00000') == 'precious'
    assert 'tank/thin/.deleted.1.x' in bed.left()
    bed.guest.run('udevadm settle; zfs destroy tank/thin/theirs_00000; zfs destroy tank/thin/.deleted.1.x')


def without_udev(bed):
    """Nobody makes the stable names: the satellite does."""
    bed.guest.run('udevadm control --exit; sleep 1')
    try:
        path = make(bed, 'still', 'thin')
        assert path == '/dev/zvol/tank/thin/still_00000', path
        fill(bed, 'still', 'text')
        holds(bed, 'still', 'text')
        bed.delete('still')
        bed.nothing_left()
        bed.guest.run(f'test ! -L {path}')
    finally:
        bed.guest.run('/lib/systemd/systemd-udevd --daemon && udevadm trigger && udevadm settle -t 60')


def full(bed, pool):
    """A pool without room: what does not fit is refused with cause and remedy, what is there can be read, and goes on later."""
    make(bed, 'kept', pool)
    fill(bed, 'kept', 'first')
    # not quite: a pool without any room lets nobody delete, either
    bed.guest.run('zfs create -V $(($(zfs get -Hp -o value available tank) / 100 * 96)) tank/ballast', WAIT_S)
    wait_for('a full pool', lambda: bed.free(pool) < 64 * MIB, WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.define('more', 400 * MIB)
    if pool == 'thick':
        told = bed.refused('more', pool)
        assert 'space' in told, told
    bed.guest.run('udevadm settle; zfs destroy tank/ballast')
    wait_for('room', lambda: bed.free(pool) > 400 * MIB, WAIT_S, 0.5)
    take(bed, 'kept', 's1')
    fill(bed, 'kept', 'second')
    rolled_back(bed, 'kept', 's1')
    holds(bed, 'kept', 'first')
    dropped(bed, 'more', 'kept')
    bed.nothing_left()


def degraded(bed):
    """A mirror without one disk works, and says what it lacks."""
    make(bed, 'kept', 'thin')
    fill(bed, 'kept', 'first')
    bed.guest.run('zpool offline tank virtio-data1')
    told = bed.trouble('thin')
    assert 'degraded' in told, told
    assert bed.free('thin') > 0 and bed.online()
    fill(bed, 'kept', 'second')
    take(bed, 'kept', 's1')
    bed.guest.run('zpool online tank virtio-data1')
    bed.well('thin')
    holds(bed, 'kept', 'second')
    dropped(bed, 'kept')
    bed.nothing_left()


def lost(bed):
    """A pool that is exported, and comes back: its own error with its cause; nothing is made anew, no data are lost."""
    make(bed, 'kept', 'thin')
    fill(bed, 'kept', 'first')
    bed.guest.run('sync; udevadm settle; zpool export tank', WAIT_S)
    for pool in ('thin', 'thick'):
        told = bed.trouble(pool)
        assert 'no such pool' in told and 'import' in told, told
    assert bed.online()
    bed.guest.run('zpool import -d /dev/disk/by-id tank && udevadm settle', WAIT_S)
    bed.well('thin')
    holds(bed, 'kept', 'first')
    bed.delete('kept')
    bed.nothing_left()


def suspended(bed, failmode):
    """A pool on a disk that fails altogether: the pool's error, not the node's; other pools work meanwhile."""
    sectors = 512 * 2048
    bed.guest.run(f'truncate -s 512M /run/disk && losetup /dev/loop7 /run/disk && dmsetup create weak --table "0 {sectors} linear /dev/loop7 0" && '
                  'zpool create -f -m none -o failmode=' + failmode + ' weak /dev/mapper/weak', WAIT_S)
    bed.add_pool('weak', 'ZFS_THIN', 'weak')
    make(bed, 'ill', 'weak')
    fill(bed, 'ill', 'first')
    bed.guest.run('sync; zpool sync weak')

    def swap(table):
        bed.guest.run(f'dmsetup suspend --nolockfs --noflush weak && dmsetup load weak --table "{table}" && dmsetup resume weak')
    swap(f'0 {sectors} error')
    bed.guest.run('(dd if=/dev/urandom of=/dev/zvol/weak/ill_00000 bs=64k count=1 conv=fsync >/run/dd 2>&1; echo "ended $?" >>/run/dd) & sleep 1')
    told = bed.trouble('weak')
    assert 'suspended' in told.lower(), told
    assert bed.online()
    make(bed, 'well', 'thin')
    bed.delete('well')
    ended = bed.guest.run('cat /run/dd')
    print(f'        failmode={failmode}: a write {"has ended: " + ended if ended else "waits"}')
    assert 'ended 0' not in ended, ended
    swap(f'0 {sectors} linear /dev/loop7 0')
    bed.guest.run('zpool clear weak', WAIT_S)
    bed.well('weak')
    bed.guest.run(f'cmp -n $((16 << 16)) -i 0:$((300 << 16)) <(yes "first end") {bed.device("ill", SIZE)}')
    bed.delete('ill')
    wait_for('nothing in the weak pool', lambda: bed.guest.run('zfs list -H -o name -r -t all weak').split() == ['weak'], WAIT_S, 1)
    bed.rest.call('DELETE', '/v1/nodes/n1/storage-pools/weak').ok()
    bed.guest.run('zpool destroy weak; dmsetup remove weak; losetup -d /dev/loop7; rm /run/disk')


# Where the satellite is ended, and in what.
KILLS = (('create', 'zfs_created'), ('create', 'zfs_attached'), ('grow', 'zfs_resized'), ('snapshot', 'zfs_created'),
         ('restore', 'zfs_cloned'), ('restore', 'zfs_reserved'), ('clone', 'zfs_cloned'), ('rollback', 'zfs_detached'),
         ('rollback', 'zfs_cloned'), ('rollback', 'zfs_promoted'), ('rollback', 'zfs_renamed'), ('rollback', 'zfs_replaced'),
         ('rollback', 'zfs_reserved'), ('unsnap', 'zfs_renamed'), ('unsnap', 'zfs_removed'), ('delete', 'zfs_detached'),
         ('delete', 'zfs_removed'))
assert {point for _, point in KILLS} == {p.lower() for p in points('ZFS')}


def run(suite, work, image, everything):
    if not (image / 'zfs.squashfs').exists():
        print('skipped ZFS: the image has none (tests/vm/image_zfs DIR makes it from Debian\'s contrib)')
        suite.skipped += 1
        return
    bed = storage.bed_for(suite, 'a guest that lacks ZFS and gets it, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    storage.run_checks(suite, bed, everything, [
        *((True, f'create, grow, take, restore, roll back, clone, delete in pool {pool}', life, pool) for pool in ('thick', 'thin')),
        (True, 'options', options),
        (True, 'a mounted file system', mounted, 'thin'),
        (True, 'a volume that is not ours', foreign),
        (True, 'no udev', without_udev),
        *((True, f'a full pool: {pool}', full, pool) for pool in ('thick', 'thin')),
        (True, 'a degraded pool', degraded),
        (True, 'a pool that vanishes', lost),
        *((failmode == 'wait', f'a pool whose disk fails, failmode={failmode}', suspended, failmode) for failmode in ('wait', 'continue')),
        *((True, f'a node that loses power: {pool}', power, pool) for pool in ('thick', 'thin')),
        *(((what, point) == KILLS[-1], f'{what}, killed at {point}', killed_in, 'thick', ('STORAGE',), what, point) for what, point in KILLS)])
