"""WRITECACHE, CACHE and BCACHE on a real kernel: stacks are created, written, grown, deleted; caches are volumes of another pool, counted
there, and gone with their volume; killed between any two steps; a node that lost power; a cache whose disk fails."""
import re
import time

import scenario_lvm
from lib_e2e import wait_for
from rig import TOP
from storage import MIB

POINTS = re.findall(r'^INJECT\((B?CACHE_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
PROPS = {'Writecache/PoolName': 'fast', 'Writecache/Size': '20%', 'Cache/CachePool': 'fast', 'Cache/Cachesize': '32768',
         'Cache/OpMode': 'writeback', 'Cache/Blocksize': '128', 'BCache/PoolName': 'fast', 'BCache/Writeback': 'true'}
PREFIX = {'WRITECACHE': 'linstor_writecache_', 'CACHE': 'linstor_cache_', 'LUKS': 'Linstor-Crypt-'}
EXTRAS = {'BCACHE': ['.bcache'], 'WRITECACHE': ['.cache'], 'CACHE': ['.dmcache_cache', '.dmcache_meta']}
MODULES = 'for m in dm-writecache dm-cache dm-cache-smq dm-crypt bcache drbd; do modprobe $m; done'
FAST_DISK = ('dmsetup create fastdisk --table "0 $(($(blockdev --getsz /dev/disk/by-id/virtio-data1) - 2048)) linear '
             '/dev/disk/by-id/virtio-data1 2048"')


class Bed(scenario_lvm.Bed):
    """A second group, on a disk that can be made to fail."""

    def bring_up(self):
        self.guest.run(f'{MODULES}; {FAST_DISK}')

    def left(self):
        return left_over(self)


def fast_pool(bed):
    bed.bring_up()
    bed.guest.run('vgcreate -q fast /dev/mapper/fastdisk')
    bed.add_pool('fast', 'LVM', 'fast')
    wait_for('the pool', lambda: bed.pool('fast').get('free_capacity', 0) > 0, 600, 0.5)
    bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'}).ok()


def place(bed, name, stack, ok=True, props=PROPS):
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}', {'override_props': props}).ok()
    answer = bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
        {'resource': {'name': name, 'node_name': 'n1', 'props': {'StorPoolName': 'thick'}}, 'layer_list': stack}])
    return answer.ok() if ok else answer


def left_over(bed):
    """Nothing of ours is on the node."""
    lvs = bed.guest.run('lvs --noheadings -o vg_name,lv_name').split()
    mapped = bed.guest.run('dmsetup ls')
    listed = bed.guest.run('ls /sys/fs/bcache 2>/dev/null; true')
    return ([x for x in lvs if '_0000' in x] + [x for x in mapped.split() if x.lower().startswith('linstor')] +
            [x for x in listed.split() if x.count('-') == 4] +
            bed.guest.run('ls /run/outrigger/satellite/drbd/res 2>/dev/null; true').split())


def delete(bed, name):
    """When nobody has it open: udev looks at devices that were written."""
    def free():
        r = bed.rest.get(f'/v1/view/resources?resources={name}').ok().json
        return not (r and r[0].get('state', {}).get('in_use'))
    try:
        wait_for(f'{name} to be free', free, 90, 0.5)
    except TimeoutError as e:
        held = bed.guest.run('dmsetup info -c; ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E "dm-|mapper|bcache"; dmsetup ls --tree')
        raise AssertionError(f'{e}: {held}') from e
    bed.delete(name)


def life(bed, stack):
    name = 'c-' + stack[0].lower() + str(len(stack))
    bed.define(name, 60 * MIB)
    free = bed.pool('fast')['free_capacity']
    place(bed, name, stack)
    path = bed.device(name, 60 * MIB)
    assert re.fullmatch('/dev/bcache[0-9]+' if stack[0] == 'BCACHE' else f'/dev/mapper/{PREFIX[stack[0]]}{name}_00000', path), path
    bed.guest.run(f'head -c 24M /dev/urandom >/run/data; dd if=/run/data of={path} bs=1M oflag=direct 2>/dev/null')
    layer = bed.rest.get(f'/v1/view/resources?resources={name}').ok().json[0]['layer_object']
    own = layer[stack[0].lower()][f'{stack[0].lower()}_volumes'][0]
    suffixes = [c.get('resource_name_suffix', '') for c in layer['children']]
    assert layer['type'] == stack[0] and suffixes == ['', *EXTRAS[stack[0]]], layer
    assert own['device_path_cache'] == f'/dev/fast/{name}{EXTRAS[stack[0]][0]}_00000', own
    for child, suffix in zip(layer['children'][1:], EXTRAS[stack[0]]):
        v = child['storage']['storage_volumes'][0]
        assert v['device_path'] == f'/dev/fast/{name}{suffix}_00000' and v['volume_number'] == 0, child
    wait_for('less free space', lambda: bed.pool('fast')['free_capacity'] < free, 600, 0.5)
    refused = bed.rest.call('DELETE', '/v1/nodes/n1/storage-pools/fast')
    assert refused.status == 500 and 'is used by 1' in refused.text, refused.text
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 100 * MIB}).ok()
    path = bed.device(name, 100 * MIB)
    bed.guest.run(f'echo 3 >/proc/sys/vm/drop_caches; cmp -n $((24 << 20)) /run/data {path}')
    bed.guest.run(f'dd if=/run/data of={path} bs=1M seek=60 oflag=direct 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches;'
                  f'cmp -n $((24 << 20)) -i 0:$((60 << 20)) /run/data {path}')
    return name, path


def whole_life(bed, stack):
    name, _ = life(bed, stack)
    delete(bed, name)
    wait_for(f'{name} to be gone', lambda: not left_over(bed), 600, 0.5)


def restarted(bed, stack):
    """The satellite is killed, the devices are taken down, the satellite comes back: the data is there; what was only in the cache too."""
    name, path = life(bed, stack)
    bed.satellite.stop('KILL')
    mapped = path.rsplit('/', 1)[1]
    down = f'dmsetup remove {mapped}'
    if stack[0] == 'BCACHE':
        down = f'echo 1 >/sys/block/{mapped}/bcache/stop; for s in /sys/fs/bcache/*-*/stop; do echo 1 >$s; done; sleep 3'
    bed.guest.run(f'{down}; lvchange -an vg0/{name}_00000; vgchange -q -an fast')
    bed.satellite.start()
    wait_for('the node', bed.online, 600, 0.3)
    wait_for('the device', lambda: bed.guest.try_run(f'test -b {path}')[0] == 0, 600, 0.5)
    bed.guest.run(f'cmp -n $((24 << 20)) -i 0:$((60 << 20)) /run/data {path}')
    delete(bed, name)
    wait_for(f'{name} to be gone', lambda: not left_over(bed), 600, 0.5)


def rebooted(bed, stacks):
    """The node loses power and comes back: every volume is up again with its data, also what was only in a cache."""
    sums, guest = {}, bed.guest
    for stack in stacks:
        name = 'b-' + stack[0].lower()
        bed.define(name, 40 * MIB)
        place(bed, name, stack)
        path = bed.device(name, 40 * MIB)
        guest.run(f'head -c 20M /dev/urandom | dd of={path} bs=1M iflag=fullblock oflag=direct 2>/dev/null')
        sums[name] = guest.run(f'head -c 20M {path} | sha256sum').split()[0]
    bed.lose_power()
    for name, expected in sums.items():
        def same():
            path = bed.volume(name).get('device_path')
            status, text = guest.try_run(f'test -b "{path}" && head -c 20M {path} | sha256sum') if path else (1, '')
            return status == 0 and text.split()[0] == expected
        wait_for(f'the data of {name}', same, 600, 1)
    for name in sums:
        delete(bed, name)
    wait_for('all to be gone', lambda: not left_over(bed), 600, 1)


def under_drbd(bed, stack):
    """One replica, DRBD on top: a file system written, grown while mounted, read after the node has lost power, deleted."""
    name, guest = 'd-' + '-'.join(x.lower() for x in stack[1:-1]), bed.guest
    adm = f'drbdadm -c /run/outrigger/satellite/drbd/{name}.conf'
    secondary = f'for try in $(seq 40); do {adm} secondary {name} && break; [ $try != 40 ] && sleep 0.5; done'

    def there(size_kib):  # a secondary of DRBD 8.4 cannot be opened, so that the guest is not asked for its size
        v = bed.volume(name)
        return v.get('usable_size_kib', 0) >= size_kib and v.get('device_path')

    wait_for('DRBD', lambda: 'DRBD' in bed.rest.get('/v1/nodes/n1').ok().json['resource_layers'], 600, 0.5)
    bed.define(name, 40 * MIB)
    place(bed, name, stack)
    path = wait_for('the device', lambda: there(40 * MIB), 600, 0.5)
    guest.run(f'{adm} primary {name} && mkfs.ext4 -q {path} && mkdir -p /run/mnt && mount {path} /run/mnt && head -c 20M /dev/urandom >/run/mnt/f && '
              'sha256sum </run/mnt/f >/run/mnt/f.sum && sync')
    began = time.monotonic()
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 64 * MIB}).ok()
    wait_for('the new size', lambda: there(64 * MIB), 600, 0.5)
    print(f'    grown while mounted, within {time.monotonic() - began:.0f} s')
    guest.run(f'resize2fs {path} 2>&1 && head -c 25M /dev/urandom >/run/mnt/g && sha256sum </run/mnt/g >/run/mnt/g.sum && umount /run/mnt; {secondary}')
    bed.lose_power()
    path = wait_for('the device again', lambda: there(64 * MIB), 600, 0.5)
    same = ' && '.join(f'test "$(sha256sum </run/mnt/{x})" = "$(cat /run/mnt/{x}.sum)"' for x in 'fg')
    guest.run(f'{adm} primary {name} && mkdir -p /run/mnt && mount {path} /run/mnt && {same} && umount /run/mnt && {secondary}')
    delete(bed, name)
    wait_for(f'{name} to be gone', lambda: not left_over(bed), 600, 0.5)


def refusals(bed):
    """Stacks that LINSTOR refuses; no pool named; a pool that is not there; too small a pool."""
    bed.define('no', 60 * MIB)
    for stack in (['LUKS', 'WRITECACHE', 'STORAGE'], ['CACHE', 'CACHE', 'STORAGE'], ['STORAGE', 'CACHE'], ['BCACHE', 'CACHE', 'STORAGE']):
        answer = place(bed, 'no', stack, ok=False)
        assert answer.status == 500 and 'cannot be stacked' in answer.text, (stack, answer.text)
    bed.rest.call('PUT', '/v1/resource-definitions/no', {'delete_namespaces': ['Writecache', 'Cache']}).ok()
    answer = place(bed, 'no', ['WRITECACHE', 'STORAGE'], ok=False, props={})
    assert answer.status == 404 and 'Writecache/PoolName' in answer.text, answer.text
    answer = place(bed, 'no', ['WRITECACHE', 'STORAGE'], ok=False, props={'Writecache/PoolName': 'nowhere'})
    assert answer.status == 404 and 'nowhere' in answer.text, answer.text
    answer = place(bed, 'no', ['WRITECACHE', 'STORAGE'], ok=False, props={'Writecache/PoolName': 'fast', 'Writecache/Size': '9000000'})
    assert answer.status == 500 and '9000000 KiB' in answer.text, answer.text
    answer = bed.rest.call('POST', '/v1/resource-definitions/no/autoplace', {
        'select_filter': {'place_count': 1, 'storage_pool': 'thick'}, 'layer_list': ['WRITECACHE', 'STORAGE']})
    assert answer.status >= 400 and 'has no room' in answer.text, answer.text
    bed.delete('no')


def foreign(bed):
    """A volume that has the name of the cache's is not touched."""
    bed.guest.run('lvcreate -q -y -L 8M -n taken.cache_00000 fast && echo mine | dd of=/dev/fast/taken.cache_00000 conv=sync 2>/dev/null')
    bed.define('taken', 20 * MIB)
    answer = place(bed, 'taken', ['WRITECACHE', 'STORAGE'], ok=False)
    assert 'something else' in answer.text, answer.text
    assert bed.guest.run('head -c 4 /dev/fast/taken.cache_00000') == 'mine'
    delete(bed, 'taken')
    wait_for('the rest to be gone', lambda: 'taken_00000' not in bed.guest.run('lvs --noheadings -o lv_name').split(), 600, 0.5)
    bed.guest.run('lvremove -qfy fast/taken.cache_00000')


def killed_at(bed, points, stack):
    """The satellite dies at one point after the other of one cached volume's life (made, grown, down, up, deleted), and is started again each
    time: the life goes on, the data is there, nothing is left over."""
    name, left = 'k-' + points[0].lower().replace('_', '-'), list(points)
    bed.satellite.stop('KILL')
    bed.satellite.start(inject=left[0].lower())
    wait_for('the node', bed.online, 600, 0.3)

    def until(what, fn):
        def look():
            while left and not bed.satellite.running():
                print(f'    died at {left.pop(0)}', flush=True)
                bed.satellite.start(inject=left[0].lower() if left else None)
            return fn()
        began = time.monotonic()
        found = wait_for(f'{", ".join(left)}: {what}', look, 600, 0.5)
        print(f'    {what} after {time.monotonic() - began:.0f} s', flush=True)
        return found

    def path(size_kib):
        v = bed.volume(name)
        return v.get('usable_size_kib', 0) >= size_kib and v.get('device_path')

    resource = f'/v1/resource-definitions/{name}'
    bed.define(name, 20 * MIB)
    place(bed, name, stack, ok=False)
    device = until('made', lambda: path(20 * MIB))
    bed.guest.run(f'head -c 16M /dev/urandom >/run/data; dd if=/run/data of={device} bs=1M oflag=direct 2>/dev/null')
    bed.rest.call('PUT', f'{resource}/volume-definitions/0', {'size_kib': 40 * MIB})
    until('grown', lambda: path(40 * MIB))
    bed.rest.call('POST', f'{resource}/resources/n1/deactivate', {})
    until('down', lambda: not bed.volume(name).get('device_path') and 'k-' not in bed.guest.run('dmsetup ls'))
    bed.rest.call('POST', f'{resource}/resources/n1/activate', {})
    device = until('up', lambda: path(40 * MIB))
    bed.guest.run(f'cmp -n $((16 << 20)) /run/data {device}')
    until('free', lambda: not (bed.rest.get(f'/v1/view/resources?resources={name}').ok().json[0].get('state') or {}).get('in_use'))
    until('deleted', lambda: bed.rest.call('DELETE', resource).status in (200, 404))
    until('gone', lambda: not left_over(bed) and bed.rest.get(resource).status == 404)
    assert not left, f'it never came to {left[0]}'


def failed_cache(bed):
    """The disk of the cache fails under a running device: the volume's state says so, the node's and the other pool's do not."""
    bed.define('dead', 20 * MIB)
    place(bed, 'dead', ['WRITECACHE', 'STORAGE'])
    path = bed.device('dead', 20 * MIB)
    bed.guest.run('s=$(blockdev --getsz /dev/mapper/fastdisk); dmsetup suspend --noflush fastdisk; echo 0 $s error | dmsetup load fastdisk;'
                  f'dmsetup resume fastdisk; dd if=/dev/urandom of={path} bs=1M count=8 oflag=direct 2>/dev/null; sync {path}; true')
    bed.satellite.stop('TERM')
    bed.satellite.start()
    wait_for('the node', bed.online, 600, 0.3)
    reports = wait_for('the report', lambda: bed.volume('dead').get('reports'), 600, 0.5)
    state = bed.volume('dead')['state']['disk_state']
    assert state == 'Failed', (state, reports)
    print(f'    reported: {reports[0]["message"]} {reports[0].get("cause")}')
    assert bed.pool('thick')['free_capacity'] > 0 and not bed.pool('thick').get('reports')
    bed.guest.run('s=$(blockdev --getsz /dev/mapper/fastdisk); echo 0 $s linear /dev/disk/by-id/virtio-data1 2048 | dmsetup load fastdisk;'
                  'dmsetup resume fastdisk')
    delete(bed, 'dead')
    wait_for('dead to be gone', lambda: not left_over(bed), 600, 1)


def run(suite, work, image, everything):
    bed = suite.check('a guest, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    try:
        suite.check('a pool for caches', fast_pool, bed)
        suite.clean = bed.clean
        single = [['WRITECACHE', 'STORAGE'], ['BCACHE', 'STORAGE'], ['CACHE', 'STORAGE']]
        stacks = single + ([['WRITECACHE', 'LUKS', 'STORAGE'], ['CACHE', 'WRITECACHE', 'STORAGE']] if everything else [])
        for stack in stacks:
            suite.check(f'create, write, grow, read, delete {",".join(stack)}', whole_life, bed, stack)
        for stack in single if everything else []:
            suite.check(f'down and up again, {",".join(stack)}', restarted, bed, stack)
        for stack in [['CACHE', 'LUKS'], ['WRITECACHE', 'LUKS'], ['CACHE', 'WRITECACHE']] if everything else []:
            suite.check(f'one replica, DRBD,{",".join(stack)},STORAGE', under_drbd, bed, ['DRBD', *stack, 'STORAGE'])
        suite.check('the node loses power', rebooted, bed, single)
        suite.check('refused', refusals, bed)
        suite.check('a volume of the same name', foreign, bed)
        for layer in ('BCACHE', 'CACHE'):
            points = [p for p in POINTS if p.startswith(layer + '_')]
            points.sort(key=lambda p: p == 'CACHE_OPENED')  # what is made is open: that point comes when it is activated
            points = points if everything else points[:1]
            suite.check(f'killed at {", ".join(points)}', killed_at, bed, points, [layer, 'STORAGE'])
        suite.check('the disk of a cache fails', failed_cache, bed)
        if suite.failed:
            print(bed.satellite.log()[-6000:], bed.guest.try_run('dmesg | tail -n 25')[1])
    finally:
        suite.clean = None
        bed.close()
