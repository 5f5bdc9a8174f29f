"""Snapshots on a real kernel, of thin LVM with and without LUKS above it: data are written before and compared after each of taking,
restoring, rolling back and cloning; a satellite is killed between any two steps; the pool is full; the disk fails below it. Thick LVM has
none, and says so; its clones are in scenario_lvm.py."""
import storage
from lib_e2e import wait_for
from scenario_lvm import Bed
from storage import (MIB, SIZE, WAIT_S, call, dropped, fill, holds, killed_in, make, mounted, power, rolled_back, snapshot_life, snapshots,
                     take)


def thick(bed):
    """Thick LVM has no snapshots: refused with cause and remedy, and nothing is made."""
    bed.define('solid', SIZE)
    bed.place('solid', 'thick')
    answer = call(bed, 'POST', 'solid/snapshots', {'name': 's1'})
    assert answer.status >= 400 and 'no snapshots' in answer.text and 'thin' in answer.text, answer.text
    assert bed.ours() == ['solid_00000'], bed.ours()
    bed.delete('solid')
    bed.nothing_left()


# Where the satellite is ended, and in what: the n-th time that it reaches the point since it was started for it.
KILLS = (('snapshot', 'lvm_created:1'), ('restore', 'lvm_created:1'), ('restore', 'lvm_attached:1'), ('clone', 'lvm_created:2'),
         ('rollback', 'lvm_detached:1'), ('rollback', 'lvm_created:1'), ('rollback', 'lvm_created:2'), ('rollback', 'lvm_removed:1'),
         ('rollback', 'lvm_renamed:1'), ('rollback', 'lvm_attached:1'), ('unsnap', 'lvm_removed:1'))
KILLS_LUKS = (('snapshot', 'luks_held:1'), ('clone', 'luks_opened:1'), ('rollback', 'luks_closed:1'), ('rollback', 'luks_opened:1'))


def pool_full(bed, layers):
    """Thin data are full: the pool says so, what is there can be read, and all goes on when there is room."""
    make(bed, 'kept', 'thin', layers)
    fill(bed, 'kept', 'first')
    bed.guest.run('lvcreate -q -y -V 1G --thinpool thin -n filler vg0 && lvchange -q --errorwhenfull y vg0/thin;'
                  'dd if=/dev/urandom of=/dev/vg0/filler bs=1M oflag=direct 2>/dev/null; true', WAIT_S)
    wait_for('a full pool', lambda: bed.free('thin') < 4 * MIB, WAIT_S, 0.5)
    holds(bed, 'kept', 'first')
    bed.define('more', SIZE)
    told = bed.refused('more', 'thin', layers)
    assert 'space' in told or 'full' in told, told
    assert bed.online()
    bed.guest.run('lvremove -q -y vg0/filler && lvchange -q --errorwhenfull n vg0/thin')
    wait_for('room', lambda: bed.free('thin') > 400 * MIB, WAIT_S, 0.5)
    take(bed, 'kept', 's1')
    fill(bed, 'kept', 'second')
    rolled_back(bed, 'kept', 's1')
    holds(bed, 'kept', 'first')
    dropped(bed, 'more', 'kept')
    bed.nothing_left()


def disk_fails(bed):
    """The disk of a group refuses writes (dm-flakey), then everything (dm-error), and comes back: an error of that pool alone."""
    table = bed.guest.run('echo $(( $(blockdev --getsz /dev/disk/by-id/virtio-data1) - 2048 ))').strip()
    disk = '/dev/disk/by-id/virtio-data1 2048'
    linear, flaky = f'0 {table} linear {disk}', f'0 {table} flakey {disk} 0 3600 1 error_writes'

    def swap(line):
        bed.guest.run(f'dmsetup suspend --nolockfs --noflush weak && dmsetup load weak --table "{line}" && dmsetup resume weak')
    bed.guest.run(f'modprobe dm-flakey; dmsetup create weak --table "{linear}" && vgcreate -q vg1 /dev/mapper/weak && '
                  'lvcreate -q --type thin-pool -L 400M -n thin vg1 2>&1')
    bed.add_pool('weak', 'LVM_THIN', 'vg1/thin')
    make(bed, 'ill', 'weak')
    fill(bed, 'ill', 'first')
    take(bed, 'ill', 's1')
    swap(flaky)
    answer = call(bed, 'POST', 'ill/snapshots', {'name': 's2'})
    assert answer.status >= 400, answer.text
    assert list(snapshots(bed, 'ill')) == ['s1']
    swap(f'0 {table} error')
    bed.trouble('weak')
    assert bed.online() and not bed.pool('thin').get('reports')
    swap(linear)
    bed.guest.run('lvchange -an vg1 && lvchange -ay -K vg1 2>&1; vgck vg1 2>&1')
    bed.well('weak')
    wait_for('the device', lambda: bed.volume('ill').get('device_path'), WAIT_S, 0.5)
    holds(bed, 'ill', 'first')
    take(bed, 'ill', 's3')
    dropped(bed, 'ill')
    wait_for('nothing of ours', lambda: not bed.ours('vg1'), WAIT_S, 1)
    bed.rest.call('DELETE', '/v1/nodes/n1/storage-pools/weak').ok()


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    storage.with_passphrase(bed)
    checks = [(True, 'thick LVM', thick)]
    for layers in (['STORAGE'], ['LUKS', 'STORAGE']):
        above, luks = ' and '.join(layers[:-1]) or 'no layer', 'LUKS' in layers
        checks += [
            (False, f'take, restore, grow, roll back, clone, delete with {above} above', snapshot_life, 'thin', layers),
            (False, f'a mounted file system with {above} above', mounted, 'thin', layers),
            *((not luks and (what, point) == KILLS[0], f'{what} with {above} above, killed at {point}', killed_in, 'thin', layers, what, point)
              for what, point in KILLS + (KILLS_LUKS if luks else ())),
            (False, f'a full pool with {above} above', pool_full, layers),
            (False, f'a node that loses power, with {above} above', power, 'thin', layers)]
    storage.run_checks(suite, bed, everything, [*checks, (False, 'a disk that fails', disk_fails)])
