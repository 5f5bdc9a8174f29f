"""Replication on a stock kernel: DRBD 8.4 in two guests. The resource files, sizes and first generation ids are those of the satellite's
modules (tests/vm/drbd_tool.c, on the host), and what events2 says is read by them; the commands are the ones that a satellite will run."""
import json
import re
import subprocess

from lib_e2e import BUILD, wait_for
from rig import Guest

DAY0, FRESH = '0123456789ABCDEF', 'FEDCBA9876543210'
EXTENT = 4096  # KiB, of the volume group


def tool(*args, text=''):
    done = subprocess.run([str(BUILD / 'tests/vm/drbd-tool'), *map(str, args)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


class Bed:
    def __init__(self, work, image):
        self.guests = []
        try:
            self.guests = [Guest(work, image, number, disks=('1G',)) for number in (1, 2)]
            for guest in self.guests:
                guest.start()
            for guest in self.guests:
                guest.wait_ready()
                self.prepare(guest)
                guest.run('vgcreate -q vg0 /dev/disk/by-id/virtio-data0 && lvcreate -q --type thin-pool -L 200M -n thin vg0 2>&1')
        except BaseException:
            self.close()
            raise

    @staticmethod
    def prepare(guest):
        """After each start: the root of a guest is new then. drbdadm gives drbdsetup 5 s, which is little here: its commands can be repeated."""
        guest.run("printf '#!/bin/sh\\nfor i in 1 2 3 4 5 6; do \"$@\" && exit; sleep 2; done; exit 1\\n' >/run/again && chmod +x /run/again")
        guest.run(f'hostname {guest.name} && modprobe drbd && printf "global {{ usage-count no; }}\\ninclude \\"/etc/drbd.d/*.res\\";\\n" '
                  '>/etc/drbd.conf && mkdir -p /etc/drbd.d && rm -f /etc/drbd.d/*')

    def files(self, guest):
        """The resource files of one guest, as the satellite's writer makes them."""
        other = self.guests[1 - self.guests.index(guest)]
        for name, minor, port in (('thick', 1000, 7000), ('thin', 1001, 7001)):
            rsc = {'rsc_name': name, 'uuid': 'u', 'revision': 1, 'volumes': [
                {'volume_number': 0, 'size_kib': 65536, 'drbd_minor': minor,
                 'drbd_options': {'DrbdOptions/Disk/on-io-error': 'detach'}}],
                'drbd': {'node_id': guest.number - 1, 'uname': guest.name, 'secret': 'a"b\\c $d',
                         'options': {'DrbdOptions/Resource/quorum': 'majority'},
                         'common': {'DrbdOptions/Net/protocol': 'C', 'DrbdOptions/Net/ping-int': '3', 'DrbdOptions/Net/connect-int': '3',
                                    'DrbdOptions/PeerDevice/c-plan-ahead': '0', 'DrbdOptions/PeerDevice/resync-rate': '8000'},
                         'peers': [{'node_name': other.name, 'uname': other.name, 'node_id': other.number - 1, 'paths': [
                             {'local_address': guest.address, 'local_port': port, 'peer_address': other.address, 'peer_port': port}]}]}}
            text = tool('res', '84', f'/dev/vg0/{name}_00000', text=json.dumps(rsc))
            guest.run(f"cat >/etc/drbd.d/{name}.res <<'END'\n{text}END")

    def state(self, guest, name):
        """What the satellite's parser makes of events2: {'resource': {...}, 'device': {...}, 'peer': {...}}."""
        said = guest.run(f'drbdsetup events2 --statistics --now {name}')
        found = {}
        for line in tool('events', text=said).splitlines():
            what, _, rest = line.partition(' ')
            found[what] = dict(re.findall(r'(\w+)=(\S*)', rest))
        return found

    @staticmethod
    def kib(guest):
        """A secondary's device cannot be opened."""
        return int(guest.run('cat /sys/block/drbd1000/size')) // 2

    def both_up_to_date(self, name):
        def reached():
            states = [self.state(g, name) for g in self.guests]
            return all(s['device']['disk'] == 'UpToDate' and s.get('peer', {}).get('replication') == 'Established' for s in states)
        wait_for(f'{name} to be UpToDate on both', reached, 240, 1)

    def close(self):
        for guest in self.guests:
            guest.remove()


def create(bed):
    """A full sync from the first one. On thin, too: 8.4 sets all bits when it attaches new metadata for the first time."""
    for name, options, seeds in (('thick', '', ('winner', None)), ('thin', '-T vg0/thin', ('winner', None))):
        gross, usable = map(int, tool('size', '84', 1, 65536, EXTENT).split())
        for guest, seed in zip(bed.guests, seeds):
            minor = {'thick': 1000, 'thin': 1001}[name]
            flag = f'-V {gross}k {options}' if options else f'-L {gross}k vg0'
            guest.run(f'lvcreate -q -y -n {name}_00000 {flag} 2>&1')
            bed.files(guest)
            guest.run(f'drbdadm -- --force create-md {name}/0 2>&1')
            if seed:
                gi = tool('gi', '84', seed, DAY0, FRESH).strip()
                guest.run(f'drbdmeta --force {minor} v08 /dev/vg0/{name}_00000 internal set-gi {gi} 2>&1')
            if name == 'thick' and guest is bed.guests[1]:  # what is on a new disk is anything
                guest.run('dd if=/dev/urandom of=/dev/vg0/thick_00000 bs=1M count=8 conv=notrunc 2>/dev/null')
            guest.run(f'/run/again drbdadm adjust {name} 2>&1')
    for name in ('thin', 'thick'):
        bed.both_up_to_date(name)
        sent = bed.guests[0].run(f'drbdsetup events2 --statistics --now {name}')
        assert int(re.search(r' sent:(\d+)', sent).group(1)) >= usable - 4, sent
    for guest in bed.guests:
        assert bed.kib(guest) == usable, (bed.kib(guest), usable)


def nothing_to_adjust(bed):
    """The file says what runs: drbdadm would do nothing."""
    for guest in bed.guests:
        would = [x for x in guest.run('drbdadm -d adjust thick 2>&1').splitlines() if x.strip()]
        assert would == [], would


def moved_under_io(bed):
    """A file system and running writes; the primary moves, and everything is there."""
    one, two = bed.guests
    one.run('/run/again drbdadm primary thick && mkfs.ext4 -q /dev/drbd1000 && mkdir -p /mnt/a && mount /dev/drbd1000 /mnt/a && '
            'head -c 12M /dev/urandom >/mnt/a/data && sync && sha256sum </mnt/a/data >/mnt/a/sum && '
            '(while :; do date +%s.%N >>/mnt/a/log && sync /mnt/a/log || break; done) >/dev/null 2>&1 & echo $! >/run/writer; sleep 3')
    assert bed.state(one, 'thick')['resource']['role'] == 'Primary'
    one.run('kill $(cat /run/writer); sleep 1; wc -l </mnt/a/log >/mnt/a/lines; umount /mnt/a && /run/again drbdadm secondary thick')
    two.run('/run/again drbdadm primary thick && mkdir -p /mnt/a && mount /dev/drbd1000 /mnt/a && '
            'test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && test "$(wc -l </mnt/a/log)" = "$(cat /mnt/a/lines)"')
    assert bed.state(two, 'thick')['resource']['role'] == 'Primary'


def lost_and_back(bed):
    """The secondary loses power while the other writes; it comes back and gets what it missed, and no more."""
    one, two = bed.guests
    two.run('(while :; do date +%s.%N >>/mnt/a/log && sync /mnt/a/log || break; done) >/dev/null 2>&1 & echo $! >/run/writer; sleep 1')
    one.kill()
    wait_for('the loss to be seen', lambda: bed.state(two, 'thick')['peer']['connection'] != 'Connected', 90, 1)
    assert bed.state(two, 'thick')['resource']['ready'] == '1'
    two.run('head -c 6M /dev/urandom >/mnt/a/more && sync && sha256sum </mnt/a/more >/mnt/a/sum2')
    one.start()
    one.wait_ready()
    bed.prepare(one)
    bed.files(one)
    one.run('vgchange -q -ay vg0 2>&1; udevadm settle; /run/again drbdadm adjust all 2>&1')
    bed.both_up_to_date('thick')
    got = int(re.search(r' received:(\d+)', one.run('drbdsetup events2 --statistics --now thick')).group(1))
    assert 6000 <= got < 60000, got  # 6 MiB and what the writer wrote, not the 64 MiB of the device
    two.run('kill $(cat /run/writer); sleep 1; umount /mnt/a; /run/again drbdadm secondary thick')
    one.run('/run/again drbdadm primary thick && mkdir -p /mnt/a && mount /dev/drbd1000 /mnt/a && test "$(sha256sum </mnt/a/more)" = "$(cat /mnt/a/sum2)"')


def grown(bed):
    """Larger below on both, then DRBD, then the file system; mounted all the time."""
    gross, usable = map(int, tool('size', '84', 1, 98304, EXTENT).split())
    for guest in bed.guests:
        guest.run(f'lvextend -q -L {gross}k vg0/thick_00000 2>&1')
    bed.guests[0].run('/run/again drbdadm resize thick/0 2>&1')
    for guest in bed.guests:
        wait_for('the new size', lambda: bed.kib(guest) == usable, 60, 1)
    bed.guests[0].run('resize2fs /dev/drbd1000 2>&1 && test "$(sha256sum </mnt/a/data)" = "$(cat /mnt/a/sum)" && umount /mnt/a')
    bed.both_up_to_date('thick')


def run(suite, work, image, _everything):
    bed = suite.check('two guests with DRBD 8.4', Bed, work, image)
    if bed is None:
        return
    try:
        for name, step in (('made, full sync from the first one, sizes as computed', create), ('nothing to adjust', nothing_to_adjust),
                           ('file system, running writes, primary moved', moved_under_io),
                           ('one node lost and back', lost_and_back), ('grown online', grown)):
            before = suite.failed
            suite.check('DRBD 8.4: ' + name, step, bed)
            if suite.failed > before and step is not nothing_to_adjust:
                for guest in bed.guests:
                    print(guest.name, guest.try_run('cat /proc/drbd; dmesg | tail -n 25')[1])
                break
    finally:
        bed.close()
