"""LUKS on a real kernel: encrypted volumes are created, written, grown, deleted; the passphrase is missing, wrong, entered; the node
reboots and the controllers restart; a satellite is killed between any two steps; foreign and emptied devices are left alone; no key or
passphrase is in any file, log or argument."""
import storage
from lib_e2e import wait_for
from scenario_lvm import Bed
from storage import MIB, killed, points, power

POINTS = points('LUKS')
POINTS.remove('LUKS_HELD')  # of snapshots: scenario_snap.py
KEY_POINTS = [p for p in POINTS if p.startswith('LUKS_KEY_')]
POINTS = [p for p in POINTS if p not in KEY_POINTS]
VOLUME = ['first words of a volume', 'other words of a volume']
FIRST, SECOND = 'correct horse battery staple', 'another passphrase'
HEADER = 16 * MIB


def status(bed):
    return bed.rest.get('/v1/encryption/passphrase').ok().json['status']


def place(bed, name, pool='thick', ok=True):
    return bed.place(name, pool, ok, ('LUKS', 'STORAGE'))


def passphrases(bed):
    """Unset; created; created twice; wrong; changed."""
    assert status(bed) == 'unset'
    bed.define('early', 20 * MIB)
    answer = place(bed, 'early', ok=False)
    assert answer.status == 404 and 'create-passphrase' in answer.text, answer.text
    path = '/v1/encryption/passphrase'
    assert bed.rest.call('PATCH', path, FIRST).status == 404
    bed.rest.call('POST', path, {'new_passphrase': FIRST}).ok()
    assert status(bed) == 'unlocked'
    assert bed.rest.call('POST', path, {'new_passphrase': SECOND}).status == 500
    assert bed.rest.call('PATCH', path, SECOND).status == 500
    assert bed.rest.call('PUT', path, {'old_passphrase': SECOND, 'new_passphrase': FIRST}).status == 500
    bed.rest.call('PUT', path, {'old_passphrase': FIRST, 'new_passphrase': SECOND}).ok()
    assert bed.rest.call('PATCH', path, FIRST).status == 500
    bed.rest.call('PATCH', path, SECOND).ok()
    bed.rest.call('PUT', path, {'old_passphrase': SECOND, 'new_passphrase': FIRST}).ok()
    bed.delete('early')


def life(bed, pool):
    """Create, write, grow, read again; the header is erased before the volume is given back."""
    name = f'enc-{pool}'
    bed.define(name, 50 * MIB)
    place(bed, name, pool)
    path = bed.device(name, 50 * MIB)
    assert path == f'/dev/mapper/Linstor-Crypt-{name}_00000', path
    bed.guest.run(f'head -c 40M /dev/urandom >/run/data; dd if=/run/data of={path} bs=1M oflag=direct 2>/dev/null')
    layer = bed.rest.get(f'/v1/view/resources?resources={name}').ok().json[0]['layer_object']
    luks, storage = layer['luks']['luks_volumes'][0], layer['children'][0]['storage']['storage_volumes'][0]
    assert layer['type'] == 'LUKS' and luks['opened'] and luks['device_path'] == path, layer
    assert luks['backing_device'] == storage['device_path'] == f'/dev/vg0/{name}_00000', layer
    assert storage['usable_size_kib'] == luks['allocated_size_kib'] == luks['usable_size_kib'] + HEADER, layer
    bed.guest.run(f'cmp -s -n 4096 -i 0:16777216 /run/data /dev/vg0/{name}_00000 && exit 1; cryptsetup isLuks /dev/vg0/{name}_00000')
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 90 * MIB}).ok()
    path = bed.device(name, 90 * MIB)
    bed.guest.run(f'cmp -n $((40 << 20)) /run/data {path}')
    if pool == 'thick':
        where = bed.guest.run(f'lvs --noheadings -o seg_pe_ranges vg0/{name}_00000').split()[0]
        disk, first = where.rsplit(':', 1)
        start = int(bed.guest.run('pvs --noheadings --units b --nosuffix -o pe_start /dev/disk/by-id/virtio-data0').strip())
        offset = start + int(first.split('-')[0]) * 4 * 1024 * 1024
        bed.guest.run(f'dd if={disk} bs=1M iflag=direct,skip_bytes skip={offset} count=16 2>/dev/null | tr -d "\\0" | head -c 1 | grep -q .')
    bed.delete(name)
    bed.gone(name)
    bed.guest.run(f'test ! -e {path}')
    if pool == 'thick':
        bed.guest.run(f'dd if={disk} bs=1M iflag=direct,skip_bytes skip={offset} count=16 2>/dev/null | tr -d "\\0" | head -c 1 | grep -q . && exit 1; true')


def locked(bed):
    """The node reboots while the cluster is locked: the volume waits and says why; a wrong passphrase changes nothing; the right one
    brings it up with its data."""
    bed.define('kept', 40 * MIB)
    place(bed, 'kept')
    path = bed.device('kept', 40 * MIB)
    bed.guest.run(f'echo precious | dd of={path} conv=sync oflag=direct bs=4096 2>/dev/null')
    bed.satellite.stop('KILL')
    bed.satellite.start()  # without a reboot the device stays open, and no key is needed
    bed.wait_online()
    assert bed.guest.run(f'head -c 8 {path}') == 'precious'
    bed.satellite.stop('TERM')
    bed.guest.run(f'cryptsetup close {path.rsplit("/", 1)[1]} && lvchange -an vg0/kept_00000')
    bed.cluster.kill('c1')
    bed.cluster.start('c1')
    bed.rest.close()
    wait_for('the controller', lambda: bed.cluster.serves('c1'), 600, 0.5)
    assert status(bed) == 'locked'
    bed.satellite.start()
    bed.wait_online()
    reports = wait_for('the report', lambda: bed.volume('kept').get('reports'), 600, 0.5)
    assert any('enter-passphrase' in (r.get('correction') or '') for r in reports), reports
    assert not bed.volume('kept').get('device_path')
    assert bed.rest.call('PATCH', '/v1/encryption/passphrase', 'wrong').status == 500
    assert status(bed) == 'locked'
    bed.define('refused', 20 * MIB)
    answer = place(bed, 'refused', ok=False)
    assert answer.status == 404 and 'enter-passphrase' in answer.text, answer.text
    bed.delete('refused')
    bed.rest.call('PATCH', '/v1/encryption/passphrase', FIRST).ok()
    assert bed.guest.run(f'head -c 8 {bed.device("kept", 40 * MIB)}') == 'precious'


def emptied(bed):
    """A header that somebody wiped is reported, not made anew; the device of a foreign mapping's name is left alone."""
    bed.satellite.stop('TERM')
    bed.guest.run('cryptsetup close Linstor-Crypt-kept_00000; dd if=/dev/vg0/kept_00000 of=/run/header bs=1M count=16 2>/dev/null;'
                  'dd if=/dev/zero of=/dev/vg0/kept_00000 bs=1M count=16 oflag=direct 2>/dev/null')
    bed.satellite.start()
    bed.wait_online()
    reports = wait_for('the report', lambda: bed.volume('kept').get('reports'), 600, 0.5)
    assert any('not made again' in (r.get('cause') or '') for r in reports), reports
    bed.guest.run('test "$(dd if=/dev/vg0/kept_00000 bs=1M count=16 2>/dev/null | tr -d "\\0" | wc -c)" = 0')
    bed.satellite.stop('TERM')
    bed.guest.run('dd if=/run/header of=/dev/vg0/kept_00000 bs=1M oflag=direct 2>/dev/null')
    bed.satellite.start()
    bed.wait_online()
    assert bed.guest.run(f'head -c 8 {bed.device("kept", 40 * MIB)}') == 'precious'
    bed.delete('kept')
    bed.gone('kept')


def killed_at(bed, point):
    """The satellite dies at one point of an encrypted volume's life and is started again: the life goes on, nothing is left over."""
    name = 'k-' + point.lower().replace('_', '-')

    def history():
        place(bed, name, ok=False)
        bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 40 * MIB})
        wait_for(f'{name} to have its size', lambda: bed.volume(name).get('device_path') and
                 bed.volume(name).get('usable_size_kib', 0) >= 40 * MIB, 600, 1)
        bed.delete(name)
    bed.define(name, 20 * MIB)
    killed(bed, point.lower(), history)
    bed.nothing_left()


def opens(bed, name, text):
    """Does the header open with it? Whether its device is open does not matter."""
    done = bed.guest.run(f'printf %s "{text}" | cryptsetup open --test-passphrase --key-file - /dev/vg0/{name}_00000 && echo yes || echo no')
    return done.split()[-1] == 'yes'


def modify(bed, name, text):
    return bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0/encryption-passphrase', {'new_passphrase': text})


def has_only(bed, name, text, *others):
    wait_for(f'{name} to open with "{text}"', lambda: opens(bed, name, text), 600, 2)
    for other in others:
        wait_for(f'{name} not to open with "{other}"', lambda other=other: not opens(bed, name, other), 600, 2)


def own_passphrase(bed):
    """One volume's passphrase: given when it is made, changed while it is in use, while its satellite is away, while its device is down, and
    while the satellite dies at each step."""
    if status(bed) == 'unset':
        bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': FIRST}).ok()
    quick = {'StorDriver/LuksFormatOptions': '--pbkdf pbkdf2 --pbkdf-force-iterations 1000'}  # argon2id takes its time in a guest
    bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': 'own', 'props': quick, 'layer_data': [{'type': 'LUKS'}, {'type': 'STORAGE'}]}}).ok()
    bed.rest.call('POST', '/v1/resource-definitions/own/volume-definitions', {
        'volume_definition': {'size_kib': 30 * MIB}, 'passphrase': VOLUME[0]}).ok()
    place(bed, 'own')
    path = bed.device('own', 30 * MIB)
    assert opens(bed, 'own', VOLUME[0]) and not opens(bed, 'own', VOLUME[1])
    bed.guest.run(f'head -c 20M /dev/urandom >/run/own; dd if=/run/own of={path} bs=1M oflag=direct 2>/dev/null')
    assert modify(bed, 'own', '').status == 500
    bed.guest.run(f'(exec 9<{path}; sleep 1000) >/dev/null 2>&1 & echo $! >/run/holder')
    modify(bed, 'own', VOLUME[1]).ok()
    has_only(bed, 'own', VOLUME[1], VOLUME[0])
    bed.guest.run('kill $(cat /run/holder)')
    bed.satellite.stop('TERM')  # away: the header stays as it is until it is back, though the words change twice
    assert 'keeps the old passphrase' in modify(bed, 'own', VOLUME[0]).ok().text
    modify(bed, 'own', VOLUME[0] + '!').ok()
    assert opens(bed, 'own', VOLUME[1])
    bed.satellite.start()
    bed.wait_online()
    has_only(bed, 'own', VOLUME[0] + '!', *VOLUME)
    for i, point in enumerate(KEY_POINTS):
        killed(bed, point.lower(), lambda i=i: modify(bed, 'own', VOLUME[i % 2]))
        has_only(bed, 'own', VOLUME[i % 2], VOLUME[(i + 1) % 2], VOLUME[0] + '!')
    bed.satellite.stop('TERM')
    bed.guest.run(f'cryptsetup close {path.rsplit("/", 1)[1]} && lvchange -an vg0/own_00000')
    modify(bed, 'own', VOLUME[1]).ok()
    bed.satellite.start()
    bed.wait_online()
    bed.device('own', 30 * MIB)
    has_only(bed, 'own', VOLUME[1], VOLUME[0])
    bed.guest.run(f'cmp -n $((20 << 20)) /run/own {path}')
    bed.guest.run(f'grep -rq "words of a volume" {bed.satellite.DIR} /run/satellite.log && exit 1; true')
    bed.delete('own')
    bed.gone('own')


def clone_passphrase(bed):
    """A clone with a passphrase of its own: its data is there, the source's passphrase does not open it any more, and opens the source."""
    if status(bed) == 'unset':
        bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': FIRST}).ok()
    bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': 'source', 'props': {'StorDriver/LuksFormatOptions': '--pbkdf pbkdf2 --pbkdf-force-iterations 1000'},
        'layer_data': [{'type': 'LUKS'}, {'type': 'STORAGE'}]}}).ok()
    bed.rest.call('POST', '/v1/resource-definitions/source/volume-definitions', {
        'volume_definition': {'size_kib': 30 * MIB}, 'passphrase': VOLUME[0]}).ok()
    place(bed, 'source', 'thin')
    path = bed.device('source', 30 * MIB)
    bed.guest.run(f'head -c 20M /dev/urandom >/run/source; dd if=/run/source of={path} bs=1M oflag=direct 2>/dev/null')
    bed.rest.call('POST', '/v1/resource-definitions/source/clone', {'name': 'twin', 'volume_passphrases': [VOLUME[1]]}).ok()
    wait_for('the clone', lambda: bed.rest.get('/v1/resource-definitions/source/clone/twin').ok().json['status'] == 'COMPLETE', 600, 1)
    path = bed.device('twin', 30 * MIB)
    has_only(bed, 'twin', VOLUME[1], VOLUME[0])
    has_only(bed, 'source', VOLUME[0], VOLUME[1])
    bed.guest.run(f'cmp -n $((20 << 20)) /run/source {path}')
    for name in ('twin', 'source'):
        bed.delete(name)
        bed.gone(name)


def no_traces(bed):
    """Neither the passphrases nor a volume's key are in the files or logs of controller and satellite."""
    bed.guest.run(f'grep -rq "{FIRST}" {bed.satellite.DIR} /run/satellite.log && exit 1; true')
    for text in (FIRST, SECOND, *VOLUME):
        found = [p for p in bed.cluster.dir.rglob('*') if p.is_file() and text.encode() in p.read_bytes()]
        assert not found, found


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest, a satellite, two pools', Bed, work, image, lambda bed: status(bed) == 'unset')
    if bed is None:
        return
    storage.run_checks(suite, bed, everything, [
        (True, 'the passphrase: unset, created, wrong, changed', passphrases),
        *((pool == 'thick', f'create, write, grow, read, delete an encrypted volume in pool {pool}', life, pool) for pool in ('thick', 'thin')),
        (True, 'locked after a restart', locked),
        (True, 'an emptied device', emptied),
        *((False, f'killed at {point}', killed_at, point) for point in POINTS),
        (False, 'a node that loses power, of encrypted thick LVM', power, 'thick', ('LUKS', 'STORAGE'), False),
        (False, 'the passphrase of one volume', own_passphrase),
        (False, 'a clone with a passphrase of its own', clone_passphrase),
        (True, 'no traces', no_traces)])
