"""Snapshots on a real kernel, of thin LVM with and without LUKS above it: data are written before and compared after each of taking,
restoring, rolling back and cloning; a satellite is killed between any two steps; the pool is full; the disk fails below it. Thick LVM has
none, and says so."""
import concurrent.futures

from lib_e2e import wait_for
from scenario_lvm import MIB, Bed

PASSPHRASE = 'correct horse battery staple'
SIZE = 24 * MIB
WAIT_S = 600  # a step of the product may take long on a busy machine; how long is not judged here


def call(bed, method, path, body=None):
    return bed.rest.call(method, f'/v1/resource-definitions/{path}', body)


def make(bed, name, layers, pool='thin'):
    bed.define(name, SIZE)
    bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
        {'resource': {'name': name, 'node_name': 'n1', 'props': {'StorPoolName': pool}}, 'layer_list': layers}]).ok()
    return bed.device(name, SIZE)


def fill(bed, name, text):
    """Through the page cache, and not flushed: what a snapshot holds is what was written before it was asked for."""
    bed.guest.run(f'yes "{text}" | dd of={bed.device(name, SIZE)} bs=64k count=16 iflag=fullblock conv=notrunc 2>/dev/null')
    bed.guest.run(f'yes "{text} end" | dd of={bed.device(name, SIZE)} bs=64k count=16 seek=300 iflag=fullblock conv=notrunc 2>/dev/null')


def holds(bed, name, text):
    path = bed.device(name, SIZE)
    bed.guest.run(f'echo 1 >/proc/sys/vm/drop_caches; yes "{text}" | cmp -n $((16 << 16)) - {path} &&'
                  f'yes "{text} end" | cmp -n $((16 << 16)) -i 0:$((300 << 16)) - {path}')


def snapshots(bed, name):
    return {s['name']: s for s in call(bed, 'GET', f'{name}/snapshots').ok().json}


def ours(bed, vg='vg0'):
    """The logical volumes that carry our tags."""
    lines = bed.guest.run(f'lvs --noheadings -o lv_name,lv_tags {vg}').splitlines()
    return [line.split()[0] for line in lines if 'outrigger' in line]


def nothing_left(bed):
    wait_for('nothing of ours in the group', lambda: not ours(bed), WAIT_S, 1)
    assert 'Linstor' not in bed.guest.run('dmsetup ls')
    assert bed.guest.run('dmsetup info -c --noheadings -o suspended | sort -u').split() in ([], ['Active']), 'something is suspended'


def restored(bed, source, snap, name):
    """A new resource from a snapshot."""
    bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-volume-definition/{snap}', {'to_resource': name}).ok()
    call(bed, 'POST', f'{source}/snapshot-restore-resource/{snap}', {'to_resource': name}).ok()


def cloned(bed, source, name):
    answer = call(bed, 'POST', f'{source}/clone', {'name': name}).ok().json
    wait_for('the clone', lambda: bed.rest.get(answer['location']).ok().json['status'] != 'CLONING', WAIT_S, 0.5)
    assert bed.rest.get(answer['location']).ok().json['status'] == 'COMPLETE'


def life(bed, layers):
    """Take, restore, grow, roll back, clone, delete."""
    make(bed, 'src', layers)
    fill(bed, 'src', 'first')
    call(bed, 'POST', 'src/snapshots', {'name': 's1'}).ok()
    assert snapshots(bed, 'src')['s1']['flags'] == ['SUCCESSFUL']
    fill(bed, 'src', 'second')
    restored(bed, 'src', 's1', 'copy')
    holds(bed, 'copy', 'first')
    holds(bed, 'src', 'second')
    fill(bed, 'copy', 'own')
    call(bed, 'PUT', 'copy/volume-definitions/0', {'size_kib': SIZE + 8 * MIB}).ok()
    bed.device('copy', SIZE + 8 * MIB)
    holds(bed, 'copy', 'own')
    holds(bed, 'src', 'second')
    call(bed, 'POST', 'src/snapshot-rollback/s1', {}).ok()
    holds(bed, 'src', 'first')
    fill(bed, 'src', 'third')
    cloned(bed, 'src', 'clone')
    holds(bed, 'clone', 'third')
    call(bed, 'POST', 'src/snapshot-rollback/s1', {}).ok()  # twice from one snapshot
    holds(bed, 'src', 'first')
    holds(bed, 'clone', 'third')
    call(bed, 'DELETE', 'src/snapshots/s1').ok()
    bed.delete('src')
    holds(bed, 'clone', 'third')
    holds(bed, 'copy', 'own')
    bed.delete('clone')
    bed.delete('copy')
    nothing_left(bed)


def in_use(bed, layers):
    """A file system that is mounted and written meanwhile: the snapshot holds one that can be mounted; rolling back is refused."""
    path = make(bed, 'fs', layers)
    bed.guest.run(f'mkfs.ext4 -q {path} && mkdir -p /run/mnt /run/mnt2 && mount {path} /run/mnt && echo text >/run/mnt/file;'
                  '(for i in $(seq 2000); do echo $i >/run/mnt/n$((i % 50)); done) >/dev/null 2>&1 &')
    call(bed, 'POST', 'fs/snapshots', {'name': 's1'}).ok()
    wait_for('in use', lambda: bed.rest.get('/v1/view/resources?resources=fs').json[0]['state']['in_use'], WAIT_S, 0.5)
    assert call(bed, 'POST', 'fs/snapshot-rollback/s1', {}).status >= 400
    restored(bed, 'fs', 's1', 'fs2')
    bed.guest.run(f'e2fsck -fp {bed.device("fs2", SIZE)} >/dev/null; test $? -lt 2 && mount {bed.device("fs2", SIZE)} /run/mnt2 && '
                  'test "$(cat /run/mnt2/file)" = text && umount /run/mnt2; wait')
    bed.guest.run('umount /run/mnt')
    call(bed, 'DELETE', 'fs/snapshots/s1').ok()
    bed.delete('fs2')
    bed.delete('fs')
    nothing_left(bed)


def thick(bed):
    """Thick LVM has no snapshots: refused with cause and remedy, and nothing is made."""
    bed.define('solid', SIZE)
    bed.place('solid', 'thick')
    for method, path, body in (('POST', 'solid/snapshots', {'name': 's1'}), ('POST', 'solid/clone', {'name': 'copy'})):
        answer = call(bed, method, path, body)
        assert answer.status >= 400 and 'no snapshots' in answer.text and 'thin' in answer.text, answer.text
    assert ours(bed) == ['solid_00000'], ours(bed)
    assert bed.rest.get('/v1/resource-definitions/copy').status == 404
    bed.delete('solid')
    nothing_left(bed)


# Where the satellite is ended, and in what: the n-th time that it reaches the point since it was started for it.
KILLS = (('snapshot', 'lvm_created:1'), ('restore', 'lvm_created:1'), ('restore', 'lvm_attached:1'), ('clone', 'lvm_created:2'),
         ('rollback', 'lvm_detached:1'), ('rollback', 'lvm_created:1'), ('rollback', 'lvm_created:2'), ('rollback', 'lvm_removed:1'),
         ('rollback', 'lvm_renamed:1'), ('rollback', 'lvm_attached:1'), ('delete', 'lvm_removed:1'))
KILLS_LUKS = (('snapshot', 'luks_held:1'), ('clone', 'luks_opened:1'), ('rollback', 'luks_closed:1'), ('rollback', 'luks_opened:1'))


def killed_at(bed, layers, what, point):
    """The satellite dies in the midst and is started again: what was begun is ended, or undone and can be repeated."""
    make(bed, 'hurt', layers)
    fill(bed, 'hurt', 'first')
    call(bed, 'POST', 'hurt/snapshots', {'name': 's1'}).ok()
    fill(bed, 'hurt', 'second')
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=point)
    wait_for('the node', bed.online, WAIT_S, 0.3)
    bed.device('hurt', SIZE)
    todo = {'snapshot': lambda: call(bed, 'POST', 'hurt/snapshots', {'name': 's2'}),
            'restore': lambda: restored(bed, 'hurt', 's1', 'copy'),
            'clone': lambda: cloned(bed, 'hurt', 'copy'),
            'rollback': lambda: call(bed, 'POST', 'hurt/snapshot-rollback/s1', {}).ok(),
            'delete': lambda: call(bed, 'DELETE', 'hurt/snapshots/s1')}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(todo[what])
        wait_for(f'death at {point}', lambda: not bed.satellite.running(), WAIT_S, 0.3)
        bed.satellite.start()
        try:
            done.result()
        except AssertionError as e:
            print(f'        {what}, {point}: {str(e)[:150]}')
    wait_for('the node', bed.online, WAIT_S, 0.3)
    wait_for('no saga to be left', lambda: all('SUCCESSFUL' in s['flags'] for s in snapshots(bed, 'hurt').values()), WAIT_S, 0.5)
    after_kill(bed, what)
    for name in snapshots(bed, 'hurt'):
        call(bed, 'DELETE', f'hurt/snapshots/{name}').ok()
    for name in ('copy', 'hurt'):
        if bed.rest.get(f'/v1/resource-definitions/{name}').status == 200:
            bed.delete(name)
    nothing_left(bed)


def after_kill(bed, what):
    if what == 'rollback':
        try:
            holds(bed, 'hurt', 'first')
        except AssertionError:  # it was undone: nothing is lost, and it works now
            holds(bed, 'hurt', 'second')
            print('        undone')
            call(bed, 'POST', 'hurt/snapshot-rollback/s1', {}).ok()
            holds(bed, 'hurt', 'first')
        return
    holds(bed, 'hurt', 'second')
    if what == 'snapshot':
        if 's2' not in snapshots(bed, 'hurt'):
            print('        not taken')
            call(bed, 'POST', 'hurt/snapshots', {'name': 's2'}).ok()
        restored(bed, 'hurt', 's2', 'copy')
        holds(bed, 'copy', 'second')
    if what == 'delete':
        wait_for('the snapshot to be gone', lambda: not snapshots(bed, 'hurt'), WAIT_S, 0.5)
    if what == 'restore':
        holds(bed, 'copy', 'first')
    if what == 'clone':
        if bed.rest.get('/v1/resource-definitions/copy').status == 200 and not bed.volume('copy'):
            print('        failed, and is begun anew')
            bed.delete('copy')
            cloned(bed, 'hurt', 'copy')
        holds(bed, 'copy', 'second')


def pool_full(bed, layers):
    """Thin data are full: the pool says so, what is there can be read, and all goes on when there is room."""
    make(bed, 'kept', layers)
    fill(bed, 'kept', 'first')
    bed.guest.run('lvcreate -q -y -V 1G --thinpool thin -n filler vg0 && lvchange -q --errorwhenfull y vg0/thin;'
                  'dd if=/dev/urandom of=/dev/vg0/filler bs=1M oflag=direct 2>/dev/null; true', WAIT_S)
    wait_for('a full pool', lambda: bed.pool('thin')['free_capacity'] < 4 * MIB, WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.define('more', SIZE)
    answer = bed.rest.call('POST', '/v1/resource-definitions/more/resources', [
        {'resource': {'name': 'more', 'node_name': 'n1', 'props': {'StorPoolName': 'thin'}}, 'layer_list': layers}])
    told = answer.text if answer.status >= 400 else str(wait_for('a report', lambda: bed.volume('more').get('reports'), WAIT_S, 0.5))
    assert 'space' in told or 'full' in told, told
    assert bed.online()
    bed.guest.run('lvremove -q -y vg0/filler && lvchange -q --errorwhenfull n vg0/thin')
    wait_for('room', lambda: bed.pool('thin')['free_capacity'] > 400 * MIB, WAIT_S, 0.5)
    call(bed, 'POST', 'kept/snapshots', {'name': 's1'}).ok()
    fill(bed, 'kept', 'second')
    call(bed, 'POST', 'kept/snapshot-rollback/s1', {}).ok()
    holds(bed, 'kept', 'first')
    call(bed, 'DELETE', 'kept/snapshots/s1').ok()
    bed.delete('more')
    bed.delete('kept')
    nothing_left(bed)


def disk_fails(bed):
    """The disk of a group refuses writes (dm-flakey), then everything (dm-error), and comes back: an error of that pool alone."""
    table = bed.guest.run('echo $(( $(blockdev --getsz /dev/disk/by-id/virtio-data1) - 2048 ))').strip()
    disk = '/dev/disk/by-id/virtio-data1 2048'
    linear, flaky = f'0 {table} linear {disk}', f'0 {table} flakey {disk} 0 3600 1 error_writes'

    def swap(line):
        bed.guest.run(f'dmsetup suspend --nolockfs --noflush weak && dmsetup load weak --table "{line}" && dmsetup resume weak')
    bed.guest.run(f'modprobe dm-flakey; dmsetup create weak --table "{linear}" && vgcreate -q vg1 /dev/mapper/weak && '
                  'lvcreate -q --type thin-pool -L 400M -n thin vg1 2>&1')
    bed.rest.call('POST', '/v1/nodes/n1/storage-pools', {'storage_pool_name': 'weak', 'provider_kind': 'LVM_THIN', 'props': {
        'StorDriver/StorPoolName': 'vg1/thin'}}).ok()
    make(bed, 'ill', ['STORAGE'], 'weak')
    fill(bed, 'ill', 'first')
    call(bed, 'POST', 'ill/snapshots', {'name': 's1'}).ok()
    swap(flaky)
    answer = call(bed, 'POST', 'ill/snapshots', {'name': 's2'})
    assert answer.status >= 400, answer.text
    assert list(snapshots(bed, 'ill')) == ['s1']
    swap(f'0 {table} error')
    wait_for('the pool to say so', lambda: bed.pool('weak').get('reports'), WAIT_S, 0.5)
    assert bed.online() and not bed.pool('thin').get('reports')
    swap(linear)
    bed.guest.run('lvchange -an vg1 && lvchange -ay -K vg1 2>&1; vgck vg1 2>&1')
    wait_for('the pool to be well', lambda: not bed.pool('weak').get('reports'), WAIT_S, 0.5)
    wait_for('the device', lambda: bed.volume('ill').get('device_path'), WAIT_S, 0.5)
    holds(bed, 'ill', 'first')
    call(bed, 'POST', 'ill/snapshots', {'name': 's3'}).ok()
    for name in ('s1', 's3'):
        call(bed, 'DELETE', f'ill/snapshots/{name}').ok()
    bed.delete('ill')
    wait_for('nothing of ours', lambda: not ours(bed, 'vg1'), WAIT_S, 1)
    bed.rest.call('DELETE', '/v1/nodes/n1/storage-pools/weak').ok()


def run_layers(suite, bed, layers, everything):
    above = ' and '.join(layers[:-1]) or 'no layer'
    suite.check(f'take, restore, roll back, clone, delete with {above} above', life, bed, layers)
    suite.check(f'a mounted file system with {above} above', in_use, bed, layers)
    kills = KILLS + (KILLS_LUKS if 'LUKS' in layers else ())
    for what, point in kills if everything else kills[-1:]:
        suite.check(f'{what} with {above} above, killed at {point}', killed_at, bed, layers, what, point)
    suite.check(f'a full pool with {above} above', pool_full, bed, layers)


def run(suite, work, image, everything):
    bed = suite.check('a guest, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    try:
        suite.check('thick LVM', thick, bed)
        run_layers(suite, bed, ['STORAGE'], everything)
        bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': PASSPHRASE}).ok()
        run_layers(suite, bed, ['LUKS', 'STORAGE'], everything)
        suite.check('a disk that fails', disk_fails, bed)
        if suite.failed:
            print(bed.satellite.log()[-6000:])
    finally:
        bed.close()
