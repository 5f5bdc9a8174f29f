"""LVM and LVM_THIN on a real kernel: created, written, grown, deleted; foreign volumes, a full group, a lost group; a satellite that is
killed between any two steps."""
import concurrent.futures
import re
import subprocess
import time

from lib_e2e import BUILD, Cluster, wait_for
from rig import TOP, Guest, Satellite

MIB = 1024  # KiB
POINTS = re.findall(r'^INJECT\((LVM_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
DISK_POINTS = re.findall(r'^INJECT\((DISK_POOL_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
POINTS.remove('LVM_RENAMED')  # of snapshots: scenario_snap.py


class Fresh:
    """A connection that is opened anew when it was idle: what a guest does may take longer than the server keeps one."""

    def __init__(self, rest):
        self.rest, self.last = rest, time.monotonic()

    def call(self, *args, **kwargs):
        if time.monotonic() - self.last > 3 and self.rest.connection is not None:
            self.rest.connection.close()
            self.rest.connection = None
        try:
            return self.rest.call(*args, **kwargs)
        finally:
            self.last = time.monotonic()

    def get(self, path):
        return self.call('GET', path)

    def close(self):
        self.rest.close()


class Bed:
    def __init__(self, work, image):
        self.guest, self.cluster = Guest(work, image, 1), None
        try:
            self.set_up()
        except BaseException:
            self.close()
            raise

    def set_up(self):
        self.guest.start()
        self.cluster = Cluster(controllers=1, satellites=0)
        self.guest.wait_ready()
        self.rest = Fresh(self.cluster.rest('c1', timeout_s=600))
        self.satellite = Satellite(self.guest)
        self.satellite.join(self.cluster)
        self.satellite.start()
        self.guest.run('vgcreate -q vg0 /dev/disk/by-id/virtio-data0 && '
                       'lvcreate -q --type thin-pool -L 800M -n thin vg0 2>&1')
        self.rest.call('POST', '/v1/nodes', {'name': 'n1', 'type': 'SATELLITE', 'net_interfaces': [
            {'name': 'default', 'address': self.guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        wait_for('the node', self.online, 600, 0.3)
        for name, kind, place in (('thick', 'LVM', 'vg0'), ('thin', 'LVM_THIN', 'vg0/thin')):
            self.rest.call('POST', '/v1/nodes/n1/storage-pools', {
                'storage_pool_name': name, 'provider_kind': kind, 'props': {'StorDriver/StorPoolName': place}}).ok()

    def online(self):
        return self.rest.get('/v1/nodes/n1').ok().json['connection_status'] == 'ONLINE'

    def pool(self, name):
        pools = self.rest.get('/v1/nodes/n1/storage-pools').ok().json
        return next(p for p in pools if p['storage_pool_name'] == name)

    def define(self, name, size_kib):
        self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}}).ok()
        self.rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions',
                       {'volume_definition': {'size_kib': size_kib}}).ok()

    def place(self, name, pool, ok=True):
        answer = self.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
            {'resource': {'name': name, 'node_name': 'n1', 'props': {'StorPoolName': pool}}, 'layer_list': ['STORAGE']}])
        return answer.ok() if ok else answer

    def volume(self, name):
        r = self.rest.get(f'/v1/view/resources?resources={name}').ok().json
        return r[0]['volumes'][0] if r and r[0].get('volumes') else {}

    def device(self, name, size_kib):
        """Waits until the API shows the device in that size; the guest must say the same."""
        def there():
            v = self.volume(name)
            return v.get('device_path') and v.get('usable_size_kib', 0) >= size_kib and v['device_path']
        path = wait_for(f'{name} of {size_kib} KiB', there, 600, 0.3)
        real = int(self.guest.run(f'blockdev --getsize64 {path}')) // 1024
        assert real == self.volume(name)['usable_size_kib'], (real, self.volume(name))
        return path

    def delete(self, name):
        self.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()

    def lvs(self):
        return self.guest.run('lvs --noheadings -o lv_name vg0').split()

    def gone(self, name):
        wait_for(f'{name} to be gone', lambda: f'{name}_00000' not in self.lvs(), 600, 0.5)

    def close(self):
        self.guest.remove()
        if self.cluster is not None:
            self.cluster.close()


def life(bed, pool):
    """Create, write, grow, read again, delete."""
    name = f'life-{pool}'
    free = bed.pool(pool)['free_capacity']
    bed.define(name, 50 * MIB)
    bed.place(name, pool)
    path = bed.device(name, 50 * MIB)
    bed.guest.run(f'head -c 40M /dev/urandom >/run/data; dd if=/run/data of={path} bs=1M oflag=direct 2>/dev/null')
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 91 * MIB}).ok()
    path = bed.device(name, 91 * MIB)
    bed.guest.run(f'cmp -n $((40 << 20)) /run/data {path}')
    assert bed.volume(name)['usable_size_kib'] == 92 * MIB, bed.volume(name)  # whole extents of 4 MiB
    if pool == 'thick':
        wait_for('less free space', lambda: bed.pool(pool)['free_capacity'] <= free - 92 * MIB, 600, 0.5)
    bed.delete(name)
    bed.gone(name)
    wait_for('the space back', lambda: bed.pool(pool)['free_capacity'] >= free - 2 * MIB, 600, 0.5)


def disks(bed):
    """A disk that nobody uses is listed, with what it is; one with a signature is not."""
    def listed():
        return [d['device'] for d in bed.rest.get('/v1/physical-storage/n1').ok().json]
    second = bed.guest.run('readlink -f /dev/disk/by-id/virtio-data1').strip()
    wait_for('the second disk alone', lambda: listed() == [second], 600, 1)
    one = bed.rest.get('/v1/physical-storage/n1').ok().json[0]
    assert one['size'] == 2 << 30 and one['serial'] == 'data1', one
    bed.guest.run(f'mkswap {second} >/dev/null')
    wait_for('no disk', lambda: listed() == [], 600, 1)
    bed.guest.run(f'wipefs -qa {second}')
    wait_for('the second disk again', lambda: listed() == [second], 600, 1)


def make_pool(bed, *words, ok=True):
    """`outrigger physical-storage create-device-pool`: its output, and whether it went well."""
    done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', bed.cluster.address('c1'), 'physical-storage', 'create-device-pool',
                           *words], capture_output=True, text=True, timeout=600)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def unmake(bed, pool, vg):
    """The storage pool, and what it was made of, by hand."""
    if pool:
        bed.rest.call('DELETE', f'/v1/nodes/n1/storage-pools/{pool}').ok()
    bed.guest.run(f'vgremove -q -y -f {vg} && pvremove -q /dev/disk/by-id/virtio-data1')


def device_pools(bed):
    """Disks become pools by the CLI: what somebody uses is refused and keeps its bytes; options reach the programs; volumes are made there."""
    first, second = '/dev/disk/by-id/virtio-data0', '/dev/disk/by-id/virtio-data1'
    told = make_pool(bed, 'lvm', 'n1', first, '--pool-name', 'other', ok=False)
    assert 'other devices are made of it' in told or 'signature' in told or 'open' in told, told
    bed.guest.run(f'mkfs.ext4 -q {second} && head -c 4M {second} >/run/head')
    told = make_pool(bed, 'lvmthin', 'n1', second, '--pool-name', 'fast', '--storage-pool', 'fast', ok=False)
    assert 'signature' in told and 'wipefs' in told, told
    bed.guest.run(f'cmp -n $((4 << 20)) /run/head {second} && wipefs -qa {second}')
    told = make_pool(bed, 'lvm', 'n1', second, '--pool-name', 'vg0', ok=False)
    assert 'volume group vg0 already' in told, told
    told = make_pool(bed, 'lvm', 'n1', second, '--pool-name', 'fast', '--vg-create-arguments=--shared', ok=False)
    assert '--shared' in told, told
    make_pool(bed, 'lvmthin', 'n1', second, '--pool-name', 'fast', '--storage-pool', 'fast', '--lv-create-arguments=--chunksize=128k',
              '--vg-create-arguments=-s 8m')
    assert bed.pool('fast')['props']['StorDriver/StorPoolName'] == 'linstor_fast/fast'
    assert bed.guest.run('vgs --noheadings --units k --nosuffix -o vg_extent_size linstor_fast').strip() == '8192.00'
    assert bed.guest.run('lvs --noheadings --units k --nosuffix -o chunk_size linstor_fast/fast').strip() == '128.00'
    assert bed.pool('fast')['free_capacity'] > 1800 * MIB, bed.pool('fast')
    bed.define('there', 24 * MIB)
    bed.place('there', 'fast')
    path = bed.device('there', 24 * MIB)
    bed.guest.run(f'echo text | dd of={path} conv=sync oflag=direct bs=4096 2>/dev/null; test "$(head -c 4 {path})" = text')
    bed.delete('there')
    wait_for('the volume to be gone', lambda: 'there' not in bed.guest.run('lvs --noheadings -o lv_name linstor_fast'), 600, 0.5)
    unmake(bed, 'fast', 'linstor_fast')


def device_pool_killed(bed, point):
    """The satellite dies while it makes a pool and is started again: the pool is made, once, and registered."""
    wait_for('the disk to be free', lambda: bed.rest.get('/v1/physical-storage/n1').ok().json, 600, 1)
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=point.lower())
    wait_for('the node', bed.online, 600, 0.3)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(make_pool, bed, 'lvmthin', 'n1', '/dev/disk/by-id/virtio-data1', '--pool-name', 'vg9/thin', '--storage-pool', 'late')
        wait_for(f'death at {point}', lambda: not bed.satellite.running(), 600, 0.3)
        bed.satellite.start()
        done.result()
    wait_for('the pool', lambda: any(p['storage_pool_name'] == 'late' and p.get('free_capacity', 0) > 1800 * MIB for p in bed.rest.get(
        '/v1/nodes/n1/storage-pools').ok().json), 600, 0.5)
    assert bed.guest.run('vgs --noheadings -o vg_name,lv_count vg9').split() == ['vg9', '1']
    unmake(bed, 'late', 'vg9')


def options(bed):
    """LvcreateOptions and LvcreateType reach lvcreate; what is not to be handed on is refused by name, and nothing is made."""
    bed.guest.run('vgextend -q vg0 /dev/disk/by-id/virtio-data1')
    bed.define('wide', 24 * MIB)
    bed.rest.call('PUT', '/v1/resource-definitions/wide', {'override_props': {
        'StorDriver/LvcreateOptions': '-i 2 --config devices{}'}}).ok()
    bed.place('wide', 'thick', ok=False)
    reports = wait_for('the report', lambda: bed.volume('wide').get('reports'), 300, 0.5)
    assert any('--config' in (r.get('cause') or '') for r in reports), reports
    assert 'wide_00000' not in bed.lvs()
    bed.rest.call('PUT', '/v1/resource-definitions/wide', {'override_props': {
        'StorDriver/LvcreateOptions': '-i 2 -I 64', 'StorDriver/LvcreateType': 'striped'}}).ok()
    bed.device('wide', 24 * MIB)
    assert bed.guest.run('lvs --noheadings --units k --nosuffix -o stripes,stripe_size vg0/wide_00000').split() == ['2', '64.00']
    bed.delete('wide')
    bed.gone('wide')
    bed.guest.run('vgreduce -q vg0 /dev/disk/by-id/virtio-data1')


def in_use(bed):
    """A device that somebody has open is not taken away, the reason is told, and the deletion works when it is free."""
    bed.define('used', 20 * MIB)
    bed.place('used', 'thick')
    path = bed.device('used', 20 * MIB)
    bed.guest.run(f'mkfs.ext4 -q {path} && mkdir -p /run/mnt && mount {path} /run/mnt && echo text >/run/mnt/file')
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/used')
    if answer.status < 400:
        raise AssertionError(f'deleted although it is mounted: {answer.text}')
    assert 'in use' in answer.text, answer.text
    bed.guest.run('sleep 4; test "$(cat /run/mnt/file)" = text')
    assert 'used_00000' in bed.lvs()
    bed.guest.run('umount /run/mnt')
    wait_for('the deletion', lambda: bed.rest.call('DELETE', '/v1/resource-definitions/used').status < 400, 600, 1)
    bed.gone('used')


def foreign(bed):
    """A volume that is not ours keeps its name and its bytes."""
    bed.guest.run('lvcreate -q -y -L 20M -n theirs_00000 vg0 && echo precious | dd of=/dev/vg0/theirs_00000 conv=sync 2>/dev/null')
    bed.define('theirs', 20 * MIB)
    bed.place('theirs', 'thick', ok=False)
    reports = wait_for('the report', lambda: bed.volume('theirs').get('reports'), 600, 0.5)
    assert any('mark' in (r.get('cause') or '') or 'tag' in (r.get('cause') or '') for r in reports), reports
    bed.delete('theirs')
    assert bed.guest.run('head -c 8 /dev/vg0/theirs_00000') == 'precious'
    bed.guest.run('lvremove -q -y vg0/theirs_00000')


def full(bed):
    """What does not fit is refused with cause and remedy; what fits later is made then."""
    bed.define('large', 900 * MIB)
    bed.guest.run('lvcreate -q -y -l 80%FREE -n ballast vg0')
    answer = bed.place('large', 'thick', ok=False)
    told = answer.text if answer.status >= 400 else wait_for(
        'the report', lambda: bed.volume('large').get('reports'), 600, 0.5)
    assert 'space' in str(told), told
    if answer.status < 400:
        bed.guest.run('lvremove -q -y vg0/ballast')
        bed.device('large', 900 * MIB)
        bed.delete('large')
        bed.gone('large')
    else:
        bed.delete('large')
        bed.guest.run('lvremove -q -y vg0/ballast')


def group_lost(bed):
    """The disk of a group vanishes and comes back: an error of the pool with its cause, no device lost, none made anew."""
    bed.define('kept', 20 * MIB)
    bed.place('kept', 'thick')
    path = bed.device('kept', 20 * MIB)
    bed.guest.run(f'echo text | dd of={path} conv=sync 2>/dev/null')
    bed.guest.run('vgrename -q vg0 hidden')
    reports = wait_for('the pool to say so', lambda: bed.pool('thick').get('reports'), 600, 0.5)
    assert any('vg0' in str(r) for r in reports), reports
    bed.guest.run('vgrename -q hidden vg0')
    wait_for('the pool to be well', lambda: not bed.pool('thick').get('reports'), 600, 0.5)
    assert bed.guest.run(f'head -c 4 {bed.device("kept", 20 * MIB)}') == 'text'
    bed.delete('kept')
    bed.gone('kept')


def killed_at(bed, point):
    """The satellite dies at one point of a volume's life and is started again: the life goes on, nothing is left over."""
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=point.lower())
    wait_for('the node', bed.online, 600, 0.3)
    name = 'k-' + point.lower().replace('_', '-')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def history():
            bed.place(name, 'thick')
            bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 40 * MIB}).ok()
            bed.device(name, 40 * MIB)
            if point == 'LVM_DETACHED' or point == 'LVM_ATTACHED':
                for verb in ('deactivate', 'activate'):
                    bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources/n1/{verb}')
            bed.delete(name)
        bed.define(name, 20 * MIB)
        done = pool.submit(history)
        wait_for(f'death at {point}', lambda: not bed.satellite.running(), 600, 0.3)
        bed.satellite.start()
        done.result()
    bed.gone(name)
    assert bed.guest.run('lvs --noheadings -o lv_tags vg0').count('outrigger:') == 0


def run(suite, work, image, everything):
    bed = suite.check('a guest with a kernel of its own, a satellite in it, two pools', Bed, work, image)
    if bed is None:
        return
    try:
        for pool in ('thick', 'thin'):
            suite.check(f'create, write, grow, read, delete in pool {pool}', life, bed, pool)
        suite.check('disks that nobody uses', disks, bed)
        suite.check('disks that become pools', device_pools, bed)
        for point in DISK_POINTS if everything else ():
            suite.check(f'a disk that becomes a pool, killed at {point}', device_pool_killed, bed, point)
        suite.check('options of lvcreate', options, bed)
        suite.check('a device in use', in_use, bed)
        suite.check('a volume that is not ours', foreign, bed)
        suite.check('a full group', full, bed)
        suite.check('a group that vanishes', group_lost, bed)
        for point in POINTS if everything else POINTS[:2]:
            suite.check(f'killed at {point}', killed_at, bed, point)
        if suite.failed:
            print(bed.satellite.log()[-4000:])
    finally:
        bed.close()
