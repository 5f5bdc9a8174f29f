"""Clones with other layers, on a real kernel: encryption is added and left out, in thin and thick LVM. The clone is a copy: it holds the data of
one moment, in clear or not as its layers say, and nothing is left of how it was made. A satellite dies and a node loses power in the midst of
it; the clone is deleted while it is copied. With DRBD: scenario_drbd9.py."""
import storage
from lib_e2e import wait_for
from scenario_lvm import Bed
from storage import MIB, SIZE, WAIT_S, call, cloned, cloned_again, dropped, fill, flushed, holds, killed, make

PLAIN, LUKS = ('STORAGE',), ('LUKS', 'STORAGE')
# Where the satellite ends: the n-th time that it reaches the point.
KILLS = ('fill_aside:1', 'fill_opened:1', 'copying:3', 'copying:20', 'fill_copied:1')
MAKING = ('lvm_created:2', 'luks_formatted:1', 'luks_opened:1')
WORD = 'a word to be looked for'


def mappings(bed):
    return sorted(x for x in bed.guest.run('ls /dev/mapper').split() if x.startswith('Linstor-Crypt-'))


def nothing_between(bed, *names):
    """Only these volumes, and no device that was open for copying."""
    wait_for('nothing beside them', lambda: sorted(bed.ours()) == sorted(f'{x}_00000' for x in names), WAIT_S, 1)
    assert not any('fill' in x for x in mappings(bed)), mappings(bed)


def in_clear(bed, name):
    """Is the word on the storage?"""
    return bed.guest.run(f'dd if=/dev/vg0/{name}_00000 bs=1M iflag=direct 2>/dev/null | grep -ac "{WORD}" || true').strip() != '0'


def to_and_fro(bed, pool):
    """Encrypted, and in clear again: each is as large as its source's device at least, and holds its data; the source is what it was."""
    free = bed.free(pool)
    path = make(bed, 'src', pool, PLAIN)
    fill(bed, 'src', 'first')
    bed.guest.run(f'echo "{WORD}" | dd of={path} bs=4096 seek=3000 conv=sync,notrunc oflag=direct 2>/dev/null')
    size = int(bed.guest.run(f'blockdev --getsize64 {path}'))
    cloned(bed, 'src', 'safe', LUKS)
    nothing_between(bed, 'src', 'safe')
    secret = bed.device('safe', SIZE)
    assert int(bed.guest.run(f'blockdev --getsize64 {secret}')) >= size
    bed.guest.run(f'cmp -n {size} {path} {secret} && cryptsetup isLuks /dev/vg0/safe_00000')
    assert in_clear(bed, 'src') and not in_clear(bed, 'safe')
    cloned(bed, 'safe', 'open', PLAIN)
    nothing_between(bed, 'src', 'safe', 'open')
    plain = bed.device('open', SIZE)
    bed.guest.run(f'cmp -n {size} {path} {plain}; test $? = 0 && ! cryptsetup isLuks /dev/vg0/open_00000')
    assert in_clear(bed, 'open')
    assert mappings(bed) == ['Linstor-Crypt-safe_00000']
    holds(bed, 'src', 'first')
    fill(bed, 'safe', 'second')
    call(bed, 'PUT', 'safe/volume-definitions/0', {'size_kib': SIZE + 16 * MIB}).ok()
    bed.device('safe', SIZE + 16 * MIB)
    holds(bed, 'open', 'first')
    holds(bed, 'safe', 'second')
    bed.lose_power()
    for name, what in (('src', 'first'), ('safe', 'second'), ('open', 'first')):
        wait_for(f'the device of {name}', lambda name=name: bed.volume(name).get('device_path'), WAIT_S, 0.5)
        holds(bed, name, what)
    dropped(bed, 'src', 'safe', 'open')
    bed.nothing_left()
    wait_for('the space back', lambda: bed.free(pool) >= free - 4 * MIB, WAIT_S, 1)


def deaths(bed, pool, layers, wanted, point):
    make(bed, 'src', pool, layers)
    fill(bed, 'src', 'first')
    killed(bed, point, lambda: cloned(bed, 'src', 'clone', wanted))
    cloned_again(bed, wanted)
    assert not mappings(bed), mappings(bed)


def power_lost(bed, pool, layers, wanted):
    make(bed, 'src', pool, layers)
    fill(bed, 'src', 'first')
    flushed(bed, 'src')
    bed.satellite.stop('KILL')
    bed.satellite.start(inject='copying:5')
    bed.wait_online()
    call(bed, 'POST', 'src/clone', {'name': 'clone', 'layer_list': list(wanted)}).ok()
    wait_for('death', lambda: not bed.satellite.running(), WAIT_S, 0.3)
    bed.lose_power()
    cloned_again(bed, wanted)


def deleted(bed, pool, layers, wanted):
    """While it is copied: it goes at once, and everything that was made for it."""
    make(bed, 'src', pool, layers, size_kib=250 * MIB)
    call(bed, 'POST', 'src/clone', {'name': 'clone', 'layer_list': list(wanted)}).ok()
    wait_for('the copying', lambda: 'being copied' in bed.satellite.log() and 'clone_00000' in bed.lvs(), WAIT_S, 0.3)
    assert call(bed, 'GET', 'src/clone/clone').ok().json['status'] == 'CLONING'
    assert not bed.volume('clone').get('device_path'), 'nobody may use it yet'
    bed.delete('clone')
    bed.gone('clone')
    wait_for('no saga to be left', lambda: call(bed, 'GET', 'src/snapshots').ok().json == [], WAIT_S, 1)
    nothing_between(bed, 'src')
    bed.satellite.stop('KILL')  # the next one is to be seen as well
    bed.satellite.start()
    bed.wait_online()
    bed.delete('src')
    bed.nothing_left()


def run(suite, work, image, everything):
    bed = storage.bed_for(suite, 'a guest, a satellite, two pools', Bed, work, image)
    if bed is None:
        return
    storage.with_passphrase(bed)
    ways = (('encrypted', PLAIN, LUKS), ('decrypted', LUKS, PLAIN))
    storage.run_checks(suite, bed, everything, [
        *((pool == 'thin', f'encrypted and in clear again, in pool {pool}', to_and_fro, pool) for pool in ('thin', 'thick')),
        *((False, f'{what}, deleted while it is copied, in pool {pool}', deleted, pool, layers, wanted)
          for pool in ('thin', 'thick') for what, layers, wanted in ways),
        *((False, f'{what} in pool {pool}, killed at {point}', deaths, pool, layers, wanted, point)
          for pool in ('thin', 'thick') for what, layers, wanted in ways
          for point in (KILLS if what == 'decrypted' else KILLS + MAKING)
          if not (point.startswith('fill_opened') and what == 'encrypted') and not (point.startswith('fill_aside') and pool == 'thick')),
        *((False, f'{what}, on a node that loses power', power_lost, pool, layers, wanted)
          for pool, (what, layers, wanted) in zip(('thin', 'thick'), ways))])
