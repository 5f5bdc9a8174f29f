"""DRBD 8.4 above caches and LUKS, on two nodes, asked for by REST only: made in sync, a file system written on one node, grown online, read and
written on the other node, a node that loses power and comes back, deleted without a rest; the same with DRBD's
metadata in a pool of its own."""
import scenario_replica
from lib_e2e import wait_for
from scenario_replica import again, both

MIB = 1024  # KiB
LONG_S = 600
PROPS = {'Writecache/PoolName': 'fast', 'Writecache/Size': '16384', 'Cache/CachePool': 'fast', 'Cache/Cachesize': '16384',
         'Cache/OpMode': 'writeback', 'Cache/Blocksize': '128'}
MODULES = 'modprobe -a dm-writecache dm-cache dm-cache-smq dm-crypt drbd'


class Bed(scenario_replica.Bed):
    DISKS = ('1G', '64M', '1G')

    def set_up(self, work, image):
        super().set_up(work, image)
        for guest in self.guests:
            guest.run('vgcreate -q fast /dev/disk/by-id/virtio-data2 2>&1')
            self.satellites[guest.name].stop()
            guest.run(MODULES)
            self.satellites[guest.name].start()
            self.rest.call('POST', f'/v1/nodes/{guest.name}/storage-pools', {
                'storage_pool_name': 'fast', 'provider_kind': 'LVM', 'props': {'StorDriver/StorPoolName': 'fast'}}).ok()
        for guest in self.guests:
            self.online(guest)
            wait_for('space in the pools', lambda name=guest.name: all(
                p.get('free_capacity', 0) > 0 for p in self.rest.get(f'/v1/nodes/{name}/storage-pools').ok().json), LONG_S, 0.5)
        self.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'}).ok()

    def resource(self, name, node):
        return next((r for r in self.rest.get(f'/v1/view/resources?resources={name}').ok().json if r['node_name'] == node), {})

    def sized(self, name, node, size_kib):
        v = (self.resource(name, node).get('volumes') or [{}])[0]
        return v.get('device_path') if v.get('usable_size_kib', 0) >= size_kib else None


def left_over(guest):
    """Nothing of ours is on the node."""
    lvs = guest.run('lvs --noheadings -o lv_name').split()
    return ([x for x in lvs if '_0000' in x] + [x for x in guest.run('dmsetup ls').split() if x.lower().startswith('linstor')] +
            guest.run('ls /run/outrigger/satellite/drbd/res 2>/dev/null; true').split() +
            guest.run('grep -o "^ *[0-9]*: cs:" /proc/drbd; true').split())


def layers_of(layer):
    return [layer['type']] + (layers_of(layer['children'][0]) if layer.get('children') else [])


def made(bed, name, stack, props):
    bed.define(name, 40 * MIB, props)
    answer = bed.rest.call('POST', f'/v1/resource-definitions/{name}/autoplace', {
        'select_filter': {'place_count': 2, 'storage_pool': 'thick', 'layer_stack': stack}, 'layer_list': stack})
    assert answer.status == 201, answer.text
    bed.agree(name, both(), timeout_s=LONG_S)
    for node in ('n1', 'n2'):
        assert layers_of(bed.resource(name, node)['layer_object']) == stack, bed.resource(name, node)
    return wait_for('the device', lambda: bed.sized(name, 'n1', 40 * MIB), LONG_S, 0.5)


def lost(bed, name, path, adm):
    """n2 loses power while n1 writes, and comes back: its stack comes up again, and it gets what it has missed."""
    one, two = bed.guests
    two.kill()
    wait_for('the loss to be seen', lambda: bed.real(name, [one])['n1'][2] != 'Connected', LONG_S, 1)
    one.run(f'{adm} primary {name} && mount {path} /mnt/a && head -c 8M /dev/urandom >/mnt/a/late && sha256sum </mnt/a/late >/mnt/a/late.sum && '
            'umount /mnt/a')
    one.run(again(f'{adm} secondary {name}'))
    two.start()
    two.wait_ready()
    two.run(MODULES)
    bed.own_disk(two)
    bed.satellites['n2'].start()
    bed.agree(name, both(), timeout_s=LONG_S)


def life(bed, stack, name=None, props=None, look=lambda size_kib: None):
    name = name or 's-' + '-'.join(x.lower() for x in stack[1:-1])
    one, two = bed.guests
    path = made(bed, name, stack, props or PROPS)
    look(40 * MIB)
    adm = f'drbdadm -c /run/outrigger/satellite/drbd/{name}.conf'
    one.run(f'{adm} primary {name} && mkfs.ext4 -q {path} && mount {path} /mnt/a && head -c 20M /dev/urandom >/mnt/a/f && sha256sum </mnt/a/f >/mnt/a/f.sum && '
            'sync')
    bed.agree(name, both('Primary'))
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 64 * MIB}).ok()
    for node in ('n1', 'n2'):
        wait_for(f'the new size on {node}', lambda node=node: bed.sized(name, node, 64 * MIB), LONG_S, 1)
    look(64 * MIB)
    one.run(f'resize2fs {path} 2>&1 && head -c 25M /dev/urandom >/mnt/a/g && sha256sum </mnt/a/g >/mnt/a/g.sum && umount /mnt/a')
    one.run(again(f'{adm} secondary {name}'))
    bed.agree(name, both(), timeout_s=LONG_S)
    lost(bed, name, path, adm)
    same = ' && '.join(f'test "$(sha256sum </mnt/a/{x})" = "$(cat /mnt/a/{x}.sum)"' for x in ('f', 'g', 'late'))
    two.run(f'{adm} primary {name} && mount {path} /mnt/a && {same} && echo more >/mnt/a/more && umount /mnt/a')
    two.run(again(f'{adm} secondary {name}'))
    bed.agree(name, both())
    bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()
    for guest in bed.guests:
        wait_for(f'{name} to be gone from {guest.name}', lambda guest=guest: not left_over(guest), LONG_S, 1)


META = {'StorPoolNameDrbdMeta': 'fast'}


def beside(bed, name, guest, size_kib):
    """DRBD's metadata is in the pool `fast`, on the node and in the API; so its device has the size of the definition, not less, not more."""
    top = bed.resource(name, guest.name)['layer_object']
    seen, path = top['drbd']['drbd_volumes'][0], f'/dev/fast/{name}.meta_00000'
    assert seen['ext_meta_stor_pool'] == 'fast' and seen['meta_disk'] == path, seen
    assert [c.get('resource_name_suffix', '') for c in top['children']] == ['', '.meta'], top
    guest.run(f"grep -q 'meta-disk \"{path}\";' /run/outrigger/satellite/drbd/res/{name}.res")
    kib = int(guest.run(f'cat /sys/block/{seen["device_path"][5:]}/size')) // 2
    assert kib == size_kib, (kib, size_kib)
    return int(float(guest.run(f'lvs --noheadings --nosuffix --units k -o lv_size fast/{name}.meta_00000')))


def metadata_beside(bed):
    life(bed, ['DRBD', 'STORAGE'], 'ext', META, lambda kib: [beside(bed, 'ext', guest, kib) for guest in bed.guests])
    one, name = bed.guests[0], 'grows'  # larger than the disks, so that 4 MiB are not enough for its metadata
    one.run('lvcreate -q -y -L 100M -T vg0/thin 2>&1')
    bed.rest.call('POST', '/v1/nodes/n1/storage-pools', {'storage_pool_name': 'thin', 'provider_kind': 'LVM_THIN', 'props': {
        'StorDriver/StorPoolName': 'vg0/thin', 'MaxOversubscriptionRatio': '1000'}}).ok()
    bed.define(name, 4096 * MIB, META)
    bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources/n1', {'resource': {'props': {'StorPoolName': 'thin'}}}).ok()
    wait_for('the device', lambda: bed.sized(name, 'n1', 4096 * MIB), LONG_S, 0.5)
    before = beside(bed, name, one, 4096 * MIB)
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 40960 * MIB}).ok()
    wait_for('the new size', lambda: bed.sized(name, 'n1', 40960 * MIB), LONG_S, 1)
    after = beside(bed, name, one, 40960 * MIB)
    assert before < 7 * 40960 * MIB // 32768 <= after, (before, after)
    bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()
    wait_for(f'{name} to be gone', lambda: not left_over(one), LONG_S, 1)


def run(suite, work, image, everything):
    bed = suite.check('a guest for each of two nodes, satellites', Bed, work, image, False)
    if bed is None:
        return
    try:
        stacks = [['DRBD', 'WRITECACHE', 'STORAGE'], ['DRBD', 'CACHE', 'LUKS', 'STORAGE']]
        for stack in stacks + ([['DRBD', 'LUKS', 'STORAGE'], ['DRBD', 'CACHE', 'WRITECACHE', 'STORAGE']] if everything else []):
            suite.check(f'stack: {",".join(stack)}', life, bed, stack)
        suite.check('metadata of DRBD in a pool of its own', metadata_beside, bed)
        if suite.failed:
            for guest in bed.guests:
                print(guest.name, bed.satellites[guest.name].log()[-4000:], guest.try_run('cat /proc/drbd; dmesg | tail -n 25')[1])
    finally:
        bed.close()
