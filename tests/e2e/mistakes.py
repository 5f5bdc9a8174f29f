"""What a user meets who makes mistakes and runs out of room, by the CLI alone: what is refused says why and what helps, what fails halfway is
taken back, and what the answer and the lists say is what lies in the pools."""
import subprocess

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, wait_for

lib_e2e.enter()

MIB = 1 << 20


class Tests:
    def __init__(self, cluster):
        self.cluster, self.node = cluster, cluster.satellites[0]
        self.small = cluster.dir / self.node / 'small'
        self.where = ','.join(cluster.address(c) for c in cluster.controllers)

    def cli(self, line, code=0):
        """What `outrigger LINE` prints, on one line; code: the exit code that it must have."""
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.where, *line.split()],
                              capture_output=True, text=True, timeout=90)
        assert done.returncode == code, (line, done.returncode, done.stdout, done.stderr)
        return ' '.join((done.stdout + done.stderr).split())

    def state(self, resource):
        listed = self.cluster.rest('c1').get(f'/v1/view/resources?resources={resource}').ok().json
        return [v['state']['disk_state'] for r in listed for v in r['volumes']]

    def device(self, resource):
        listed = self.cluster.rest('c1').get(f'/v1/view/resources?resources={resource}').ok().json
        return listed[0]['volumes'][0]['device_path']

    def free(self, pool):
        listed = self.cluster.rest('c1').get(f'/v1/view/storage-pools?storage_pools={pool}').ok().json
        return listed[0]['free_capacity'] * 1024

    def files(self):
        return sorted(p.name for p in self.small.iterdir())

    def make(self, name, mib, pool):
        self.cli(f'rd c {name} -l storage')
        self.cli(f'vd c {name} {mib}M')
        self.cli(f'r c {self.node} {name} -s {pool}')

    def wrong(self):
        self.make('data', 4, 'pool1')
        for line, code, words in (
                ('r c data --auto-place many', 2, ('expected a number', '"many"')),
                ('vd c data 0', 10, ('from 1 KiB to 1 PiB',)),
                ('vd size data x 1G', 10, ("'x' is not a volume number", '0 to 65534')),
                ('c sp TcpPortAutoRange 9-1', 10, ('begins with the lower number',)),
                ('s c nothing s1', 10, ('no resource definition',)),
                ('rg d DfltRscGrp', 10, ('Correction',))):
            said = self.cli(line, code)
            assert all(w in said for w in words) and 'SUCCESS' not in said, (line, said)
        self.cli('rd c empty -l storage')
        said = self.cli('s c empty s1', 10)
        assert 'It is on no node at all.' in said, said
        said = self.cli(f'sp c filethin {self.node} twisted {self.small}/../other', 10)
        assert "without '..'" in said, said
        self.cli(f'sp d {self.node} twisted')
        self.cli('rd d empty')
        self.cli(f'r deact {self.node} data')
        said = self.cli('s c data s1', 10)
        assert f"deactivated on node '{self.node}'" in said, said
        self.cli(f'r act {self.node} data')
        said = self.cli(f'ps cdp lvm {self.node} /dev/nonsuch --pool-name nonsuch', 10)
        assert 'ERROR' in said and 'SUCCESS' not in said, said
        # a snapshot of before the volumes were changed
        self.cli('s c data s1')
        self.cli('vd c data 4M')
        said = self.cli('s rb data s1', 10)
        assert 'Restore the snapshot to a new resource definition' in said, said
        self.cli('s d data s1')
        self.cli('rd d data')

    def no_room(self):
        """A thick pool: what does not fit is refused before anything is made, or has grown."""
        self.make('thick', 20, 'solid')
        wait_for('the cluster to hear of it', lambda: self.free('solid') < 13 * MIB, 30)
        said = self.cli('vd c thick 16M', 10)
        assert 'not enough free space' in said and 'SUCCESS' not in said, said
        assert self.state('thick') == ['Created'] and self.files() == ['thick_00000.img']
        said = self.cli('rd cln thick twin', 10)
        assert 'not enough free space to clone' in said and 'SUCCESS' not in said, said
        assert 'twin' not in self.cli('rd l') and self.files() == ['thick_00000.img']
        self.cli('rd d thick')
        assert self.files() == []

    def roll_back_without_room(self):
        """The safety snapshot fits, what is to be rolled back to does not fit beside it: the resource stays what it was, and comes up again."""
        self.make('back', 12, 'thin')
        with open(self.device('back'), 'r+b') as f:
            f.write(b'a' * 10 * MIB)
        self.cli('s c back s1')
        with open(self.device('back'), 'r+b') as f:
            f.seek(2 * MIB)
            f.write(b'b' * 64)
        said = self.cli('s rb back s1', 10)
        assert 'was not rolled back: it is as it was before' in said and 'No space left' in said, said
        assert 'SUCCESS' not in said, said
        wait_for('the volume', lambda: self.state('back') == ['Created'], 20)
        with open(self.device('back'), 'rb') as f:
            f.seek(2 * MIB - 1)
            assert f.read(66) == b'a' + b'b' * 64 + b'a'
        wait_for('the safety snapshot to go', lambda: self.files() == ['back_00000.img', 'back_00000_s1.img'], 20)
        # and with room
        subprocess.run(['mount', '-o', 'remount,size=64m', str(self.small)], check=True)
        self.cli('s rb back s1')
        with open(self.device('back'), 'rb') as f:
            f.seek(2 * MIB)
            assert f.read(64) == b'a' * 64
        self.cli('s d back s1')
        self.cli('rd d back')
        subprocess.run(['mount', '-o', 'remount,size=32m', str(self.small)], check=True)
        assert self.files() == []

    def failed(self):
        """What was not done is not said to be done, and why stands in the answer."""
        self.make('full', 20, 'thin')
        with open(self.device('full'), 'r+b') as f:
            f.write(b'a' * 20 * MIB)
        said = self.cli('s c full s1', 10)
        assert 'was not taken' in said and 'No space left' in said and 'SUCCESS' not in said, said
        assert 's1' not in self.cli('s l') and self.files() == ['full_00000.img']
        said = self.cli('rd cln full twin', 10)
        assert "The clone 'twin' failed." in said and 'No space left' in said and 'then clone again' in said, said
        row = [r for r in self.cluster.rest('c1').get('/v1/resource-definitions').ok().json if r['name'] == 'twin']
        assert 'FAILED' in row[0]['flags'] and 'twin DfltRscGrp STORAGE FAILED' in self.cli('-p rd l').replace('|', '')
        self.cli('rd d twin')
        self.cli('rd d full')
        assert self.files() == []

    def orphan(self):
        """A node comes back that was declared lost: what it still has is in the way of a new resource until somebody says that it may go."""
        self.make('stray', 4, 'pool1')
        self.cluster.kill(self.node)
        self.cluster.everybody_sees(self.node, False)
        self.cli(f'n lost {self.node}')
        self.cli('rd d stray')
        self.cluster.start(self.node)
        self.cli(f'n c {self.node} {self.cluster.address(self.node).split("//")[-1].split(":")[0]}')
        self.cluster.everybody_sees(self.node, True)
        self.cli(f'sp c filethin {self.node} pool1 {self.cluster.dir}/{self.node}/pool1')
        uuid = wait_for('the orphan', lambda: self.cluster.rest('c1').get('/v1/orphans').ok().json)[0]['uuid']
        self.cli('rd c stray -l storage')
        self.cli('vd c stray 4M')
        said = self.cli(f'r c {self.node} stray -s pool1', 10)
        assert 'something else has the name' in said and 'outrigger orphan delete' in said, said
        assert 'is removed' in self.cli(f'or d {self.node} stray {uuid}')
        wait_for('the new one', lambda: self.state('stray') == ['Created'], 60)
        self.cli('rd d stray')

    def node_goes(self):
        """With its last resource a node is deleted, and nobody warns of a satellite that is not connected any more."""
        self.make('last', 4, 'pool1')
        said = self.cli(f'n d {self.node}')
        assert 'SUCCESS' in said and 'WARNING' not in said, said
        assert self.node not in self.cli('n l').split()
        assert list((self.cluster.dir / self.node / 'pool1').iterdir()) == []
        self.cli('rd d last')


def main():
    suite = Suite()
    cluster = Cluster(satellites=1)
    tests = Tests(cluster)
    try:
        tests.small.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=32m', 'none', str(tests.small)], check=True)
        tests.cli(f'sp c file {tests.node} solid {tests.small}')
        tests.cli(f'sp c filethin {tests.node} thin {tests.small}')
        for name in ('wrong', 'no_room', 'roll_back_without_room', 'failed', 'orphan', 'node_goes'):
            suite.check(name.replace('_', ' '), getattr(tests, name))
    finally:
        suite.check('the dev cluster goes down', cluster.close)
        subprocess.run(['umount', '-l', str(tests.small)], check=False, capture_output=True)
    suite.finish()


main()
