"""A member that was removed stays out: it was away (paused) when it was removed, the others have been restarted since,
and know it by their replicated tables only. Its machine comes back as a new member under the old name."""
import shutil
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

GONE = 'c4'


def remove(cluster):
    cluster.devcluster('pause', GONE)
    leader = wait_for('a leader that is not the paused one', lambda: leader_of(cluster), 20)
    cluster.raftctl(leader, 'remove', GONE)
    wait_for(f'{GONE} is out of the configuration', lambda: GONE not in names(cluster, leader), 20)
    refused = cluster.raftctl(leader, 'remove', GONE, ok=False)
    assert 'no member named' in refused, refused


def leader_of(cluster):
    for name in cluster.controllers[:3]:
        view = cluster.raft(name)
        if view and view['state'] == 'leader':
            return name
    return None


def names(cluster, name):
    view = cluster.raft(name)
    return [m['name'] for m in view['members']] if view else [GONE]


def restart_others(cluster):
    for name in cluster.controllers[:3]:
        cluster.devcluster('stop', name)
    for name in cluster.controllers[:3]:
        cluster.start(name)
    wait_for('a leader', lambda: leader_of(cluster), 20)


def stays_out(cluster):
    cluster.devcluster('resume', GONE)
    wait_for(f'{GONE} is told why', lambda: told(cluster), 20)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        view = cluster.raft(GONE)
        linked = [m['name'] for m in view['members'] if m['link_up'] and not m['is_self']]
        assert not linked, f'{GONE} has links to {linked}'
        time.sleep(0.1)
    for name in cluster.controllers[:3]:
        assert GONE not in names(cluster, name)


def told(cluster):
    view = cluster.raft(GONE)
    others = [m for m in view['members'] if not m['is_self']]
    return others and all('removed' in m.get('trouble', '') for m in others)


def no_way_back(cluster):
    """Restarted as it is, and with its data directory and a new token."""
    cluster.devcluster('stop', GONE)
    token = cluster.raftctl('c1', 'token', 'create', '--role', 'controller')
    refused = cluster.raftctl(GONE, 'join', token, '--name', GONE, '--address', cluster.address(GONE), ok=False)
    assert 'belongs to a cluster already' in refused, refused
    cluster.start(GONE)
    wait_for(f'{GONE} is told again', lambda: cluster.raft(GONE) and told(cluster), 20)
    cluster.devcluster('stop', GONE)


def comes_back_as_new(cluster):
    home = cluster.dir / GONE
    for part in ('pki', 'raft', 'identity'):
        path = home / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    token = cluster.raftctl('c1', 'token', 'create', '--role', 'controller')
    cluster.raftctl(GONE, 'join', token, '--name', GONE, '--address', cluster.address(GONE))
    cluster.start(GONE)

    def voter():
        view = cluster.raft('c1')
        return view and any(m['name'] == GONE and m['role'] == 'voter' for m in view['members'])
    wait_for(f'{GONE} is a voter', voter, 30)
    cluster.same_state()


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 4, 0)
    if cluster is None:
        suite.finish()
    try:
        suite.check('a paused member is removed', remove, cluster)
        suite.check('the others are restarted', restart_others, cluster)
        suite.check('it gets no link any more, and is told why', stays_out, cluster)
        suite.check('neither a restart nor a token lets it in', no_way_back, cluster)
        suite.check('without its old data it joins under the same name', comes_back_as_new, cluster)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
