"""Replication by satellites, asked for by REST and CLI only: DRBD 8.4 of a stock kernel on two nodes. Made with the default layers, a file
system with running writes, the primary moved, a node lost and back while no controller is there, grown online, a third node refused,
deleted. With --all also a module that comes later, a leader that was stopped, a split brain, satellites killed between any two steps, nodes
that lose power meanwhile, thin storage. After each part the API says what the nodes say."""
import base64
import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

from lib_e2e import BUILD, Cluster, Rest, wait_for
from rig import TOP, Guest, Satellite

MIB = 1024  # KiB
POINTS = re.findall(r'^INJECT\((DRBD_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
POINTS = [p for p in POINTS if p not in ('DRBD_HELD', 'DRBD_RESUMED')]  # of snapshots
ADM = 'drbdadm -c /run/outrigger/satellite/drbd/data.conf'
WRITER = '{ (while :; do date +%s.%N >>/mnt/a/log && sync /mnt/a/log || break; sleep 0.2; done) >/dev/null 2>&1 & echo $! >/run/writer; }'


# A command in a guest that does not end is left behind, with what the node does meanwhile: the agent runs one at a time.
WATCHED = r"""base64 -d <<<{script} >/run/step.sh
setsid bash /run/step.sh </dev/null >/run/step.out 2>&1 & step=$!
sleep {seconds} & clock=$!
wait -n $step $clock
if kill -0 $step 2>/dev/null; then
        cat /run/step.out
        echo "--- it has not ended after {seconds} s:"
        for p in /proc/[0-9]*; do
                args=$(tr '\0' ' ' <$p/cmdline); state=$(cut -d' ' -f3 $p/stat)
                [ -z "$args" ] || echo "${{p#/proc/}} $state $args"
                [ "$state" != D ] || {{ cat $p/comm $p/stack; }}
        done
        cat /proc/drbd; dmesg | tail -n 30
        exit 99
fi
kill $clock; wait $clock 2>/dev/null; wait $step; status=$?
cat /run/step.out
exit $status"""


class WatchedGuest(Guest):
    SECONDS = 300

    def try_run(self, script, timeout_s=SECONDS):
        if timeout_s < self.SECONDS:  # whether it has booted
            return super().try_run(script, timeout_s)
        text = base64.b64encode(script.encode()).decode()
        status, output = super().try_run(WATCHED.format(script=text, seconds=timeout_s), timeout_s + 60)
        if status == 99:
            raise TimeoutError(f'{self.name}: {script!r}: {output}')
        return status, output

    def run(self, script, timeout_s=SECONDS):
        return super().run(script, timeout_s)

    def put(self, local, remote):
        self.try_run = super().try_run
        try:
            super().put(local, remote)
        finally:
            del self.try_run


class FreshRest(Rest):
    """A connection for each call: between two calls members die, and minutes pass."""
    def call(self, *args, **kwargs):
        self.close()
        return super().call(*args, **kwargs)


def again(command):
    """It is tried for a while: udev looks at a device that was closed."""
    return f'for try in $(seq 40); do {command} && break; [ $try != 40 ] && sleep 0.5; done'


UNMOUNT = again('! mountpoint -q /mnt/a || umount /mnt/a')
SECONDARY = again(f'{ADM} secondary data')
STOP_WRITER = '[ ! -e /run/writer ] || kill $(cat /run/writer) 2>/dev/null; rm -f /run/writer; sleep 1'


def release(bed):
    """Nobody uses it any more."""
    for guest in bed.guests:
        guest.run(f'{STOP_WRITER}; {UNMOUNT} && {SECONDARY}')


class Bed:
    DISKS = ('1G', '64M')  # the pool's, and what outlives a guest's root

    def __init__(self, work, image, everything, lacks=False):
        """lacks: n1's kernel cannot load DRBD's module."""
        self.guests, self.cluster, self.everything, self.lacks = [], None, everything, lacks
        try:
            self.set_up(work, image)
        except BaseException:
            self.close()
            raise

    def set_up(self, work, image):
        self.guests = [WatchedGuest(work, image, number, disks=self.DISKS) for number in (1, 2)]
        for guest in self.guests:
            with open(guest.disks[0], 'r+b') as f:  # what is on a disk that was used before is anything
                f.seek(MIB * 1024)
                f.write(os.urandom(64 * MIB * 1024))
            guest.start()
        self.cluster = Cluster(controllers=3, satellites=0)
        self.rest = FreshRest(self.cluster.address('c1'), timeout_s=300)
        self.satellites = {}
        for guest in self.guests:
            guest.wait_ready()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(self.prepare, self.guests))
        for guest in self.guests:
            satellite = self.satellites[guest.name] = Satellite(guest)
            satellite.join(self.cluster)
            satellite.start()
            self.rest.call('POST', '/v1/nodes', {'name': guest.name, 'type': 'SATELLITE', 'net_interfaces': [
                {'name': 'default', 'address': guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        self.rest.call('POST', '/v1/nodes', {'name': 'n3', 'type': 'SATELLITE', 'net_interfaces': [{'name': 'default', 'address': '10.99.0.99'}]}).ok()
        for guest in self.guests:
            self.online(guest)
        for name in ('n1', 'n2', 'n3'):  # n3 is away
            for pool, kind, place in (('thick', 'LVM', 'vg0'), ('thin', 'LVM_THIN', 'vg0/thin'))[:2 if self.everything else 1]:
                self.rest.call('POST', f'/v1/nodes/{name}/storage-pools', {
                    'storage_pool_name': pool, 'provider_kind': kind, 'props': {'StorDriver/StorPoolName': place}}).ok()

    def prepare(self, guest):
        guest.run('vgcreate -q vg0 /dev/disk/by-id/virtio-data0 2>&1; mkfs.ext4 -q /dev/disk/by-id/virtio-data1')
        self.own_disk(guest)
        if self.everything:
            guest.run('lvcreate -q -y -L 200M -T vg0/thin 2>&1')
        if self.lacks and guest.number == 1:
            guest.run("echo 'install drbd /bin/false' >/etc/modprobe.d/no-drbd.conf")

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

    def place(self, name, pool='thick'):
        return self.rest.call('POST', f'/v1/resource-definitions/{name}/autoplace', {'select_filter': {
            'place_count': 2, 'storage_pool': pool}})

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
            for line in guest.run(f'drbdsetup events2 --statistics --now {name}').splitlines():
                words = line.split()
                if words[0] == 'exists':
                    state[words[1]] = dict(word.split(':', 1) for word in words[2:])
            if 'resource' in state and 'device' in state:
                found[guest.name] = (state['resource']['role'], state['device']['disk'], state.get('connection', {}).get('connection', 'StandAlone'),
                                     *([state['peer-device']['replication']] if 'peer-device' in state else []))
        return found

    def agree(self, name, expected=None, guests=None, timeout_s=180):
        """Both say the same (and what is expected), at the latest a moment after the last change."""
        last = {}

        def same():
            if expected is not None and self.seen(name) != expected:  # asking the guests costs them more than their work
                last['api'] = self.seen(name)
                return False
            last['node'] = self.real(name, guests)
            last['api'] = {n: s for n, s in self.seen(name).items() if n in last['node']}
            return last['node'] and last['api'] == last['node'] and (expected is None or last['node'] == expected)
        try:
            wait_for(f'{name}: the API to say what the nodes say', same, timeout_s, 1)
        except TimeoutError as e:
            raise TimeoutError(f'{e}: {last}, expected {expected}') from e
        print(f'  {name}: {last["api"]}', flush=True)

    def explain(self):
        for guest in self.guests:
            try:
                print(guest.name, self.satellites[guest.name].log()[-3000:], guest.try_run(
                    f'cat /proc/drbd; drbdsetup events2 --statistics --now; {ADM} -d adjust data; dmesg | tail -n 40')[1])
            except (OSError, TimeoutError, AttributeError) as e:  # it may be off
                print(guest.name, e)
        try:
            print(self.rest.get('/v1/view/resources').text)
        except OSError as e:
            print(e)

    def close(self):
        for guest in self.guests:
            guest.remove()
        if self.cluster is not None:
            self.cluster.close()


@contextlib.contextmanager
def untouched(bed, guests):
    """What happens meanwhile is not felt by the volume: the kernel says nothing, no file and no device changes, the writes go on."""
    look = ('stat -c "%n %i %Y" /run/outrigger/satellite/drbd/*.conf /run/outrigger/satellite/drbd/res/*.res; lvs --noheadings -o lv_full_name,lv_uuid,lv_size,lv_tags; '
            'dmesg | grep -c "drbd data\\|block drbd"; drbdsetup show data')
    before = [guest.run(look) for guest in guests]
    written = len(lines(bed.guests[1]))
    yield
    for guest, was in zip(guests, before):
        now = guest.run(look)
        assert now == was, f'{guest.name}: {was} -> {now}'
    wait_for('the writes to go on', lambda: len(lines(bed.guests[1])) > written, 60, 1)


def module_comes(bed):
    """A satellite was started on a node whose kernel could not load DRBD's module. It can now: the satellite notices, in the same session."""
    one = bed.guests[0]

    def node():
        return bed.rest.get('/v1/nodes/n1').ok().json
    said = node()
    assert 'DRBD' not in said['resource_layers'] and 'modprobe drbd' in str(said['unsupported_layers']['DRBD']), said
    bed.define('early', 8 * MIB)
    refused = bed.place('early')
    assert refused.status >= 400, refused.text
    print('    ' + refused.json[0]['message'])
    bed.rest.call('DELETE', '/v1/resource-definitions/early').ok()
    ended = one.run('grep -c disconnected /run/satellite.log || true')
    one.run('rm /etc/modprobe.d/no-drbd.conf; modprobe drbd')
    began = time.monotonic()
    wait_for('n1 to say that it has DRBD', lambda: 'DRBD' in node()['resource_layers'], 60, 0.3)
    print(f'  noticed after {time.monotonic() - began:.0f} s')
    assert 'DRBD' not in node().get('unsupported_layers', {}), node()
    assert one.run('grep -c disconnected /run/satellite.log || true') == ended, one.run('cat /run/satellite.log')


def both(first='Secondary', second='Secondary'):
    return {'n1': (first, 'UpToDate', 'Connected', 'Established'), 'n2': (second, 'UpToDate', 'Connected', 'Established')}


def same_below(bed, device, kib):
    """What is below DRBD is the same on both nodes, byte by byte."""
    sums = [guest.run(f'dd if={device} bs=1M count={kib // MIB} iflag=direct 2>/dev/null | sha256sum') for guest in bed.guests]
    assert sums[0] == sums[1], sums


def made(bed):
    """The default layers; a full sync from the first one, whatever the second one's disk held; metadata is counted; a file system by
    property, made on one node."""
    bed.define('data', 40 * MIB, {'FileSystem/Type': 'ext4', 'FileSystem/MkfsParams': '-L outrigger'})
    answer = bed.place('data')
    assert answer.status == 201, answer.text
    bed.agree('data', both(), timeout_s=400)
    assert bed.rest.get('/v1/resource-definitions/data').ok().json['layer_data'][0]['type'] == 'DRBD'

    def looked():
        return bed.rest.get('/v1/view/resources?resources=data&nodes=n1').ok().json[0]
    wait_for('the device', lambda: 'device_path' in looked()['volumes'][0], 120, 0.5)
    view = looked()
    volume = view['volumes'][0]
    assert volume['device_path'] == '/dev/drbd1000' and volume['usable_size_kib'] >= 40 * MIB, volume
    kib = int(bed.guests[0].run('cat /sys/block/drbd1000/size')) // 2
    assert kib == volume['usable_size_kib'], (kib, volume)
    received = int(re.search(r' received:(\d+)', bed.guests[1].run('drbdsetup events2 --statistics --now data')).group(1))
    assert received >= kib // 2, (received, kib)  # mkfs discards, which is not sent as data
    print(f'  {received} KiB of {kib} received; the same on both')
    same_below(bed, '/dev/vg0/data_00000', kib)
    states = [x['data']['disk_state'] for x in volume['layer_data_list']]
    assert states == ['UpToDate', 'Created'], states
    assert view['layer_object']['type'] == 'DRBD' and view['layer_object']['children'][0]['type'] == 'STORAGE', view
    answer = bed.rest.call('POST', '/v1/resource-definitions/data/resources', [{'resource': {'name': 'data', 'node_name': 'n1'}}])
    assert answer.status != 201
    for guest in bed.guests:
        assert guest.run('drbdadm -c /run/outrigger/satellite/drbd/data.conf -d adjust data 2>&1').strip() == ''


def moved(bed):
    one, two = bed.guests
    one.run(f'{ADM} primary data && mount /dev/drbd1000 /mnt/a && head -c 12M /dev/urandom >/mnt/a/data && '
            f'sha256sum </mnt/a/data >/mnt/a/sum && sync && {WRITER}')
    bed.agree('data', both('Primary'))
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/data')
    assert answer.status != 200, answer.text  # in use
    one.run(f'{STOP_WRITER}; wc -l </mnt/a/log >/mnt/a/lines; {UNMOUNT} && {SECONDARY}')
    two.run(f'{ADM} primary data && mount /dev/drbd1000 /mnt/a && test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && '
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
    wait_for('the volume to come up without a controller', lambda: bed.real('data', [one]).get('n1') == both()['n1'], 300, 2)
    wait_for('n2 to say so, too', lambda: bed.real('data') == both(second='Primary'), 30, 1)
    got = int(re.search(r' received:(\d+)', one.run('drbdsetup events2 --statistics --now data')).group(1))
    assert 6000 <= got < 36000, got
    written = lines(two)
    assert len(written) > alone + 5, (len(written), alone)
    longest = max(b - a for a, b in zip(written[alone:], written[alone + 1:]))
    print(f'  without a controller: up, {got} KiB of 40960 received; {len(written) - alone} writes meanwhile, at most {longest:.1f} s apart')
    with untouched(bed, bed.guests):
        for name in bed.cluster.controllers:
            bed.cluster.start(name)
        wait_for('the controllers', lambda: bed.cluster.serves('c1'), 120, 0.5)
        bed.agree('data', both(second='Primary'))
        for guest in bed.guests:
            bed.online(guest)
        time.sleep(5)  # each is sent all that it is to do
    two.run('test "$(sha256sum </mnt/a/more)" = "$(cat /mnt/a/sum2)"')


def pid_of(bed, name):
    return int((bed.cluster.dir / name / 'pid').read_text().split()[0])


def deposed(bed):
    """The leader stands still, another one takes over and changes an option; then the old one goes on, and what it had wanted does not come
    back. The satellite of n1 is killed and started meanwhile. Neither is felt by the volume."""
    one, two = bed.guests
    old = bed.cluster.leader()
    term = bed.cluster.view(old)['term']
    uuid = bed.rest.get('/v1/resource-definitions/data/resources/n1').ok().json['uuid']
    said, written = one.run('dmesg | wc -l'), len(lines(two))
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
        wait_for(f'the option on {guest.name}', lambda: re.search(r'ping-int\s+4;', guest.run('drbdsetup show data')), 120, 1)
    bed.agree('data', both(second='Primary'))
    with untouched(bed, bed.guests):
        for guest in bed.guests:  # what it might have said: that the resource is to go
            answer = subprocess.run([str(BUILD / 'tests/vm/old-leader'), str(bed.cluster.dir / old), f'{guest.address}:3366', guest.name,
                                     str(term), 'data', uuid], capture_output=True, text=True, timeout=60)
            print(f'  an order of {old} to {guest.name}, of term {term}: {answer.stdout.strip()}')
            assert 'a newer leader has spoken' in answer.stdout, answer
        time.sleep(3)
    assert len(lines(two)) > written
    new = one.run(f'dmesg | tail -n +{int(said) + 1} | grep "block drbd1000\\|drbd data" || true')
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
    two.run(f'{primary} && echo two >/mnt/a/two && {UNMOUNT} && {SECONDARY}')
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
        new_size(bed, guest, 64 * MIB)
    two.run('resize2fs /dev/drbd1000 2>&1 && test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && kill -0 $(cat /run/writer)')
    bed.agree('data', both(second='Primary'))
    wait_for('the API to show it', lambda: all(r['volumes'][0]['usable_size_kib'] >= 64 * MIB for r in
                                               bed.rest.get('/v1/view/resources?resources=data').ok().json), 60, 1)


def deleted(bed):
    release(bed)
    bed.agree('data', both())
    bed.rest.call('DELETE', '/v1/resource-definitions/data').ok()
    gone(bed, 'data')


def left(guest, name):
    """What is left of it; ['0']: nothing."""
    return guest.run(f'lvs --noheadings -o lv_name vg0 | grep {name}_; ls /run/outrigger/satellite/drbd /run/outrigger/satellite/drbd/res | '
                     f'grep {name}; grep -c cs: /proc/drbd; true').split()


def gone(bed, name):
    for guest in bed.guests:
        wait_for(f'{name} to be gone from {guest.name}', lambda: left(guest, name) == ['0'], 300, 1)


def new_size(bed, guest, kib):
    wait_for(f'the new size on {guest.name}', lambda: has_size(guest, kib), 300, 1)


def has_size(guest, kib):
    return int(guest.run('cat /sys/block/drbd1000/size 2>/dev/null || echo 0')) // 2 >= kib


def nothing_differs(guest):
    """Also of a part that is new: DRBD 8.4 does not synchronise what has grown while the nodes shook hands."""
    return set(guest.run("sed -n 's/.*oos:\\([0-9]*\\).*/\\1/p' /proc/drbd").split()) == {'0'}


def killed_at(bed, point, pool):
    """A satellite dies at one point of a resource's life and is started again: the life goes on, nothing is left over."""
    satellite, one, name = bed.satellites['n1'], bed.guests[0], 'k-' + point.lower().replace('_', '-')
    satellite.stop('KILL')
    satellite.start(inject=point.lower())
    bed.online(one)
    deaths = []

    def lives(what, done, timeout_s=300):
        """Waits for that; the satellite is started again when it has died."""
        def look():
            if not deaths and not satellite.running():
                deaths.append(what)
                satellite.start()
            return done()
        wait_for(f'{name}: {what}', look, timeout_s, 1)
    bed.define(name, 20 * MIB, {'FileSystem/Type': 'ext4'})
    for guest in bed.guests:  # n1 is the first one: it makes the file system
        bed.rest.call('POST', f'/v1/resource-definitions/{name}/resources', [{'resource': {
            'name': name, 'node_name': guest.name, 'props': {'StorPoolName': pool}}}])
    lives('it to be in sync', lambda: bed.seen(name) == both())
    lives('n1 to be there', lambda: bed.rest.get('/v1/nodes/n1').ok().json['connection_status'] == 'ONLINE')
    bed.agree(name, both())
    same_below(bed, f'/dev/vg0/{name}_00000', 20 * MIB)
    bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 28 * MIB})
    for guest in bed.guests:
        lives(f'the new size on {guest.name}', lambda: has_size(guest, 28 * MIB))
    lives('both to be the same', lambda: all(nothing_differs(guest) for guest in bed.guests))
    adm = f'drbdadm -c /run/outrigger/satellite/drbd/{name}.conf'
    one.run(f'{adm} primary {name} && e2fsck -fn /dev/drbd1000 2>&1 && {{ {again(f"{adm} secondary {name}")}; }}')
    bed.rest.call('DELETE', f'/v1/resource-definitions/{name}')
    lives('nothing to be left', lambda: all(left(guest, name) == ['0'] for guest in bed.guests))
    if not deaths:
        lives(f'a death at {point}', lambda: deaths, 60)
    wait_for('the definition to be gone', lambda: bed.rest.get(f'/v1/resource-definitions/{name}').status == 404, 120, 1)
    bed.online(one)
    print(f'  died while the test waited for {deaths[0]}')


def power_lost(bed, number, moment):
    """A node loses power while something is done on it, and comes back: what was asked for is there in the end."""
    guest, name = bed.guests[number], f'p-{moment}'

    def blink(after_s):
        time.sleep(after_s)
        guest.kill()
        guest.start()
        guest.wait_ready()
        bed.own_disk(guest)
        bed.satellites[guest.name].start()
        bed.online(guest)
    bed.define(name, 20 * MIB)

    def request(*args):
        thread = threading.Thread(target=lambda: FreshRest(bed.cluster.address('c1'), timeout_s=300).call(*args))
        thread.start()
        return thread
    placing = request('POST', f'/v1/resource-definitions/{name}/autoplace', {'select_filter': {'place_count': 2, 'storage_pool': 'thick'}})
    if moment == 'made':
        blink(3)
    placing.join()
    bed.agree(name, both())
    same_below(bed, f'/dev/vg0/{name}_00000', 20 * MIB)
    if moment == 'grown':
        bed.rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 28 * MIB})
        blink(1)
        for each in bed.guests:
            new_size(bed, each, 28 * MIB)
        wait_for('both to be the same', lambda: all(nothing_differs(each) for each in bed.guests), 300, 1)
        bed.agree(name, both())
    deleting = request('DELETE', f'/v1/resource-definitions/{name}')
    if moment == 'deleted':
        blink(1)
    deleting.join()
    gone(bed, name)
    wait_for('the definition to be gone', lambda: bed.rest.get(f'/v1/resource-definitions/{name}').status == 404, 120, 1)


def run(suite, work, image, everything):
    later = 'a module that comes later'
    lacks = everything and (not suite.only or any(text in 'replica: ' + later for text in suite.only))
    bed = suite.check('a guest for each of two nodes with DRBD 8.4, a satellite in each', Bed, work, image, everything, lacks)
    if bed is None:
        return
    steps = [('made with the default layers, in sync', made), ('file system, running writes, primary moved', moved),
             ('a node lost, back without a controller, resynchronised', lost), ('grown online', grown), ('a third node is refused', refused),
             ('deleted', deleted)]
    if everything:
        steps[:0] = [(later, module_comes)]
        steps[-1:-1] = [('a leader that stood still, a satellite killed', deposed), ('split brain, resolved by the CLI', split)]
        for i, point in enumerate(POINTS):
            steps.append((f'killed at {point}', lambda bed, point=point, pool=('thick', 'thin')[i % 2]: killed_at(bed, point, pool)))
        for number, moment in ((0, 'made'), (1, 'grown'), (0, 'deleted')):
            steps.append((f'power lost while it is {moment}', lambda bed, number=number, moment=moment: power_lost(bed, number, moment)))
    try:
        began = time.monotonic()
        for name, step in steps:
            before = suite.failed
            suite.check('replica: ' + name, step, bed)
            print(f'  {time.monotonic() - began:.0f} s', flush=True)
            if suite.failed > before:
                bed.explain()
                break
    finally:
        bed.close()
