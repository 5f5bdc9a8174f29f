"""A slow disk or a busy processor starts no election: a cluster under load whose every sync takes 300 ms on every member
(tests/lib/slow_sync.c, preloaded), while a busy process of normal priority runs for each core. Leader and term stay what
they were; no request fails.

    --seconds N  (40)      --stall-ms N  (300)"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import lib_e2e
from lib_e2e import TOP, Cluster, Suite, wait_for

lib_e2e.enter()


def build_shim(directory):
    shim = pathlib.Path(directory) / 'slow_sync.so'
    if shutil.which('cc') is None:
        lib_e2e.skip('no C compiler')
    subprocess.run(['cc', '-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', str(shim), str(TOP / 'tests/lib/slow_sync.c'),
                    '-ldl'], check=True)
    return shim


class Writer(threading.Thread):
    """Creates definitions one after the other; every one must be answered with 201."""

    def __init__(self, cluster, member, prefix):
        super().__init__(daemon=True)
        self.rest, self.prefix = cluster.rest(member), prefix
        self.waits, self.over, self.problem = [], False, None

    def run(self):
        try:
            while not self.over:
                began = time.monotonic()
                body = {'resource_definition': {'name': f'{self.prefix}x{len(self.waits)}'}}
                answer = self.rest.call('POST', '/v1/resource-definitions', body)
                assert answer.status == 201, f'{answer.status} {answer.text[:300]}'
                self.waits.append(time.monotonic() - began)
        except Exception as e:  # noqa: BLE001 - told by the main thread
            self.problem = f'{self.prefix}: after {len(self.waits)} answers: {e!r}'


def leadership(cluster):
    """Leader and term, when all members agree on them."""
    views = [cluster.raft(name) for name in cluster.controllers]
    if not all(views):
        return None
    leaders = [name for name, v in zip(cluster.controllers, views) if v['state'] == 'leader']
    terms = {v['term'] for v in views}
    return (leaders[0], terms.pop()) if len(leaders) == 1 and len(terms) == 1 else None


def with_slow_disks(cluster, shim, counter, stall_ms):
    """All members start again with the shim."""
    for name in cluster.controllers:
        cluster.devcluster('stop', name)
    os.environ.update(LD_PRELOAD=str(shim), SLOW_SYNC_MS=str(stall_ms), SLOW_SYNC_DIR=str(counter))
    try:
        for name in cluster.controllers:
            cluster.start(name)
    finally:
        del os.environ['LD_PRELOAD']
    wait_for('all members to serve', lambda: all(cluster.serves(n) for n in cluster.controllers), 60, 0.2)
    return wait_for('one leader that all know', lambda: leadership(cluster), 30, 0.2)


def watch(cluster, before, seconds):
    writers = [Writer(cluster, name, f'{name}w{i}') for name in cluster.controllers for i in range(2)]
    for w in writers:
        w.start()
    busy = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(os.cpu_count() or 1)]
    seen, until = {before}, time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            time.sleep(min(2, max(0, until - time.monotonic())))
            for name in cluster.controllers:
                view = cluster.raft(name)
                assert view is not None, f'{name} does not answer'
                assert view['term'] == before[1], f'{name}: term {view["term"]}, it was {before[1]}: an election'
            for w in writers:
                assert w.problem is None, w.problem
    finally:
        for b in busy:
            b.kill()
            b.wait()
        for w in writers:
            w.over = True
    for w in writers:
        w.join(60)
        assert not w.is_alive() and w.problem is None, w.problem
    after = leadership(cluster)
    assert after == before, f'{before} became {after}'
    waits = sorted(x for w in writers for x in w.waits)
    print(f'        {len(waits)} requests in {seconds} s, all answered 201: median {waits[len(waits) // 2] * 1000:.0f} ms, '
          f'max {waits[-1] * 1000:.0f} ms; leader {before[0]} and term {before[1]} from first to last')
    return seen


def stalled(counter, members):
    """The shim has done something on every member."""
    counts = [len(f.read_bytes()) for f in pathlib.Path(counter).iterdir()]
    print(f'        syncs that were stalled, by process: {sorted(counts)}')
    assert len([n for n in counts if n > 20]) >= members, 'the shim was not in the way'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=int, default=40)
    parser.add_argument('--stall-ms', type=int, default=300)
    args = parser.parse_args()
    suite = Suite()
    directory = tempfile.mkdtemp(prefix='outrigger-calm-')
    shim, counter = build_shim(directory), pathlib.Path(directory) / 'count'
    counter.mkdir()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 0)
    if cluster is None:
        suite.finish()
    try:
        before = suite.check(f'all members again, each sync takes {args.stall_ms} ms', with_slow_disks, cluster, shim, counter,
                             args.stall_ms)
        if before:
            suite.check(f'no election in {args.seconds} s', watch, cluster, before, args.seconds)
            suite.check('the disks were slow', stalled, counter, 3)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    shutil.rmtree(directory, ignore_errors=True)
    suite.finish()


main()
