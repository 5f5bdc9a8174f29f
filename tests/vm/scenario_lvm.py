"""LVM and LVM_THIN on a real kernel: created, written, grown, deleted; foreign volumes, a full group, a lost group; a satellite that is
killed between any two steps; a node that loses power; clones of thick volumes."""
import subprocess

import storage
from lib_e2e import BUILD, wait_for
from storage import MIB, SIZE, WAIT_S, call, cloned, cloned_again, fill, flushed, holds, killed, make, points, power

POINTS = points('LVM')
POINTS = [p for p in POINTS if p not in ('LVM_RENAMED', 'LVM_COPIED')]  # of snapshots: scenario_snap.py; of clones: below


class Bed(storage.Bed):
    POOLS = (('thick', 'LVM', 'vg0'), ('thin', 'LVM_THIN', 'vg0/thin'))

    def make_storage(self):
        self.guest.run('vgcreate -q vg0 /dev/disk/by-id/virtio-data0 && '
                       'lvcreate -q --type thin-pool -L 800M -n thin vg0 2>&1')

    def bring_up(self):
        self.guest.run('modprobe dm_mod')

    def lvs(self):
        return self.guest.run('lvs --noheadings -o lv_name vg0').split()

    def ours(self, vg='vg0'):
        """The logical volumes that carry our tags."""
        lines = self.guest.run(f'lvs --noheadings -o lv_name,lv_tags {vg}').splitlines()
        return [line.split()[0] for line in lines if 'outrigger' in line]

    def left(self):
        return self.ours()

    def nothing_left(self):
        super().nothing_left()
        assert 'Linstor' not in self.guest.run('dmsetup ls')
        assert self.guest.run('dmsetup info -c --noheadings -o suspended | sort -u').split() in ([], ['Active']), 'something is suspended'

    def gone(self, name):
        wait_for(f'{name} to be gone', lambda: f'{name}_00000' not in self.lvs(), 600, 0.5)


def life(bed, pool):
    """Create, write, grow, read again, delete."""
    name = f'life-{pool}'
    free = bed.free(pool)
    bed.define(name, 50 * MIB)
    bed.place(name, pool)
    path = bed.device(name, 50 * MIB)
    bed.guest.run(f'head -c 40M /dev/urandom >/run/data; dd if=/run/data of={path} bs=1M oflag=direct 2>/dev/null')
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 91 * MIB}).ok()
    path = bed.device(name, 91 * MIB)
    bed.guest.run(f'cmp -n $((40 << 20)) /run/data {path}')
    assert bed.volume(name)['usable_size_kib'] == 92 * MIB, bed.volume(name)  # whole extents of 4 MiB
    if pool == 'thick':
        wait_for('less free space', lambda: bed.free(pool) <= free - 92 * MIB, 600, 0.5)
    bed.delete(name)
    bed.gone(name)
    wait_for('the space back', lambda: bed.free(pool) >= free - 2 * MIB, 600, 0.5)


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
    killed(bed, point.lower(), lambda: make_pool(bed, 'lvmthin', 'n1', '/dev/disk/by-id/virtio-data1', '--pool-name', 'vg9/thin',
                                                 '--storage-pool', 'late'))
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
    told = bed.refused('wide', 'thick')
    assert '--config' in told, told
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
    wait_for('in use', lambda: bed.in_use('used'), 600, 0.3)
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
    told = bed.refused('theirs', 'thick')
    assert 'no mark' in told, told
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
    told = bed.trouble('thick')
    assert 'vg0' in told, told
    bed.guest.run('vgrename -q hidden vg0')
    bed.well('thick')
    assert bed.guest.run(f'head -c 4 {bed.device("kept", 20 * MIB)}') == 'text'
    bed.delete('kept')
    bed.gone('kept')


def killed_at(bed, point):
    """The satellite dies at one point of a volume's life and is started again: the life goes on, nothing is left over."""
    name = 'k-' + point.lower().replace('_', '-')

    def history():
        bed.place(name, 'thick')
        bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 40 * MIB}).ok()
        bed.device(name, 40 * MIB)
        if point in ('LVM_DETACHED', 'LVM_ATTACHED'):
            for verb in ('deactivate', 'activate'):
                bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources/n1/{verb}')
        bed.delete(name)
    bed.define(name, 20 * MIB)
    killed(bed, point.lower(), history)
    bed.nothing_left()


# ---- clones: what else takes a snapshot is in scenario_snap.py ----

LAYERS = (('STORAGE',), ('LUKS', 'STORAGE'))
# Where the satellite ends in a clone: the n-th time that it reaches the point.
KILLS = ('lvm_created:1', 'lvm_created:2', 'lvm_wiped:1', 'copying:3', 'lvm_copied:1', 'lvm_attached:1', 'lvm_removed:1')


def numbers(bed, path):
    """The numbers that a writer has written last at two places, in that order."""
    return [int(bed.guest.run(f'dd if={path} bs=4096 skip={at} count=1 iflag=direct 2>/dev/null | head -c 8'), 10) for at in (2560, 3840)]


def clone(bed, layers):
    """A clone of a volume that is written meanwhile holds what was there in one moment; nothing is left of how it was made."""
    path, free = make(bed, 'src', 'thick', layers), bed.free('thick')
    fill(bed, 'src', 'first')
    bed.guest.run('{ (i=10000000; while :; do i=$((i + 1)); for at in 2560 3840; do '
                  f'echo $i | dd of={path} bs=4096 seek=$at conv=sync,notrunc oflag=direct; done; done) >/dev/null 2>&1 & echo $! >/run/writer; }}')
    bed.guest.run(f'until dd if={path} bs=4096 skip=3840 count=1 iflag=direct 2>/dev/null | grep -qa ^1; do sleep 0.2; done', WAIT_S)
    cloned(bed, 'src', 'clone')
    bed.guest.run('kill $(cat /run/writer); while kill -0 $(cat /run/writer) 2>/dev/null; do sleep 0.1; done; rm /run/writer')
    holds(bed, 'clone', 'first')
    first, second = numbers(bed, bed.device('clone', SIZE))
    assert 0 <= first - second <= 1, (first, second)
    assert numbers(bed, path)[0] > first, 'nothing was written while it was copied'
    wait_for('no snapshot to be left', lambda: sorted(bed.ours()) == ['clone_00000', 'src_00000'], WAIT_S, 1)
    fill(bed, 'clone', 'own')
    holds(bed, 'src', 'first')
    call(bed, 'PUT', 'src/volume-definitions/0', {'size_kib': SIZE + 8 * MIB}).ok()  # as before
    bed.device('src', SIZE + 8 * MIB)
    bed.delete('src')
    bed.gone('src')
    holds(bed, 'clone', 'own')
    bed.delete('clone')
    bed.nothing_left()
    wait_for('the space back', lambda: bed.free('thick') >= free, WAIT_S, 1)


def clone_full(bed):
    """A group that lacks the room for what is written meanwhile and for the clone: refused with cause and remedy, before anything is made."""
    make(bed, 'src', 'thick')
    fill(bed, 'src', 'first')
    extents = int(bed.guest.run('vgs --noheadings -o vg_free_count vg0'))
    bed.guest.run(f'lvcreate -q -y -l {extents - SIZE // 4096 - 1} -n ballast vg0')  # the clone alone would fit
    wait_for('a full pool', lambda: bed.free('thick') < 2 * SIZE, WAIT_S, 1)
    answer = call(bed, 'POST', 'src/clone', {'name': 'clone'})
    assert answer.status >= 400 and 'free space' in answer.text and 'volume group' in answer.text, answer.text
    assert bed.ours() == ['src_00000'] and bed.rest.get('/v1/resource-definitions/clone').status == 404
    bed.guest.run('lvremove -q -y vg0/ballast')
    wait_for('room', lambda: bed.free('thick') > 3 * SIZE, WAIT_S, 1)
    cloned(bed, 'src', 'clone')
    holds(bed, 'clone', 'first')
    bed.delete('src')
    bed.delete('clone')
    bed.nothing_left()


def clone_killed(bed, point, layers):
    make(bed, 'src', 'thick', layers)
    fill(bed, 'src', 'first')
    killed(bed, point, lambda: cloned(bed, 'src', 'clone'))
    cloned_again(bed)


def clone_power(bed, layers):
    """The node loses power in the midst of copying: the snapshot is there when it comes back, and the copying begins anew."""
    make(bed, 'src', 'thick', layers)
    fill(bed, 'src', 'first')
    flushed(bed, 'src')
    bed.satellite.stop('KILL')
    bed.satellite.start(inject='copying:5')
    bed.wait_online()
    call(bed, 'POST', 'src/clone', {'name': 'clone'}).ok()
    wait_for('death', lambda: not bed.satellite.running(), WAIT_S, 0.3)
    bed.lose_power()
    cloned_again(bed)


def clone_deleted(bed):
    """A clone that is deleted while it is copied goes at once, and with it everything that was made for it."""
    make(bed, 'src', 'thick', size_kib=300 * MIB)
    call(bed, 'POST', 'src/clone', {'name': 'clone'}).ok()
    wait_for('the copying', lambda: 'clone_00000' in bed.lvs(), WAIT_S, 0.3)
    bed.delete('clone')
    bed.gone('clone')
    wait_for('no saga to be left', lambda: call(bed, 'GET', 'src/snapshots').ok().json == [], WAIT_S, 1)
    wait_for('no snapshot to be left', lambda: bed.ours() == ['src_00000'], WAIT_S, 1)
    bed.delete('src')
    bed.nothing_left()


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest with a kernel of its own, a satellite in it, two pools', Bed, work, image)
    if bed is None:
        return
    storage.with_passphrase(bed)
    storage.run_checks(suite, bed, everything, [
        *((pool == 'thick', f'create, write, grow, read, delete in pool {pool}', life, pool) for pool in ('thick', 'thin')),
        (False, 'disks that nobody uses', disks),
        (True, 'disks that become pools', device_pools),
        *((False, f'a disk that becomes a pool, killed at {point}', device_pool_killed, point) for point in points('DISK_POOL')),
        (False, 'options of lvcreate', options),
        (True, 'a device in use', in_use),
        (False, 'a volume that is not ours', foreign),
        (True, 'a full group', full),
        (False, 'a group that vanishes', group_lost),
        *((point == 'LVM_CREATED', f'killed at {point}', killed_at, point) for point in POINTS),
        *((True, f'a thick volume with {" and ".join(layers[:-1]) or "no layer"} above is cloned while it is written', clone, layers)
          for layers in LAYERS),
        (False, 'clones of thick volumes in a full group', clone_full),
        (False, 'a clone of a thick volume that is deleted while it is copied', clone_deleted),
        *((False, f'a thick volume is cloned, killed at {point}', clone_killed, point, LAYERS[i % 2]) for i, point in enumerate(KILLS)),
        (False, 'a thick volume is cloned on a node that loses power', clone_power, ('STORAGE',)),
        (False, 'a node that loses power, of thick LVM', power, 'thick', ('STORAGE',), False)])
