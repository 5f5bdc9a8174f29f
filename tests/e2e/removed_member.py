"""A member that was removed stays out: it was away (paused) when it was removed, the others have been restarted since,
and know it by their replicated tables only. Its machine comes back as a new member under the old name."""
import shutil

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

GONE = 'c4'


def remove(cluster):
    cluster.devcluster('pause', GONE)
    leader = wait_for('a leader that is not the paused one', lambda: leader_of(cluster), 20)
    cluster.raftctl(leader, 'remove', GONE)
    wait_for(f'{GONE} is out of the configuration', lambda: GONE not in (cluster.roles(leader) or [GONE]), 20)
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
    wait_for('a leader', lambda: leader_of(cluster), 20)


def told(cluster):
    """It ends by itself, and its log says why."""
    wait_for(f'{GONE} ends', lambda: not cluster.running(GONE), 20)
    last = cluster.log(GONE).splitlines()[-1]
    assert 'was removed from the cluster' in last and 'join with a new token' in last, last


def stays_out(cluster):
    cluster.devcluster('resume', GONE)
    told(cluster)
    for name in cluster.controllers[:3]:
        assert GONE not in (cluster.roles(name) or [GONE])


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
    wait_for(f'{GONE} is a voter', lambda: cluster.roles().get(GONE) == 'voter', 30)
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
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
