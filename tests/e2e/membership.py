"""Members come and go while a client writes: 1, 3, 5, 7 voters and back, leadership handed on, a dead member replaced by one
command on each side, stand-bys that take over, zones, refusals. No request of the client fails."""
import json
import re
import shutil
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Rest, Suite, wait_for

lib_e2e.enter()

STAYS = ('c1', 'c2')  # the client's members
AWAY_S = 2


class Members(Cluster):
    """Machines that join one by one, with raftctl, as a user would do it."""

    def __init__(self):
        super().__init__(1, 1, (f'raft.promote_after_s={AWAY_S}',))

    def machine(self, name):
        """A fresh machine: a configuration file and nothing else."""
        home = self.dir / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        text = (self.dir / 'c1/controller.conf').read_text()
        text = text.replace(f'{self.dir}/c1', str(home)).replace('127.0.0.11:', f'{self.address(name)}:')
        (home / 'controller.conf').write_text(text)
        known = json.loads((self.dir / 'cluster.json').read_text())
        known['hosts'] = list(dict.fromkeys([*known['hosts'], name]))
        (self.dir / 'cluster.json').write_text(json.dumps(known))

    def join(self, name, *token_options, options=()):
        """One command on a member, one on the new machine; then the service is started."""
        token = self.raftctl('c1', 'token', 'create', *token_options)
        self.raftctl(name, 'join', token, '--name', name, '--address', self.address(name), *options)
        self.start(name)
        if name not in self.controllers:
            self.controllers.append(name)

    def gone(self, name):
        self.controllers.remove(name)

    def voters(self):
        return sorted(name for name, role in self.roles().items() if role == 'voter')

    def wait_voters(self, *names):
        wait_for(f'voters {names}', lambda: self.voters() == sorted(names))

    def warnings(self, part):
        return [w for w in self.view(self.leader())['warnings'] if part in w]


class Client(threading.Thread):
    """Writes through two members in turn and counts; a write that is not answered with 200 is a failure."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.done, self.failures, self.slowest_s = cluster, 0, [], 0
        self.members, self.stopping, self.turn = ['c1'], threading.Event(), threading.Lock()

    def run(self):
        rests = {}
        while not self.stopping.is_set():
            name = self.members[self.done % len(self.members)]
            rest = rests.setdefault(name, Rest(self.cluster.address(name)))
            with self.turn:
                self.write(name, rest)
            self.done += 1
            time.sleep(0.002)

    def write(self, name, rest):
        started = time.monotonic()
        try:
            answer = rest.call('PUT', f'/v1/key-value-store/m{self.done % 10}', {'override_props': {'n': str(self.done)}})
            if answer.status != 200:
                self.failures.append(answer.text[:300])
        except OSError as e:
            self.failures.append(f'{name}: {e}')
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def same_state(self):
        """Between two writes, all members have the same one."""
        with self.turn:
            self.cluster.same_state()

    def end(self):
        self.stopping.set()
        self.join(120)
        print(f'        {self.done} writes, the slowest took {self.slowest_s * 1000:.0f} ms')
        assert self.done > 200 and not self.failures, self.failures[:5]


def grow(cluster, client):
    for i in range(2, 8):
        name = f'c{i}'
        cluster.machine(name)
        cluster.join(name, '--role', 'controller', options=('--zone', 'left' if i < 6 else 'right'))
        cluster.wait_voters(*(f'c{k}' for k in range(1, i + 1)))
        if i == 2:
            client.members = list(STAYS)
            wait_for('a warning of two voters', lambda: cluster.warnings('two voters'))
        if i == 4:
            wait_for('a warning of 4 voters', lambda: cluster.warnings('4 voters bear the loss of 1'))
    client.same_state()


def zones(cluster, _):
    wait_for('a warning of zones', lambda: cluster.warnings("the loss of zone 'left' would lose the quorum: 4 of the 7"))
    wait_for('the warning in the log',
             lambda: any("'left' (4 of 7 voters)" in cluster.log(c) for c in cluster.controllers))
    def metrics():
        return cluster.rest('c2').get('/metrics').text
    wait_for('the zone in the metrics', lambda: '\noutrigger_raft_zone_critical_voters{zone="left"} 4\n' in metrics())
    assert '\noutrigger_raft_zones_critical 1\n' in metrics()
    cluster.raftctl('c3', 'set-zone', 'c5', 'right')
    cluster.raftctl('c4', 'set-zone', 'c1', 'third')
    wait_for('no warning', lambda: not cluster.warnings('zone'))
    wait_for('no zone in the metrics', lambda: '\noutrigger_raft_zones_critical 0\n' in metrics())
    assert 'zone="' not in metrics()
    assert 'third' in cluster.raftctl('c2', 'status')
    assert 'not a valid name' in cluster.raftctl('c2', 'set-zone', 'c5', 'a b', ok=False)


def hand_to(cluster, to):
    """It leads. On a machine that stood still another one may have been elected since: its term says so, and it goes again."""
    for _ in range(5):
        before = cluster.view(cluster.leader())['term']
        said = cluster.raftctl('c1', 'transfer', to)
        assert said == f'{to} leads.', said
        leader = cluster.leader()
        if leader == to:
            return
        assert cluster.view(leader)['term'] > before + 1, f'{leader} leads'
    raise AssertionError(f'{to} never stays the leader')


def transfer(cluster, _):
    for to in ('c3', 'c6', 'c2'):
        hand_to(cluster, to)
    assert 'no member named' in cluster.raftctl('c1', 'transfer', 'c99', ok=False)
    before = cluster.view('c2')['term']
    cluster.raftctl('c4', 'transfer')
    assert cluster.leader() != 'c2' or cluster.view('c2')['term'] > before + 1


def demote_promote(cluster, _):
    cluster.raftctl('c5', 'demote', cluster.leader())  # hands over first
    wait_for('6 voters', lambda: len(cluster.voters()) == 6)
    name = next(n for n, role in cluster.roles().items() if role == 'stand-by')
    assert 'is not a voter' in cluster.raftctl('c1', 'transfer', name, ok=False)
    cluster.raftctl('c5', 'promote', name)
    wait_for('7 voters', lambda: len(cluster.voters()) == 7)


def shrink(cluster, _):
    for name in ('c7', 'c6', 'c5', 'c4'):
        if name == 'c5' and cluster.leader() != name:
            hand_to(cluster, name)  # the leader itself
        cluster.raftctl('c2', 'remove', name)
        cluster.gone(name)
        wait_for(f'{name} is out', lambda name=name: name not in (cluster.roles() or [name]))
        wait_for(f'the process of {name} ends', lambda name=name: not cluster.running(name))
        assert re.search(r'was removed from the cluster', cluster.log(name)), cluster.log(name)[-500:]
    cluster.wait_voters('c1', 'c2', 'c3')


def replace(cluster, client):
    """The leader dies for good; its successor has another name, then the same one on the same address."""
    if cluster.leader() != 'c3':
        hand_to(cluster, 'c3')
    assert "'c3' answers: it is not dead" in cluster.raftctl('c1', 'token', 'create', '--replaces', 'c3', ok=False)
    cluster.kill('c3')
    cluster.gone('c3')
    wait_for('another leader', lambda: cluster.view('c1')['leader'] in STAYS)
    refused = cluster.raftctl('c1', 'remove', 'c2', ok=False)
    assert 'only 1 of 2 voters would answer' in refused and 'c3' in refused and '--force' in refused, refused
    cluster.machine('c8')
    cluster.join('c8', '--replaces', 'c3')
    cluster.wait_voters('c1', 'c2', 'c8')
    assert 'c3' not in cluster.roles()
    cluster.start('c3')  # the dead one was not that dead
    wait_for('the old one ends', lambda: not cluster.running('c3'))
    assert 'was removed from the cluster' in cluster.log('c3')
    cluster.kill('c8')
    cluster.machine('c8')
    cluster.join('c8', '--replaces', 'c8')
    cluster.wait_voters('c1', 'c2', 'c8')
    client.same_state()


def stand_bys(cluster, client):
    """One that waits takes over from one that stays away; that one is a stand-by when it is back."""
    cluster.machine('c3')
    cluster.join('c3', '--role', 'controller', options=('--standby',))
    wait_for('a stand-by', lambda: cluster.roles().get('c3') == 'stand-by')
    time.sleep(AWAY_S / 2)
    assert cluster.voters() == ['c1', 'c2', 'c8']
    cluster.kill('c8')
    cluster.wait_voters('c1', 'c2', 'c3')
    cluster.start('c8')
    wait_for('c8 is back', lambda: any(m['name'] == 'c8' and m['link_up'] for m in cluster.view('c1')['members']))
    notes = {m['name']: m.get('note', '') for m in cluster.view('c1')['members']}
    assert 'took over the vote of c8' in notes['c3'] and 'stayed away' in notes['c8'], notes
    time.sleep(AWAY_S)
    cluster.wait_voters('c1', 'c2', 'c3')
    assert cluster.roles()['c8'] == 'stand-by'
    cluster.raftctl('c1', 'demote', 'c8', '--hold')  # now it waits for a hand
    cluster.kill('c3')
    time.sleep(AWAY_S + 3)
    cluster.wait_voters('c1', 'c2', 'c3')
    cluster.start('c3')
    client.same_state()


def down_to_one(cluster, client):
    for name in ('c8', 'c3'):
        cluster.raftctl('c1', 'remove', name)
        cluster.gone(name)
    cluster.wait_voters('c1', 'c2')
    refused = cluster.raftctl('c2', 'set-zone', 'c3', 'x', ok=False)
    assert 'no member named' in refused, refused
    client.same_state()


def main():
    suite = Suite()
    cluster = suite.check('a cluster of one comes up', Members)
    if cluster is None:
        suite.finish()
    started = time.monotonic()
    client = Client(cluster)
    client.start()
    try:
        for step in (grow, zones, transfer, demote_promote, shrink, replace, stand_bys, down_to_one):
            suite.check(step.__name__.replace('_', ' '), step, cluster, client)
        suite.check('no request failed', client.end)
        print(f'        all of it in {time.monotonic() - started:.0f} s')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
