"""Two controllers of this machine and a witness for 64-bit Arm, which runs under qemu-user: it joins, votes, and any one of
the three may die while writes go on. Its data directory can be carried to a machine of the other kind and back, and
to a kernel with larger pages.

usage: arm64_witness.py [--rounds N]    kills; default 6"""
import argparse
import http.client
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import lib_e2e
from lib_e2e import BUILD, TOP, Cluster, Suite, skip, wait_for

parser = argparse.ArgumentParser()
parser.add_argument('--rounds', type=int, default=6)
args = parser.parse_args()

ARM = BUILD / 'arm64'
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME', pathlib.Path.home() / '.cache'))


def build():
    """The witness and raftctl only. The sysroot is kept for the next run: fetching it takes longer than the rest."""
    for program in ('aarch64-linux-gnu-gcc', 'qemu-aarch64'):
        if shutil.which(program) is None:
            skip(f'{program} is missing: contrib/dev/install-deps --arm64')
    done = subprocess.run(['nice', str(TOP / 'contrib/dev/build-arm64'), '--sysroot', str(CACHE / 'outrigger/sysroot-arm64'),
                           str(ARM), '--enable-werror', '--', 'outrigger-controller', 'raftctl/raftctl'],
                          capture_output=True, text=True)
    text = done.stdout + done.stderr
    for cause in ('apt-get update failed', 'libraries could not be fetched', 'apt has no libraft'):
        if cause in text:
            skip(f'Debian\'s arm64 libraries are not to be had here: {text.strip().splitlines()[-1]}')
    assert done.returncode == 0, text[-3000:]
    assert 'warning' not in text.lower(), text[-3000:]


if os.environ.get('OUTRIGGER_E2E') != 'inside':
    built = Suite()
    built.check('it is built for 64-bit Arm without a warning', build)
    if built.failed:
        built.finish()
lib_e2e.enter()


class ArmCluster(Cluster):
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-e2e-'))
        self.controllers, self.satellites = ['c1', 'c2'], []
        self.devcluster('up', '--controllers', '2', '--witnesses', '1', '--satellites', '0',
                        '--host-build', f'w1={ARM / "run"}')
        self.written = 0

    def pid(self, name):
        return int((self.dir / name / 'pid').read_text().split()[0])

    def three_voters(self):
        def calm():
            views = [self.raft(c) for c in self.controllers]
            if not all(views) or len({v['leader'] for v in views}) != 1 or views[0]['leader'] not in self.controllers:
                return False
            members = [v for v in views if v['state'] == 'leader' for v in v['members']]
            return len(members) == 3 and all(m['role'] == 'voter' and m['link_up'] and m.get('lag', 0) < 50 for m in members)
        wait_for('three voters that have everything, led by a controller', calm, 60)


class Writer:
    """One write after the other through both controllers; each is repeated until it is confirmed."""

    def __init__(self, cluster):
        self.cluster, self.stop, self.confirmed = cluster, False, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop:
            for member in self.cluster.controllers:
                try:
                    n = self.confirmed + 1
                    if self.cluster.rest(member, timeout_s=20).call(
                            'PUT', '/v1/key-value-store/arm', {'override_props': {f'k{n % 50}': str(n)}}).status == 200:
                        self.confirmed = n
                except (OSError, http.client.HTTPException):  # that one is dead
                    time.sleep(0.01)

    def end(self):
        self.stop = True
        self.thread.join()
        for member in self.cluster.controllers:
            props = self.cluster.rest(member).get('/v1/key-value-store/arm').json[0]['props']
            for n in range(max(1, self.confirmed - 49), self.confirmed + 1):
                assert int(props[f'k{n % 50}']) >= n, f'{member}: k{n % 50} is {props[f"k{n % 50}"]} after {n} was confirmed'


def it_is_an_arm_program(cluster):
    exe = pathlib.Path(f'/proc/{cluster.pid("w1")}/exe').resolve()
    command = pathlib.Path(f'/proc/{cluster.pid("w1")}/cmdline').read_bytes().split(b'\0')
    assert 'qemu' in exe.name and str(ARM / 'outrigger-controller').encode() in command, (exe, command)
    assert (ARM / 'outrigger-controller').read_bytes()[18] == 183, 'e_machine is not AArch64'
    cluster.three_voters()


def any_one_dies(cluster):
    writer = Writer(cluster)
    try:
        for i in range(args.rounds):
            name = [cluster.leader, lambda: 'w1', lambda: [c for c in cluster.controllers if c != cluster.leader()][0]][i % 3]()
            before = writer.confirmed
            cluster.kill(name)
            wait_for(f'writes without {name} (round {i})', lambda: writer.confirmed > before + 5)
            cluster.start(name, ARM / 'run' if name == 'w1' else BUILD)
            cluster.three_voters()
    finally:
        writer.end()
    cluster.same_state()
    print(f'        {args.rounds} kills, {writer.confirmed} writes')


def its_directory_can_be_carried(cluster):
    """Arm, this machine, Arm with pages of 16 and of 64 KiB, Arm; each time the vote is needed for the next write."""
    kinds = [('native', BUILD, None), ('16 KiB', ARM / 'run', '16384'), ('64 KiB', ARM / 'run', '65536'),
             ('4 KiB', ARM / 'run', None)]
    rest = cluster.rest('c1')
    for name, programs, pages in kinds:
        cluster.devcluster('stop', 'w1')
        os.environ.pop('OUTRIGGER_PAGE_SIZE', None)
        if pages:
            os.environ['OUTRIGGER_PAGE_SIZE'] = pages
        cluster.start('w1', programs)
        cluster.three_voters()
        cluster.kill('c2')
        answer = rest.call('PUT', '/v1/key-value-store/carried', {'override_props': {name: 'yes'}})
        assert answer.status == 200, f'{name}: {answer.text}'
        cluster.start('c2', BUILD)
        cluster.three_voters()
    os.environ.pop('OUTRIGGER_PAGE_SIZE', None)
    cluster.devcluster('stop', 'w1')
    found = cluster.raftctl('w1', 'check', str(cluster.dir / 'w1'))
    assert '0 findings' in found, found
    cluster.start('w1', ARM / 'run')
    cluster.three_voters()


def everybody_ends_well(cluster):
    cluster.devcluster('down')
    for log in cluster.dir.glob('*/log'):
        text = log.read_text(errors='replace')
        for bad in ('Sanitizer', 'runtime error', 'Assertion', 'ERROR ', 'qemu:'):
            assert bad not in text, f'{log.parent.name}: {text[-1500:]}'


suite = Suite()
suite.passed += 1  # the build, before this program went into its namespace
cluster = suite.check('two controllers and an Arm witness come up', ArmCluster)
if cluster is not None:
    for check in (it_is_an_arm_program, any_one_dies, its_directory_can_be_carried, everybody_ends_well):
        suite.check(check.__name__.replace('_', ' '), check, cluster)
    cluster.close()
suite.finish()
