"""Two of three members' data directories are damaged while all are stopped: bytes flipped, files cut or gone. Started again, the
cluster has every acknowledged write, or the damaged members stop, each with the file and the remedy in its log, and nobody
answers anything that lacks one. With one of the two directories put back, everything is there again.

The third member was away for the last writes: only the two damaged directories have them. Each case has copies of the
directories and a network namespace of its own; MANY cases run side by side, because a damaged member asks the others for 30 s.

--all: places in every file, the store at every STEP-th byte, small ones at each 37th: a quarter of an hour. DAMAGE_SEED=N chooses other places."""
import concurrent.futures
import ctypes
import http.client
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import lib_e2e
from lib_e2e import BUILD, Cluster, Rest, Suite, wait_for

lib_e2e.enter()
ALL = '--all' in sys.argv
MANY = 12
STEP = 4099  # a prime: no page, sector or row is always met at the same place
CLONE_NEWNET = 0x40000000
STOPPED = (1, 70)  # did not start; could not go on
REMEDIES = ('docs/operations.md', "'raftctl", 'restore')
NAMES = []  # every acknowledged one
libc = ctypes.CDLL(None, use_errno=True)


class Member:
    def __init__(self, case, name):
        self.case, self.name, self.dir = case, name, case.dir / name
        self.process = None

    def start(self):
        with open(self.dir / 'log', 'ab') as log:
            self.process = subprocess.Popen([str(BUILD / 'outrigger-controller'), '--config', str(self.dir / 'controller.conf')],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/')

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def has_ended(self):
        return self.process.poll() is not None

    def log(self):
        return (self.dir / 'log').read_text(errors='replace')

    def lists(self):
        """What a client is told, or None when it is told nothing."""
        try:
            answer = Rest(Cluster.address(self.name), timeout_s=5).get('/v1/resource-definitions')
        except (OSError, http.client.HTTPException):
            return None
        return {d['name'] for d in answer.json} if answer.status == 200 else None


class Case:
    """Copies of the directories, in a network namespace of this thread's own."""

    def __init__(self, base, number, victims, damage):
        self.base, self.victims, self.damage = base, victims, damage
        self.dir = base.parent / f'{base.name}-case{number}'
        self.members = {n: Member(self, n) for n in ('c1', 'c2', 'c3')}

    def copy(self, name):
        to = self.dir / name
        shutil.rmtree(to, ignore_errors=True)
        subprocess.run(['cp', '-a', '--sparse=always', str(self.base / name), str(to)], check=True)
        (to / 'log').write_text('')
        conf = to / 'controller.conf'
        conf.write_text(conf.read_text().replace(str(self.base), str(self.dir)))

    def nothing_lost(self):
        """Whoever answers, answers with every acknowledged write. Returns who answered."""
        answered = []
        for m in self.members.values():
            listed = None if m.has_ended() else m.lists()
            if listed is not None:
                lost = set(NAMES) - listed
                assert not lost, f'{m.name} answers without {len(lost)} acknowledged writes'
                answered.append(m.name)
        return answered

    def all_answer(self):
        wait_for('all members with all acknowledged writes', lambda: len(self.nothing_lost()) == 3, 240, 0.2)

    def stopped_loudly(self, m):
        code = m.process.returncode
        assert code in STOPPED, f'{m.name}: exit code {code}: {m.log()[-600:]}'
        last = m.log().strip().splitlines()[-1]
        assert str(m.dir) in last and any(r in last for r in REMEDIES), f'{m.name} does not say which file and what to do: {last}'
        return last

    def settle(self):
        """'up', or who stopped."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            answered = self.nothing_lost()
            ended = [m for m in self.members.values() if m.has_ended()]
            if len(answered) == 3:
                return 'up'
            if len(answered) == 2 and len(ended) == 1:  # a certificate, an identity: not healed
                self.stopped_loudly(ended[0])
                return 'up'
            if all(self.members[v].has_ended() for v in self.victims):
                return 'stopped'
            time.sleep(0.3)
        raise AssertionError('neither up nor stopped: ' + '; '.join(
            f'{m.name}: {m.process.poll()}, {m.log()[-400:]}' for m in self.members.values()))

    def put_back(self):
        """One of the two damaged directories from a copy: the other one heals, or is put back as well."""
        first, second = self.victims
        self.copy(first)
        self.members[first].start()
        wait_for('the two undamaged ones', lambda: len(self.nothing_lost()) >= 2, 240, 0.2)
        m = self.members[second]
        m.start()
        wait_for(f'{second} heals or stops', lambda: m.has_ended() or len(self.nothing_lost()) == 3, 240, 0.2)
        if m.has_ended():  # a certificate, an identity: never guessed at
            self.stopped_loudly(m)
            self.copy(second)
            m.start()
        self.all_answer()

    def run(self):
        assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        self.dir.mkdir()
        try:
            for name in self.members:
                self.copy(name)
            for v in self.victims:
                self.damage(self.dir / v)
            for m in self.members.values():
                m.start()
            result = self.settle()
            if result == 'stopped':
                for v in self.victims:
                    self.stopped_loudly(self.members[v])
                self.nothing_lost()
                self.put_back()
            return result
        finally:
            for m in self.members.values():
                m.end()
            shutil.rmtree(self.dir, ignore_errors=True)


# ---- kinds of damage: name, what is done to a directory ----

def flip(file, where, mask=0x15):
    """where: a place, or a function that finds places in the file's contents."""
    def damage(home):
        path = home / file
        data = bytearray(path.read_bytes())
        places = where(data) if callable(where) else [where]
        assert places, f'{file}: no such place'
        for at in places:
            data[at % len(data)] ^= mask
        path.write_bytes(data)
    return damage


def cut(file, size):
    return lambda home: os.truncate(home / file, size)


def gone(file):
    return lambda home: (home / file).unlink()


def rows_of(name):
    def places(data):
        found, at = [], data.find(name)
        while at >= 0:
            found.append(at + 1)
            at = data.find(name, at + 1)
        return found
    return places


def everywhere(rng):
    """A byte of every page, so that no page in use is left whole."""
    return lambda data: range(rng.randrange(4096), len(data), 4096)


def sample(base, rng):
    """(name, damage), the cases of contrib/check."""
    store = 'raft/member.mdb'
    size = os.path.getsize(base / 'c1' / store)
    return [
        ('rows with an acknowledged write', flip(store, rows_of(NAMES[-1].encode()))),
        ('a byte of every page', flip(store, everywhere(rng))),
        ('both meta pages', flip(store, lambda data: range(0, 8192, 64))),
        (f'a byte at random, of {size}', flip(store, rng.randrange(size))),
        ('the store is cut in the middle', cut(store, rng.randrange(8192, size // 2))),
        ('the store is empty', cut(store, 0)),
        ('the store is gone', gone(store)),
        ('the number of the last transaction', flip('raft/seq', rng.randrange(8))),
        ('the identity', flip('identity', lambda data: [data.index(b'raft_id') + 11], 1)),
        ('the identity is cut', cut('identity', 20)),
        ('the certificate', flip('pki/node.crt', rng.randrange(60, 400), 1)),
        ('the key is cut', cut('pki/node.key', rng.randrange(1, 100))),
    ]


def every(base):
    """Each file at every STEP-th byte (small ones at each 37th), flipped and cut."""
    for path in sorted(p for p in (base / 'c1').rglob('*') if p.is_file()):
        file = str(path.relative_to(base / 'c1'))
        if file.startswith(('log', 'run/', 'controller.conf', 'pid', 'build')) or file.endswith('lock.mdb'):
            continue
        size = path.stat().st_size
        for at in range(0, size, STEP if size > 20000 else 37):
            yield f'{file}: byte {at}', flip(file, at)
            yield f'{file}: cut at {at}', cut(file, at)


def prepare(cluster):
    """Writes; the last of them while c3 is away. All stopped: two in order, one killed."""
    def write(through, n, prefix):
        rest = cluster.rest(through)
        for i in range(n):
            name = f'{prefix}{i:03}'
            answer = rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
            assert answer.status == 201, answer.text
            NAMES.append(name)
    write('c1', 60, 'early')
    cluster.devcluster('stop', 'c3')
    wait_for('a leader', lambda: cluster.serves('c1') and cluster.serves('c2'))
    write('c1', 30, 'late')
    cluster.kill('c1')
    cluster.devcluster('stop', 'c2')


def main():
    rng = random.Random(int(os.environ.get('DAMAGE_SEED', '1')))
    suite = Suite()
    cluster = suite.check('three members come up', Cluster, 3, 0)
    if cluster is None:
        suite.finish()
    try:
        suite.check('writes, the last of them without c3', prepare, cluster)
        base = pathlib.Path(cluster.dir)
        kinds = list(every(base) if ALL else sample(base, rng))
        results, started = {'up': 0, 'stopped': 0}, time.monotonic()
        pool = concurrent.futures.ThreadPoolExecutor(len(kinds) if not ALL else MANY)
        # a thread for each case: its network namespace goes with it
        futures = []
        for number, (name, damage) in enumerate(kinds):
            victims = ('c1', 'c2') if number % 4 or not ALL else rng.sample(('c1', 'c2', 'c3'), 2)
            futures.append((name, pool.submit(Case(base, number, victims, damage).run)))
        for name, future in futures:
            result = suite.check(name, future.result)
            if result:
                results[result] += 1
                print(f'        {result}')
        print(f'        {results["up"]} came up with everything, {results["stopped"]} stopped, said so, and had everything when one '
              f'directory was put back; {len(NAMES)} acknowledged writes; {time.monotonic() - started:.0f} s')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
