#!/usr/bin/env python3
"""Remotes and automatic snapshots on a cluster of three members and two satellites: remotes by the CLI and by each member, secrets in no
answer, file or log; automatic snapshots each minute, one for each time although the leader is killed, two kept.

usage: OUTRIGGER_BUILD=BUILD_DIR tests/e2e/remotes.py"""
import subprocess
import time

from lib_e2e import BUILD, Cluster, Suite, enter, wait_for

ACCESS, SECRET, OTHER = 'AKIDREMOTES', 'sehr/geheim+1', 'phrase of the other cluster'
SNAPSHOTS = '/v1/resource-definitions/data/snapshots'


def cli(c, *args, text='', ok=True):
    done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', c.address('c1'), *args],
                          input=text, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == ok, done
    return done.stdout + done.stderr


def begin(c):
    """The first one is due in a minute: the other checks run meanwhile."""
    rest = c.rest('c1')
    rest.call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': 'data', 'layer_data': [{'type': 'STORAGE'}], 'volume_definitions': [{'size_kib': 4096}]}}).ok()
    for node in c.satellites:
        rest.call('POST', f'/v1/resource-definitions/data/resources/{node}', {'resource': {'props': {'StorPoolName': 'pool1'}}}).ok()
    cli(c, 'rd', 'sp', 'data', 'AutoSnapshot/RunEvery', '1')
    return time.monotonic()


def locked(c):
    body = {'remote_name': 'bucket1', 'endpoint': 'http://127.0.0.1:9', 'bucket': 'b', 'region': 'r',
            'access_key': ACCESS, 'secret_key': SECRET}
    refused = c.rest('c2').call('POST', '/v1/remotes/s3', body)
    assert refused.status == 404 and refused.json[0]['ret_code'] & 0x3fff == 312, refused.text
    c.rest('c1').call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'the master'}).ok()


def made(c):
    cli(c, 'remote', 'create', 's3', 'bucket1', 'http://127.0.0.1:9', 'backups', 'eu-1', '--use-path-style', text=f'{ACCESS}\n{SECRET}\n')
    cli(c, 'remote', 'create', 'linstor', 'berlin', 'https://berlin.example:3371', '--ask-passphrase', '--cluster-id', 'ab-12',
        text=OTHER + '\n')
    cli(c, 'remote', 'create', 's3', 'Bucket1', 'http://127.0.0.1:9', 'backups', 'eu-1', text=f'{ACCESS}\n{SECRET}\n', ok=False)
    cli(c, 'remote', 'modify', 's3', 'bucket1', '--region', 'eu-2')
    shown = cli(c, 'remote', 'list')
    assert 'eu-2 http://127.0.0.1:9/backups' in shown and 'https://berlin.example:3371' in shown, shown
    for name in c.controllers:
        seen = c.rest(name).get('/v1/remotes').ok()
        assert [r['remote_name'] for r in seen.json['s3_remotes'] + seen.json['linstor_remotes']] == ['bucket1', 'berlin'], seen.text
        assert 'key' not in seen.text and 'passphrase' not in seen.text, seen.text
    refused = cli(c, '--curl', 'remote', 'create', 's3', 'x2', 'h', 'b', 'r', text=f'{ACCESS}\n{SECRET}\n', ok=False)
    assert SECRET not in refused, refused


def deleted(c):
    cli(c, 'remote', 'delete', 'berlin')
    cli(c, 'remote', 'delete', 'bucket1')
    seen = c.rest('c3').get('/v1/remotes').ok().json
    assert seen == {'s3_remotes': [], 'linstor_remotes': [], 'ebs_remotes': []}, seen


def no_traces(c):
    for text in (ACCESS, SECRET, OTHER):
        found = [p for p in c.dir.rglob('*') if p.is_file() and text.encode() in p.read_bytes()]
        assert not found, found


def taken(c):
    return [s['name'] for s in c.rest(next(m for m in c.controllers if c.running(m))).get(SNAPSHOTS).ok().json
            if 'SUCCESSFUL' in s['flags']]


def automatic(c, began):
    """One is taken, the leader dies, another one is taken in its time: never two of one minute."""
    wait_for('the first automatic snapshot', lambda: taken(c))
    first = time.monotonic()
    assert first - began > 59, first - began
    assert len(taken(c)) <= 1 + int((time.monotonic() - began) / 60) and taken(c)[0].startswith('autoSnap'), taken(c)
    shown = c.rest('c1').get(SNAPSHOTS + '/' + taken(c)[0]).json
    assert 'AUTO_SNAPSHOT' in shown['flags'] and sorted(shown['nodes']) == c.satellites, shown
    leader = c.leader()
    c.kill(leader)
    c.start(leader)
    c.leader()
    assert len(taken(c)) <= 1 + int((time.monotonic() - began) / 60), taken(c)
    c.rest(leader if c.serves(leader) else 'c2').call('PUT', '/v1/resource-definitions/data', {'delete_props': ['AutoSnapshot/RunEvery']}).ok()


def main():
    enter()
    suite = Suite()
    c = Cluster(3, 2)
    try:
        began = suite.check('automatic snapshots begin', begin, c)
        suite.check('no passphrase, no secrets', locked, c)
        suite.check('made, changed, listed', made, c)
        suite.check('no traces of secrets', no_traces, c)
        suite.check('deleted', deleted, c)
        suite.check('automatic snapshots', automatic, c, began)
        suite.check('the same state on all members', c.same_state)
    finally:
        c.close()
    suite.finish()


main()
