"""NVMe over TCP between two guests, asked for by REST only: one node offers a volume, the other one uses it. Written, grown while mounted,
both nodes lose power in turn, satellites killed between any two steps, deleted in order; what LINSTOR refuses is refused."""
import re
import time

import scenario_replica
from lib_e2e import wait_for
from rig import TOP

MIB = 1024  # KiB
POINTS = re.findall(r'^INJECT\((NVME_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
AT_INITIATOR = ('NVME_CONNECTED', 'NVME_DISCONNECTED')
LONG_S = 600
MODULES = 'modprobe -a nvmet nvmet-tcp nvme-tcp dm-crypt'


class Bed(scenario_replica.Bed):
    def online(self, guest):
        wait_for(f'{guest.name} to be online', lambda: self.rest.get(f'/v1/nodes/{guest.name}').ok().json['connection_status'] == 'ONLINE',
                 LONG_S, 0.5)

    def define(self, name, size_kib, props=None):
        self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': name, 'props': {'NVMe/TRType': 'tcp'} if props is None else props}}).ok()
        self.rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': size_kib}}).ok()

    def target(self, name, stack=('NVME', 'STORAGE'), node='n1'):
        return self.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
            {'resource': {'name': name, 'node_name': node, 'props': {'StorPoolName': 'thick'}}, 'layer_list': list(stack)}])

    def initiator(self, name, node='n2'):
        return self.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
            {'resource': {'name': name, 'node_name': node, 'flags': ['NVME_INITIATOR']}}])

    def clean(self):
        """After a check that failed: what it left would be found by the next ones."""
        for name in [d['name'] for d in self.rest.get('/v1/resource-definitions').ok().json]:
            self.rest.call('DELETE', f'/v1/resource-definitions/{name}')
        wait_for('nothing of ours to be left', lambda: not left_over(self), 60, 1)

    def resource(self, name, node):
        return next((r for r in self.rest.get(f'/v1/view/resources?resources={name}').ok().json if r['node_name'] == node), {})

    def volume(self, name, node):
        return (self.resource(name, node).get('volumes') or [{}])[0]

    def device(self, name, size_kib):
        """On the initiator, in that size; the guest must say the same."""
        def there():
            v = self.volume(name, 'n2')
            return v.get('device_path') and v.get('usable_size_kib', 0) >= size_kib and v['device_path']
        path = wait_for(f'{name} of {size_kib} KiB', there, LONG_S, 0.5)
        assert re.fullmatch('/dev/nvme[0-9]+n1', path), path
        assert int(self.guests[1].run(f'blockdev --getsize64 {path}')) // 1024 == self.volume(name, 'n2')['usable_size_kib']
        return path


def left_over(bed):
    one = bed.guests[0].run('ls /sys/kernel/config/nvmet/subsystems /sys/kernel/config/nvmet/ports 2>/dev/null; lvs --noheadings -o lv_name; '
                            'ls /run/outrigger/satellite/nvme 2>/dev/null; true')
    two = bed.guests[1].run('cat /sys/class/nvme/*/subsysnqn 2>/dev/null; ls /run/outrigger/satellite/nvme 2>/dev/null; true')
    return [x for x in (one + two).split() if not x.startswith('/sys')]


def gone(bed, name):
    """What was unmounted just now is in use until the next look at mounts."""
    def deleted():
        answer = bed.rest.call('DELETE', f'/v1/resource-definitions/{name}')
        return 'is in use' not in answer.text and answer.ok()
    wait_for(f'{name} to be deleted', deleted, 10, 0.5)
    wait_for(f'{name} to be gone', lambda: not left_over(bed), LONG_S, 1)


def refusals(bed):
    """An initiator without target, a second target, a second initiator, other stacks; RDMA where there is none."""
    for guest in bed.guests:
        guest.run(MODULES)
    bed.define('no', 20 * MIB)
    for stack in (['CACHE', 'NVME', 'STORAGE'], ['DRBD', 'NVME', 'STORAGE']):
        answer = bed.target('no', stack)
        assert answer.status >= 400 and ('layers above NVME' in answer.text or 'does not support' in answer.text), answer.text
    assert 'cannot be stacked' in bed.target('no', ['LUKS', 'NVME', 'STORAGE']).text
    bed.rest.call('DELETE', '/v1/resource-definitions/no').ok()
    bed.define('rd', 20 * MIB, {'NVMe/TRType': 'rdma'})
    answer = bed.target('rd')
    wait_for('the report', lambda: [
        r for r in bed.volume('rd', 'n1').get('reports', []) if 'NVMe/TRType' in (r.get('correction') or '')], LONG_S, 1)
    said = [(r.get('message'), r.get('cause'), r.get('correction')) for r in answer.json if 'NVMe/TRType' in (r.get('correction') or '')]
    assert answer.status == 500 and said, answer.text
    print('    answered:', *said[0])
    assert bed.target('rd', node='n2').status == 500
    bed.rest.call('PUT', '/v1/resource-definitions/rd', {'override_props': {'NVMe/TRType': 'tcp'}}).ok()
    wait_for('the target', lambda: 'rd' in bed.guests[0].run('ls -R /sys/kernel/config/nvmet/ports'), LONG_S, 1)
    gone(bed, 'rd')
    bed.define('lone', 20 * MIB)
    assert bed.initiator('lone').status >= 400
    bed.rest.call('DELETE', '/v1/resource-definitions/lone').ok()


def life(bed):
    """Made, written from the other node, grown while mounted, not deleted while in use."""
    bed.define('nv', 40 * MIB)
    bed.target('nv').ok()
    listening = bed.guests[0].run('head -n 99 /sys/kernel/config/nvmet/ports/*/addr_* /sys/kernel/config/nvmet/subsystems/*/namespaces/*/*; '
                                  'grep " 0A " /proc/net/tcp; true')
    answer = bed.initiator('nv')
    assert answer.status < 300, (answer.text, listening, bed.satellites['n1'].log()[-1500:])
    path = bed.device('nv', 40 * MIB)
    assert 'NVMe target already' in bed.target('nv', node='n2').text or bed.target('nv', node='n2').status >= 400
    two = bed.guests[1]
    two.run(f'mkfs.ext4 -q {path} && mkdir -p /mnt/a && mount {path} /mnt/a && head -c 20M /dev/urandom >/mnt/a/f && sync && '
            'sha256sum </mnt/a/f >/run/sum')
    wait_for('in use', lambda: bed.resource('nv', 'n2').get('state', {}).get('in_use'), LONG_S, 0.5)
    layer = bed.resource('nv', 'n1')['layer_object']
    assert layer['type'] == 'NVME' and layer['nvme']['nvme_volumes'][0]['backing_device'] == '/dev/vg0/nv_00000', layer
    bed.rest.call('PUT', '/v1/resource-definitions/nv/volume-definitions/0', {'size_kib': 80 * MIB}).ok()
    path = bed.device('nv', 80 * MIB)
    two.run(f'resize2fs {path} 2>&1 && head -c 30M /dev/urandom >/mnt/a/g && sync && echo 3 >/proc/sys/vm/drop_caches && '
            'test "$(sha256sum </mnt/a/f)" = "$(cat /run/sum)"')
    assert bed.rest.call('DELETE', '/v1/resource-definitions/nv').status >= 400
    assert bed.rest.call('DELETE', '/v1/resource-definitions/nv/resources/n1').status >= 400


def controllers_back(bed):
    for name in bed.cluster.controllers:
        bed.cluster.start(name)
    wait_for('the controllers', lambda: bed.cluster.serves('c1'), LONG_S, 0.5)
    for guest in bed.guests:
        bed.online(guest)


def target_lost(bed):
    """The target's node loses power and comes back without a controller: I/O waits, then goes on."""
    one, two = bed.guests
    one.kill()
    for name in bed.cluster.controllers:
        bed.cluster.kill(name)
    two.run('(head -c 4M /dev/urandom >/mnt/a/h && sync && sha256sum </mnt/a/h >/run/sum2) >/dev/null 2>&1 &')
    one.start()
    one.wait_ready()
    one.run(MODULES)
    bed.own_disk(one)
    bed.satellites['n1'].start()
    wait_for('the write to end', lambda: two.try_run('test -s /run/sum2')[0] == 0, LONG_S, 1)
    two.run('echo 3 >/proc/sys/vm/drop_caches; test "$(sha256sum </mnt/a/h)" = "$(cat /run/sum2)" && test "$(sha256sum </mnt/a/f)" = "$(cat /run/sum)"')
    controllers_back(bed)
    two.run('umount /mnt/a')
    wait_for('nobody', lambda: not bed.resource('nv', 'n2').get('state', {}).get('in_use'), LONG_S, 1)


def initiator_lost(bed):
    """The initiator's node loses power and comes back without a controller: the device is there again, with what was written."""
    two = bed.guests[1]
    total = two.run('cat /run/sum').split()[0]
    two.kill()
    for name in bed.cluster.controllers:
        bed.cluster.kill(name)
    two.start()
    two.wait_ready()
    two.run(MODULES)
    bed.own_disk(two)
    bed.satellites['n2'].start()
    wait_for('the device', lambda: two.try_run('test -b /dev/nvme0n1')[0] == 0, LONG_S, 1)
    two.run(f'mount /dev/nvme0n1 /mnt/a && test "$(sha256sum </mnt/a/f | cut -d" " -f1)" = {total} && echo "{total}  -" >/run/sum')
    controllers_back(bed)


def encrypted(bed):
    """NVME over LUKS, beside another resource at the same port; that port stays until both are gone."""
    bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'}).ok()
    bed.define('plain', 20 * MIB)
    bed.target('plain').ok()
    bed.define('luks', 30 * MIB)
    bed.target('luks', ('NVME', 'LUKS', 'STORAGE')).ok()
    wait_for('the target', lambda: bed.volume('luks', 'n1').get('device_path') and bed.guests[0].run(
        'ls /sys/kernel/config/nvmet/ports/*/subsystems').count('NVMe_luks'), LONG_S, 1)  # LUKS takes longer than the request waits
    bed.initiator('luks').ok()
    path = bed.device('luks', 30 * MIB)
    bed.guests[1].run(f'echo precious | dd of={path} conv=sync oflag=direct bs=4096 2>/dev/null')
    assert bed.guests[0].run('ls /sys/kernel/config/nvmet/ports').split() == ['20000']
    raw = bed.guests[0].run('head -c 40M /dev/vg0/luks_00000 | grep -c precious; true')
    assert raw.strip() == '0', raw
    bed.rest.call('DELETE', '/v1/resource-definitions/plain').ok()
    wait_for('plain to be gone', lambda: 'plain' not in ' '.join(left_over(bed)), LONG_S, 1)
    assert bed.guests[1].run(f'dd if={path} iflag=direct bs=4096 count=1 2>/dev/null | head -c 8') == 'precious'
    gone(bed, 'luks')


def moved(bed):
    """The target gets another address: the initiator is told, and goes there."""
    one, two = bed.guests
    bed.define('mv', 20 * MIB)
    bed.target('mv').ok()
    bed.initiator('mv').ok()
    path = bed.device('mv', 20 * MIB)
    two.run(f'echo precious | dd of={path} conv=sync oflag=direct bs=4096 2>/dev/null')
    one.run('ip addr add 10.99.0.111/24 dev eth0')
    bed.rest.call('POST', '/v1/nodes/n1/net-interfaces', {'name': 'other', 'address': '10.99.0.111'}).ok()
    bed.rest.call('PUT', '/v1/resource-definitions/mv/resources/n1', {'override_props': {'NVMe/PrefNic': 'other'}}).ok()
    wait_for('the new address', lambda: 'traddr=10.99.0.111,' in two.run('cat /sys/class/nvme/*/address 2>/dev/null; true'), LONG_S, 1)
    path = bed.device('mv', 20 * MIB)
    assert two.run(f'dd if={path} iflag=direct bs=4096 count=1 2>/dev/null | head -c 8') == 'precious'
    assert '10.99.0.11\n' not in one.run('cat /sys/kernel/config/nvmet/ports/*/addr_traddr')
    gone(bed, 'mv')


def file_systems(bed):
    """By property: made before the other node sees the volume, below LUKS's device too; not again, nor over what is there."""
    two = bed.guests[1]
    two.run('mkdir -p /mnt/fs')
    bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'})  # unless it is there
    for name, stack in (('fs', ('NVME', 'STORAGE')), ('fsl', ('NVME', 'LUKS', 'STORAGE'))):
        bed.define(name, 20 * MIB, {'NVMe/TRType': 'tcp', 'FileSystem/Type': 'ext4', 'FileSystem/MkfsParams': '-L made-once'})
        bed.target(name, stack)
        wait_for('the target', lambda: re.search(rf'NVMe_{name}\b', bed.guests[0].run('ls /sys/kernel/config/nvmet/ports/*/subsystems 2>&1; true')), LONG_S, 1)
        bed.initiator(name).ok()
        path = bed.device(name, 20 * MIB)
        two.run(f'test "$(blkid -p -s LABEL -o value {path})" = made-once && mount {path} /mnt/fs && echo kept >/mnt/fs/word && umount /mnt/fs')
        bed.rest.call('PUT', f'/v1/resource-definitions/{name}', {'override_props': {'FileSystem/MkfsParams': '-L made-again'}}).ok()
        bed.satellites['n1'].stop('KILL')
        bed.satellites['n1'].start()
        bed.online(bed.guests[0])
        two.run(f'mount {path} /mnt/fs && test "$(cat /mnt/fs/word)" = kept && umount /mnt/fs')
        gone(bed, name)


def killed_at(bed, points):
    """A satellite dies at one point after the other of one resource's life and is started again each time: the life goes on, nothing is left
    over."""
    guest = bed.guests[1 if points[0] in AT_INITIATOR else 0]
    satellite, name, left = bed.satellites[guest.name], 'k-' + points[0].lower().replace('_', '-'), list(points)
    satellite.stop('KILL')
    satellite.start(inject=left[0].lower())
    bed.online(guest)

    def heal():
        while left and not satellite.running():
            print(f'    died at {left.pop(0)}', flush=True)
            satellite.start(inject=left[0].lower() if left else None)

    def until(what, fn):
        def look():
            heal()
            return fn()
        began = time.monotonic()
        wait_for(f'{", ".join(left)}: {what}', look, LONG_S, 1)
        print(f'    {what} after {time.monotonic() - began:.0f} s', flush=True)

    def sized(kib):
        v = bed.volume(name, 'n2')
        return v.get('device_path') and v.get('usable_size_kib', 0) >= kib
    bed.rest.timeout_s = 60
    bed.define(name, 20 * MIB)
    bed.target(name)
    until('offered', lambda: bed.resource(name, 'n1') and name in bed.guests[0].run('ls -R /sys/kernel/config/nvmet/ports 2>/dev/null; true'))
    until('initiator', lambda: bed.resource(name, 'n2') or bed.initiator(name).status < 300)
    until('made', lambda: sized(20 * MIB))
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 28 * MIB})
    until('grown', lambda: sized(28 * MIB))
    bed.rest.call('DELETE', f'/v1/resource-definitions/{name}')
    until('gone', lambda: not left_over(bed) and bed.rest.get(f'/v1/resource-definitions/{name}').status == 404)
    if left:
        until(f'death at {left[0]}', lambda: not left)


def run(suite, work, image, everything):
    bed = suite.check('a guest with storage and one without, satellites', Bed, work, image, False)
    if bed is None:
        return
    try:
        suite.check('nvme: life', life, bed)
        suite.check('nvme: the initiator loses power', initiator_lost, bed)
        suite.check('nvme: the target loses power', target_lost, bed)
        suite.check('nvme: deleted', gone, bed, 'nv')
        suite.clean = bed.clean
        suite.check('nvme: refused', refusals, bed)
        suite.check('nvme: over LUKS', encrypted, bed)
        suite.check('nvme: file systems by property', file_systems, bed)
        suite.check('nvme: another address', moved, bed)
        at_target = [p for p in POINTS if p not in AT_INITIATOR]
        for points in (at_target, AT_INITIATOR) if everything else (at_target[:1],):
            suite.check(f'nvme: killed at {", ".join(points)}', killed_at, bed, points)
        if suite.failed:
            for guest in bed.guests:
                print(guest.name, bed.satellites[guest.name].log()[-4000:], guest.try_run('dmesg | tail -n 25')[1])
    finally:
        suite.clean = None
        bed.close()
