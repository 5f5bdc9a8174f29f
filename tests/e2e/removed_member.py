"""A member that was removed stays out: it was away (paused) when it was removed, the others have been restarted since,
and know it by their replicated tables only. Its machine comes back as a new member under the old name. Then, under load, it is
removed as soon as it has joined, while it may just be on its way to a vote, and joins anew.

--rounds N: how often that (1); --busy: a busy process for each core meanwhile."""
import os
import shutil
import subprocess
import sys
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

GONE = 'c4'
ROUNDS = int(sys.argv[sys.argv.index('--rounds') + 1]) if '--rounds' in sys.argv else 1
BUSY = '--busy' in sys.argv
WRITERS = 6


def remove(cluster):
    cluster.devcluster('pause', GONE)
    leader = wait_for('a leader that is not the paused one', lambda: leader_of(cluster))
    cluster.raftctl(leader, 'remove', GONE)
    wait_for(f'{GONE} is out of the configuration', lambda: GONE not in (cluster.roles(leader) or [GONE]))
    refused = cluster.raftctl(leader, 'remove', GONE, ok=False)
    assert 'no member named' in refused, refused


def leader_of(cluster):
    for name in cluster.controllers[:3]:
        view = cluster.raft(name)
        if view and view['state'] == 'leader':
            return name
    return None


def restart_others(cluster):
    for name in cluster.controllers[:3]:
        cluster.devcluster('stop', name)
    for name in cluster.controllers[:3]:
        cluster.start(name)
    wait_for('a leader', lambda: leader_of(cluster))


def told(cluster):
    """It ends by itself, and its log says why."""
    wait_for(f'{GONE} ends', lambda: not cluster.running(GONE))
    last = cluster.log(GONE).splitlines()[-1]
    assert 'was removed from the cluster' in last and 'join with a new token' in last, last


def stays_out(cluster):
    cluster.devcluster('resume', GONE)
    told(cluster)
    for name in cluster.controllers[:3]:
        wait_for(f'{name} to know that {GONE} is gone', lambda name=name: GONE not in (cluster.roles(name) or [GONE]))


def no_way_back(cluster):
    """Restarted as it is, and with its data directory and a new token."""
    token = cluster.raftctl('c1', 'token', 'create', '--role', 'controller')
    refused = cluster.raftctl(GONE, 'join', token, '--name', GONE, '--address', cluster.address(GONE), ok=False)
    assert 'belongs to a cluster already' in refused, refused
    cluster.start(GONE)
    told(cluster)


def comes_back_as_new(cluster):
    home = cluster.dir / GONE
    for part in ('pki', 'raft', 'identity'):
        path = home / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    token = cluster.raftctl('c1', 'token', 'create', '--role', 'controller')
    cluster.raftctl(GONE, 'join', token, '--name', GONE, '--address', cluster.address(GONE))
    cluster.start(GONE)
    wait_for(f'{GONE} is a voter', lambda: cluster.roles().get(GONE) == 'voter')
    cluster.same_state()


class Writers:
    """Write through all members that stay, without a pause; each write must be confirmed."""

    def __init__(self, cluster):
        self.cluster, self.ending, self.done, self.problems = cluster, False, 0, []
        self.threads = [threading.Thread(target=self.write, args=(i,), daemon=True) for i in range(WRITERS)]
        for t in self.threads:
            t.start()

    def write(self, number):
        rest = self.cluster.rest(f'c{number % 3 + 1}')
        while not self.ending:
            answer = rest.call('PUT', f'/v1/key-value-store/w{number}', {'override_props': {'n': str(self.done)}})
            if answer.status != 200:
                self.problems.append(answer.text)
                return
            self.done += 1

    def end(self):
        self.ending = True
        for t in self.threads:
            t.join(120)
        assert not self.problems, self.problems[0]


def under_load(cluster):
    hogs = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(os.cpu_count() if BUSY else 0)]
    writers = Writers(cluster)
    took = []
    try:
        for i in range(ROUNDS):
            leader = wait_for('a leader', lambda: leader_of(cluster))
            started = time.monotonic()
            cluster.raftctl('c1', 'remove', GONE)
            wait_for(f'{GONE} is out', lambda: GONE not in (cluster.roles(leader) or [GONE]))
            out = time.monotonic() - started
            wait_for(f'{GONE} ends', lambda: not cluster.running(GONE))
            took.append((out, time.monotonic() - started))
            assert 'was removed from the cluster' in cluster.log(GONE).splitlines()[-1]
            for part in ('pki', 'raft', 'identity'):
                path = cluster.dir / GONE / part
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            token = cluster.raftctl('c1', 'token', 'create', '--role', 'controller')
            cluster.raftctl(GONE, 'join', token, '--name', GONE, '--address', cluster.address(GONE))
            cluster.start(GONE)
            if i % 2:
                wait_for(f'{GONE} is a voter', lambda: cluster.roles().get(GONE) == 'voter')
            else:  # whatever it has become by now
                wait_for(f'{GONE} is a member', lambda: cluster.roles().get(GONE))
        wait_for(f'{GONE} is a voter', lambda: cluster.roles().get(GONE) == 'voter')
    finally:
        for h in hogs:
            h.kill()
        writers.end()
    outs, ends = sorted(t[0] for t in took), sorted(t[1] for t in took)
    print(f'        {len(took)} removals under {writers.done} writes: out of the configuration after median {outs[len(outs) // 2]:.2f} s, '
          f'max {outs[-1]:.2f} s; the process has ended after median {ends[len(ends) // 2]:.2f} s, max {ends[-1]:.2f} s')
    cluster.same_state()


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 4, 0)
    if cluster is None:
        suite.finish()
    try:
        suite.check('a paused member is removed', remove, cluster)
        suite.check('the others are restarted', restart_others, cluster)
        suite.check('it is told why, and ends', stays_out, cluster)
        suite.check('neither a restart nor a token lets it in', no_way_back, cluster)
        suite.check('without its old data it joins under the same name', comes_back_as_new, cluster)
        suite.check('removed under load, and joined anew', under_load, cluster)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
