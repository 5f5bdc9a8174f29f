"""What the scenarios of storage share: a guest with a satellite and pools, volumes and snapshots asked for by REST, data that are written
before and compared after each step, a satellite that dies in the midst of one, a node that loses power."""
import concurrent.futures
import re
import time

from lib_e2e import Cluster, Suite, wait_for
from rig import TOP, Guest, Satellite

MIB = 1024  # KiB
SIZE = 24 * MIB
EARLY_S = 30
WAIT_S = 600  # a step of the product may take long on a busy machine; how long is not judged here


def points(prefix):
    """The fault points of a kind of storage."""
    return re.findall(rf'^INJECT\(({prefix}_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)


class Fresh:
    """A connection that is opened anew when it was idle: what a guest does may take longer than the server keeps one."""

    def __init__(self, rest):
        self.rest, self.last = rest, time.monotonic()

    def call(self, *args, **kwargs):
        if time.monotonic() - self.last > 3:
            self.rest.close()
        try:
            return self.rest.call(*args, **kwargs)
        finally:
            self.last = time.monotonic()

    def get(self, path):
        return self.call('GET', path)

    def close(self):
        self.rest.close()


class Bed:
    """One guest with a satellite. Subclasses say which disks it has, and make the storage and the pools."""
    DISKS, MEMORY_MIB, EXTRA = ('2G', '2G'), 640, ()
    POOLS = ()  # name, kind, place
    hurt = None  # pool and layers of the volume that killed_in() keeps
    in_order = False  # another scenario may go on with it

    def __init__(self, work, image):
        self.guest = Guest(work, image, 1, disks=(*self.DISKS, '64M'), memory_mib=self.MEMORY_MIB, extra=self.EXTRA)
        self.cluster = None
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
        self.guest.run(f'mkfs.ext4 -q {self.own_disk()}')
        self.mount_own_disk()
        self.satellite = Satellite(self.guest)
        self.satellite.join(self.cluster)
        self.make_storage()
        self.satellite.start()
        self.add_node()
        for name, kind, place in self.POOLS:
            self.add_pool(name, kind, place)

    # ---- what subclasses say ----
    def make_storage(self):
        """Groups, file systems and the like, before the satellite starts."""

    def bring_up(self):
        """What nobody but this test does on a node that has started again."""

    def left(self):
        """Names of what is ours in the storage."""
        raise NotImplementedError

    # ---- the node ----
    def own_disk(self):
        return f'/dev/disk/by-id/virtio-data{len(self.DISKS)}'

    def mount_own_disk(self):
        """What the satellite remembers outlives the root of a guest, which is new after each start."""
        self.guest.run(f'mkdir -p /run/outrigger && mount {self.own_disk()} /run/outrigger')

    def add_node(self):
        self.rest.call('POST', '/v1/nodes', {'name': 'n1', 'type': 'SATELLITE', 'net_interfaces': [
            {'name': 'default', 'address': self.guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        self.wait_online()

    def online(self):
        return self.rest.get('/v1/nodes/n1').ok().json['connection_status'] == 'ONLINE'

    def wait_online(self):
        wait_for('the node', self.online, WAIT_S, 0.3)

    def lose_power(self):
        """What was not flushed may be gone, and everything that is not on a disk is."""
        self.guest.kill()
        wait_for('the node to be missed', lambda: not self.online(), WAIT_S, 0.3)
        self.guest.start()
        self.guest.wait_ready()
        self.mount_own_disk()
        self.bring_up()
        self.satellite.start()
        self.wait_online()

    # ---- pools ----
    def add_pool(self, name, kind, place):
        self.rest.call('POST', '/v1/nodes/n1/storage-pools', {
            'storage_pool_name': name, 'provider_kind': kind, 'props': {'StorDriver/StorPoolName': place}}).ok()

    def pool(self, name):
        pools = self.rest.get('/v1/nodes/n1/storage-pools').ok().json
        return next(p for p in pools if p['storage_pool_name'] == name)

    def free(self, name):
        return self.pool(name)['free_capacity']

    def trouble(self, name):
        """The reports of a pool, once there are some."""
        return str(wait_for(f'pool {name} to say so', lambda: self.pool(name).get('reports'), WAIT_S, 0.5))

    def well(self, name):
        wait_for(f'pool {name} to be well', lambda: not self.pool(name).get('reports'), WAIT_S, 0.5)

    # ---- resources ----
    def define(self, name, size_kib, props=None):
        self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'props': props or {}}}).ok()
        self.rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions',
                       {'volume_definition': {'size_kib': size_kib}}).ok()

    def place(self, name, pool, ok=True, layers=('STORAGE',)):
        answer = self.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
            {'resource': {'name': name, 'node_name': 'n1', 'props': {'StorPoolName': pool}}, 'layer_list': list(layers)}])
        return answer.ok() if ok else answer

    def volume(self, name):
        r = self.rest.get(f'/v1/view/resources?resources={name}').ok().json
        return r[0]['volumes'][0] if r and r[0].get('volumes') else {}

    def refused(self, name, pool, layers=('STORAGE',)):
        """Placing it does not work: what is said about it, at once or by the satellite."""
        answer = self.place(name, pool, ok=False, layers=layers)
        return answer.text if answer.status >= 400 else str(
            wait_for('the report', lambda: self.volume(name).get('reports'), WAIT_S, 0.5))

    def device(self, name, size_kib):
        """Waits until the API shows the device in that size; the guest must say the same."""
        def there():
            v = self.volume(name)
            return v.get('device_path') and v.get('usable_size_kib', 0) >= size_kib and v['device_path']
        path = wait_for(f'{name} of {size_kib} KiB', there, WAIT_S, 0.3)
        real = int(self.guest.run(f'blockdev --getsize64 {path}')) // 1024
        assert real == self.volume(name)['usable_size_kib'], (real, self.volume(name))
        return path

    def in_use(self, name):
        """What the API says; a definition without resources is not."""
        r = self.rest.get(f'/v1/view/resources?resources={name}').ok().json
        return bool(r and r[0].get('state', {}).get('in_use'))

    def closed(self, name):
        """Waits until the node says that nobody has the device open: it looks at times, and udev opens what was written to."""
        wait_for(f'{name} not to be in use', lambda: not self.in_use(name), WAIT_S, 0.3)

    def delete(self, name):
        self.closed(name)
        self.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()

    def nothing_left(self):
        wait_for('nothing of ours to be left', lambda: not self.left(), WAIT_S, 1)

    def clean(self):
        """After a check that failed: what it left would be found by the next ones."""
        self.guest.try_run('for f in /run/writer /run/holder; do [ ! -e $f ] || kill $(cat $f); rm -f $f; done 2>/dev/null; sleep 0.5; umount /run/mnt /run/mnt2')
        self.hurt = None
        if self.satellite.running():  # perhaps it is to die at some point that has not come
            self.satellite.stop('KILL')
        self.satellite.start()
        self.wait_online()
        for name in [d['name'] for d in self.rest.get('/v1/resource-definitions').ok().json]:
            for snap in call(self, 'GET', f'{name}/snapshots').ok().json:
                call(self, 'DELETE', f'{name}/snapshots/{snap["name"]}')
            self.rest.call('DELETE', f'/v1/resource-definitions/{name}')
        wait_for('nothing of ours to be left', lambda: not self.left(), 60, 1)

    def close(self):
        self.guest.remove()
        if self.cluster is not None:
            self.cluster.close()


def with_passphrase(bed):
    """The cluster has a master passphrase: LUKS can be used."""
    if bed.rest.get('/v1/encryption/passphrase').ok().json['status'] == 'unset':
        bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'}).ok()


# ---- volumes with data ----

def call(bed, method, path, body=None):
    return bed.rest.call(method, f'/v1/resource-definitions/{path}', body)


def make(bed, name, pool, layers=('STORAGE',), size_kib=SIZE):
    bed.define(name, size_kib)
    bed.place(name, pool, layers=layers)
    return bed.device(name, size_kib)


def fill(bed, name, text):
    """Through the page cache, and not flushed: what a snapshot holds is what was written before it was asked for."""
    path = bed.device(name, SIZE)
    bed.guest.run(f'yes "{text}" | dd of={path} bs=64k count=16 iflag=fullblock conv=notrunc 2>/dev/null;'
                  f'yes "{text} end" | dd of={path} bs=64k count=16 seek=300 iflag=fullblock conv=notrunc 2>/dev/null')


def flushed(bed, name):
    """What was written is there after a loss of power: fsync() of the device, for sync() alone flushes file systems only."""
    bed.guest.run(f'sync {bed.device(name, SIZE)}')


def holds(bed, name, text):
    path = bed.device(name, SIZE)
    bed.guest.run('echo 1 >/proc/sys/vm/drop_caches; set -o pipefail;'
                  f'cmp -n $((16 << 16)) <(yes "{text}") {path} && cmp -n $((16 << 16)) -i 0:$((300 << 16)) <(yes "{text} end") {path}')


# ---- snapshots ----

def snapshots(bed, name):
    return {s['name']: s for s in call(bed, 'GET', f'{name}/snapshots').ok().json}


def take(bed, name, snap):
    call(bed, 'POST', f'{name}/snapshots', {'name': snap}).ok()
    assert snapshots(bed, name)[snap]['flags'] == ['SUCCESSFUL']


def forget(bed, name, snap):
    """Not while something is being made from it: that is refused, until the satellite has said that all of it is done."""
    def deleted():
        answer = call(bed, 'DELETE', f'{name}/snapshots/{snap}')
        return answer.status >= 400 and 'is being made from it' in answer.text or answer.ok()
    wait_for(f'{snap} to be deleted', lambda: deleted() is not True, WAIT_S, 0.5)


def restored(bed, source, snap, name):
    """A new resource from a snapshot."""
    bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-volume-definition/{snap}', {'to_resource': name}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-resource/{snap}', {'to_resource': name}).ok()


def cloned(bed, source, name, layers=None):
    answer = call(bed, 'POST', f'{source}/clone', {'name': name, **({'layer_list': list(layers)} if layers else {})}).ok().json
    wait_for('the clone', lambda: bed.rest.get(answer['location']).ok().json['status'] != 'CLONING', WAIT_S, 0.5)
    assert bed.rest.get(answer['location']).ok().json['status'] == 'COMPLETE'


def rolled_back(bed, name, snap):
    bed.closed(name)
    call(bed, 'POST', f'{name}/snapshot-rollback/{snap}', {}).ok()


def dropped(bed, *names):
    """Resources with their snapshots, where they are there."""
    for name in names:
        if bed.rest.get(f'/v1/resource-definitions/{name}').status == 200:
            for snap in snapshots(bed, name):
                forget(bed, name, snap)
            bed.delete(name)


def snapshot_life(bed, pool, layers=('STORAGE',), look=lambda stage: None):
    """Take, restore, grow, roll back and forwards, clone, delete, in an order that makes everything depend on something that goes first.
    look(stage) is called when 'src' was made, 'taken', 'restored' and 'grown'."""
    free = bed.free(pool)
    make(bed, 'src', pool, layers)
    look('made')
    fill(bed, 'src', 'first')
    take(bed, 'src', 's1')
    look('taken')
    fill(bed, 'src', 'second')
    restored(bed, 'src', 's1', 'copy')
    holds(bed, 'copy', 'first')
    look('restored')
    holds(bed, 'src', 'second')
    fill(bed, 'copy', 'own')
    call(bed, 'PUT', 'copy/volume-definitions/0', {'size_kib': SIZE + 8 * MIB + 1}).ok()
    bed.device('copy', SIZE + 8 * MIB + 1)
    look('grown')
    holds(bed, 'copy', 'own')
    holds(bed, 'src', 'second')
    take(bed, 'src', 's2')
    rolled_back(bed, 'src', 's1')  # with a newer snapshot, and a resource from the older one
    holds(bed, 'src', 'first')
    assert set(snapshots(bed, 'src')) == {'s1', 's2'}
    fill(bed, 'src', 'third')
    cloned(bed, 'src', 'clone')
    holds(bed, 'clone', 'third')
    rolled_back(bed, 'src', 's2')  # forwards again
    holds(bed, 'src', 'second')
    rolled_back(bed, 'src', 's1')  # twice from one snapshot
    holds(bed, 'src', 'first')
    holds(bed, 'clone', 'third')
    forget(bed, 'src', 's2')
    forget(bed, 'src', 's1')
    take(bed, 'src', 's1')  # the name is free, whatever still depends on the old one
    forget(bed, 'src', 's1')
    bed.delete('src')
    holds(bed, 'clone', 'third')
    holds(bed, 'copy', 'own')
    bed.delete('clone')
    holds(bed, 'copy', 'own')
    bed.delete('copy')
    bed.nothing_left()
    wait_for('the space back', lambda: bed.free(pool) >= free - 4 * MIB, WAIT_S, 0.5)


def mounted(bed, pool, layers=('STORAGE',)):
    """A file system that is mounted and written meanwhile: the snapshot holds one that can be mounted; rolling back and deleting are
    refused. A device that is only open is not taken away either."""
    path = make(bed, 'fs', pool, layers)
    bed.guest.run(f'mkfs.ext4 -q {path} && mkdir -p /run/mnt /run/mnt2 && mount {path} /run/mnt && echo text >/run/mnt/file && sync -f /run/mnt;'
                  '{ (while :; do for i in $(seq 50); do echo $i >/run/mnt/n$i; done; sleep 0.1; done) >/dev/null 2>&1 & echo $! >/run/writer; }')
    take(bed, 'fs', 's1')
    wait_for('in use', lambda: bed.in_use('fs'), WAIT_S, 0.5)
    assert call(bed, 'POST', 'fs/snapshot-rollback/s1', {}).status >= 400
    restored(bed, 'fs', 's1', 'fs2')
    bed.guest.run(f'e2fsck -fp {bed.device("fs2", SIZE)} >/dev/null; test $? -lt 2 && mount {bed.device("fs2", SIZE)} /run/mnt2 && '
                  'test "$(cat /run/mnt2/file)" = text && umount /run/mnt2')
    forget(bed, 'fs', 's1')
    bed.delete('fs2')
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/fs')
    assert answer.status >= 400 and ('in use' in answer.text or 'busy' in answer.text), answer.text
    bed.guest.run('kill $(cat /run/writer); while kill -0 $(cat /run/writer) 2>/dev/null; do sleep 0.1; done; '
                  f'test "$(cat /run/mnt/file)" = text && umount /run/mnt; (sleep 3600 <{path} >/dev/null 2>&1 & echo $! >/run/holder)')
    bed.rest.call('DELETE', '/v1/resource-definitions/fs')
    bed.guest.run(f'sleep 2; test -b {path}; kill $(cat /run/holder)')
    wait_for('the deletion', lambda: bed.rest.call('DELETE', '/v1/resource-definitions/fs').status < 400, WAIT_S, 1)
    bed.nothing_left()


def power(bed, pool, layers=('STORAGE',), snapshot=True):
    """The node loses power: volumes come up by themselves, with what was flushed; snapshots are there, and can be used."""
    make(bed, 'kept', pool, layers)
    fill(bed, 'kept', 'first')
    if snapshot:
        take(bed, 'kept', 's1')
    fill(bed, 'kept', 'second')
    flushed(bed, 'kept')
    bed.lose_power()
    holds(bed, 'kept', 'second')
    if snapshot:
        rolled_back(bed, 'kept', 's1')
        holds(bed, 'kept', 'first')
    dropped(bed, 'kept')
    bed.nothing_left()


# ---- a satellite that dies ----

def clone_status(bed):
    answer = bed.rest.get('/v1/resource-definitions/src/clone/clone')
    return answer.json['status'] if answer.status == 200 else None


def cloned_again(bed, layers=None):
    """The clone of 'src' that was begun before a death has ended well, or has failed and can be begun anew. Both go."""
    wait_for('an end', lambda: clone_status(bed) != 'CLONING', WAIT_S, 1)
    if clone_status(bed) != 'COMPLETE':
        print('        failed, and is begun anew')
        if clone_status(bed) is not None:
            bed.delete('clone')
            bed.gone('clone')
        wait_for('no saga to be left', lambda: call(bed, 'GET', 'src/snapshots').ok().json == [], WAIT_S, 1)
        cloned(bed, 'src', 'clone', layers)
    holds(bed, 'src', 'first')
    holds(bed, 'clone', 'first')
    wait_for('no snapshot to be left', lambda: sorted(bed.ours()) == ['clone_00000', 'src_00000'], WAIT_S, 1)
    bed.delete('clone')
    bed.delete('src')
    bed.nothing_left()


def killed(bed, point, action):
    """The satellite, started for it, dies at the point (name, or name:n for the n-th time) in what action does, and is started again.
    What action raises is printed: what was begun may have been undone."""
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=point)
    bed.wait_online()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(action)
        failed = []  # when the action failed: a death may still come

        def dead():
            if done.done() and done.exception() is not None:
                failed.append(time.monotonic())
            if not bed.satellite.running():
                return True
            if failed and time.monotonic() - failed[0] > EARLY_S:
                done.result()
            return False
        try:
            wait_for(f'death at {point}', dead, WAIT_S, 0.3)
        except TimeoutError:
            print(bed.satellite.log()[-3000:], done.done() and done.result(), call(bed, 'GET', 'hurt/snapshots').text[:2000])
            raise
        finally:
            if bed.satellite.running():  # it is to die at a point that has not come
                bed.satellite.stop('KILL')
            bed.satellite.start()
        try:
            done.result()
        except AssertionError as e:
            print(f'        {point}: {str(e)[:150]}')
    bed.wait_online()


def hurt(bed, pool, layers, what):
    """What the satellite is to die at: 'hurt', new or as an earlier death left it, which may have snapshot s1. What is in the storage then."""
    if bed.hurt != (pool, layers) or what == 'create':
        put_away(bed)
    if what == 'create':
        return []
    if bed.hurt is None:
        make(bed, 'hurt', pool, layers)
        bed.hurt = pool, layers
    if what not in ('grow', 'delete') and not snapshots(bed, 'hurt'):
        fill(bed, 'hurt', 'first')
        take(bed, 'hurt', 's1')
    if what == 'delete':
        for snap in snapshots(bed, 'hurt'):
            forget(bed, 'hurt', snap)
    fill(bed, 'hurt', 'first' if what in ('grow', 'delete') else 'second')
    return sorted(bed.left())


def put_away(bed):
    if bed.hurt is not None:
        bed.hurt = None
        dropped(bed, 'hurt')
        bed.nothing_left()


def killed_in(bed, pool, layers, what, point):
    """The satellite dies in the midst of a step: what was begun is ended, or undone and can be repeated. Nothing is left over of it."""
    before = hurt(bed, pool, layers, what)
    if what == 'unsnap':
        restored(bed, 'hurt', 's1', 'copy')
    killed(bed, point, {
        'create': lambda: make(bed, 'hurt', pool, layers),
        'grow': lambda: call(bed, 'PUT', 'hurt/volume-definitions/0', {'size_kib': SIZE + 8 * MIB}),
        'snapshot': lambda: call(bed, 'POST', 'hurt/snapshots', {'name': 's2'}),
        'restore': lambda: restored(bed, 'hurt', 's1', 'copy'),
        'clone': lambda: cloned(bed, 'hurt', 'copy'),
        'rollback': lambda: rolled_back(bed, 'hurt', 's1'),
        'unsnap': lambda: forget(bed, 'hurt', 's1'),
        'delete': lambda: bed.delete('hurt')}[what])
    if bed.rest.get('/v1/resource-definitions/hurt').status == 200:
        wait_for('no saga to be left', lambda: all('SUCCESSFUL' in s['flags'] for s in snapshots(bed, 'hurt').values()), WAIT_S, 0.5)
        after_kill(bed, what)
    else:
        assert what == 'delete', 'it is gone'
    dropped(bed, 'copy')
    if what in ('create', 'delete'):
        bed.hurt = None
        dropped(bed, 'hurt')
        return bed.nothing_left()
    if what == 'snapshot':
        forget(bed, 'hurt', 's2')
    if what == 'unsnap':
        fill(bed, 'hurt', 'first')
        take(bed, 'hurt', 's1')
    wait_for('nothing but what was there', lambda: sorted(bed.left()) == before, WAIT_S, 1)
    return None


def after_kill(bed, what):
    if what in ('create', 'delete'):  # a deletion that went on goes on now, too
        return bed.device('hurt', SIZE) if what == 'create' else None
    if what == 'grow':
        bed.device('hurt', SIZE + 8 * MIB)
        return holds(bed, 'hurt', 'first')
    if what == 'rollback':
        try:
            return holds(bed, 'hurt', 'first')
        except AssertionError:  # it was undone: nothing is lost, and it works now
            holds(bed, 'hurt', 'second')
            print('        undone')
            rolled_back(bed, 'hurt', 's1')
            return holds(bed, 'hurt', 'first')
    holds(bed, 'hurt', 'second')
    if what == 'snapshot':
        if 's2' not in snapshots(bed, 'hurt'):
            print('        not taken')
            take(bed, 'hurt', 's2')
        restored(bed, 'hurt', 's2', 'copy')
    if what == 'unsnap':
        wait_for('the snapshot to be gone', lambda: not snapshots(bed, 'hurt'), WAIT_S, 0.5)
    if what == 'clone' and bed.rest.get('/v1/resource-definitions/copy').status == 200 and not bed.volume('copy'):
        print('        failed, and is begun anew')
        bed.delete('copy')
    if what == 'clone' and bed.rest.get('/v1/resource-definitions/copy').status != 200:
        cloned(bed, 'hurt', 'copy')
    return holds(bed, 'copy', 'second' if what in ('snapshot', 'clone') else 'first')


# ---- scenarios ----

def bed_for(suite, name, kind, work, image, fits=lambda bed: True):
    """The bed that the scenario before left, when it is of that kind, fits and nothing failed on it; else a new one, or None."""
    bed = suite.bed
    if bed is not None and type(bed) is kind and bed.in_order and fits(bed):
        return bed
    close_bed(suite)
    suite.bed = suite.check(name, kind, work, image)
    return suite.bed


def close_bed(suite):
    if suite.bed is not None:
        suite.bed.close()
    suite.bed = None


def run_checks(suite, bed, everything, checks):
    """checks: (in the selection?, name, function, what it is called with after the bed...). The bed stays, for the next scenario."""
    suite.clean, before = bed.clean, suite.failed

    def alone(fn, *args):
        if fn is not killed_in:
            put_away(bed)
        fn(bed, *args)
    for chosen, name, *call_of in checks:
        if chosen or everything:
            suite.check(name, alone, *call_of)
    if bed.hurt is not None:
        Suite.check(suite, 'deleted, and nothing is left', put_away, bed)
    if suite.failed > before:
        print(bed.satellite.log()[-6000:])
    bed.in_order = suite.failed == before and suite.unable is None
