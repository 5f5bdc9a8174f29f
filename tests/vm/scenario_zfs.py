"""ZFS and ZFS_THIN on a real kernel with real ZFS: data are written before and compared after each of creating, growing, taking snapshots,
restoring, rolling back, cloning and deleting, in an order that makes everything depend on everything; foreign volumes, devices in use, a
full pool, a degraded, a suspended and a lost one; no udev; a satellite that is killed between any two steps. The image needs ZFS:
tests/vm/image_zfs."""
import concurrent.futures
import re
import subprocess

from lib_e2e import BUILD, Cluster, wait_for
from rig import TOP, Guest, Satellite
from scenario_lvm import MIB, Bed as LvmBed, Fresh

POINTS = re.findall(r'^INJECT\((ZFS_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
SIZE = 24 * MIB
WAIT_S = 600  # a step of the product may take long on a busy machine; how long is not judged here
BLOCK_KIB = 16


class Bed(LvmBed):
    def __init__(self, work, image):
        self.guest, self.cluster = Guest(work, image, 1, disks=('1G', '1G'), memory_mib=1024, extra=('zfs.squashfs',)), None
        try:
            self.set_up()
        except BaseException:
            self.close()
            raise

    def set_up(self):
        self.guest.start()
        self.cluster = Cluster(controllers=1, satellites=0)
        self.guest.wait_ready()
        self.rest = Fresh(self.cluster.rest('c1', timeout_s=WAIT_S))
        self.satellite = Satellite(self.guest)
        self.satellite.join(self.cluster)
        self.lacking()
        self.guest.run('mkdir -p /run/zfs && mount /dev/disk/by-id/virtio-zfs /run/zfs && /run/zfs/load && '
                       'echo $((128 << 20)) >/sys/module/zfs/parameters/zfs_arc_max', WAIT_S)
        self.guest.run('zpool create -f -m none -O compression=off tank mirror /dev/disk/by-id/virtio-data0 /dev/disk/by-id/virtio-data1 '
                       '&& zfs create tank/thin && zfs create tank/thick', WAIT_S)
        self.satellite.stop()
        self.satellite.start()
        wait_for('the node', self.online, WAIT_S, 0.3)
        for name, driver in (('thick', 'zfs'), ('thin', 'zfsthin')):
            subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.cluster.address('c1'), 'storage-pool', 'create', driver, 'n1',
                            name, f'tank/{name}'], check=True, stdout=subprocess.DEVNULL, timeout=WAIT_S)

    def lacking(self):
        """Before the module is there: the node says so, and refuses a pool with the reason."""
        self.satellite.start()
        self.rest.call('POST', '/v1/nodes', {'name': 'n1', 'type': 'SATELLITE', 'net_interfaces': [
            {'name': 'default', 'address': self.guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        wait_for('the node', self.online, WAIT_S, 0.3)
        node = self.rest.get('/v1/nodes/n1').ok().json
        assert 'ZFS' not in node['storage_providers'] and 'zfs' in str(node['unsupported_providers']['ZFS']), node
        answer = self.rest.call('POST', '/v1/nodes/n1/storage-pools', {
            'storage_pool_name': 'early', 'provider_kind': 'ZFS', 'props': {'StorDriver/StorPoolName': 'tank'}})
        assert answer.status >= 400 and 'zfsutils' in answer.text, answer.text

    def names(self):
        """Everything in the two datasets."""
        return [n for n in self.guest.run('zfs list -H -o name -r -t all tank').split() if n.count('/') > 1]


def call(bed, method, path, body=None):
    return bed.rest.call(method, f'/v1/resource-definitions/{path}', body)


def make(bed, name, pool, size_kib=SIZE):
    bed.define(name, size_kib)
    bed.place(name, pool)
    return bed.device(name, size_kib)


def fill(bed, name, text):
    """Through the page cache, and not flushed: what a snapshot holds is what was written before it was asked for."""
    path = bed.device(name, SIZE)
    bed.guest.run(f'yes "{text}" | dd of={path} bs=64k count=16 iflag=fullblock conv=notrunc 2>/dev/null;'
                  f'yes "{text} end" | dd of={path} bs=64k count=16 seek=300 iflag=fullblock conv=notrunc 2>/dev/null')


def holds(bed, name, text):
    path = bed.device(name, SIZE)
    bed.guest.run('echo 1 >/proc/sys/vm/drop_caches; set -o pipefail;'
                  f'cmp -n $((16 << 16)) <(yes "{text}") {path} && cmp -n $((16 << 16)) -i 0:$((300 << 16)) <(yes "{text} end") {path}')


def snapshots(bed, name):
    return {s['name']: s for s in call(bed, 'GET', f'{name}/snapshots').ok().json}


def take(bed, name, snap):
    call(bed, 'POST', f'{name}/snapshots', {'name': snap}).ok()
    assert snapshots(bed, name)[snap]['flags'] == ['SUCCESSFUL']


def restored(bed, source, snap, name):
    bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-volume-definition/{snap}', {'to_resource': name}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-resource/{snap}', {'to_resource': name}).ok()


def cloned(bed, source, name):
    answer = call(bed, 'POST', f'{source}/clone', {'name': name}).ok().json
    wait_for('the clone', lambda: bed.rest.get(answer['location']).ok().json['status'] != 'CLONING', WAIT_S, 0.5)
    assert bed.rest.get(answer['location']).ok().json['status'] == 'COMPLETE'


def rolled_back(bed, name, snap):
    call(bed, 'POST', f'{name}/snapshot-rollback/{snap}', {}).ok()


def nothing_left(bed):
    wait_for('nothing in the pool', lambda: not bed.names(), WAIT_S, 1)
    assert not bed.guest.run('ls /sys/block').count('zd'), 'a device is left'


def reserved(bed, name):
    return int(bed.guest.run(f'zfs get -Hp -o value refreservation {name}'))


def life(bed, pool):
    """Create, write, grow, take, restore, roll back, clone, delete; everything depends on something that is deleted first."""
    free = bed.pool(pool)['free_capacity']
    path = make(bed, 'src', pool)
    assert path == f'/dev/zvol/tank/{pool}/src_00000', path
    if pool == 'thick':
        wait_for('less free space', lambda: bed.pool(pool)['free_capacity'] <= free - SIZE, WAIT_S, 0.5)
        assert reserved(bed, 'tank/thick/src_00000') >= SIZE * 1024
    else:
        assert reserved(bed, 'tank/thin/src_00000') == 0
    fill(bed, 'src', 'first')
    take(bed, 'src', 's1')
    fill(bed, 'src', 'second')
    restored(bed, 'src', 's1', 'copy')
    holds(bed, 'copy', 'first')
    holds(bed, 'src', 'second')
    fill(bed, 'copy', 'own')
    call(bed, 'PUT', 'copy/volume-definitions/0', {'size_kib': SIZE + 8 * MIB + 1}).ok()
    bed.device('copy', SIZE + 8 * MIB + 1)
    assert bed.volume('copy')['usable_size_kib'] == SIZE + 8 * MIB + BLOCK_KIB, bed.volume('copy')
    if pool == 'thick':
        assert reserved(bed, 'tank/thick/copy_00000') >= (SIZE + 8 * MIB) * 1024
    holds(bed, 'copy', 'own')
    take(bed, 'src', 's2')
    rolled_back(bed, 'src', 's1')  # with a newer snapshot, and a clone of the older one
    holds(bed, 'src', 'first')
    assert set(snapshots(bed, 'src')) == {'s1', 's2'}
    fill(bed, 'src', 'third')
    cloned(bed, 'src', 'clone')
    holds(bed, 'clone', 'third')
    rolled_back(bed, 'src', 's2')  # forwards again
    holds(bed, 'src', 'second')
    rolled_back(bed, 'src', 's1')
    holds(bed, 'src', 'first')
    holds(bed, 'clone', 'third')
    call(bed, 'DELETE', 'src/snapshots/s2').ok()
    call(bed, 'DELETE', 'src/snapshots/s1').ok()
    take(bed, 'src', 's1')  # the name is free although clones hold the old one
    call(bed, 'DELETE', 'src/snapshots/s1').ok()
    bed.delete('src')
    holds(bed, 'clone', 'third')
    holds(bed, 'copy', 'own')
    bed.delete('clone')
    holds(bed, 'copy', 'own')
    bed.delete('copy')
    nothing_left(bed)
    wait_for('the space back', lambda: bed.pool(pool)['free_capacity'] >= free - 4 * MIB, WAIT_S, 0.5)


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
    bed.place('opt2', 'thin', ok=False)
    reports = wait_for('the report', lambda: bed.volume('opt2').get('reports'), WAIT_S, 0.5)
    assert 'mountpoint' in str(reports), reports
    bed.delete('opt2')
    bed.guest.run('test ! -e /run/bad')
    nothing_left(bed)


def in_use(bed):
    """A device that is mounted, or only open, is not taken away; a snapshot of a mounted file system can be mounted."""
    path = make(bed, 'fs', 'thin')
    bed.guest.run(f'mkfs.ext4 -q {path} && mkdir -p /run/mnt /run/mnt2 && mount {path} /run/mnt && echo text >/run/mnt/file')
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/fs')
    assert answer.status >= 400 and ('in use' in answer.text or 'busy' in answer.text), answer.text
    take(bed, 'fs', 's1')
    assert call(bed, 'POST', 'fs/snapshot-rollback/s1', {}).status >= 400
    restored(bed, 'fs', 's1', 'fs2')
    bed.guest.run(f'e2fsck -fp {bed.device("fs2", SIZE)} >/dev/null; test $? -lt 2 && mount {bed.device("fs2", SIZE)} /run/mnt2 && '
                  'test "$(cat /run/mnt2/file)" = text && umount /run/mnt2')
    bed.guest.run('test "$(cat /run/mnt/file)" = text && umount /run/mnt')
    call(bed, 'DELETE', 'fs/snapshots/s1').ok()
    bed.delete('fs2')
    bed.guest.run(f'sleep 3600 <{path} >/dev/null 2>&1 & echo $! >/run/holder')
    bed.rest.call('DELETE', '/v1/resource-definitions/fs')
    bed.guest.run(f'sleep 3; test -b {path}; kill $(cat /run/holder)')
    wait_for('the deletion', lambda: bed.rest.call('DELETE', '/v1/resource-definitions/fs').status < 400, WAIT_S, 1)
    nothing_left(bed)


def foreign(bed):
    """A volume that is not ours keeps its name and its bytes, as does one that only looks like ours to go."""
    bed.guest.run('zfs create -V 24M tank/thin/theirs_00000 && zfs create -s -V 1M tank/thin/.deleted.1.x && udevadm settle && '
                  'echo precious | dd of=/dev/zvol/tank/thin/theirs_00000 conv=sync,fsync 2>/dev/null')
    bed.define('theirs', SIZE)
    bed.place('theirs', 'thin', ok=False)
    reports = wait_for('the report', lambda: bed.volume('theirs').get('reports'), WAIT_S, 0.5)
    assert 'mark' in str(reports), reports
    bed.delete('theirs')
    assert bed.guest.run('head -c 8 /dev/zvol/tank/thin/theirs_00000') == 'precious'
    assert 'tank/thin/.deleted.1.x' in bed.names()
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
        nothing_left(bed)
        bed.guest.run(f'test ! -L {path}')
    finally:
        bed.guest.run('/lib/systemd/systemd-udevd --daemon && udevadm trigger && udevadm settle -t 60')


def full(bed, pool):
    """A pool without room: what does not fit is refused with cause and remedy, what is there can be read, and goes on later."""
    make(bed, 'kept', pool)
    fill(bed, 'kept', 'first')
    # not quite: a pool without any room lets nobody delete, either
    bed.guest.run('zfs create -V $(($(zfs get -Hp -o value available tank) / 100 * 96)) tank/ballast', WAIT_S)
    wait_for('a full pool', lambda: bed.pool(pool)['free_capacity'] < 64 * MIB, WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.define('more', 400 * MIB)
    if pool == 'thick':
        answer = bed.place('more', pool, ok=False)
        told = answer.text if answer.status >= 400 else str(wait_for('a report', lambda: bed.volume('more').get('reports'), WAIT_S, 0.5))
        assert 'space' in told, told
    bed.guest.run('udevadm settle; zfs destroy tank/ballast')
    wait_for('room', lambda: bed.pool(pool)['free_capacity'] > 400 * MIB, WAIT_S, 0.5)
    take(bed, 'kept', 's1')
    fill(bed, 'kept', 'second')
    rolled_back(bed, 'kept', 's1')
    holds(bed, 'kept', 'first')
    call(bed, 'DELETE', 'kept/snapshots/s1').ok()
    bed.delete('more')
    bed.delete('kept')
    nothing_left(bed)


def degraded(bed):
    """A mirror without one disk works, and says what it lacks."""
    make(bed, 'kept', 'thin')
    fill(bed, 'kept', 'first')
    bed.guest.run('zpool offline tank virtio-data1')
    reports = wait_for('the pool to say so', lambda: bed.pool('thin').get('reports'), WAIT_S, 0.5)
    assert 'degraded' in str(reports), reports
    assert bed.pool('thin')['free_capacity'] > 0 and bed.online()
    fill(bed, 'kept', 'second')
    take(bed, 'kept', 's1')
    bed.guest.run('zpool online tank virtio-data1')
    wait_for('the pool to be well', lambda: not bed.pool('thin').get('reports'), WAIT_S, 0.5)
    holds(bed, 'kept', 'second')
    call(bed, 'DELETE', 'kept/snapshots/s1').ok()
    bed.delete('kept')
    nothing_left(bed)


def lost(bed):
    """A pool that is exported, and comes back: its own error with its cause; nothing is made anew, no data are lost."""
    make(bed, 'kept', 'thin')
    fill(bed, 'kept', 'first')
    bed.guest.run('sync; udevadm settle; zpool export tank', WAIT_S)
    for pool in ('thin', 'thick'):
        reports = wait_for('the pool to say so', lambda: bed.pool(pool).get('reports'), WAIT_S, 0.5)
        assert 'no such pool' in str(reports) and 'import' in str(reports), reports
    assert bed.online()
    bed.guest.run('zpool import -d /dev/disk/by-id tank && udevadm settle', WAIT_S)
    wait_for('the pool to be well', lambda: not bed.pool('thin').get('reports'), WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.delete('kept')
    nothing_left(bed)


def suspended(bed):
    """A pool on a disk that fails altogether: the pool's error, not the node's; other pools work meanwhile."""
    sectors = 512 * 2048
    bed.guest.run(f'truncate -s 512M /run/disk && losetup /dev/loop7 /run/disk && dmsetup create weak --table "0 {sectors} linear /dev/loop7 0" && '
                  'zpool create -f -m none weak /dev/mapper/weak', WAIT_S)
    bed.rest.call('POST', '/v1/nodes/n1/storage-pools', {'storage_pool_name': 'weak', 'provider_kind': 'ZFS_THIN', 'props': {
        'StorDriver/StorPoolName': 'weak'}}).ok()
    make(bed, 'ill', 'weak')
    fill(bed, 'ill', 'first')
    bed.guest.run('sync; zpool sync weak')

    def swap(table):
        bed.guest.run(f'dmsetup suspend --nolockfs --noflush weak && dmsetup load weak --table "{table}" && dmsetup resume weak')
    swap(f'0 {sectors} error')
    bed.guest.run('(dd if=/dev/urandom of=/dev/zvol/weak/ill_00000 bs=64k count=1 conv=fsync >/dev/null 2>&1 &) ; sleep 1')
    reports = wait_for('the pool to say so', lambda: bed.pool('weak').get('reports'), WAIT_S, 0.5)
    assert 'SUSPENDED' in str(reports) or 'suspended' in str(reports), reports
    assert bed.online()
    make(bed, 'well', 'thin')
    bed.delete('well')
    swap(f'0 {sectors} linear /dev/loop7 0')
    bed.guest.run('zpool clear weak', WAIT_S)
    wait_for('the pool to be well', lambda: not bed.pool('weak').get('reports'), WAIT_S, 0.5)
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
assert {point for _, point in KILLS} == {p.lower() for p in POINTS}


def killed_at(bed, what, point):
    """The satellite dies in the midst and is started again: what was begun is ended, or undone and can be repeated."""
    if what != 'create':
        make(bed, 'hurt', 'thick')
        fill(bed, 'hurt', 'first')
        take(bed, 'hurt', 's1')
        fill(bed, 'hurt', 'second')
    if what == 'unsnap':
        restored(bed, 'hurt', 's1', 'copy')
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=point)
    wait_for('the node', bed.online, WAIT_S, 0.3)
    todo = {'create': lambda: make(bed, 'hurt', 'thick'),
            'grow': lambda: call(bed, 'PUT', 'hurt/volume-definitions/0', {'size_kib': SIZE + 8 * MIB}),
            'snapshot': lambda: call(bed, 'POST', 'hurt/snapshots', {'name': 's2'}),
            'restore': lambda: restored(bed, 'hurt', 's1', 'copy'),
            'clone': lambda: cloned(bed, 'hurt', 'copy'),
            'rollback': lambda: rolled_back(bed, 'hurt', 's1'),
            'unsnap': lambda: call(bed, 'DELETE', 'hurt/snapshots/s1'),
            'delete': lambda: (call(bed, 'DELETE', 'hurt/snapshots/s1'), bed.rest.call('DELETE', '/v1/resource-definitions/hurt'))}
    if what == 'delete' and point == 'zfs_removed':
        todo['delete'] = lambda: call(bed, 'DELETE', 'hurt/snapshots/s1')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(todo[what])
        wait_for(f'death at {point}', lambda: not bed.satellite.running(), WAIT_S, 0.3)
        bed.satellite.start()
        try:
            done.result()
        except AssertionError as e:
            print(f'        {what}, {point}: {str(e)[:150]}')
    wait_for('the node', bed.online, WAIT_S, 0.3)
    after_kill(bed, what)
    for name in ('copy', 'hurt'):
        if bed.rest.get(f'/v1/resource-definitions/{name}').status == 200:
            for snap in snapshots(bed, name):
                call(bed, 'DELETE', f'{name}/snapshots/{snap}').ok()
            bed.delete(name)
    nothing_left(bed)


def after_kill(bed, what):
    def settled():
        return all('SUCCESSFUL' in s['flags'] for s in snapshots(bed, 'hurt').values())
    if what == 'delete' and bed.rest.get('/v1/resource-definitions/hurt').status != 200:
        return
    wait_for('no saga to be left', settled, WAIT_S, 0.5)
    if what == 'rollback':
        try:
            holds(bed, 'hurt', 'first')
        except AssertionError:  # it was undone: nothing is lost, and it works now
            holds(bed, 'hurt', 'second')
            print('        undone')
            rolled_back(bed, 'hurt', 's1')
            holds(bed, 'hurt', 'first')
        return
    if what == 'create':
        bed.device('hurt', SIZE)
        return
    if what == 'delete':
        return
    if what == 'grow':
        bed.device('hurt', SIZE + 8 * MIB)
    holds(bed, 'hurt', 'second')
    if what == 'snapshot' and 's2' not in snapshots(bed, 'hurt'):
        print('        not taken')
        take(bed, 'hurt', 's2')
    if what == 'unsnap':
        wait_for('the snapshot to be gone', lambda: not snapshots(bed, 'hurt'), WAIT_S, 0.5)
    if what in ('restore', 'unsnap'):
        holds(bed, 'copy', 'first')
    if what == 'clone':
        if bed.rest.get('/v1/resource-definitions/copy').status == 200 and not bed.volume('copy'):
            print('        failed, and is begun anew')
            bed.delete('copy')
            cloned(bed, 'hurt', 'copy')
        holds(bed, 'copy', 'second')


def run(suite, work, image, everything):
    if not (image / 'zfs.squashfs').exists():
        print('skipped ZFS: the image has none (tests/vm/image_zfs DIR makes it from Debian\'s contrib)')
        suite.skipped += 1
        return
    bed = suite.check('a guest that lacks ZFS and gets it, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    try:
        for pool in ('thick', 'thin'):
            suite.check(f'create, grow, take, restore, roll back, clone, delete in pool {pool}', life, bed, pool)
        suite.check('options', options, bed)
        suite.check('a device in use', in_use, bed)
        suite.check('a volume that is not ours', foreign, bed)
        suite.check('no udev', without_udev, bed)
        for pool in ('thick', 'thin'):
            suite.check(f'a full pool: {pool}', full, bed, pool)
        suite.check('a degraded pool', degraded, bed)
        suite.check('a pool that vanishes', lost, bed)
        suite.check('a pool whose disk fails', suspended, bed)
        for what, point in KILLS if everything else KILLS[-1:]:
            suite.check(f'{what}, killed at {point}', killed_at, bed, what, point)
        if suite.failed:
            print(bed.satellite.log()[-6000:])
    finally:
        bed.close()
