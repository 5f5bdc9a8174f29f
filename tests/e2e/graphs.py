"""Links cut in every shape, on hosts in network namespaces: the 64 directed graphs of three members, each with each member
as the leader. Wherever two members have links in both directions, writes go on within 5 s at both of them (at all
that have such a link with the leader), and 5 s after the links are whole again every member serves. No write is lost.

    --sample N   so many of the graphs with a connected pair, leaders in turn (6); --sample 0: all graphs and leaders
    --seed S     which ones (1)"""
import argparse
import http.client
import itertools
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import net_hosts  # noqa: E402

net_hosts.enter()

from lib_e2e import BUILD, Rest, Suite  # noqa: E402
from net_cluster import NetCluster, until  # noqa: E402

NAMES = ['c1', 'c2', 'c3']
LINKS = list(itertools.permutations(NAMES, 2))
WITHIN_S = 5


def graphs():
    return [frozenset(link for i, link in enumerate(LINKS) if bits >> i & 1) for bits in range(64)]


def pairs(graph):
    return [set(p) for p in itertools.combinations(NAMES, 2) if p in graph and p[::-1] in graph]


def text(graph):
    return ' '.join(f'{a}>{b}' for a, b in sorted(graph)) or 'no link'


class Writer(threading.Thread):
    """Writes through one member for ever; keeps when each acknowledged write began and ended."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.name = cluster, name
        self.acknowledged, self.over, self.n = [], False, 0  # (definition, began, ended)

    def run(self):
        self.cluster.inside._enter()
        rest = None
        while not self.over:
            self.n += 1
            definition, began = f'{self.name}x{self.n}', time.monotonic()
            try:
                rest = rest or Rest(self.cluster[self.name].address, timeout_s=60)
                answer = rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': definition}})
                if answer.status == 201:
                    self.acknowledged.append((definition, began, time.monotonic()))
            except (OSError, http.client.HTTPException):
                rest = None
            time.sleep(0.05)

    def wrote_since(self, since):
        return any(began >= since for _, began, _ in self.acknowledged[-20:])


def make_leader(cluster, name):
    def leads():
        leader = cluster.leader()
        if leader and leader != name:
            cluster[leader].raftctl('transfer', name)
        return leader == name
    until(f'{name} to lead', leads, 20, 0.1)


def connected(cluster, graph):
    """The leader and those with a link in both directions with it; nothing while there is no leader that has one."""
    leader = cluster.leader()
    return set().union(*(p for p in pairs(graph) if leader in p))


def check_graph(cluster, writers, graph, leader, pauses):
    make_leader(cluster, leader)
    time.sleep(0.2)
    cluster.net.set_graph(graph, among=NAMES)
    cut = time.monotonic()
    try:
        if pairs(graph):
            def writes():
                there = connected(cluster, graph)
                return there and all(writers[n].wrote_since(cut) for n in there)
            until(f'writes at all members that reach the leader, with {text(graph)}, {leader} led', writes, WITHIN_S, 0.05)
            first = min(e for w in writers.values() for _, b, e in w.acknowledged[-50:] if b >= cut)
            pauses.append((time.monotonic() - cut, first - cut))
            time.sleep(max(0, cut + 2.5 - time.monotonic()))  # beyond TCP's user timeout
            since = time.monotonic()
            until(f'more writes with {text(graph)}', lambda: all(
                writers[n].wrote_since(since) for n in connected(cluster, graph) or NAMES), WITHIN_S, 0.05)
        else:
            time.sleep(2)
    finally:
        cluster.net.heal()
    healed = time.monotonic()
    until('every member to write again', lambda: all(w.wrote_since(healed) for w in writers.values()), WITHIN_S, 0.05)


def check_all(cluster, writers):
    for w in writers.values():
        w.over = True
    for w in writers.values():
        w.join(70)
        assert not w.is_alive(), f'{w.name}: a request got no answer'
    cluster.same_state()
    acknowledged = {a[0] for w in writers.values() for a in w.acknowledged}
    for m in cluster.controllers:
        listed = [d['name'] for d in m.rest('GET', '/v1/resource-definitions')]
        missing = acknowledged - set(listed)
        assert not missing, f'{m.name} lacks acknowledged writes: {sorted(missing)[:5]}'
        assert len(listed) == len(set(listed)), f'{m.name}: some are there twice'
    print(f'        {len(acknowledged)} acknowledged writes')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--sample', type=int, default=6)
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    runs = [(g, leader) for g in graphs() for leader in NAMES]
    if args.sample:
        chosen = random.Random(args.seed).sample([g for g in graphs() if pairs(g) and len(g) < 6], args.sample)
        runs = [(g, NAMES[i % 3]) for i, g in enumerate(chosen)]
    suite = Suite()
    directory = tempfile.mkdtemp(prefix='outrigger-graphs-')
    cluster = suite.check('a cluster of three hosts', NetCluster, NAMES, directory, BUILD)
    if cluster is None:
        suite.finish()
    writers = {n: Writer(cluster, n) for n in NAMES}
    for w in writers.values():
        w.start()
    pauses = []
    for graph, leader in runs:
        suite.check(f'{text(graph)}, {leader} leads', check_graph, cluster, writers, graph, leader, pauses)
    suite.check('no acknowledged write is lost', check_all, cluster, writers)
    suite.check('all processes end', cluster.stop)
    if pauses:
        for what, column in (('every member that reaches the leader', 0), ('some member', 1)):
            s = sorted(p[column] for p in pauses)
            print(f'{len(s)} graphs with a connected pair: {what} writes again after median {s[len(s) // 2] * 1000:.0f} ms, '
                  f'p99 {s[int((len(s) - 1) * 0.99)] * 1000:.0f} ms, max {s[-1] * 1000:.0f} ms')
    if suite.failed:
        print(f'kept: {directory}')
    else:
        shutil.rmtree(directory, ignore_errors=True)
    suite.finish()


main()
