"""What strangers send to a real cluster: garbage, half of something, too much of something, tokens and certificates that
are not (or no longer) good, requests beyond every rule. Each is refused with cause and remedy, or closed; in bounded
time and memory; and the replicated state, its hash and the log stay as they were."""
import base64
import concurrent.futures
import http.client
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, in_parallel, wait_for

lib_e2e.enter()

RAFT, PLAIN, SSL, HTTP = 3372, 3366, 3367, 3370
MIB = 1 << 20
GROWTH_MAX = 8 * MIB
HELLO, HELLO_REPLY, RAFT_FRAME, JOIN, JOIN_REPLY = 1, 2, 3, 10, 11


def daemons(cluster):
    """name -> pid"""
    return {h: int((cluster.dir / h / 'pid').read_text().split()[0]) for h in cluster.controllers + cluster.satellites}


def instrumented(pid):
    """Sanitizers have their own idea of memory: the room that they reserve shows them."""
    size = next(line for line in open(f'/proc/{pid}/status') if line.startswith('VmSize:'))
    return int(size.split()[1]) > 1 << 30  # KiB


def rss(pid):
    for line in open(f'/proc/{pid}/status'):
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) * 1024
    raise AssertionError(f'no VmRSS of {pid}')


class Before:
    """What must be the same afterwards."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.term, self.index, *self.wrote = wait_for('the same log on all members', self.now)
        self.pids = daemons(cluster)
        self.rss = {name: rss(pid) for name, pid in self.pids.items()}

    def now(self):
        """Term, last index, index of the last write, state hash, when all members have the same; else None."""
        views = [self.cluster.raft(name) for name in self.cluster.controllers]
        seen = {v and (v['term'], v['last_index'], v['hash_index'], v['state_hash']) for v in views}
        return seen.pop() if len(seen) == 1 else None

    def same(self):
        assert daemons(self.cluster) == self.pids
        for pid in self.pids.values():
            assert os.path.exists(f'/proc/{pid}'), 'a daemon has died'
        term, index, *wrote = wait_for('the same log on all members', self.now)
        assert wrote == self.wrote, f'{self.wrote} -> {wrote}: something was written'
        # each new leader begins with an entry that says nothing; whether a busy machine elects one is not what is tested here
        assert index - self.index <= term - self.term, f'index {self.index} -> {index}, term {self.term} -> {term}'
        grown = {name: (rss(pid) - self.rss[name]) // 1024 for name, pid in self.pids.items()}
        print(f'        growth in KiB: {grown}')
        assert all(kib * 1024 < GROWTH_MAX or instrumented(self.pids[name]) for name, kib in grown.items()), grown


def connect(address, port):
    return socket.create_connection((address, port), timeout=15)


def until_closed(s, limit_s):
    """What comes before the other side closes; it must do so in time."""
    started, got = time.monotonic(), b''
    s.settimeout(limit_s)
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
            assert len(got) < MIB
    except (ConnectionError, ssl.SSLError):
        pass
    except (TimeoutError, socket.timeout):
        raise AssertionError(f'still open after {time.monotonic() - started:.1f} s')
    finally:
        s.close()
    return got


def send(s, data):
    try:
        s.sendall(data)
    except (ConnectionError, ssl.SSLError):
        pass  # closed already: that is what is wanted


def tls(address, port, pair=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(*map(str, pair))
    return context.wrap_socket(connect(address, port))


def frame(kind, payload, length=None):
    return struct.pack('>IH', len(payload) + 2 if length is None else length, kind) + payload


def places(cluster):
    return [(cluster.address('c1'), RAFT), (cluster.address('c2'), RAFT), (cluster.address('s1'), PLAIN),
            (cluster.address('s1'), SSL)]


# ---- before TLS ----

def garbage(cluster):
    rng = random.Random(4711)
    starts = [b'', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', b'\x15\x03\x03\x00\x02\x02\x28', b'\x80\x2e\x01\x00\x02',
              b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'SSH-2.0-x\r\n', b'\x00' * 64, b'\xff' * 64]
    everything = [(place, start + rng.randbytes(rng.choice([0, 100, 5000, 100000])) if start else rng.randbytes(3000))
                  for place in places(cluster) for start in starts]

    def one(place, data):
        s = connect(*place)
        send(s, data)
        until_closed(s, 9)
    in_parallel([lambda p=p, d=d: one(p, d) for p, d in everything])


def half_handshakes(cluster):
    """Bytes that wait for more, and nothing at all: many at once, and the honest are served meanwhile."""
    open_ones = []
    for address, port in places(cluster):
        for i in range(150):
            try:
                s = connect(address, port)
            except OSError:
                continue
            send(s, [b'', b'\x16', b'\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03'][i % 3])
            open_ones.append(s)
    cluster.rest('c1').get('/v1/nodes').ok()
    cluster.raft('c2')
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda s: until_closed(s, 12), open_ones))


def reconnects_through(cluster):
    """Strangers hold and renew half-open connections to a satellite; a controller that starts anew gets its session."""
    strangers, over = [], threading.Event()

    def hold(i):
        mine = []
        while not over.is_set():
            try:
                s = connect(cluster.address('s1'), (PLAIN, SSL)[i % 2])
                send(s, b'\x16')
                mine.append(s)
            except OSError:
                pass
            mine = mine[-100:]
            time.sleep(0.005)
        for s in mine:
            s.close()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        strangers = [pool.submit(hold, i) for i in range(4)]
        time.sleep(1)
        follower = [c for c in cluster.controllers if c != cluster.leader()][0]

        def online():
            try:
                return all(n['connection_status'] == 'ONLINE' for n in cluster.rest(follower).get('/v1/nodes').ok().json)
            except (OSError, AssertionError, http.client.HTTPException):
                return False
        try:  # the strangers go on until it has
            cluster.devcluster('stop', follower)
            cluster.start(follower)
            wait_for(f'{follower} has its satellite', online)
        finally:
            over.set()
        for f in strangers:
            f.result()


# ---- after TLS, without a certificate ----

def anonymous_at_satellites(cluster):
    for port in (PLAIN, SSL):
        s = None
        try:
            s = tls(cluster.address('s1'), port)
        except (ssl.SSLError, ConnectionError):
            continue
        send(s, frame(1, b'\x80'))
        assert until_closed(s, 9) == b''


def anonymous_at_members(cluster):
    rng = random.Random(4712)
    bad = [frame(JOIN, b'', 0), frame(JOIN, b'', 1), frame(JOIN, b'', 0xffffffff), frame(JOIN, b'', MIB),
           frame(JOIN, b'x' * 20000), frame(HELLO, b'\x80'), frame(HELLO_REPLY, b'\x80'), frame(RAFT_FRAME, rng.randbytes(500)),
           frame(9999, b''), frame(0, b''), frame(JOIN, b'', 9000) + b'half of it', struct.pack('>I', 100), b'\x00']
    def one(address, data):
        s = tls(address, RAFT)
        send(s, data)
        assert until_closed(s, 9) == b'', data[:20]
    in_parallel([lambda a=cluster.address(c), d=d: one(a, d) for c in ('c1', 'c2') for d in bad])


def joins_that_cannot_be_read(cluster):
    rng = random.Random(4713)
    for body in (b'', b'\x80', b'\xc1', b'\x90', b'\xdf\xff\xff\xff\xff', b'\x81\x01\xdb\xff\xff\xff\xff', b'\x91' * 9000,
                 rng.randbytes(4000), b'\x85\x01\xa1x\x02\xc4\x01x\x03\xa1x\x04\xa1x\x05\x00'):
        s = tls(cluster.address('c1'), RAFT)
        send(s, frame(JOIN, body))
        got = until_closed(s, 9)
        assert len(got) > 6 and struct.unpack('>H', got[4:6])[0] == JOIN_REPLY, (body[:20], got[:40])


def many_anonymous(cluster):
    """They hold all they can get; members still talk, and somebody honest still joins."""
    held = []
    for i in range(120):
        try:
            held.append(tls(cluster.address('c1'), RAFT))
        except OSError:
            pass
    token = cluster.raftctl('c1', 'token', 'create', '--role', 'satellite', '--name', 'guest')
    home = cluster.dir / 'guest'
    joined = satellite_join(home, 'guest', token)
    assert joined.returncode == 0, joined.stderr
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda s: until_closed(s, 12), held))


# ---- certificates ----

class Other:
    """A second cluster, of one member, beside the first."""

    def __init__(self, cluster):
        self.dir = cluster.dir / 'other'
        self.conf = cluster.dir / 'other.conf'
        (cluster.dir / 'other-run').mkdir()
        self.conf.write_text(f'[controller]\ndir = {self.dir}\nrun_dir = {cluster.dir}/other-run\n'
                             '[http]\nlisten = 127.0.0.41:3370\n')
        self.raftctl('init', '--name', 'c1', '--address', '127.0.0.41')
        self.log = open(cluster.dir / 'other.log', 'w')
        self.process = subprocess.Popen([str(BUILD / 'outrigger-controller'), '--config', str(self.conf)],
                                        stdout=self.log, stderr=self.log)
        wait_for('the other cluster leads', self.leads, 20)

    def raftctl(self, *args):
        done = subprocess.run([str(BUILD / 'raftctl/raftctl'), '--config', str(self.conf), *args], capture_output=True,
                              text=True, timeout=30)
        if done.returncode != 0 and args[0] != 'status':
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def leads(self):
        text = self.raftctl('status', '--json')
        return text.startswith('{') and json.loads(text)['state'] == 'leader'

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def refused_by_tls(address, port, pair):
    try:
        s = tls(address, port, pair)
        send(s, frame(HELLO, b'\x80'))
    except (ssl.SSLError, ConnectionError):
        return
    assert until_closed(s, 9) == b''


def certificates(cluster, other):
    def make(name, pki, identity, role, days_ago=0):
        prefix = cluster.dir / name
        subprocess.run([str(c) for c in (BUILD / 'tests/e2e/certificate', pki, identity, role, name, days_ago, 30, prefix)],
                       check=True)
        return f'{prefix}.crt', f'{prefix}.key'
    identity = cluster.view('c1')['cluster']
    own = cluster.dir / 'c1/pki'
    for address, port in places(cluster):
        refused_by_tls(address, port, (other.dir / 'pki/node.crt', other.dir / 'pki/node.key'))
        refused_by_tls(address, port, make('liar', other.dir / 'pki', identity, 'controller'))
        refused_by_tls(address, port, make('late', own, identity, 'controller', 40))
        refused_by_tls(address, port, make('client', own, identity, 'client'))
        refused_by_tls(address, port, (own / 'ca.crt', own / 'ca.key'))
    # a good one, but not for what it claims: a member's id belongs to its name
    pair = cluster.dir / 's1/pki/node.crt', cluster.dir / 's1/pki/node.key'
    refused_by_tls(cluster.address('c1'), RAFT, pair)


# ---- tokens ----

def satellite_join(home, name, token):
    home.mkdir(exist_ok=True)
    return subprocess.run([str(BUILD / 'outrigger-satellite'), '--dir', str(home), '--node-name', name, 'join', token],
                          capture_output=True, text=True, timeout=60)


def join_refused(cluster, where, token, words, name='late'):
    home = cluster.dir / where
    done = satellite_join(home, name, token)
    said = done.stderr + done.stdout
    assert done.returncode != 0, said
    for word in words:
        assert word in said, (word, said)
    assert not (home / 'pki/node.crt').exists()
    return said


def tokens_made(cluster):
    """Everything that writes, so that what follows can be compared."""
    create = lambda *more: cluster.raftctl('c1', 'token', 'create', '--role', 'satellite', *more)  # noqa: E731
    made = {'short': create('--ttl', '1s'), 'used': create(), 'named': create('--name', 'somebody'),
            'role': cluster.raftctl('c1', 'token', 'create', '--role', 'witness'), 'fresh': create()}
    joined = satellite_join(cluster.dir / 'used', 'used', made['used'])
    assert joined.returncode == 0, joined.stderr
    for bad in (['--ttl', '0s'], ['--ttl', '-1s'], ['--ttl', '31d'], ['--ttl', 'soon'], ['--role', 'client'],
                ['--role', 'king'], ['--name', '../x'], ['--name', 'x' * 200]):
        cluster.raftctl('c1', 'token', 'create', '--role', 'satellite', *bad, ok=False)
    return made


def tokens(cluster, other, made):
    time.sleep(1.1)
    remedy = 'raftctl token create'
    join_refused(cluster, 't-short', made['short'], ['expired', remedy])
    join_refused(cluster, 't-used', made['used'], ['was used by', 'once', remedy])
    again = satellite_join(cluster.dir / 'used', 'used', made['used'])
    assert again.returncode != 0 and 'belongs to a cluster already' in again.stderr, again.stderr
    join_refused(cluster, 't-named', made['named'], ["is for 'somebody' only"])
    join_refused(cluster, 't-role', made['role'], ['witness', remedy])
    raw = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))  # noqa: E731
    back = lambda data: base64.urlsafe_b64encode(data).decode().rstrip('=')  # noqa: E731
    # a token of the other cluster that leads here: the CA is another, the secret is not shown
    foreign = raw(other.raftctl('token', 'create', '--role', 'satellite')).replace(b'127.0.0.41', b'127.0.0.11')
    assert b'127.0.0.11' in foreign
    started = time.monotonic()
    join_refused(cluster, 't-foreign', back(foreign), ['CA', remedy])
    assert time.monotonic() - started < 15, 'a wrong token is a matter of moments'  # it is not asked for 30 s
    good = raw(made['fresh'])
    binary = good.index(b'\xc4\x20')  # from the pin on to the secret: addresses are hints only
    end = good.rindex(b'\xc4\x20') + 34
    assert end - binary > 80
    for i in range(binary, end, 5):  # one bit each: never in, never a crash
        damaged = bytearray(good)
        damaged[i] ^= 0x10
        done = satellite_join(cluster.dir / 't-bits', 'bits', back(bytes(damaged)))
        assert done.returncode == 1, (i, done)
        assert done.stderr.strip(), i
    for text in ('', 'x', '!!!!', 'A' * 3000, made['fresh'][:-9], made['fresh'] + 'AAAA', 'gA', 'g' + '-' * 59):
        done = satellite_join(cluster.dir / 't-text', 'text', text)
        assert done.returncode == 1 and 'token' in done.stderr, (text[:20], done)


# ---- REST ----

def rest_refused(cluster, method, path, body, headers=None, statuses=(*range(400, 500), 500)):
    c = http.client.HTTPConnection(cluster.address('c1'), HTTP, timeout=30)
    try:
        c.request(method, path, body, {'Content-Type': 'application/json', **(headers or {})})
        answer = c.getresponse()
        text = answer.read().decode()
    finally:
        c.close()
    what = (method, path[:80], (body or '')[:60])
    assert answer.status in statuses, (what, answer.status, text[:300])
    rc = json.loads(text)
    assert isinstance(rc, list) and rc and rc[0]['ret_code'] < 0, (what, text[:300])
    assert rc[0].get('message'), (what, text[:400])
    assert rc[0].get('cause') and rc[0].get('correction'), (what, 'no cause or no correction', text[:400])


BAD_NAMES = ['', ' ', 'a b', 'ä', '../x', 'a/b', '-a', '.', 'x' * 300, 'a\x00b', 'a\nb', '<x>', "a'b", '1' * 64 + '!', '☃']


def rest_names(cluster):
    for name in BAD_NAMES:
        text = json.dumps(name)
        rest_refused(cluster, 'POST', '/v1/nodes', f'{{"name":{text},"type":"SATELLITE","net_interfaces":[{{"name":"default",'
                     '"address":"127.0.0.99","satellite_port":3366,"satellite_encryption_type":"PLAIN"}]}')
        rest_refused(cluster, 'POST', '/v1/resource-definitions', f'{{"resource_definition":{{"name":{text}}}}}')
        rest_refused(cluster, 'POST', '/v1/resource-groups', f'{{"name":{text}}}')
        rest_refused(cluster, 'POST', '/v1/nodes/s1/storage-pools',
                     f'{{"storage_pool_name":{text},"provider_kind":"DISKLESS"}}')


def rest_json(cluster):
    bodies = ['', '{', '}', '[]', 'null', '7', '"x"', '{"name":}', '{"name":"a","name"}', '{"name":"a"} x', '\x00', '{"name":7}',
              '{"name":["a"]}', '{"name":{"a":1}}', '{"name":true}', '{"name":null}', '[' * 5000, '{"a":' * 5000,
              '{"name":"\\ud800"}', '{"name":"a","override_props":7}', '{"name":"a","override_props":{"x":[]}}',
              '{"name":"a","type":"KING"}', '{"name":"a","type":7}', '{"name":"a","type":"SATELLITE","net_interfaces":{}}',
              '{"name":"a","type":"SATELLITE","net_interfaces":[7]}',
              '{"name":"a","type":"SATELLITE","net_interfaces":[{"name":"d","address":"nowhere","satellite_port":99999999}]}']
    for body in bodies:
        rest_refused(cluster, 'POST', '/v1/nodes', body)
    for body in ('{"volume_definition":{"size_kib":-1}}', '{"volume_definition":{"size_kib":"x"}}',
                 '{"volume_definition":{"size_kib":1e300}}', '{"volume_definition":{"size_kib":18446744073709551616}}',
                 '{"volume_definition":{"size_kib":0}}', '{"volume_definition":{"size_kib":1.5}}'):
        rest_refused(cluster, 'POST', '/v1/resource-definitions/known/volume-definitions', body)
    for path in ('/v1/nodes/%00', '/v1/nodes/%zz', '/v1/nodes/' + 'n' * 3000, '/v1/nothing', '/v2/nodes'):
        rest_refused(cluster, 'GET', path, None, statuses=(400, 404, 405, 414))


def answer_or_end(s, what):
    """A refusal, or the end of the connection; kept-alive ones may be idle for longer."""
    s.settimeout(20)
    try:
        got = s.recv(4096)
    except ConnectionError:
        got = b''
    s.close()
    assert got == b'' or (got.startswith(b'HTTP/1.') and int(got.split(b' ')[1]) >= 400), (what, got[:100])


def rest_sizes(cluster):
    over = json.dumps({'name': 'x' * MIB})
    rest_refused(cluster, 'POST', '/v1/nodes', over, statuses=(413,))
    s = connect(cluster.address('c1'), HTTP)  # announced, never sent
    send(s, b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n')
    assert b' 413 ' in until_closed(s, 40).split(b'\r\n')[0]
    s = connect(cluster.address('c1'), HTTP)  # without announcement
    send(s, b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
    for _ in range(64):
        send(s, b'40000\r\n' + b'x' * 0x40000 + b'\r\n')
    send(s, b'0\r\n\r\n')
    answer_or_end(s, 'chunks')
    for head in (b'GET /v1/nodes HTTP/1.1\r\nX: ' + b'y' * 200000 + b'\r\n\r\n', b'GET /' + b'z' * 200000 + b' HTTP/1.1\r\n\r\n',
                 b'\x16\x03\x01\x00\xc8' + b'\x00' * 300 + b'\r\n\r\n', b'NONSENSE\r\n\r\n'):
        s = connect(cluster.address('c1'), HTTP)
        send(s, head)
        answer_or_end(s, head[:20])


def slow_loris(cluster):
    """Heads and bodies of two bytes a second: cut off in bounded time, and others are served at once."""
    slow = [connect(cluster.address('c1'), HTTP) for _ in range(100)]
    for i, s in enumerate(slow):
        send(s, b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n' if i % 2 else
             b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{')
    started, left, waits = time.monotonic(), list(slow), []
    while left and time.monotonic() - started < 100:
        asked = time.monotonic()
        cluster.rest('c1').get('/v1/nodes').ok()
        waits.append(time.monotonic() - asked)
        assert waits[-1] < 10, 'an honest client waits'  # the first of the slow ones are cut off after 15 s
        for s in list(left):
            s.setblocking(False)
            try:
                s.send(b'x')
                if s.recv(4096) == b'':
                    left.remove(s)
            except BlockingIOError:
                pass
            except OSError:
                left.remove(s)
        time.sleep(0.5)
    assert sorted(waits)[len(waits) // 2] < 1, f'honest clients wait: {sorted(waits)}'
    assert not left, f'{len(left)} of {len(slow)} are still served after 100 s'
    print(f'        cut off after {time.monotonic() - started:.0f} s')
    for s in slow:
        s.close()


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 1)
    if cluster is None:
        suite.finish()
    other = None
    try:
        cluster.rest('c1').call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'known'}}).ok()
        other = suite.check('a second cluster beside it', Other, cluster)
        made = suite.check('tokens are made, one is used; those beyond the rules are not', tokens_made, cluster)
        suite.check('warm up: garbage', garbage, cluster)
        before = suite.check('at rest', Before, cluster)
        suite.check('garbage', garbage, cluster)
        suite.check('half of a handshake, and silence', half_handshakes, cluster)
        suite.check('anonymous TLS at satellites', anonymous_at_satellites, cluster)
        suite.check('anonymous TLS at members: frames', anonymous_at_members, cluster)
        suite.check('anonymous TLS at members: joins', joins_that_cannot_be_read, cluster)
        suite.check('certificates: another cluster, another role, expired', certificates, cluster, other)
        suite.check('tokens: expired, used, damaged, of another cluster', tokens, cluster, other, made)
        suite.check('REST: names', rest_names, cluster)
        suite.check('REST: JSON and types', rest_json, cluster)
        suite.check('REST: sizes', rest_sizes, cluster)
        suite.check('REST: slow loris', slow_loris, cluster)
        if before is not None:
            suite.check('nothing was written, nobody died, nobody grew', before.same)
        suite.check('many anonymous peers: an honest one joins all the same', many_anonymous, cluster)
        suite.check('many half-open connections: a controller gets its session all the same', reconnects_through, cluster)
        suite.check('one state on all members', cluster.same_state)
    finally:
        if other is not None:
            suite.check('the second cluster goes down', other.close)
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
