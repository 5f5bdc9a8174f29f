#!/usr/bin/env python3
"""The master passphrase on three members: whoever leads is unlocked as long as one member that was runs; a cluster that was down as a
whole is locked; the CLI asks on standard input. No passphrase is in any file or log.

usage: OUTRIGGER_BUILD=BUILD_DIR tests/e2e/encryption.py"""
import os
import pathlib
import subprocess
import tempfile

from lib_e2e import BUILD, Cluster, Suite, enter, wait_for

FIRST, SECOND = 'correct horse battery staple', 'Zweitschl\u00fcssel mit Umlaut'
VOLUME, OTHER = 'words for one volume', 'other words for one volume'
PATH = '/v1/encryption/passphrase'


def status(c, name):
    return c.rest(name).get(PATH).ok().json['status']


def everywhere(c, wanted):
    wait_for(f'every member to be {wanted}', lambda: all(status(c, n) == wanted for n in c.controllers), 20, 0.1)


def created(c):
    assert all(status(c, n) == 'unset' for n in c.controllers)
    rest = c.rest('c1')
    assert rest.call('PATCH', PATH, FIRST).status == 404
    assert rest.call('POST', PATH, {}).status == 400
    assert rest.call('POST', PATH, {'new_passphrase': 'x' * 1025}).status == 400
    assert rest.call('PATCH', PATH, {'no': 'string'}).status == 400
    assert rest.call('POST', PATH, {'new_passphrase': FIRST}).status == 201
    everywhere(c, 'unlocked')
    again = rest.call('POST', PATH, {'new_passphrase': SECOND})
    assert again.status == 500 and again.json[0]['ret_code'] & 0x3fff == 512, again.text


def changed(c):
    """On any member; the old one is no longer worth anything. Two members with different views of it cannot come apart."""
    assert c.rest('c2').call('PUT', PATH, {'old_passphrase': SECOND, 'new_passphrase': FIRST}).status == 500
    c.rest('c2').call('PUT', PATH, {'old_passphrase': FIRST, 'new_passphrase': SECOND}).ok()
    wrong = c.rest('c3').call('PATCH', PATH, FIRST)
    assert wrong.status == 500 and wrong.json[0]['ret_code'] & 0x3fff == 216, wrong.text
    right = c.rest('c3').call('PATCH', PATH, SECOND).ok()
    assert right.json[0]['ret_code'] & 0x3fff == 4, right.text


def one_at_a_time(c):
    """Each member is killed and comes back, the leader too: the others give it the key."""
    for name in c.controllers:
        c.kill(name)
        c.start(name)
        wait_for(f'{name} to serve', lambda: c.serves(name), 30)
        everywhere(c, 'unlocked')


def all_down(c):
    """Nobody has the key any more; the state does not have it either. One entry on one member unlocks all."""
    for name in c.controllers:
        c.kill(name)
    for name in c.controllers:
        c.start(name)
    for name in c.controllers:
        wait_for(f'{name} to serve', lambda: c.serves(name), 30)
    everywhere(c, 'locked')
    refused = c.rest('c1').call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': 'rsc', 'layer_data': [{'type': 'LUKS'}, {'type': 'STORAGE'}]}})
    assert refused.status == 404 and 'enter-passphrase' in refused.text, refused.text
    assert c.rest('c1').call('PATCH', PATH, FIRST).status == 500
    everywhere(c, 'locked')
    c.rest('c2').call('PATCH', PATH, SECOND).ok()
    everywhere(c, 'unlocked')
    c.rest('c1').call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': 'rsc', 'layer_data': [{'type': 'LUKS'}, {'type': 'STORAGE'}]}}).ok()
    c.rest('c1').call('POST', '/v1/resource-definitions/rsc/volume-definitions', {'volume_definition': {'size_kib': 1024}}).ok()
    shown = c.rest('c1').get('/v1/resource-definitions/rsc/volume-definitions').text
    assert 'luks_key' not in shown, shown


def cli(c):
    def run(verb, text, *options):
        return subprocess.run([str(BUILD / 'outrigger'), '--controllers', c.address('c1'), *options, 'encryption', verb],
                              input=text, capture_output=True, text=True, timeout=60)
    done = run('modify-passphrase', f'{SECOND}\n{FIRST}\n')
    assert done.returncode == 0, done
    assert run('enter-passphrase', f'{SECOND}\n').returncode != 0
    assert run('enter-passphrase', f'{FIRST}\n').returncode == 0
    assert run('enter-passphrase', '').returncode != 0
    assert 'unlocked' in run('status', '').stdout
    shown = run('enter-passphrase', f'{FIRST}\n', '--curl')
    assert shown.returncode != 0 and FIRST not in shown.stdout + shown.stderr, shown


def of_a_volume(c):
    """Given when the volume is made, and changed: by the CLI from standard input, never shown again."""
    def run(text, *words):
        return subprocess.run([str(BUILD / 'outrigger'), '--controllers', c.address('c2'), *words],
                              input=text, capture_output=True, text=True, timeout=60)
    done = run(f'{VOLUME}\n', 'volume-definition', 'create', 'rsc', '1M', '--passphrase')
    assert done.returncode == 0, done
    assert run('', 'vd', 'create', 'rsc', '1M', '--passphrase').returncode != 0
    done = run(f'{OTHER}\n', 'vd', 'mp', 'rsc', '1')
    assert done.returncode == 0 and 'is changed' in done.stdout + done.stderr, done
    again = run(f'{OTHER}\n', 'volume-definition', 'modify-passphrase', 'rsc', '1')
    assert again.returncode == 0 and 'already' in again.stdout + again.stderr, again
    shown = run(f'{OTHER}\n', '--curl', 'vd', 'mp', 'rsc', '1')
    assert shown.returncode != 0 and OTHER not in shown.stdout + shown.stderr, shown
    clone = ('rd', 'clone', 'rsc', 'twin', '--volume-passphrases', '1')
    shown = run(f'{OTHER}\n', '--curl', *clone)
    assert shown.returncode != 0 and OTHER not in shown.stdout + shown.stderr, shown
    assert 'Passphrase of volume 1' in run('', *clone).stderr
    refused = run(f'{OTHER}\n', *clone)  # there is no resource to clone
    assert refused.returncode == 10 and OTHER not in refused.stdout + refused.stderr, refused
    path = '/v1/resource-definitions/rsc/volume-definitions/{}/encryption-passphrase'
    rest = c.rest('c3')
    assert rest.call('PUT', path.format(1), {}).status == 500
    assert rest.call('PUT', path.format(9), {'new_passphrase': 'x'}).status == 404
    rest.call('PUT', path.format(0), {'new_passphrase': VOLUME}).ok()  # that had a random key
    rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'bare', 'layer_data': [{'type': 'STORAGE'}]}}).ok()
    volumes = '/v1/resource-definitions/bare/volume-definitions'
    refused = rest.call('POST', volumes, {'volume_definition': {'size_kib': 1024}, 'passphrase': VOLUME})
    assert refused.status == 500 and 'LUKS' in refused.text, refused.text
    rest.call('POST', volumes, {'volume_definition': {'size_kib': 1024}}).ok()
    refused = rest.call('PUT', volumes + '/0/encryption-passphrase', {'new_passphrase': VOLUME})
    assert refused.status == 500 and 'not encrypted' in refused.text, refused.text
    for name in c.controllers:
        text = c.rest(name).get('/v1/resource-definitions/rsc/volume-definitions').text
        assert VOLUME not in text and 'luks' not in text, text


def left_for_the_start(c):
    """In the environment of one member, then in a file of another: the cluster comes up unlocked. A wrong one is logged, and nothing more."""
    def restart(env=None):
        for name in c.controllers:
            c.kill(name)
        for name in c.controllers:
            if name == env:
                os.environ['MASTER_PASSPHRASE'] = FIRST
            c.start(name)
            os.environ.pop('MASTER_PASSPHRASE', None)
        for name in c.controllers:
            wait_for(f'{name} to serve', lambda: c.serves(name), 30)
    restart('c1')
    everywhere(c, 'unlocked')
    pid = (c.dir / 'c1/pid').read_text().split()[0]
    environ = pathlib.Path(f'/proc/{pid}/environ').read_bytes()
    assert b'MASTER_PASSPHRASE' in environ and FIRST.encode() not in environ, environ
    conf = c.dir / 'c2/controller.conf'
    plain = conf.read_text()
    with tempfile.NamedTemporaryFile('w+') as file:  # not in the cluster's directory, where no_traces() looks
        conf.write_text(f'{plain}\n[encrypt]\npassphrase_file = {file.name}\n')
        file.write(f'{FIRST}\n')
        file.flush()
        restart()
        everywhere(c, 'unlocked')
        file.seek(0)
        file.write('wrong\n')
        file.truncate()
        file.flush()
        restart()
        wait_for('the log', lambda: 'left for the start is wrong' in c.log('c2'))
        everywhere(c, 'locked')
        c.rest('c3').call('PATCH', PATH, FIRST).ok()
        everywhere(c, 'unlocked')
    conf.write_text(plain)


def no_traces(c):
    for text in (FIRST, SECOND, VOLUME, OTHER):
        found = [p for p in c.dir.rglob('*') if p.is_file() and text.encode() in p.read_bytes()]
        assert not found, found


def main():
    enter()
    suite = Suite()
    c = Cluster(3, 0)
    try:
        suite.check('created', created, c)
        suite.check('changed', changed, c)
        suite.check('members one at a time', one_at_a_time, c)
        suite.check('all down', all_down, c)
        suite.check('the CLI', cli, c)
        suite.check('the passphrase of a volume', of_a_volume, c)
        suite.check('left for the start', left_for_the_start, c)
        suite.check('no traces', no_traces, c)
        suite.check('the same state on all members', c.same_state)
    finally:
        c.close()
    suite.finish()


main()
