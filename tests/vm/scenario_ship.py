"""Backups of thin LVM on a real kernel, in a bucket that this test serves: all of a snapshot, what has changed since another, restored and
compared; a satellite that dies while it sends, and while it receives; nothing is left of what was made on the way."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import scenario_lvm
import storage
from lib_e2e import wait_for
from rig import HOST_ADDRESS, TOP
from storage import SIZE, WAIT_S, dropped, fill, make

sys.path.insert(0, str(TOP / 'tests/lib'))
from s3_server import S3Server  # noqa: E402

REMOTE = '/v1/remotes/store/backups'
LIBRARIES = '/usr/lib/x86_64-linux-gnu'


class Bed(scenario_lvm.Bed):
    def make_storage(self):
        super().make_storage()
        self.add_curl()

    def add_curl(self):
        """An image that lacks libcurl, which satellites load when they need it, gets this machine's: it is of the same release."""
        if self.guest.try_run(f'test -e {LIBRARIES}/libcurl-gnutls.so.4')[0] == 0:
            return
        needed = subprocess.run(['ldd', f'{LIBRARIES}/libcurl-gnutls.so.4'], capture_output=True, text=True, check=True).stdout
        paths = [f'{LIBRARIES}/libcurl-gnutls.so.4', *(line.split()[2] for line in needed.splitlines() if '=> /' in line)]
        there = set(self.guest.run(f'ls {LIBRARIES}').split())
        with tempfile.TemporaryDirectory() as d:
            for path in map(pathlib.Path, paths):
                if path.name not in there:
                    shutil.copy(path, d)
            self.guest.put(d, LIBRARIES)
        self.guest.run('ldconfig')

    def set_up(self):
        super().set_up()
        self.s3 = S3Server(HOST_ADDRESS, 9000, 'AKIDGUEST', 'geheim', 'eu-1', 'backups')
        self.rest.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'the master'}).ok()
        self.rest.call('POST', '/v1/remotes/s3', {
            'remote_name': 'store', 'endpoint': self.s3.url, 'bucket': 'backups', 'region': 'eu-1', 'use_path_style': True,
            'access_key': 'AKIDGUEST', 'secret_key': 'geheim'}).ok()

    def digest(self, name):
        return self.guest.run(f'echo 1 >/proc/sys/vm/drop_caches; sha256sum <{self.device(name, SIZE)}').split()[0]

    def aside(self):
        return [lv for lv in self.lvs() if lv.startswith('ship_')]

    def quiet(self):
        """Nothing is on its way, and nothing that was made for it is left."""
        def over():
            rows = self.rest.get('/v1/shipments').ok().json
            return not [r for r in rows if r['phase'] != 'FAILED'] and ('over', rows)
        _, failed = wait_for('the end', over, WAIT_S, 0.3)
        assert not failed, failed
        wait_for('nothing left aside', lambda: not self.aside(), 60, 0.5)

    def on_its_way(self):
        return [r for r in self.rest.get('/v1/shipments').ok().json if r['phase'] != 'FAILED']

    def begin(self, snap, incremental):
        self.rest.call('POST', REMOTE, {'rsc_name': 'src', 'snap_name': snap, 'incremental': incremental}).ok()

    def description(self, snap):
        (name,) = [k for k in self.s3.objects if k.endswith(f'^{snap}.meta')]
        return json.loads(self.s3.objects[name])

    def stream(self, snap):
        return self.s3.objects[self.description(snap)['backups']['0'][0]['name']]

    def restore(self, snap, to):
        self.rest.call('POST', REMOTE + '/restore', {
            'src_rsc_name': 'src', 'src_snap_name': snap, 'target_rsc_name': to, 'node_name': 'n1'}).ok()


def whole(bed):
    """All of it, which is what is not zeros; restored beside it, while the source is written."""
    make(bed, 'src', 'thin')
    fill(bed, 'src', 'first')
    bed.was = {'b1': bed.digest('src')}
    bed.begin('b1', False)
    bed.quiet()
    stream = bed.stream('b1')
    assert stream[:8] == b'ORSHIP1\n' and 2 << 20 <= len(stream) < 3 << 20, len(stream)
    bed.guest.run(f'printf "a change" | dd of={bed.device("src", SIZE)} bs=1 seek=$((8 << 20)) conv=notrunc,fsync 2>/dev/null')
    bed.restore('b1', 'copy1')
    assert bed.digest('copy1') == bed.was['b1'] != bed.digest('src')
    bed.quiet()


def difference(bed):
    """What has changed since, zeros among it; the chain is restored."""
    bed.guest.run(f'dd if=/dev/urandom of={bed.device("src", SIZE)} bs=4k count=16 seek=2500 conv=notrunc,fsync 2>/dev/null;'
                  f'dd if=/dev/zero of={bed.device("src", SIZE)} bs=64k count=2 conv=notrunc,fsync 2>/dev/null')
    bed.was['b2'] = bed.digest('src')
    bed.begin('b2', True)
    bed.quiet()
    stream = bed.stream('b2')
    assert bed.description('b2')['basedOn'] and stream[:8] == b'ORSHIP2\n' and 65536 <= len(stream) < 100000, len(stream)
    bed.restore('b2', 'copy2')
    assert bed.digest('copy2') == bed.was['b2']
    bed.quiet()
    print(f'        {len(stream)} bytes for 64 KiB that changed and 128 KiB of zeros, of {SIZE} KiB')


def killed(bed):
    """The satellite dies while it sends a difference, then while it receives: begun anew, and nothing is left."""
    bed.guest.run(f'dd if=/dev/urandom of={bed.device("src", SIZE)} bs=1M count=6 seek=10 conv=notrunc,fsync 2>/dev/null')
    bed.was['b3'] = bed.digest('src')
    bed.s3.hold(60)
    bed.begin('b3', True)
    wait_for('volumes beside the snapshots', lambda: len(bed.aside()) == 2, WAIT_S, 0.3)
    bed.satellite.stop('KILL')
    bed.s3.hold(0)
    bed.satellite.start()
    bed.wait_online()
    bed.quiet()
    assert bed.stream('b3')[:8] == b'ORSHIP2\n'
    for n in range(2):
        bed.restore('b3', f'copy3{n}')
        if n == 0:
            wait_for('a volume beside the snapshot', lambda: bed.aside() or not bed.on_its_way(), WAIT_S, 0.05)
            bed.satellite.stop('KILL')
            bed.satellite.start()
            bed.wait_online()
        assert bed.digest(f'copy3{n}') == bed.was['b3']
        bed.quiet()


def gone(bed):
    """Sources and snapshots go; what was restored stays, then goes too."""
    dropped(bed, 'src', 'copy1')
    assert bed.digest('copy2') == bed.was['b2']
    dropped(bed, 'copy2', 'copy30', 'copy31')
    bed.nothing_left()


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest, a satellite, two pools, a bucket', Bed, work, image)
    if bed is None:
        return
    storage.run_checks(suite, bed, everything, [
        (True, 'a backup of a thin volume', whole), (True, 'a backup of a thin volume: only what has changed', difference),
        (False, 'a satellite that is killed in a backup', killed), (True, 'a backup of a thin volume: all deleted', gone)])
