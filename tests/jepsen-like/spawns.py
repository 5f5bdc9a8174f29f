"""Effects on satellites: resources are spawned and deleted all the time, each exactly once; and no command of a deposed leader
is carried out after one of a newer leader."""
import itertools
import pathlib
import re
import subprocess
import threading
import time

from net_cluster import Trouble, until

GROUP = 'jepsen'
TAKEN = re.compile(r'taken: term (\d+) revision (\d+)')


class Spawner(threading.Thread):
    """One client: spawns, now and then deletes; keeps what it knows of each name."""

    def __init__(self, cluster, rng, number):
        super().__init__(daemon=True)
        self.cluster, self.random, self.number = cluster, rng, number
        self.known = {}  # name: 'there', 'gone', 'spawn?' or 'delete?' (outcome unknown)
        self.over = threading.Event()

    def prepare(self):
        rest = self.cluster.controllers[0].rest
        if GROUP in {g['name'] for g in rest('GET', '/v1/resource-groups')}:
            return
        rest('POST', '/v1/resource-groups', {'name': GROUP, 'select_filter': {
            'place_count': len(self.cluster.of_kind('satellite')), 'layer_stack': ['STORAGE'], 'storage_pool': 'pool1'}})
        rest('POST', f'/v1/resource-groups/{GROUP}/volume-groups', {})

    def attempt(self, method, path, body, timeout_s):
        """True: done; False: refused; None: nobody knows."""
        member = self.random.choice(self.cluster.controllers)
        try:
            member.rest(method, path, body, timeout_s=timeout_s)
            return True
        except Trouble as e:
            return False if 'was not carried out' in str(e) else None
        except OSError as e:
            return False if 'refused' in str(e) else None
        except ValueError:
            return None

    def one(self, serial):
        there = [n for n, state in self.known.items() if state == 'there']
        timeout_s = self.random.choice([2, 10, 30])
        if len(there) > 6 or (there and self.random.random() < 0.45):
            name = self.random.choice(there)
            self.known[name] = 'delete?'
            done = self.attempt('DELETE', f'/v1/resource-definitions/{name}', None, timeout_s)
            self.known[name] = {True: 'gone', False: 'there', None: 'delete?'}[done]
        else:
            name = f'sp{self.number}x{serial}'
            self.known[name] = 'spawn?'
            done = self.attempt('POST', f'/v1/resource-groups/{GROUP}/spawn',
                                {'resource_definition_name': name, 'volume_sizes': [4096]}, timeout_s)
            self.known[name] = {True: 'there', False: 'gone', None: 'spawn?'}[done]

    def run(self):
        for serial in itertools.count():
            if self.over.wait(self.random.uniform(0.3, 1.5)):
                return
            self.one(serial)

    def stop(self):
        self.over.set()
        self.join(90)

    def files(self, satellite, name):
        return [p for p in (satellite.dir / 'pool1').rglob(f'{name}_*') if not p.name.endswith('.tmp')]

    def verdict(self):
        """Everything that was told is so, in the API and on the satellites' disks; Trouble where not."""
        satellites = self.cluster.of_kind('satellite')
        rest = self.cluster.controllers[0].rest

        def settled():
            resources = {}
            for r in rest('GET', '/v1/view/resources'):
                resources.setdefault(r['name'], []).append(r['node_name'])
            defined = [d['name'] for d in rest('GET', '/v1/resource-definitions') if d['name'] in self.known]
            if len(defined) != len(set(defined)):
                raise Trouble(f'a definition is there twice: {defined}')
            for name, state in self.known.items():
                nodes, files = sorted(resources.get(name, [])), sum(len(self.files(s, name)) for s in satellites)
                want = len(satellites) if name in defined else 0
                if (state == 'there') != (name in defined) and state in ('there', 'gone'):
                    raise Trouble(f'{name} should be {state}, definition: {name in defined}, on {nodes}')
                if len(nodes) != want or files != want:
                    raise Trouble(f'{name} ({state}): on {nodes}, {files} files; it should be {want}')
            return True
        until('resources as they were ordered', settled, 60, 0.5)
        states = list(self.known.values())
        return f'{len(states)} spawned, {states.count("gone")} deleted, {sum(s.endswith("?") for s in states)} unknown: each once'


def fencing(satellites):
    """Terms of the commands that each satellite carried out, in order, over its restarts."""
    seen = 0
    for s in satellites:
        term = revision = 0
        for line in open(s.log, errors='replace'):
            if line.startswith('--- start'):
                revision = 0
            found = TAKEN.search(line)
            if not found:
                continue
            t, r = int(found[1]), int(found[2])
            if t < term or (t == term and r < revision):
                raise Trouble(f'{s.name} carried out term {t} revision {r} after term {term} revision {revision}')
            term, revision = t, r
            seen += 1
    if seen == 0:
        raise Trouble('the satellites say nothing of any command')
    return f'{seen} commands, none of a deposed leader after a newer one'


def detach(directory):
    """Loop devices with a file below the directory: they belong to no namespace."""
    for path in pathlib.Path('/sys/block').glob('loop*/loop/backing_file'):
        try:
            backing = path.read_text().strip()
        except OSError:
            continue
        if backing.startswith(f'{directory}/'):
            subprocess.run(['losetup', '-d', f'/dev/{path.parts[3]}'], capture_output=True)
    time.sleep(0.1)
