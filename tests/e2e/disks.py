"""Disks that fail below real members: power that goes with unsynced writes lost or torn, on one and on all; errors of writes,
reads and syncs; a full file system; damaged, missing and emptied stores, which heal from the others.

--all: more rounds of each. --only=WORDS: the checks with these in their name."""
import os
import random
import sys

import lib_disks
from lib_disks import DiskCluster, Load, Loop, Lossy
from lib_e2e import Suite, in_parallel, wait_for

lib_disks.enter()
ALL = '--all' in sys.argv
ONLY = next((a.split('=', 1)[1] for a in sys.argv if a.startswith('--only=')), '')
MODES = ['drop', 'torn512', 'torn4096']
FATAL = 70
WROTE = []  # every acknowledged name


def check_names(cluster, members=None):
    cluster.all_serve(members)
    cluster.same_state()
    for member in members or cluster.controllers:
        listed = {d['name'] for d in cluster.rest(member).get('/v1/resource-definitions').ok().json}
        lost = set(WROTE) - listed
        assert not lost, f'{member} lost {len(lost)} acknowledged writes: {sorted(lost)[:5]}'


def id_of(cluster, name):
    return (cluster.raft(name) or {}).get('raft_id')


def others(cluster, name):
    return [m for m in cluster.controllers if m != name]


# ---- a full disk ----

def full_disk(cluster, name):
    """Not a block is left on that member's file system, under load: the cluster goes on; room again, and so does the member."""
    disk = cluster.disks[name]
    load = Load(cluster, cluster.controllers)
    load.await_more(20)
    disk.fill()
    try:
        load.await_more(150)
    except TimeoutError as e:
        raise TimeoutError(f'{e}: {[(m, cluster.raft(m), cluster.log(m)[-400:]) for m in cluster.controllers]}') from e
    assert cluster.processes[name].poll() is None, f'{name} ended: {cluster.log(name)[-600:]}'
    leader = wait_for('another leader', lambda: next((m for m in others(cluster, name)
                                                      if (cluster.raft(m) or {}).get('state') == 'leader'), None))
    assert leader != name
    assert 'is full' in cluster.log(name), cluster.log(name)[-600:]
    disk.clear()
    load.await_more(50)
    WROTE.extend(load.finish())
    check_names(cluster)
    assert 'there is room again' in cluster.log(name)


def starts_on_full_disk(cluster, name):
    disk = cluster.disks[name]
    cluster.stop(name)
    disk.fill()
    cluster.start(name)
    load = Load(cluster, others(cluster, name))
    load.await_more(100)
    assert cluster.processes[name].poll() is None, f'{name} ended: {cluster.log(name)[-600:]}'
    disk.clear()
    WROTE.extend(load.finish())
    check_names(cluster)


# ---- the power goes ----

def power_of_one(cluster, name, mode, seed):
    load = Load(cluster, cluster.controllers)
    load.await_more(60)
    cluster.kill(name)
    cluster.disks[name].crash(mode, seed)
    load.await_more(20)
    cluster.start(name)
    load.await_more(20)
    WROTE.extend(load.finish())
    check_names(cluster)


def power_of_all(cluster, mode, seed):
    load = Load(cluster, cluster.controllers)
    load.await_more(80)
    for name in cluster.controllers:
        cluster.kill(name)
    WROTE.extend(load.acknowledged)
    load.ending = True
    in_parallel([lambda m=m, i=i: cluster.disks[m].crash(mode, seed * 10 + i) for i, m in enumerate(cluster.controllers)])
    load.join(60)
    WROTE.extend(load.acknowledged)
    for name in cluster.controllers:
        cluster.start(name)
    check_names(cluster)


# ---- errors ----

def stops_by(cluster, name, order, want):
    """An error of its disk ends that member, at once and with a reason; the others go on, and it comes back."""
    disk = cluster.disks[name]
    load = Load(cluster, others(cluster, name))
    load.await_more(10)
    before = disk.counts()['failed']
    disk.command('at /raft/member.mdb')
    disk.command(order)
    code = cluster.ended(name)
    assert code == FATAL, f'exit code {code}: {cluster.log(name)[-500:]}'
    assert want in cluster.log(name), cluster.log(name)[-800:]
    if order.startswith('fail sync'):
        failed = disk.counts()['failed'] - before
        assert failed == 1, f'{failed} failed syncs: it was tried again'
    load.await_more(40)
    WROTE.extend(load.finish())
    for call in ('read', 'write', 'sync'):
        disk.command(f'fail {call} 0 0')
    disk.crash('drop', 1)  # what the failed sync should have written is lost
    cluster.start(name)
    check_names(cluster)


def goes_on_without_seq(cluster, name):
    """The file that only helps to find damage cannot be written: that costs nothing."""
    disk = cluster.disks[name]
    load = Load(cluster, others(cluster, name))
    disk.command('at /raft/seq')
    disk.command('fail write 1 5 always')
    load.await_more(40)
    WROTE.extend(load.finish())
    check_names(cluster)
    assert cluster.processes[name].poll() is None, f'{name} ended: {cluster.log(name)[-600:]}'
    disk.command('fail write 0 0')
    cluster.kill(name)
    cluster.start(name)
    check_names(cluster)


def unreadable(cluster, name):
    """Pages that are needed again cannot be read any more."""
    disk = cluster.disks[name]
    load = Load(cluster, others(cluster, name))
    load.await_more(10)
    disk.command('at /raft/member.mdb')
    disk.command('fail read 1 5 always')
    disk.command('flip /raft/member.mdb 0 0')  # changes nothing, but the kernel forgets what it has read
    code = cluster.ended(name)
    assert code == FATAL, f'exit code {code}: {cluster.log(name)[-500:]}'
    assert 'cannot be read' in cluster.log(name), cluster.log(name)[-800:]
    load.await_more(30)
    WROTE.extend(load.finish())
    disk.command('fail read 0 0')
    cluster.start(name)
    check_names(cluster)


# ---- damage ----

def note_some(cluster):
    load = Load(cluster, cluster.controllers)
    load.await_more(20)
    WROTE.extend(load.finish())


def store_of(cluster, name):
    return cluster.disks[name].backing / 'raft/member.mdb'


def damage(path, places):
    with open(path, 'r+b') as f:
        for at in places:
            f.seek(at)
            old = f.read(1)
            f.seek(at)
            f.write(bytes([old[0] ^ 0x15]))


def used_bytes(path):
    """Where rows lie that are in use: every place of a name that was written early."""
    data, name = path.read_bytes(), WROTE[0].encode()
    places = []
    at = data.find(name)
    while at >= 0:
        places.append(at + 1)
        at = data.find(name, at + 1)
    assert places
    return places


def healed(cluster, name, former):
    cluster.all_serve([name])
    wait_for(f'{name} votes again under a new id', lambda: any(
        m['name'] == name and m['role'] == 'voter' and m['raft_id'] != former
        for m in cluster.view(cluster.leader())['members']), 120, 0.1)
    assert id_of(cluster, name) != former
    check_names(cluster)


def heals(cluster, name, what):
    """Stopped, its data damaged by what(), started: it comes back by itself under a new id, and nothing is missing."""
    load = Load(cluster, others(cluster, name))
    load.await_more(10)
    former = id_of(cluster, name)
    cluster.stop(name)
    disk = cluster.disks[name]
    disk.crash('keep', 0)
    what(disk.backing)
    cluster.start(name)
    load.await_more(20)
    WROTE.extend(load.finish())
    healed(cluster, name, former)
    left = [p.name for p in disk.mounted.iterdir() if p.name.startswith('raft.')]
    assert len(left) <= 1, left


def flips_while_running(cluster, name):
    """A row goes bad below a running member: it is not served, and the member stops."""
    disk = cluster.disks[name]
    former = id_of(cluster, name)
    cluster.same_state()
    for at in used_bytes(disk.mounted / 'raft/member.mdb'):
        disk.command(f'flip /raft/member.mdb {at} 4')

    def asked():
        try:
            answer = cluster.rest(name, timeout_s=10).get('/v1/resource-definitions')
            assert answer.status != 200 or f'"{WROTE[0]}"' in answer.text, 'damaged data was served'
        except OSError:
            pass
        return cluster.processes[name].poll() is not None
    wait_for(f'{name} stops', asked)
    assert cluster.processes[name].returncode == FATAL, cluster.log(name)[-500:]
    assert 'damaged data' in cluster.log(name), cluster.log(name)[-500:]
    disk.crash('keep', 0)
    cluster.start(name)
    healed(cluster, name, former)


def main():
    rng = random.Random(int(os.environ.get('DISKS_SEED', '1')))
    suite = Suite()

    def step(name, *work):
        if ONLY in name:
            suite.check(name, *work)
            Load.end_all()
    cluster = suite.check('three members come up', DiskCluster, 3)
    if cluster is None:
        suite.finish()
    try:
        for m in cluster.controllers:
            if m == 'c3':
                cluster.disks[m] = Loop(cluster, m, 160)
            else:
                cluster.disks[m] = Lossy(cluster, m)
            cluster.start(m)
        cluster.all_serve()
        step('the file system of one member is full, and has room again', full_disk, cluster, 'c3')
        step('a member starts on a full file system, and takes part when there is room', starts_on_full_disk, cluster, 'c3')
        cluster.stop('c3')
        cluster.disks.pop('c3').close()
        cluster.disks['c3'] = Lossy(cluster, 'c3')
        cluster.start('c3')
        cluster.all_serve()
        suite.check('some writes before', note_some, cluster)
        for r in range(10 if ALL else 1):
            for mode in MODES:
                name = rng.choice(cluster.controllers) if r or mode != 'drop' else cluster.leader()
                step(f'power of {name} goes under load, unsynced writes: {mode}', power_of_one, cluster, name, mode,
                            rng.randrange(1 << 30))
            for mode in MODES:
                step(f'power of all goes under load, unsynced writes: {mode}', power_of_all, cluster, mode,
                            rng.randrange(1 << 30))
        for r in range(3 if ALL else 1):
            leader = cluster.leader()
            follower = others(cluster, leader)[0]
            step('a sync of the leader fails', stops_by, cluster, leader, 'fail sync 1 5 always', 'the disk gave an error')
            step('a sync of a follower fails', stops_by, cluster, follower, 'fail sync 1 5 always', 'the disk gave an error')
            step('a write fails', stops_by, cluster, follower, 'fail write 1 5', 'the disk gave an error')
            step('a write is cut short', stops_by, cluster, follower, 'short 1', 'the disk gave an error')
            step('the number of the last transaction cannot be written', goes_on_without_seq, cluster, follower)
            step('the store cannot be read any more', unreadable, cluster, others(cluster, cluster.leader())[0])
        step('a byte of the state is damaged', heals, cluster, 'c1',
                    lambda d: damage(d / 'raft/member.mdb', used_bytes(d / 'raft/member.mdb')))
        step('the store is cut', heals, cluster, 'c2', lambda d: os.truncate(d / 'raft/member.mdb', 20000))
        step('the store is gone under an old identity', heals, cluster, 'c1', lambda d: (d / 'raft/member.mdb').unlink())
        step('a row goes bad below a running member', flips_while_running, cluster, others(cluster, cluster.leader())[0])
        print(f'        {len(WROTE)} acknowledged writes, all there')
    finally:
        suite.check('the cluster goes down', cluster.close)
    suite.finish()


main()
