"""Replication by satellites, asked for by REST and CLI only: DRBD 8.4 of a stock kernel on two nodes. Made with the default layers, a file
system with running writes, the primary moved, a node lost and back while no controller is there, a leader that was stopped, grown online,
a split brain, satellites killed between any two steps, deleted. After each part the API says what the nodes say."""
import os
import re
import signal
import subprocess
import time

from lib_e2e import BUILD, Cluster, Rest, wait_for
from rig import TOP, Guest, Satellite
from scenario_drbd import tool

MIB = 1024  # KiB
POINTS = re.findall(r'^INJECT\((DRBD_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
POINTS = [p for p in POINTS if p not in ('DRBD_HELD', 'DRBD_RESUMED')]  # of snapshots
ADM = 'drbdadm -c /run/outrigger/satellite/drbd/data.conf'
WRITER = '{ (while :; do date +%s.%N >>/mnt/a/log && sync /mnt/a/log || break; sleep 0.2; done) >/dev/null 2>&1 & echo $! >/run/writer; }'


class FreshRest(Rest):
    """A connection for each call: between two calls members die, and minutes pass."""
    def call(self, *args, **kwargs):
        self.close()
        return super().call(*args, **kwargs)


def release(bed):
    """Nobody uses it any more."""
    for guest in bed.guests:
        guest.run(f'[ ! -e /run/writer ] || kill $(cat /run/writer) 2>/dev/null; rm -f /run/writer; sleep 1; ! mountpoint -q /mnt/a || umount /mnt/a; '
                  f'{ADM} secondary data')


class Bed:
    def __init__(self, work, image):
        self.guests, self.cluster = [], None
        try:
            self.set_up(work, image)
        except BaseException:
            self.close()
            raise

    def set_up(self, work, image):
        self.guests = [Guest(work, image, number, disks=('1G', '64M')) for number in (1, 2)]
        for guest in self.guests:
            guest.start()
        self.cluster = Cluster(controllers=3, satellites=0)
        self.rest = FreshRest(self.cluster.address('c1'), timeout_s=300)
        self.satellites = {}
        for guest in self.guests:
            guest.wait_ready()
            guest.run('vgcreate -q vg0 /dev/disk/by-id/virtio-data0 2>&1; mkfs.ext4 -q /dev/disk/by-id/virtio-data1')
            self.own_disk(guest)
            satellite = self.satellites[guest.name] = Satellite(guest)
            satellite.join(self.cluster)
            satellite.start()
            self.rest.call('POST', '/v1/nodes', {'name': guest.name, 'type': 'SATELLITE', 'net_interfaces': [
                {'name': 'default', 'address': guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        self.rest.call('POST', '/v1/nodes', {'name': 'n3', 'type': 'SATELLITE', 'net_interfaces': [{'name': 'default', 'address': '10.99.0.99'}]}).ok()
        for guest in self.guests:
            self.online(guest)
        for name in ('n1', 'n2', 'n3'):  # n3 is away
            self.rest.call('POST', f'/v1/nodes/{name}/storage-pools', {
                'storage_pool_name': 'thick', 'provider_kind': 'LVM', 'props': {'StorDriver/StorPoolName': 'vg0'}}).ok()

    @staticmethod
    def own_disk(guest):
        """What the satellite remembers outlives the root of a guest, which is new after each start."""
        guest.run('modprobe dm_mod; mkdir -p /run/outrigger /mnt/a && mount /dev/disk/by-id/virtio-data1 /run/outrigger')

    def online(self, guest):
        wait_for(f'{guest.name} to be online', lambda: self.rest.get(f'/v1/nodes/{guest.name}').ok().json['connection_status'] == 'ONLINE',
                 120, 0.5)

    def define(self, name, size_kib, props=None):
        self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'props': {
            'DrbdOptions/Net/ping-int': '3', 'DrbdOptions/Net/connect-int': '3',
            'DrbdOptions/PeerDevice/c-plan-ahead': '0', 'DrbdOptions/PeerDevice/resync-rate': '20480', **(props or {})}}}).ok()
        self.rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': size_kib}}).ok()

    def cli(self, *words, code=0):
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.cluster.address('c1'), '--no-utf8', *words],
                              capture_output=True, text=True, timeout=300)
        print(''.join(f'    {line}\n' for line in (f'$ outrigger {" ".join(words)}\n' + done.stdout + done.stderr).splitlines()), end='')
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def place(self, name):
        return self.rest.call('POST', f'/v1/resource-definitions/{name}/autoplace', {'select_filter': {
            'place_count': 2, 'storage_pool': 'thick'}})

    def seen(self, name):
        """What the API shows: {node: (role, disk, connection to the other, replication)}."""
        found = {}
        for r in self.rest.get(f'/v1/view/resources?resources={name}').ok().json:
            volume = (r.get('volumes') or [{}])[0]
            connections = r.get('layer_object', {}).get('drbd', {}).get('connections', {})
            state = volume.get('state', {})
            replication = state.get('replication_states', {})
            found[r['node_name']] = ('Primary' if r.get('state', {}).get('in_use') else 'Secondary', state.get('disk_state'),
                                     *(c.get('message') for c in connections.values()), *(x.get('replication_state') for x in replication.values()))
        return found

    def real(self, name, guests=None):
        """The same, from the nodes."""
        found = {}
        for guest in guests or self.guests:
            state = {}
            for line in tool('events', text=guest.run(f'drbdsetup events2 --statistics --now {name}')).splitlines():
                what, _, rest = line.partition(' ')
                state[what] = dict(re.findall(r'(\w+)=(\S*)', rest))
            # 8.4 forgets a connection that it has given up.
            state.setdefault('peer', {'connection': 'StandAlone', 'replication': ''})
            if 'resource' in state:
                found[guest.name] = (state['resource']['role'], state['device']['disk'], state['peer']['connection'],
                                     *([state['peer']['replication']] if state['peer']['replication'] else []))
        return found

    def agree(self, name, expected=None, guests=None, timeout_s=300):
        """Both say the same (and what is expected), at the latest a moment after the last change."""
        last = {}

        def same():
            last['node'] = self.real(name, guests)
            last['api'] = {n: s for n, s in self.seen(name).items() if n in last['node']}
            return last['node'] and last['api'] == last['node'] and (expected is None or last['node'] == expected)
        try:
            wait_for(f'{name}: the API to say what the nodes say', same, timeout_s, 1)
        except AssertionError as e:
            raise AssertionError(f'{e}: {last}, expected {expected}') from e
        print(f'  {name}: {last["api"]}')

    def close(self):
        for guest in self.guests:
            guest.remove()
        if self.cluster is not None:
            self.cluster.close()


def both(first='Secondary', second='Secondary'):
    return {'n1': (first, 'UpToDate', 'Connected', 'Established'), 'n2': (second, 'UpToDate', 'Connected', 'Established')}


def made(bed):
    """The default layers; a full sync from the first one; metadata is counted; a file system by property, made on one node."""
    bed.define('data', 40 * MIB, {'FileSystem/Type': 'ext4', 'FileSystem/MkfsParams': '-L outrigger'})
    answer = bed.place('data')
    assert answer.status == 201, answer.text
    assert bed.rest.get('/v1/resource-definitions/data').ok().json['layer_data'][0]['type'] == 'DRBD'
    bed.agree('data', both())
    def looked():
        return bed.rest.get('/v1/view/resources?resources=data&nodes=n1').ok().json[0]
    wait_for('the device', lambda: 'device_path' in looked()['volumes'][0], 120, 0.5)
    view = looked()
    volume = view['volumes'][0]
    assert volume['device_path'] == '/dev/drbd1000' and volume['usable_size_kib'] >= 40 * MIB, volume
    kib = int(bed.guests[0].run('cat /sys/block/drbd1000/size')) // 2
    assert kib == volume['usable_size_kib'], (kib, volume)
    states = [x['data']['disk_state'] for x in volume['layer_data_list']]
    assert states == ['UpToDate', 'Created'], states
    assert view['layer_object']['type'] == 'DRBD' and view['layer_object']['children'][0]['type'] == 'STORAGE', view
    answer = bed.rest.call('POST', '/v1/resource-definitions/data/resources', [{'resource': {'name': 'data', 'node_name': 'n1'}}])
    assert answer.status != 201
    for guest in bed.guests:
        assert guest.run('drbdadm -c /run/outrigger/satellite/drbd/data.conf -d adjust data 2>&1').strip() == ''


def moved(bed):
    one, two = bed.guests
    one.run('drbdadm -c /run/outrigger/satellite/drbd/data.conf primary data && mount /dev/drbd1000 /mnt/a && head -c 12M /dev/urandom >/mnt/a/data && '
            f'sha256sum </mnt/a/data >/mnt/a/sum && sync && {WRITER}')
    bed.agree('data', both('Primary'))
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/data')
    assert answer.status != 200, answer.text  # in use
    one.run('kill $(cat /run/writer); sleep 1; wc -l </mnt/a/log >/mnt/a/lines; umount /mnt/a && drbdadm -c /run/outrigger/satellite/drbd/data.conf secondary data')
    two.run('drbdadm -c /run/outrigger/satellite/drbd/data.conf primary data && mount /dev/drbd1000 /mnt/a && test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && '
            f'test "$(wc -l </mnt/a/log)" = "$(cat /mnt/a/lines)" && {WRITER}')
    bed.agree('data', both(second='Primary'))


def lines(guest):
    """When the running writes were made, in seconds."""
    return [float(x) for x in guest.run('cat /mnt/a/log').split()]


def lost(bed):
    """A node loses power under writes, then all controllers: the writes go on. Its satellite brings the volume up by itself, and only what it
    missed is sent. When the controllers are back, nothing changes."""
    one, two = bed.guests
    one.kill()
    wait_for('the loss to be seen', lambda: bed.real('data', [two])['n2'][2] != 'Connected', 120, 1)
    bed.agree('data', guests=[two])
    two.run('head -c 6M /dev/urandom >/mnt/a/more && sync && sha256sum </mnt/a/more >/mnt/a/sum2')
    for name in bed.cluster.controllers:
        bed.cluster.kill(name)
    alone = len(lines(two))
    one.start()
    one.wait_ready()
    bed.own_disk(one)
    bed.satellites['n1'].start()
    wait_for('the volume to come up without a controller', lambda: bed.real('data') == both(second='Primary'), 300, 1)
    got = int(re.search(r' received:(\d+)', one.run('drbdsetup events2 --statistics --now data')).group(1))
    assert 6000 <= got < 36000, got
    written = lines(two)
    assert len(written) > alone + 5, (len(written), alone)
    longest = max(b - a for a, b in zip(written[alone:], written[alone + 1:]))
    print(f'  without a controller: up, {got} KiB of 40960 received; {len(written) - alone} writes meanwhile, at most {longest:.1f} s apart')
    for name in bed.cluster.controllers:
        bed.cluster.start(name)
    wait_for('the controllers', lambda: bed.cluster.serves('c1'), 120, 0.5)
    bed.agree('data', both(second='Primary'))
    two.run('test "$(sha256sum </mnt/a/more)" = "$(cat /mnt/a/sum2)"')


def pid_of(bed, name):
    return int((bed.cluster.dir / name / 'pid').read_text().split()[0])


def deposed(bed):
    """The leader stands still, another one takes over and changes an option; then the old one goes on, and what it had wanted does not come
    back. The satellite of n1 is killed and started meanwhile. Neither is felt by the volume."""
    one, two = bed.guests
    old = bed.cluster.leader()
    before = one.run('dmesg | grep -c "block drbd1000\\|drbd data" || true'), len(lines(two))
    os.kill(pid_of(bed, old), signal.SIGSTOP)
    try:
        others = [name for name in bed.cluster.controllers if name != old]
        rest = bed.cluster.rest(others[0], timeout_s=300)
        rest.call('PUT', '/v1/resource-definitions/data', {'override_props': {'DrbdOptions/Net/ping-int': '4'}}).ok()
        bed.satellites['n1'].stop('KILL')
    finally:
        os.kill(pid_of(bed, old), signal.SIGCONT)
    bed.satellites['n1'].start()
    wait_for('the controllers', lambda: bed.cluster.serves('c1') and bed.cluster.serves(old), 120, 0.5)
    bed.online(one)
    for guest in bed.guests:
        wait_for('the option', lambda: 'ping-int' in guest.run('drbdsetup show data') and re.search(
            r'ping-int\s+4;', guest.run('drbdsetup show data')), 120, 1)
    bed.agree('data', both(second='Primary'))
    time.sleep(3)
    assert re.search(r'ping-int\s+4;', one.run('drbdsetup show data'))
    assert len(lines(two)) > before[1]
    new = one.run('dmesg | grep "block drbd1000\\|drbd data" | tail -n +%d' % (int(before[0]) + 1))
    assert 'conn(' not in new and 'disk(' not in new, new


def refused(bed):
    """DRBD 8.4 joins two nodes with disks: a third one, with a disk or without, is refused with the cause."""
    for flags in ([], ['DRBD_DISKLESS']):
        answer = bed.rest.call('POST', '/v1/resource-definitions/data/resources/n3', {
            'resource': {'flags': flags, 'props': {'StorPoolName': 'thick'}}})
        said = answer.text
        assert answer.status >= 400 and '8.4' in said and 'DRBD 9' in said, said
    bed.cli('resource', 'create', 'n3', 'data', '--drbd-diskless', code=10)
    assert len(bed.rest.get('/v1/view/resources?resources=data').ok().json) == 2


def split(bed):
    """Both nodes write while they do not see one another. API and CLI show it; the CLI ends it, in favour of the one that is in use."""
    one, two = bed.guests
    primary = f'{ADM} primary data && mount /dev/drbd1000 /mnt/a'
    release(bed)
    for guest in bed.guests:
        guest.isolated(True)
    wait_for('them to lose one another', lambda: all(s[2] != 'Connected' for s in bed.real('data').values()), 120, 1)
    bed.agree('data')
    two.run(f'{primary} && echo two >/mnt/a/two && umount /mnt/a && {{ for i in $(seq 20); do {ADM} secondary data && break; sleep 0.5; done; }}')
    one.run(f'{primary} && echo one >/mnt/a/one && sync')
    for guest in bed.guests:
        guest.isolated(False)
    wait_for('DRBD to find out', lambda: any(s[2] == 'StandAlone' for s in bed.real('data').values()), 120, 1)
    bed.agree('data')
    shown = bed.cli('resource', 'resolve', 'data')
    assert 'StandAlone' in shown and 'split brain' in shown and '--keep' in shown, shown
    assert 'StandAlone' in bed.cli('resource', 'list', '-r', 'data')
    warnings = [x for r in bed.rest.get('/v1/view/resources?resources=data').ok().json for x in r['volumes'][0].get('reports', [])]
    assert any('split brain' in w['message'] and 'resolve data' in w['correction'] for w in warnings), warnings
    said = bed.cli('resource', 'resolve', 'data', '--keep', 'n2', code=10)
    assert 'in use' in said, said
    bed.cli('resource', 'resolve', 'data', '--keep', 'n1')
    bed.agree('data', both('Primary'))
    one.run('cat /mnt/a/one && test ! -e /mnt/a/two')
    release(bed)
    two.run(f'{primary} && grep one /mnt/a/one && test ! -e /mnt/a/two && {{ test ! -e /mnt/a/sum || test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)"; }} && '
            f'{WRITER}')
    bed.agree('data', both(second='Primary'))


def grown(bed):
    two = bed.guests[1]
    bed.rest.call('PUT', '/v1/resource-definitions/data/volume-definitions/0', {'size_kib': 64 * MIB}).ok()
    for guest in bed.guests:
        wait_for(f'the new size on {guest.name}', lambda: int(guest.run('cat /sys/block/drbd1000/size')) // 2 >= 64 * MIB, 180, 1)
    two.run('resize2fs /dev/drbd1000 2>&1 && test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && kill -0 $(cat /run/writer)')
    bed.agree('data', both(second='Primary'))
    wait_for('the API to show it', lambda: all(r['volumes'][0]['usable_size_kib'] >= 64 * MIB for r in
                                               bed.rest.get('/v1/view/resources?resources=data').ok().json), 60, 1)


def deleted(bed):
    release(bed)
    bed.agree('data', both())
    bed.rest.call('DELETE', '/v1/resource-definitions/data').ok()
    gone(bed, 'data')


def gone(bed, name):
    for guest in bed.guests:
        wait_for(f'{name} to be gone from {guest.name}', lambda: guest.run(
            f'lvs --noheadings -o lv_name vg0 | grep {name}_; ls /run/outrigger/satellite/drbd /run/outrigger/satellite/drbd/res | grep {name}; '
            f'grep -c cs: /proc/drbd; true').split() == ['0'], 300, 1)


def killed_at(bed, point):
    """A satellite dies at one point of a resource's life and is started again: the life goes on, nothing is left over."""
    satellite, name = bed.satellites['n1'], 'k-' + point.lower().replace('_', '-')
    satellite.stop('KILL')
    satellite.start(inject=point.lower())
    bed.online(bed.guests[0])
    bed.define(name, 20 * MIB, {'FileSystem/Type': 'ext4'})
    bed.place(name)
    steps = [lambda: bed.agree(name, both()),
             lambda: bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 28 * MIB}),
             lambda: wait_for('the new size', lambda: satellite.running() is False or int(bed.guests[1].run(
                 'cat /sys/block/drbd1000/size')) // 2 >= 28 * MIB, 300, 1),
             lambda: bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()]
    died = False

    def heal():
        nonlocal died
        if not died and not satellite.running():
            died = True
            satellite.start()
            bed.online(bed.guests[0])
    for step in steps:
        wait_for('it to die or to go on', lambda: not satellite.running() or died or bed.real(name) == both() or step is steps[3], 300, 1)
        heal()
        step()
        heal()
    if not died:
        wait_for(f'death at {point}', lambda: not satellite.running(), 120, 0.5)
        heal()
    gone(bed, name)


def run(suite, work, image, everything):
    bed = suite.check('two nodes with DRBD 8.4 and satellites', Bed, work, image)
    if bed is None:
        return
    try:
        began = time.monotonic()
        for name, step in (('made with the default layers, in sync', made), ('file system, running writes, primary moved', moved),
                           ('a node lost, back without a controller, resynchronised', lost), ('a third node is refused', refused),
                           ('a leader that stood still, a satellite killed', deposed), ('grown online', grown),
                           ('split brain, resolved by the CLI', split), ('deleted', deleted)):
            before = suite.failed
            suite.check('replica: ' + name, step, bed)
            print(f'  {time.monotonic() - began:.0f} s')
            if suite.failed > before:
                break
        else:
            for point in POINTS if everything else ():
                suite.check(f'replica: killed at {point}', killed_at, bed, point)
        if suite.failed:
            for guest in bed.guests:
                print(guest.name, bed.satellites[guest.name].log()[-3000:], guest.try_run('cat /proc/drbd; dmesg | tail -n 25')[1])
    finally:
        bed.close()
