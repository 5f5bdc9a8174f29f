"""A follower is away while many writes happen; it comes back and catches up by a snapshot, while the cluster serves on.
--writes N: the default takes
snapshots often, so that few writes do; --writes 50000 is with the default settings."""
import argparse
import time

import lib_e2e
from lib_e2e import Cluster, Suite, in_parallel, wait_for

lib_e2e.enter()


def write_many(cluster, members, count):
    """Property writes: each one replaces a value, so that the state stays small and the log grows."""
    def work(t):
        rest = cluster.rest(members[t % len(members)])
        for i in range(count // 8):
            rest.call('PUT', f'/v1/key-value-store/store{t}', {'override_props': {f'k{i % 50}': f'{t}-{i}'}}).ok()
    in_parallel([lambda t=t: work(t) for t in range(8)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--writes', type=int, default=6000)
    args = parser.parse_args()
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 0,
                          ['raft.snapshot_entries=256'] if args.writes < 50000 else [])
    if cluster is None:
        suite.finish()
    try:
        leader = cluster.leader()
        away = [c for c in cluster.controllers if c != leader][0]
        present = [c for c in cluster.controllers if c != away]
        before = cluster.raft(away)
        cluster.kill(away)
        started = time.monotonic()
        suite.check(f'{args.writes} writes without {away}', write_many, cluster, present, args.writes)
        print(f'        {args.writes / (time.monotonic() - started):.0f} writes/s')

        def log_is_gone():
            first = cluster.view(cluster.leader())['snapshot_index']
            assert first > before['last_index'], f'the leader still has the log from {first}: no snapshot is needed'
        suite.check('the log that it would need is gone', log_is_gone)
        started = time.monotonic()
        cluster.start(away)
        suite.check('the cluster serves on meanwhile', write_many, cluster, present, 800)

        def caught_up():
            view = cluster.raft(away)
            return view and view['snapshot_index'] > before['last_index']
        suite.check('it takes a snapshot', wait_for, f'{away} has a snapshot', caught_up, 60)
        suite.check('all members have the same state', cluster.same_state)
        print(f'        caught up after {time.monotonic() - started:.1f} s')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
