"""DRBD 9 on three kernels, asked for by REST and CLI only; its modules are built by hand (tests/vm/run --drbd-module DIR). Two replicas and a
tie breaker by the default layers, two volumes beside a second resource, written all the time by a program whose writes depend on each
other (tests/vm/writer.c). Nodes lose power, come back while no controller is there, the tie breaker is lost and made anew, a third replica
joins later, a lost one is replaced, a disk fails, disks are removed, added and migrated, volumes grow, snapshots of both resources are
taken under the writes, clones are made with and without DRBD, satellites and the controller die while I/O is suspended, a rollback, split brain. After each part the API says what the nodes say."""
import concurrent.futures
import functools
import json
import re
import socket
import subprocess
import time

import rig
from lib_e2e import BUILD, Cluster, Rest, Suite, wait_for
from rig import TOP, Guest, Satellite

MIB = 1024  # KiB
EXTENT_KIB = 4 * MIB  # what DRBD counts as being written, at least
POINTS = re.findall(r'^INJECT\((DRBD_\w+),', (TOP / 'wire/def/inject.def').read_text(), re.M)
HELD = [p for p in POINTS if p in ('DRBD_HELD', 'DRBD_RESUMED')]
POINTS = [p for p in POINTS if p not in HELD]
WRITER, LOG = '/opt/outrigger/writer', '/run/writer.log'
SIZE, MORE = 48 * MIB, 64 * MIB
WAIT_S = 300  # without KVM, on a busy machine; how long is not judged but where the text says so
DEVICES = {'data': ('/dev/drbd1000', '/dev/drbd1001'), 'more': ('/dev/drbd1002',)}  # more: a second resource, of which snapshots are taken, too
QUICK = {'DrbdOptions/Net/ping-int': '3', 'DrbdOptions/Net/connect-int': '3'}


class FreshRest(Rest):
    """A connection for each call: between two calls minutes may pass."""

    def call(self, *args, **kwargs):
        self.close()
        return super().call(*args, **kwargs)


class Promotions:
    """The stream of promotion events, by a client that stays; it comes back when its member was away."""

    def __init__(self, address):
        self.address, self.socket, self.raw = address, None, b''

    def pump(self):
        try:
            if self.socket is None:
                self.socket = socket.create_connection((self.address, 3370), timeout=20)
                self.socket.sendall(b'GET /v1/events/drbd/promotion HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n'
                                    b'Last-Event-ID: current\r\n\r\n')
                self.socket.settimeout(0.2)
            while piece := self.socket.recv(65536):
                self.raw += piece
            self.close()
        except TimeoutError:
            pass
        except OSError:
            self.close()

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def last(self):
        """{(resource, node): may it be promoted}, as told last."""
        self.pump()
        found = {}
        for data in re.findall(r'^data: (\{.*\})\r?$', self.raw.decode(errors='replace'), re.M):
            e = json.loads(data)
            found[e['resource_name'], e['node_name']] = e['may_promote']
        return found


class Bed:
    def __init__(self, work, image, names):
        """names: of the resources: data, and more when the steps need it."""
        self.guests, self.cluster, self.satellites = [], None, {}
        self.names, self.devices = names, [device for name in names for device in DEVICES[name]]
        try:
            self.set_up(work, image)
        except BaseException:
            self.close()
            raise

    def set_up(self, work, image):
        self.guests = [Guest(work, image, number, disks=('1536M', '64M'), memory_mib=512) for number in (1, 2, 3)]
        for guest in self.guests:
            guest.start()
        self.cluster = Cluster(controllers=1, satellites=0)
        self.rest = FreshRest(self.cluster.address('c1'), timeout_s=300)
        for guest in self.guests:
            guest.wait_ready()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(self.fresh, self.guests))
        for guest in self.guests:
            self.join(guest)
        self.promotions = Promotions(self.cluster.address('c1'))

    @staticmethod
    def load(guest):
        guest.run('modprobe -a dm_mod lru_cache libcrc32c && cd /opt/outrigger/drbd && insmod handshake.ko && insmod drbd.ko && '
                  'insmod drbd_transport_tcp.ko')

    @classmethod
    def own_disk(cls, guest):
        """What the satellite remembers outlives the root of a guest, which is new after each start."""
        guest.run('mkdir -p /run/outrigger && mount /dev/disk/by-id/virtio-data1 /run/outrigger')
        cls.load(guest)

    def fresh(self, guest):
        guest.run('(vgcreate -q vg0 /dev/disk/by-id/virtio-data0 && lvcreate -q --type thin-pool -L 900M -n thin vg0 && '
                  'mkfs.ext4 -q /dev/disk/by-id/virtio-data1) 2>&1')
        self.own_disk(guest)

    def join(self, guest):
        satellite = self.satellites[guest.name] = Satellite(guest)
        satellite.join(self.cluster)
        satellite.start()
        self.rest.call('POST', '/v1/nodes', {'name': guest.name, 'type': 'SATELLITE', 'net_interfaces': [
            {'name': 'default', 'address': guest.address, 'satellite_port': 3366, 'satellite_encryption_type': 'PLAIN'}]}).ok()
        self.online(guest)
        for name, kind, place in (('thick', 'LVM', 'vg0'), ('thin', 'LVM_THIN', 'vg0/thin')):
            self.rest.call('POST', f'/v1/nodes/{guest.name}/storage-pools', {
                'storage_pool_name': name, 'provider_kind': kind, 'props': {'StorDriver/StorPoolName': place}}).ok()

    def boot(self, guest, satellite=True):
        guest.start()
        guest.wait_ready()
        self.own_disk(guest)
        if satellite:
            self.satellites[guest.name].start()

    def online(self, guest, state='ONLINE'):
        wait_for(f'{guest.name} to be {state}', lambda: self.rest.get(f'/v1/nodes/{guest.name}').ok().json['connection_status'] == state,
                 WAIT_S, 0.5)

    # ---- requests ----
    def define(self, name, sizes, props=()):
        self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'props': {**QUICK, **dict(props)}}}).ok()
        for size in sizes:
            self.rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': size}}).ok()

    def place(self, name, nodes=None):
        """Two replicas; nodes: there."""
        return self.rest.call('POST', f'/v1/resource-definitions/{name}/autoplace', {'select_filter': {
            'place_count': 2, 'storage_pool': 'thin', **({'node_name_list': nodes} if nodes else {})}}).ok()

    def toggle(self, name, node, operation, **more):
        return self.rest.call('PUT', f'/v1/resource-definitions/{name}/resources/{node}/toggle-disk',
                              {'operation': operation, **more}).ok()

    def cli(self, *words, code=0):
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.cluster.address('c1'), '--no-utf8', *words],
                              capture_output=True, text=True, timeout=300)
        print(''.join(f'    {line}\n' for line in (f'$ outrigger {" ".join(words)}\n' + done.stdout + done.stderr).splitlines()), end='')
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def view(self, name):
        return {r['node_name']: r for r in self.rest.get(f'/v1/view/resources?resources={name}').ok().json}

    def flags(self, name):
        return {node: set(r.get('flags', [])) for node, r in self.view(name).items()}

    # ---- states ----
    @staticmethod
    def shown(r):
        """What the API shows of one resource: (role, disks, {peer: (connection, replication of each volume)})."""
        volumes = sorted(r.get('volumes', []), key=lambda v: v['volume_number'])
        connections = r['layer_object'].get('drbd', {}).get('connections', {})
        return ('Primary' if r.get('state', {}).get('in_use') else 'Secondary', [v.get('state', {}).get('disk_state') for v in volumes],
                {peer: (c['message'], [v.get('state', {}).get('replication_states', {}).get(peer, {}).get('replication_state')
                                       for v in volumes]) for peer, c in connections.items()})

    @staticmethod
    def status(guest, name):
        """What DRBD on the node says; {} when it does not know the resource."""
        code, text = guest.try_run(f'drbdsetup status --json --statistics {name}')
        found = json.loads(text) if code == 0 and text.strip().startswith('[') else []
        return found[0] if found else {}

    def told(self, guest, name):
        r = self.status(guest, name)
        return r and (r['role'], [d['disk-state'] for d in r['devices']],
                      {c['name']: (c['connection-state'].strip(), [p['replication-state'] for p in c['peer_devices']])
                       for c in r['connections']})

    def agree(self, name, settled=True, guests=None):
        """API and nodes say the same; settled: and everyone who is there is connected, and every disk is up to date. The nodes, which are
        slow, are asked when the API says that it is so far."""
        last = {}

        def same():
            live = [g for g in guests or self.guests if g.process is not None]
            view = self.view(name)
            api = {g.name: self.shown(view[g.name]) for g in live if g.name in view}
            if settled and not (api and all(self.is_settled(state) for state in api.values())):
                last.update({node: ('not asked', state) for node, state in api.items()})
                return False
            for g in live:
                last[g.name] = (self.told(g, name), api.get(g.name, {}))
            if any(node != api for node, api in last.values()):
                return False
            return not settled or all(self.is_settled(state) for state, _ in last.values() if state)
        try:
            wait_for(f'{name}: the API to say what the nodes say', same, WAIT_S, 1)
        except TimeoutError as e:
            raise AssertionError(f'{e}: {last}') from e
        print(f'  {name}: {({n: s for n, (s, _) in last.items()})}')

    @staticmethod
    def is_settled(state):
        _, disks, peers = state
        return all(d in ('UpToDate', 'Diskless') for d in disks) and all(
            c == 'Connected' and all(r == 'Established' for r in rs) for c, rs in peers.values())

    def role(self, guest, name='data'):
        return self.status(guest, name).get('role')

    def received(self, guest, name='data'):
        """KiB that the node got from its peers since the connections were made."""
        return sum(p['received'] for c in self.status(guest, name)['connections'] for p in c['peer_devices'])

    def adjusted(self, name='data'):
        for guest in self.guests:
            if guest.process is not None and self.status(guest, name):
                def left():
                    return guest.run(f'drbdadm -c /run/outrigger/satellite/drbd/{name}.conf -d adjust {name} 2>&1').strip()
                try:  # properties that follow from what nodes have told come when they have told it
                    wait_for('nothing to be left to adjust', lambda: left() == '', WAIT_S, 2)
                except TimeoutError:
                    raise AssertionError(f'{guest.name}: adjust would do: {left()}') from None

    # ---- the writer ----
    def write(self, guest):
        guest.run(f'setsid {WRITER} run {LOG} {" ".join(self.devices)} >/run/writer.out 2>&1 </dev/null & echo $! >/run/writer.pid')
        wait_for('writes', lambda: guest.try_run(f'{WRITER} stat {LOG}')[1].split()[:1] not in ([], ['0']), WAIT_S, 0.5)

    @staticmethod
    def acked(guest):
        acked, worst_ms, error = (int(n) for n in guest.run(f'{WRITER} stat {LOG}').split())
        assert error == 0, f'{guest.name}: the writer got error {error}: {guest.run("cat /run/writer.out")}'
        return acked, worst_ms

    def goes_on(self, guest, more=20):
        before = self.acked(guest)[0]
        wait_for('the writes to go on', lambda: self.acked(guest)[0] >= before + more, WAIT_S, 0.5)
        return self.acked(guest)

    @staticmethod
    def stop_writing(guest):
        guest.run('kill $(cat /run/writer.pid); while kill -0 $(cat /run/writer.pid) 2>/dev/null; do sleep 0.1; done')

    def check(self, guest, devices=None):
        """The last blocks, when they are of one moment."""
        devices = devices or self.devices
        out = guest.run(f'udevadm settle; {WRITER} check {" ".join(devices)}')
        return [int(n) for n in out.split()[:len(devices)]]

    def close(self):
        for guest in self.guests:
            guest.remove()
        if self.cluster is not None:
            self.cluster.close()


def made(bed):
    """Two volumes and a second resource, two replicas, a tie breaker and quorum by themselves; nothing is sent; real drbdadm agrees."""
    began = time.monotonic()
    for name in bed.names:
        bed.define(name, [SIZE] * len(DEVICES[name]))
    bed.place('data')
    bed.agree('data')
    for name in bed.names[1:]:
        bed.place(name, [node for node, f in bed.flags('data').items() if 'DISKLESS' not in f])
        bed.agree(name)
    print(f'  {len(bed.names)} resources up to date after {time.monotonic() - began:.0f} s')
    for name in bed.names:
        flags = bed.flags(name)
        assert len(flags) == 3 and sum('TIE_BREAKER' in f for f in flags.values()) == 1, flags
        props = bed.rest.get(f'/v1/resource-definitions/{name}').ok().json['props']
        assert props['DrbdOptions/Resource/quorum'] == 'majority', props
        bed.adjusted(name)
    # from here on the roles are: n1 and n2 have disks, n3 is the tie breaker
    breaker = next(n for n, f in bed.flags('data').items() if 'TIE_BREAKER' in f)
    assert all('TIE_BREAKER' in bed.flags(name)[breaker] for name in bed.names), breaker
    bed.guests.sort(key=lambda g: (g.name == breaker, g.name))
    got = {g.name: bed.received(g) for g in bed.guests}
    assert all(n == 0 for n in got.values()), f'an initial sync on thin volumes: {got}'
    for guest in bed.guests[:2]:
        for n in (0, 1):
            kib = int(guest.run(f'cat /sys/block/drbd100{n}/size')) // 2
            assert kib == bed.view('data')[guest.name]['volumes'][n]['usable_size_kib'] and kib >= SIZE, kib
    assert bed.promotions.last().get(('data', bed.guests[0].name)) is True, bed.promotions.raw
    bed.write(bed.guests[0])
    bed.agree('data')
    wait_for('the stream to say that no other may be promoted', lambda: bed.promotions.last().get(('data', bed.guests[1].name)) is False,
             WAIT_S, 0.5)


def secondary_lost(bed):
    """The other replica loses power: the writes go on with quorum; it comes back while no controller is there, and gets what it lacks."""
    one, two, _ = bed.guests
    began = time.monotonic()
    two.kill()
    wait_for('the loss to be seen', lambda: bed.told(one, 'data')[2].get(two.name, ('',))[0] != 'Connected', WAIT_S, 0.5)
    print(f'  {two.name} killed, seen after {time.monotonic() - began:.0f} s')
    acked, worst = bed.goes_on(one, 100)
    print(f'  {acked} blocks written with {two.name} dead, the slowest took {worst} ms')
    assert all(d['quorum'] for d in bed.status(one, 'data')['devices'])
    bed.agree('data', settled=False)
    bed.online(two, 'OFFLINE')
    bed.cluster.kill('c1')
    bed.boot(two)
    wait_for('it to come up without a controller', lambda: all(bed.told(two, n) and bed.is_settled(bed.told(two, n)) for n in bed.names),
             WAIT_S, 1)
    got = bed.received(two)
    print(f'  {two.name} back without a controller: {got} KiB of {2 * SIZE} received')
    assert 0 < got < SIZE, got
    bed.goes_on(one)
    bed.cluster.start('c1')
    wait_for('the controller', lambda: bed.cluster.serves('c1'), WAIT_S, 0.5)
    bed.online(two)
    bed.agree('data')


def primary_lost(bed):
    """The node that writes loses power: everything that was acknowledged is on the other one, which goes on."""
    one, two, _ = bed.guests
    written = bed.acked(one)[0]
    one.kill()
    began = time.monotonic()
    wait_for('the other one to be promoted', lambda: two.try_run(f'for d in {" ".join(bed.devices)}; do exec 9<>$d || exit 1; done')[0] == 0,
             WAIT_S, 0.5)
    print(f'  {two.name} may write {time.monotonic() - began:.0f} s after {one.name} died')
    last = bed.check(two)
    assert min(last) >= written, (last, written)
    bed.write(two)
    acked, worst = bed.goes_on(two, 50)
    print(f'  {acked} blocks more written by {two.name} {time.monotonic() - began:.0f} s after {one.name} died, the slowest took {worst} ms')
    bed.boot(one)
    bed.online(one)
    print(f'  {one.name} online again after {time.monotonic() - began:.0f} s')
    for name in bed.names:
        bed.agree(name)
    bed.guests[0], bed.guests[1] = two, one
    print(f'  {last} on {two.name}, at least {written} acknowledged by {one.name}')


def evacuated(bed):
    """The other replica's node is to be emptied while it works: the third one gets a disk and all data under the writes, then it leaves."""
    one, two, three = bed.guests
    began = time.monotonic()
    bed.cli('node', 'evacuate', two.name)
    wait_for(f'nothing to be left on {two.name}', lambda: not any(two.name in bed.view(name) for name in bed.names), WAIT_S, 0.5)
    print(f'  {two.name} left after {time.monotonic() - began:.0f} s, {bed.received(three)} KiB received by {three.name}')
    for name in bed.names:
        bed.agree(name)
        assert set(bed.told(three, name)[1]) == {'UpToDate'}, bed.told(three, name)
        wait_for(f'{two.name} to have forgotten it', lambda name=name: not bed.status(two, name), WAIT_S, 0.5)
    acked, worst = bed.goes_on(one)
    print(f'  {acked} blocks written, the slowest took {worst} ms')
    bed.cli('node', 'restore', two.name)
    bed.guests[1:] = three, two
    for name in bed.names:
        bed.place(name)  # there are two: what is missing is made
        wait_for('a tie breaker', lambda name=name: 'TIE_BREAKER' in bed.flags(name).get(two.name, ()), WAIT_S, 0.5)
        bed.agree(name)
    bed.goes_on(one)


def breaker_lost(bed):
    """The tie breaker's node is lost for good: writes go on; a new machine of its name takes its place, and is the tie breaker again."""
    one, two, three = bed.guests
    three.kill()
    bed.goes_on(one, 50)
    bed.online(three, 'OFFLINE')
    bed.agree('data', settled=False)
    bed.rest.call('DELETE', f'/v1/nodes/{three.name}/lost').ok()
    wait_for('it to be out of the resources', lambda: set(bed.view('data')) == {one.name, two.name}, WAIT_S, 0.5)
    for name in bed.names:
        bed.agree(name)
        assert bed.rest.get(f'/v1/resource-definitions/{name}').ok().json['props']['DrbdOptions/Resource/quorum'] == 'off'
    renewed(bed, three)
    for name in bed.names:
        bed.place(name)  # there are two: what is missing is made
        wait_for('a tie breaker', lambda name=name: 'TIE_BREAKER' in bed.flags(name).get(three.name, ()), WAIT_S, 0.5)
        bed.agree(name)
        assert bed.rest.get(f'/v1/resource-definitions/{name}').ok().json['props']['DrbdOptions/Resource/quorum'] == 'majority'
    bed.goes_on(one)


def renewed(bed, guest):
    """Another machine in the place of the guest: its disks are empty."""
    for disk in guest.disks:
        size = disk.stat().st_size
        disk.unlink()
        with open(disk, 'wb') as f:
            f.truncate(size)
    guest.start()
    guest.wait_ready()
    bed.fresh(guest)
    bed.join(guest)


def replaced(bed):
    """The other replica's node is lost for good: forgotten, its slot goes to the one that takes its place, which gets everything."""
    one, two, three = bed.guests
    two.kill()
    bed.goes_on(one, 50)
    bed.online(two, 'OFFLINE')
    bed.rest.call('DELETE', f'/v1/nodes/{two.name}/lost').ok()
    wait_for('it to be out of the resources', lambda: two.name not in bed.view('data'), WAIT_S, 0.5)
    wait_for(f'{one.name} to forget it', lambda: two.name not in bed.told(one, 'data')[2], WAIT_S, 0.5)
    bed.agree('data')
    renewed(bed, two)
    began = time.monotonic()
    bed.place('data', [one.name, two.name])
    wait_for('its disk', lambda: bed.told(two, 'data') and bed.told(two, 'data')[1] == ['UpToDate'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    print(f'  a new {two.name} up to date after {time.monotonic() - began:.0f} s, {bed.received(two)} KiB received')
    ids = {g.name: [c['peer-node-id'] for c in bed.status(one, 'data')['connections'] if c['name'] == g.name] for g in (two, three)}
    print(f'  node ids: {ids}')
    bed.stop_writing(one)
    wait_for('nobody to use it', lambda: bed.role(one) == 'Secondary', WAIT_S, 0.5)
    sums = [g.run('sync; for n in 0 1; do dd if=/dev/vg0/data_0000$n bs=64k count=%d iflag=direct 2>/dev/null | sha256sum; done'
                  % (SIZE // 64)) for g in (one, two)]
    assert sums[0] == sums[1], sums
    bed.write(one)
    bed.adjusted()


def remaining(bed):
    """Placed by a request that wants it on all other nodes as well, without disks: one of them writes."""
    bed.define('wide', (16 * MIB,))
    bed.rest.call('POST', '/v1/resource-definitions/wide/autoplace', {'diskless_on_remaining': True, 'select_filter': {
        'place_count': 2, 'storage_pool': 'thin'}}).ok()
    bed.agree('wide')
    flags = bed.flags('wide')
    client = [g for g in bed.guests if 'DISKLESS' in flags[g.name]]
    print(f'  {flags}')
    assert len(flags) == 3 and len(client) == 1 and 'TIE_BREAKER' not in flags[client[0].name], flags
    device = bed.view('wide')[client[0].name]['volumes'][0]['device_path']
    client[0].run(f'echo "from afar" | dd of={device} bs=4k conv=sync,notrunc,fsync 2>/dev/null; udevadm settle')
    wait_for('nobody to use it', lambda: bed.role(client[0], 'wide') == 'Secondary', WAIT_S, 0.5)
    for guest in bed.guests:
        assert 'from afar' in guest.run(f'dd if={device} bs=4k count=1 iflag=direct 2>/dev/null | tr -d "\\0"; udevadm settle'), guest.name
    bed.rest.call('DELETE', '/v1/resource-definitions/wide').ok()
    wait_for('nothing of it to be left', lambda: not any(bed.status(g, 'wide') for g in bed.guests), WAIT_S, 0.5)


def disk_fails(bed):
    """A disk fails below DRBD on the other replica: it is given up and skipped, the writes go on; mended, it gets what it lacks."""
    one, two, _ = bed.guests
    path = f'/v1/resource-definitions/data/resources/{two.name}'
    two.run('set -e; d=vg0-data_00000; s=$(blockdev --getsz /dev/mapper/$d); dmsetup suspend --noflush --nolockfs $d;'
            'dmsetup load $d --table "0 $s error"; dmsetup resume $d')
    began = time.monotonic()
    wait_for('DRBD to give it up', lambda: bed.told(two, 'data')[1] == ['Diskless', 'UpToDate'], WAIT_S, 0.5)
    acked, worst = bed.goes_on(one)
    wait_for('it to be skipped', lambda: bed.rest.get(path).ok().json.get('props', {}).get('DrbdOptions/SkipDisk') == 'True', WAIT_S, 0.5)
    print(f'  given up and skipped after {time.monotonic() - began:.0f} s; {acked} blocks written, the slowest took {worst} ms')
    bed.agree('data', settled=False)
    reports = [x['message'] for v in bed.view('data')[two.name]['volumes'] for x in v.get('reports', [])]
    print(f'  reports of {two.name}: {reports}')
    satellite = bed.satellites[two.name]
    satellite.stop('KILL')  # one that starts leaves the disk alone, too
    satellite.start()
    bed.online(two)
    bed.goes_on(one)
    assert bed.told(two, 'data')[1] == ['Diskless', 'UpToDate'], bed.told(two, 'data')
    two.run('lvchange --refresh vg0/data_00000')
    bed.rest.call('PUT', path, {'delete_props': ['DrbdOptions/SkipDisk']}).ok()
    wait_for('its disk to be back', lambda: bed.told(two, 'data')[1] == ['UpToDate'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    got = bed.received(two)
    print(f'  mended: {got} KiB received')
    bed.goes_on(one)


def deleted(bed):
    """While it is written it is not deleted; then nothing of it is left on any node."""
    one = bed.guests[0]
    answer = bed.rest.call('DELETE', '/v1/resource-definitions/data')
    assert answer.status >= 400 and 'in use' in answer.text, answer.text
    bed.goes_on(one)
    bed.stop_writing(one)
    for name in bed.names:
        wait_for('nobody to use it', lambda name=name: not any(r.get('state', {}).get('in_use') for r in bed.view(name).values()), WAIT_S, 0.5)
        bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()
    for guest in bed.guests:
        wait_for(f'nothing to be left on {guest.name}', lambda guest=guest: guest.run(
            'drbdsetup status 2>&1 | grep -v "^# No currently configured DRBD found."; lvs --noheadings -o lv_name vg0 | grep -v " thin$";'
            'ls /run/outrigger/satellite/drbd/res/; true').split() == [], WAIT_S, 1)


def joined_later(bed):
    """A third replica under the writes: the tie breaker's place becomes one; it gets what was ever written, not everything."""
    one, _, three = bed.guests
    began = time.monotonic()
    bed.rest.call('POST', '/v1/resource-definitions/data/resources', [
        {'resource': {'name': 'data', 'node_name': three.name, 'props': {'StorPoolName': 'thin'}}}]).ok()
    wait_for('its disk', lambda: 'DISKLESS' not in bed.flags('data')[three.name], WAIT_S, 0.5)
    wait_for('its disk to be up to date', lambda: bed.told(three, 'data') and bed.told(three, 'data')[1] == ['UpToDate'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    got = bed.received(three)
    print(f'  a third replica after {time.monotonic() - began:.0f} s, {got} KiB of {2 * SIZE} received')
    assert 0 < got < SIZE, got
    assert not any('TIE_BREAKER' in f for f in bed.flags('data').values())
    bed.adjusted()
    bed.goes_on(one)


def toggled(bed):
    """Disks go and come under the writes: a replica's, the one that writes, and one that moves to another node."""
    one, two, three = bed.guests
    bed.toggle('data', three.name, 'INTO_DRBD_DISKLESS')
    wait_for('no disk', lambda: bed.told(three, 'data') and bed.told(three, 'data')[1] == ['Diskless'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    wait_for('its volumes to be gone', lambda: 'data_' not in three.run('lvs --noheadings -o lv_name vg0'), WAIT_S, 0.5)
    assert all(d['client'] for d in bed.status(three, 'data')['devices'])
    bed.goes_on(one)
    bed.toggle('data', three.name, 'INTO_DRBD_DISKFUL', storage_pool='thin')
    wait_for('a disk again', lambda: bed.told(three, 'data') and bed.told(three, 'data')[1] == ['UpToDate'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    print(f'  a disk added again: {bed.received(three)} KiB received')
    bed.toggle('data', one.name, 'INTO_DRBD_DISKLESS')  # under the writes of this very node
    wait_for('no disk', lambda: bed.told(one, 'data')[1] == ['Diskless'] * 2, WAIT_S, 0.5)
    bed.agree('data')
    bed.goes_on(one)
    bed.toggle('data', one.name, 'INTO_DRBD_DISKFUL', storage_pool='thin', migrate_from=three.name)
    wait_for('the disk to have moved', lambda: bed.told(one, 'data')[1] == ['UpToDate'] * 2 and
             'TIE_BREAKER' in bed.flags('data').get(three.name, ()), WAIT_S, 0.5)
    bed.agree('data')
    bed.goes_on(one)
    bed.adjusted()
    assert bed.told(two, 'data')[1] == ['UpToDate'] * 2


def grown(bed):
    one, two, _ = bed.guests
    for n in (0, 1):
        bed.rest.call('PUT', f'/v1/resource-definitions/data/volume-definitions/{n}', {'size_kib': MORE}).ok()
        for guest in bed.guests:
            wait_for(f'the new size on {guest.name}', lambda guest=guest, n=n: int(guest.run(f'cat /sys/block/drbd100{n}/size')) // 2 >= MORE,
                     WAIT_S, 0.5)
    bed.goes_on(one)
    bed.agree('data')
    wait_for('the API to show it', lambda: all(v['usable_size_kib'] >= MORE for g in (one, two) for v in bed.view('data')[g.name]['volumes']),
             WAIT_S, 0.5)


def take(bed, snap):
    """Of all resources at one moment."""
    return bed.rest.call('POST', '/v1/actions/snapshot/multi', {'snapshots': [{'resource_name': n, 'name': snap} for n in bed.names]})


def snapshot(bed):
    """Of three volumes of two resources, under writes, which go on."""
    one = bed.guests[0]
    before = bed.acked(one)[0]
    began = time.monotonic()
    take(bed, 's1').ok()
    taken_s = time.monotonic() - began
    after, worst = bed.goes_on(one)
    bed.bounds, bed.taken = (before, after), None
    print(f'  taken within {taken_s:.1f} s; {before} blocks before, {after} after; the slowest write took {worst} ms')
    not_held(bed)


def copied(bed):
    """The devices of what was restored, in the order of the writer's."""
    minors = [bed.rest.get(f'/v1/resource-definitions/{n}/volume-definitions').ok().json for n in ('copy-data', 'copy-more')]
    return [f'/dev/drbd{layer["data"]["minor_number"]}' for vds in minors for vd in vds for layer in vd['layer_data'] if 'data' in layer]


def restored(bed):
    """Resources of what was taken: of one moment, the same on both nodes, up to date without a sync of more than was being written."""
    one, two, _ = bed.guests
    began = time.monotonic()
    for name in ('data', 'more'):
        bed.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': f'copy-{name}', 'props': QUICK}}).ok()
        for what in ('snapshot-restore-volume-definition', 'snapshot-restore-resource'):
            bed.rest.call('POST', f'/v1/resource-definitions/{name}/{what}/s1', {'to_resource': f'copy-{name}'}).ok()
        bed.agree(f'copy-{name}')
    print(f'  restored after {time.monotonic() - began:.0f} s')
    sums, synced, backings = {}, {}, ['/dev/vg0/copy-data_00000', '/dev/vg0/copy-data_00001', '/dev/vg0/copy-more_00000']
    before, after = bed.bounds
    for guest in (one, two):
        last = bed.check(guest, backings)
        assert before <= min(last) and max(last) <= after, (before, last, after)
        sums[guest.name] = guest.run(f'for d in {" ".join(backings)}; do head -c 1M $d | sha256sum; done')
        synced[guest.name] = {name: bed.received(guest, f'copy-{name}') for name in ('data', 'more')}
    assert sums[one.name] == sums[two.name], sums
    # The metadata of the primary has extents of 4 MiB in its activity log, which count as different where a peer was outdated meanwhile.
    assert max(max(x.values()) for x in synced.values()) <= 4 * EXTENT_KIB, f'a sync of what is the same: {synced}'
    assert bed.check(two, copied(bed)) == last
    bed.taken = last
    print(f'  {before} blocks before, {last} in the snapshots on both nodes, {after} after; KiB synced: {synced}')
    for name in ('copy-data', 'copy-more'):
        bed.adjusted(name)
        bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()


def not_held(bed):
    def free():
        return all('user' not in g.run('drbdsetup events2 --now | grep -o "suspended:[a-z,-]*" | sort -u') for g in bed.guests)
    wait_for('nothing to be suspended', free, WAIT_S, 0.5)


def satellite_dies(bed, point):
    """Whose satellite dies while it holds the I/O, or when it has let go: no snapshot or a whole one, and the writes go on."""
    one = bed.guests[0]
    satellite, snap = bed.satellites[one.name], point.lower().replace('_', '-')
    satellite.stop('KILL')
    bed.online(one, 'OFFLINE')
    at_start = len(bed.names) if point == 'DRBD_RESUMED' else 0  # it lets go of what an earlier one may have held
    satellite.start(inject=f'{point.lower()}:{at_start + 1}')
    bed.online(one)
    answer = take(bed, snap)
    print(f'  {answer.status}: {answer.text[:600]}')
    wait_for(f'death at {point}', lambda: not satellite.running(), WAIT_S, 0.5)
    began = time.monotonic()
    not_held(bed)  # and nobody starts it again
    bed.goes_on(one)
    print(f'  died at {point}: status {answer.status}; without a satellite it went on within {time.monotonic() - began:.0f} s')
    satellite.start()
    bed.online(one)
    not_held(bed)
    clean_up(bed, snap)


def clean_up(bed, snap):
    """Whatever became of a snapshot goes, and a new one can be taken."""
    for name in bed.names:
        def gone(name=name):
            bed.rest.call('DELETE', f'/v1/resource-definitions/{name}/snapshots/{snap}')
            return bed.rest.get(f'/v1/resource-definitions/{name}/snapshots/{snap}').status == 404
        wait_for('the snapshot to be gone', gone, WAIT_S, 2)
    bed.agree('data')


def controller_dies(bed):
    """The only controller dies while I/O is suspended: the satellites let go by themselves, a minute later at the latest."""
    one = bed.guests[0]

    def ask():
        try:
            bed.cluster.rest('c1', timeout_s=60).call('POST', '/v1/resource-definitions/data/snapshots', {'name': 'orphan'})
        except OSError:
            pass  # its controller is gone
    with concurrent.futures.ThreadPoolExecutor() as pool:  # it is held for seconds: programs of LVM are slow here
        done = pool.submit(ask)
        wait_for('the I/O to be suspended', lambda: 'user' in one.run('drbdsetup events2 --now data | grep -o "suspended:[a-z,-]*"'), WAIT_S, 0.1)
        began = time.monotonic()
        bed.cluster.kill('c1')
        done.result()
    bed.goes_on(one)
    print(f'  the controller killed while I/O was suspended: it went on after {time.monotonic() - began:.0f} s')
    assert time.monotonic() - began < 180
    bed.cluster.start('c1')
    wait_for('the controller', lambda: bed.cluster.serves('c1'), WAIT_S, 0.5)
    not_held(bed)
    for guest in bed.guests:
        bed.online(guest)
    clean_up(bed, 'orphan')


def rolled_back(bed):
    """Both resources to the moment of the snapshot, on all nodes: up to date everywhere, and the writes begin there."""
    one, two, _ = bed.guests
    bed.stop_writing(one)
    for name in ('data', 'more'):
        wait_for('nobody to use it', lambda name=name: bed.role(one, name) == 'Secondary', WAIT_S, 0.5)
        bed.agree(name)
        began = time.monotonic()
        bed.rest.call('POST', f'/v1/resource-definitions/{name}/snapshot-rollback/s1', {}).ok()
        bed.agree(name)
        print(f'  {name} rolled back after {time.monotonic() - began:.0f} s')
    last = bed.check(two)
    assert bed.bounds[0] <= min(last) and max(last) <= bed.bounds[1] and bed.taken in (None, last), (bed.bounds, bed.taken, last)
    print(f'  {last} after rolling back')
    bed.adjusted()
    bed.write(two)
    bed.goes_on(two)
    bed.guests[0], bed.guests[1] = two, one
    bed.agree('data')
    for name in ('data', 'more'):
        bed.rest.call('DELETE', f'/v1/resource-definitions/{name}/snapshots/s1').ok()


def split(bed):
    """Two nodes that did not see one another have both written, without quorum: shown as split brain by API and CLI, ended by the CLI. The
    other resources, which have quorum, go on meanwhile."""
    one, two, _ = bed.guests
    bed.define('torn', (16 * MIB,), {'DrbdOptions/Resource/quorum': 'off'})
    for node in (one, two):
        bed.rest.call('POST', f'/v1/resource-definitions/torn/resources/{node.name}',
                      {'resource': {'props': {'StorPoolName': 'thin'}}}).ok()
    bed.agree('torn')
    device = bed.view('torn')[one.name]['volumes'][0]['device_path']

    def sides():
        return [bed.told(g, 'torn')[2][p.name][0] for g, p in ((one, two), (two, one))]
    for guest in (one, two):
        guest.isolated(True)
    wait_for('them to be apart', lambda: 'Connected' not in sides(), WAIT_S, 0.5)
    bed.goes_on(one)
    bed.agree('torn', settled=False)
    for guest in (one, two):
        guest.run(f'echo "{guest.name} wrote" | dd of={device} bs=4k conv=sync,notrunc,fsync seek={guest.number} 2>/dev/null; udevadm settle')
    for guest in (one, two):
        guest.isolated(False)
    wait_for('DRBD to find out', lambda: 'StandAlone' in sides(), WAIT_S, 0.5)
    print(f'  {one.name} and {two.name}: {sides()}')
    bed.agree('torn', settled=False)

    def told_of():
        found = [x for r in bed.view('torn').values() for v in r['volumes'] for x in v.get('reports', [])]
        return any('split brain' in x['message'] and 'resolve torn' in x['correction'] for x in found)
    wait_for('the API to say so', told_of, WAIT_S, 0.5)
    shown = bed.cli('resource', 'resolve', 'torn')
    assert 'StandAlone' in shown and 'split brain' in shown and '--keep' in shown, shown
    two.run(f'sleep 3600 <>{device} >/dev/null 2>&1 & echo $! >/run/user.pid')
    wait_for('it to be in use', lambda: bed.view('torn')[two.name]['state'].get('in_use'), WAIT_S, 0.5)
    said = bed.cli('resource', 'resolve', 'torn', '--keep', one.name, code=10)
    assert 'in use' in said, said
    two.run('kill $(cat /run/user.pid)')
    wait_for('nobody to use it', lambda: not bed.view('torn')[two.name]['state'].get('in_use'), WAIT_S, 0.5)
    began = time.monotonic()
    bed.cli('resource', 'resolve', 'torn', '--keep', one.name)
    bed.agree('torn')
    print(f'  joined {time.monotonic() - began:.0f} s after that, {bed.received(two, "torn")} KiB received')
    wait_for('no trouble to be left', lambda: not told_of() and 'split brain' not in bed.cli('resource', 'resolve', 'torn'), WAIT_S, 1)
    for guest in (one, two):
        assert guest.run(f'dd if={device} bs=4k skip={one.number} count=1 iflag=direct 2>/dev/null | tr -d "\\0"').strip() == f'{one.name} wrote'
        assert guest.run(f'dd if={device} bs=4k skip={two.number} count=1 iflag=direct 2>/dev/null | tr -d "\\0"').strip() == ''
        guest.run('udevadm settle')
    bed.goes_on(one)
    bed.rest.call('DELETE', '/v1/resource-definitions/torn').ok()


def given_up(bed):
    """What an administrator cuts stays cut. What DRBD gives up while two nodes shake hands (their protocols differ for a moment) their satellites
    connect again, with nobody asking, and the API shows it meanwhile."""
    one, two, _ = bed.guests
    ids = {g.name: c['peer-node-id'] for g, p in ((one, two), (two, one)) for c in bed.status(g, 'data')['connections'] if c['name'] == p.name}

    def sides():
        return [bed.told(g, 'data')[2][p.name][0] for g, p in ((one, two), (two, one))]
    two.run(f'drbdsetup disconnect data {ids[two.name]}')
    wait_for('it to stand alone', lambda: sides()[1] == 'StandAlone', WAIT_S, 0.5)
    time.sleep(25)
    assert sides() == ['Connecting', 'StandAlone'], sides()
    bed.agree('data', settled=False)
    two.run(f'drbdsetup net-options data {ids[two.name]} --protocol=A && drbdsetup connect data {ids[two.name]}')
    wait_for('DRBD to give up', lambda: 'StandAlone' in sides(), WAIT_S, 0.2)
    print(f'  given up: {sides()}')
    two.run(f'drbdsetup net-options data {ids[two.name]} --protocol=C')
    began = time.monotonic()
    wait_for('the satellites to connect it', lambda: sides() == ['Connected', 'Connected'], 120, 1)
    print(f'  connected again after {time.monotonic() - began:.0f} s')
    assert any('up, without a split brain' in bed.satellites[g.name].log() for g in (one, two))
    bed.goes_on(one)
    bed.agree('data')


def cloned(bed, source, name, layers):
    answer = bed.rest.call('POST', f'/v1/resource-definitions/{source}/clone', {'name': name, 'layer_list': layers}).ok().json
    return lambda: wait_for('the clone', lambda: bed.rest.get(answer['location']).ok().json['status'] == 'COMPLETE', WAIT_S, 0.5)


def below(guest, path, kib):
    """The sum of what is on the device that DRBD has open, past the page cache: it may hold what was there before DRBD wrote."""
    return guest.run(f'dd if={path} bs=1M count={kib * 1024} iflag=direct,count_bytes,fullblock 2>/dev/null | sha256sum')


def other_layers(bed):
    """Clones without DRBD, and with it again: the data up to its end, nothing that could be taken for metadata behind it, no clone of what
    differs from node to node; a satellite dies when it has not noted yet that the clone has its data. A replica that joins gets everything."""
    bed.define('with', (16 * MIB,))
    bed.place('with')
    bed.agree('with')
    one, two = (g for g in bed.guests if 'DISKLESS' not in bed.flags('with')[g.name])
    device = bed.view('with')[one.name]['volumes'][0]['device_path']
    kib = int(one.run(f'cat /sys/block/{device[5:]}/size')) // 2
    one.run(f'head -c {kib}K /dev/urandom | dd of={device} bs=1M iflag=fullblock oflag=direct 2>/dev/null; udevadm settle')
    data = one.run(f'head -c {kib}K {device} | sha256sum; udevadm settle')
    satellite = bed.satellites[one.name]
    satellite.stop('KILL')
    bed.online(one, 'OFFLINE')
    satellite.start(inject='fill_copied')
    bed.online(one)
    done = cloned(bed, 'with', 'without', ['STORAGE'])
    wait_for('death at fill_copied', lambda: not satellite.running(), WAIT_S, 0.5)
    satellite.start()
    bed.online(one)
    done()
    for guest in (one, two):
        backing = bed.view('without')[guest.name]['volumes'][0]['device_path']
        assert guest.run(f'head -c {kib}K {backing} | sha256sum') == data, guest.name
        size = int(guest.run(f'blockdev --getsize64 {backing}')) // 1024
        assert size > kib and bed.view('without')[guest.name]['volumes'][0]['usable_size_kib'] == size, (size, kib)
        assert guest.run(f'tail -c +{kib * 1024 + 1} {backing} | tr -d "\\0" | wc -c').strip() == '0', guest.name
    refused = bed.rest.call('POST', '/v1/resource-definitions/without/clone', {'name': 'again', 'layer_list': ['DRBD', 'STORAGE']})
    assert refused.status == 500 and 'is on 2 nodes' in refused.text, refused.text
    bed.rest.call('DELETE', f'/v1/resource-definitions/without/resources/{two.name}').ok()
    cloned(bed, 'without', 'again', ['DRBD', 'STORAGE'])()
    bed.agree('again')
    assert set(bed.flags('again')) == {one.name}
    device = bed.view('again')[one.name]['volumes'][0]['device_path']
    now = int(one.run(f'cat /sys/block/{device[5:]}/size')) // 2
    assert now >= size, f'{now} KiB for {size} of data'
    assert one.run(f'head -c {kib}K {device} | sha256sum; udevadm settle') == data
    bed.rest.call('POST', f'/v1/resource-definitions/again/resources/{two.name}', {'resource': {'props': {'StorPoolName': 'thin'}}}).ok()
    bed.agree('again')
    got = bed.received(two, 'again')
    assert got >= kib, f'{got} KiB received of {kib}: what the first one has was taken for zeros'
    assert below(two, '/dev/vg0/again_00000', kib) == data
    wait_for('a tie breaker', lambda: sum('TIE_BREAKER' in f for f in bed.flags('again').values()) == 1, WAIT_S, 0.5)
    bed.adjusted('again')
    for name in ('again', 'without', 'with'):
        bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()


def encrypted(bed):
    """A clone with LUKS added below DRBD: each node copies and encrypts what it has; the replicas are alike, so that nothing is sent. The data is up
    to its end in DRBD's device, and not in clear below; one that joins later gets everything."""
    bed.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'correct horse battery staple'})  # unless it is there
    bed.define('clear', (16 * MIB,))
    bed.place('clear')
    bed.agree('clear')
    one, two = (g for g in bed.guests if 'DISKLESS' not in bed.flags('clear')[g.name])
    device = bed.view('clear')[one.name]['volumes'][0]['device_path']
    kib = int(one.run(f'cat /sys/block/{device[5:]}/size')) // 2
    one.run(f'head -c {kib}K /dev/urandom | dd of={device} bs=1M iflag=fullblock oflag=direct 2>/dev/null; udevadm settle')
    data = one.run(f'head -c {kib}K {device} | sha256sum; udevadm settle')
    cloned(bed, 'clear', 'secret', ['DRBD', 'LUKS', 'STORAGE'])()
    bed.agree('secret')
    device = bed.view('secret')[one.name]['volumes'][0]['device_path']
    got = bed.received(one, 'secret') + bed.received(two, 'secret')
    assert got < 1024, f'{got} KiB were sent between replicas that are alike'
    for guest in (one, two):
        assert below(guest, '/dev/mapper/Linstor-Crypt-secret_00000', kib) == data, guest.name
        guest.run('cryptsetup isLuks /dev/vg0/secret_00000')
        assert not [x for x in guest.run('ls /dev/mapper').split() if 'fill' in x]
    assert one.run(f'head -c {kib}K {device} | sha256sum; udevadm settle') == data
    print(f'  {kib} KiB copied and encrypted on two nodes, {got} KiB sent between them')
    bed.rest.call('DELETE', f'/v1/resource-definitions/secret/resources/{two.name}').ok()
    wait_for('one replica to be gone', lambda: two.name not in bed.flags('secret'), WAIT_S, 1)
    bed.rest.call('POST', f'/v1/resource-definitions/secret/resources/{two.name}', {'resource': {'props': {'StorPoolName': 'thin'}}}).ok()
    bed.agree('secret')
    assert bed.received(two, 'secret') >= kib, 'what the first one has was taken for zeros'
    assert below(two, '/dev/mapper/Linstor-Crypt-secret_00000', kib) == data
    for name in ('secret', 'clear'):
        bed.rest.call('DELETE', f'/v1/resource-definitions/{name}').ok()


# name, what it does, what has to be done before
STEPS = (('made: two volumes, tie breaker, quorum, no initial sync', made, None),
         ('a replica lost under writes, back without a controller', secondary_lost, made),
         ('a third replica joins later', joined_later, made),
         ('snapshot of two resources under writes', snapshot, made),
         ('restored', restored, snapshot),
         *((f'a satellite dies at {p}', functools.partial(satellite_dies, point=p), made) for p in HELD),
         ('the controller dies while I/O is suspended', controller_dies, made),
         ('rolled back', rolled_back, snapshot),
         ('the node that writes lost, its writes kept', primary_lost, made),
         ('clones with other layers: DRBD left out and added', other_layers, None),
         ('a clone encrypted below DRBD', encrypted, None),
         ('diskless on remaining', remaining, made),
         ('a disk fails, is skipped and mended', disk_fails, made),
         ('disks toggled and migrated under writes', toggled, joined_later),
         ('grown online', grown, made),
         ('split brain, resolved by the CLI', split, made),
         ('a connection that DRBD gave up, and one that was cut', given_up, made),
         ('a node evacuated and taken back', evacuated, made),
         ('tie breaker lost and made anew', breaker_lost, made),
         ('a replica lost for good, another in its place', replaced, made),
         ('deleted', deleted, made))


def chosen(only):
    """The steps with one of these texts in their names, and those that must come before."""
    steps = {fn for name, fn, _ in STEPS if not only or any(text in 'drbd9: ' + name for text in only)}
    for _, fn, before in reversed(STEPS):
        if fn in steps and before is not None:
            steps.add(before)
    return steps


def names_for(steps):
    """The second resource is for snapshots that are looked at, and takes time."""
    return ('data', 'more') if steps & {snapshot, restored, rolled_back} else ('data',)


def step_and_look(bed, step):
    """After each step the API says of every resource what the nodes say."""
    step(bed)
    for rd in bed.rest.get('/v1/resource-definitions').ok().json:
        bed.agree(rd['name'], settled=False)


def tell(bed):
    for guest in bed.guests:
        if guest.process is not None:
            print(guest.name, bed.satellites[guest.name].log()[-2500:], guest.try_run('drbdsetup status --verbose; dmesg | tail -n 20')[1])


def run(suite, work, image, everything):
    if rig.DRBD_MODULES is None:
        print('skipped: drbd9: no modules of DRBD 9 were given (--drbd-module DIR)')
        suite.skipped += 1
        return
    steps = chosen(getattr(suite, 'only', []))
    bed = suite.check('a guest, and two more, with DRBD 9 and satellites', Bed, work, image, names_for(steps))
    if bed is None:
        return
    try:
        began = time.monotonic()
        for name, step, _ in STEPS:
            before = suite.failed
            if step not in steps:
                suite.skipped += 1
                continue
            Suite.check(suite, 'drbd9: ' + name, step_and_look, bed, step)
            print(f'  {time.monotonic() - began:.0f} s')
            if suite.failed > before:
                tell(bed)
                break
    finally:
        for satellite in bed.satellites.values():
            satellite.keep_trace()
        bed.close()
