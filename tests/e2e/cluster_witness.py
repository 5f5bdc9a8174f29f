"""Two controllers and a witness, and two controllers and a volatile one: any one member may die, in any order with
restarts between, while writes go on. A witness stays small, answers nobody, and writes nothing while nothing happens.

usage: cluster_witness.py [--rounds N]    kills of each cluster; default 6"""
import argparse
import http.client
import json
import pathlib
import random
import subprocess
import tempfile
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

parser = argparse.ArgumentParser()
parser.add_argument('--rounds', type=int, default=6)
parser.add_argument('--seed', type=int, default=1)
args = parser.parse_args()
lib_e2e.enter()

RSS_MAX_KIB = 13 * 1024  # with a margin to the 16 MiB that are promised (docs/reliability.md)
PEAK_MAX_KIB = 16 * 1024


class WitnessCluster(Cluster):
    def __init__(self, witness):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-e2e-'))
        self.controllers, self.satellites, self.witness = ['c1', 'c2'], [], witness
        kind = '--witnesses' if witness[0] == 'w' else '--volatile'
        self.devcluster('up', '--controllers', '2', kind, '1', '--satellites', '0')

    def pid(self, name):
        return int((self.dir / name / 'pid').read_text().split()[0])

    def proc(self, name, file, key):
        for line in open(f'/proc/{self.pid(name)}/{file}'):
            if line.startswith(key):
                return int(line.split()[1])
        raise AssertionError(f'{name}: no {key} in {file}')


class Writer:
    """Writes all the time, to either controller; what was confirmed must be there in the end."""

    def __init__(self, cluster):
        self.cluster, self.stop, self.done, self.longest, self.refused = cluster, False, {}, 0, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        n, began = 0, time.monotonic()
        while not self.stop:
            member = self.cluster.controllers[n % 2]
            n += 1
            try:
                answer = self.cluster.rest(member, timeout_s=20).call(
                    'PUT', f'/v1/key-value-store/k{n % 50}', {'override_props': {'value': str(n)}})
            except (OSError, http.client.HTTPException):  # that one is dead
                time.sleep(0.01)
                continue
            if answer.status != 200:
                self.refused += 1
                continue
            self.done[n % 50] = n
            self.longest = max(self.longest, time.monotonic() - began)
            began = time.monotonic()

    def end(self):
        self.stop = True
        self.thread.join()

    def check(self):
        rest = self.cluster.rest('c1')
        for key, value in self.done.items():
            got = int(rest.get(f'/v1/key-value-store/k{key}').json[0]['props']['value'])
            assert got >= value, f'k{key}: {got} after {value} was confirmed'


def all_vote(cluster):
    """Everybody is a voter that has everything, and a controller leads."""
    def calm():
        views = [cluster.raft(c) for c in cluster.controllers]
        if not all(views) or len({v['leader'] for v in views}) != 1 or views[0]['leader'] not in cluster.controllers:
            return False
        view = views[0] if views[0]['state'] == 'leader' else views[1]
        members = view['members']
        return (len(members) == 3 and all(m['role'] == 'voter' and m['link_up'] for m in members)
                and all(m.get('lag', 0) < 50 for m in members))
    try:
        wait_for('three voters that have everything, led by a controller', calm, 60)
    except Exception:
        print(json.dumps([cluster.raft(c) for c in cluster.controllers], indent=1)[:6000])
        raise


def any_one_dies(cluster):
    rng, writer, began = random.Random(args.seed), Writer(cluster), time.monotonic()
    killed = {'leader': 0, 'other controller': 0, 'witness': 0}
    try:
        for i in range(args.rounds):
            what = rng.choice(list(killed)) if i >= 3 else list(killed)[i]
            leader = cluster.leader()
            name = {'leader': leader, 'witness': cluster.witness}.get(
                what, [c for c in cluster.controllers if c != leader][0])
            killed[what] += 1
            before = len(writer.done), max(writer.done.values(), default=0)
            cluster.kill(name)
            wait_for(f'writes without {name} ({what}, round {i})',
                     lambda: max(writer.done.values(), default=0) > before[1] + 5)
            cluster.start(name)
            all_vote(cluster)
    finally:
        writer.end()
    writer.check()
    cluster.same_state()
    assert writer.refused == 0, f'{writer.refused} requests were refused'
    print(f'        {killed}, {max(writer.done.values())} writes, longest pause {writer.longest * 1000:.0f} ms, '
          f'{time.monotonic() - began:.0f} s')


def witness_serves_nobody(cluster):
    address = f'127.0.0.{dict(w=30, v=40)[cluster.witness[0]] + 1}'
    done = subprocess.run(['ss', '-Hltn', 'src', address], capture_output=True, text=True)
    ports = {line.split()[3].rpartition(':')[2] for line in done.stdout.splitlines()}
    assert ports == {'3372'}, done.stdout


def is_small(cluster):
    def rss_kib():
        return cluster.proc(cluster.witness, 'status', 'VmRSS:')
    time.sleep(1)  # what was freed goes back within 0.2 s
    try:
        wait_for('that', lambda: rss_kib() <= RSS_MAX_KIB, 10)
    except TimeoutError:
        pass
    rss, peak = rss_kib(), cluster.proc(cluster.witness, 'status', 'VmHWM:')
    print(f'        VmRSS {rss} KiB, at most {peak} KiB')
    assert rss <= RSS_MAX_KIB and peak <= PEAK_MAX_KIB, f'{rss} KiB, at most {peak} KiB'


def witness_is_small(cluster):
    """After as many bytes as its log holds several times over."""
    rest = cluster.rest('c1')
    for i in range(1500):
        answer = rest.call('PUT', '/v1/key-value-store/big', {'override_props': {'v': f'{i:08}' * 1000}})
        assert answer.status == 200, answer.text
    all_vote(cluster)
    is_small(cluster)


def witness_starts_small(cluster):
    """With, or for a volatile one from, all that."""
    cluster.kill(cluster.witness)
    cluster.start(cluster.witness)
    all_vote(cluster)
    is_small(cluster)


def idle_means_no_write(cluster):
    """A new term is something that happens: a machine that stood still may elect, and then it is looked at once more."""
    for _ in range(5):
        time.sleep(3)
        term, before = cluster.view('c1')['term'], cluster.proc(cluster.witness, 'io', 'write_bytes:')
        time.sleep(6)
        after = cluster.proc(cluster.witness, 'io', 'write_bytes:')
        if cluster.view('c1')['term'] == term:
            break
    assert after == before, f'{after - before} bytes were written'


def volatile_needs_no_disk(cluster):
    """Its directory holds certificate, identity and nothing that it has written."""
    top = cluster.dir / cluster.witness
    assert not (top / 'raft').exists()
    before = (top / 'identity').read_bytes()
    id_of = lambda: [m['raft_id'] for m in cluster.view(cluster.leader())['members'] if m['name'] == cluster.witness]
    first = id_of()
    time.sleep(5)  # replacements are not more frequent than that
    cluster.kill(cluster.witness)
    cluster.start(cluster.witness)
    wait_for('another id', lambda: id_of() != first and len(id_of()) == 1)
    all_vote(cluster)
    assert (top / 'identity').read_bytes() == before


def unsound_sets_are_refused(cluster):
    """One controller and a volatile witness: its restart would be the end."""
    done = cluster.raftctl(cluster.leader(), 'remove', 'c2', ok=False)
    text = done if isinstance(done, str) else str(getattr(done, 'stderr', done))
    assert 'volatile' in text or 'another controller' in text, text


def everybody_ends_well(cluster):
    cluster.devcluster('down')
    for log in cluster.dir.glob('*/log'):
        text = log.read_text(errors='replace')
        for bad in ('Sanitizer', 'runtime error', 'Assertion', 'ERROR '):
            assert bad not in text, f'{log.parent.name}: {text[-1500:]}'


suite = Suite()
for witness, also in (('w1', []), ('v1', [volatile_needs_no_disk, unsound_sets_are_refused])):
    cluster = suite.check(f'two controllers and {witness} come up', WitnessCluster, witness)
    if cluster is None:
        continue
    for check in (witness_serves_nobody, any_one_dies, *also, witness_is_small, idle_means_no_write,
                  witness_starts_small, everybody_ends_well):
        suite.check(f'{witness}: {check.__name__.replace("_", " ")}', check, cluster)
    cluster.close()
suite.finish()
