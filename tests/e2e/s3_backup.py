#!/usr/bin/env python3
"""Backups in a bucket (tests/lib/s3_server.py, which checks signatures) on a cluster of three members and two satellites with FILE_THIN
pools: made, listed, described, restored and compared, downloaded only, stopped, deleted; differences, chains of them, what is based on what; wrong keys, a bucket that fails; leader and satellite
killed while a backup is on its way; no keys in any file or log.

usage: OUTRIGGER_BUILD=BUILD_DIR tests/e2e/s3_backup.py"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys

from lib_e2e import BUILD, TOP, Cluster, Suite, enter, wait_for

sys.path.insert(0, str(pathlib.Path(TOP) / 'tests/lib'))
from s3_server import S3Server  # noqa: E402

ACCESS, SECRET = 'AKIDBACKUP', 'ganz/geheim+2'
SIZE_KIB = 16384
ODD = 'me@x.org "@FINISHED@" @BASED_ON@ : \\u0040'  # a description has marks of its own
REMOTE = '/v1/remotes/store/backups'


class Tests:
    def __init__(self, cluster):
        self.c = cluster
        self.s3 = S3Server('127.0.0.90', 9000, ACCESS, SECRET, 'eu-1', 'backups')

    def rest(self):
        return self.c.rest(next(m for m in self.c.controllers if self.c.running(m)))

    def cli(self, *args, text='', ok=True):
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', self.c.address('c1'), *args],
                              input=text, capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) == ok, done
        return done.stdout + done.stderr

    def device(self, rsc, volume=0):
        def known():
            return [v.get('device_path') for r in self.rest().get(f'/v1/view/resources?resources={rsc}').ok().json
                    for v in r['volumes'] if v['volume_number'] == volume]
        return wait_for(f'the device of {rsc}', lambda: known() and known()[0])

    def write(self, rsc, text, volume=0):
        fd = os.open(self.device(rsc, volume), os.O_WRONLY)
        os.pwrite(fd, (text * 1300000).encode()[:7 << 20], 1 << 20)  # more than one part
        os.pwrite(fd, text.encode(), SIZE_KIB * 1024 - 4096)
        os.fsync(fd)
        os.close(fd)

    def digest(self, rsc, volume=0):
        fd = os.open(self.device(rsc, volume), os.O_RDONLY)
        try:
            return hashlib.sha256(os.pread(fd, SIZE_KIB * 1024, 0)).hexdigest()
        finally:
            os.close(fd)

    def backups(self):
        return self.rest().get(REMOTE).ok().json['linstor']

    def done(self, count):
        """So many backups are in the bucket, and nothing is on its way."""
        def over():
            seen = self.backups()
            return len(seen) == count and all(b['success'] and not b['shipping'] for b in seen.values()) and seen
        return wait_for(f'{count} backups', over)

    def pools(self):
        return sorted(p.name for n in self.c.satellites for p in (self.c.dir / n / 'pool1').iterdir())

    # ---- checks ----

    def prepare(self):
        r = self.rest()
        r.call('POST', '/v1/encryption/passphrase', {'new_passphrase': 'the master'}).ok()
        self.cli('remote', 'create', 's3', 'store', self.s3.url, 'backups', 'eu-1', '--use-path-style', text=f'{ACCESS}\n{SECRET}\n')
        r.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': 'data', 'layer_data': [{'type': 'STORAGE'}], 'volume_definitions': [{'size_kib': SIZE_KIB}, {'size_kib': SIZE_KIB}]}}).ok()
        r.call('POST', '/v1/resource-definitions/data/resources/s1', {'resource': {'props': {'StorPoolName': 'pool1'}}}).ok()
        self.write('data', 'first ')
        self.write('data', 'second volume ', 1)
        r.call('PUT', '/v1/resource-definitions/data', {'override_props': {'Aux/says': ODD}}).ok()
        r.call('PUT', '/v1/resource-definitions/data/volume-definitions/1', {'override_props': {'Aux/is': 'second'}}).ok()
        assert self.backups() == {}

    def create(self):
        self.was = self.digest('data'), self.digest('data', 1)
        shown = self.cli('backup', 'create', 'store', 'data', '--snap-name', 'mine')
        assert 'mine' in shown, shown
        (name, b), = self.done(1).items()
        assert name.startswith('data_back_') and name.endswith('^mine.meta') and b['id'] == name[:-5], name
        assert b['restorable'] and b['origin_rsc'] == 'data' and b['origin_snap'] == 'mine' and b['origin_node'] == 's1', b
        assert [v['vlm_nr'] for v in b['vlms']] == [0, 1], b
        key = b['vlms'][0]['s3']['key']
        assert key.startswith('data_00000_back_') and key.endswith('^mine'), key
        meta = json.loads(self.s3.objects[name])
        assert meta['rscName'] == 'data' and meta['nodeName'] == 's1' and meta['finishTimestamp'] >= meta['startTimestamp'], meta
        assert meta['rscDfn']['vlmDfns']['1']['size'] == SIZE_KIB and meta['backups']['0'][0]['name'] == key, meta
        assert meta['rscDfn']['props']['Aux/says'] == ODD and meta['basedOn'] is None, meta
        stream = self.s3.objects[key]
        assert stream[:8] == b'ORSHIP1\n' and 7 << 20 < len(stream) < 9 << 20, len(stream)  # sparse: half of it is holes
        assert not self.s3.uploads, self.s3.uploads
        assert 'data' in self.cli('backup', 'list', 'store')
        self.id = b['id']

    def info(self):
        shown = self.rest().call('POST', REMOTE + '/info', {'src_rsc_name': 'data'}).ok().json
        assert shown['rsc'] == 'data' and shown['latest'] == self.id and shown['count'] == 1, shown
        assert shown['alloc_size_kib'] == 2 * SIZE_KIB and 0 < shown['dl_size_kib'] < 2 * SIZE_KIB, shown
        assert self.rest().call('POST', REMOTE + '/info', {'src_rsc_name': 'other'}).status == 404

    def restore(self):
        """On another node, under another name; what was written since is not in it."""
        self.write('data', 'later ')
        self.cli('backup', 'restore', 'store', 's2', 'copy', '--resource', 'data')
        wait_for('the resource', lambda: self.rest().get('/v1/resource-definitions/copy/resources/s2').status == 200)
        assert (self.digest('copy'), self.digest('copy', 1)) == self.was
        assert self.digest('data') != self.was[0]
        snap = self.rest().get('/v1/resource-definitions/copy/snapshots/mine').ok().json
        assert snap['nodes'] == ['s2'] and snap['flags'] == ['SUCCESSFUL'], snap
        assert self.rest().get('/v1/resource-definitions/copy').ok().json['props'] == {'Aux/says': ODD}
        assert self.rest().get('/v1/resource-definitions/copy/volume-definitions/1').ok().json['props'] == {'Aux/is': 'second'}
        again = self.rest().call('POST', REMOTE + '/restore', {'last_backup': self.id, 'target_rsc_name': 'copy', 'node_name': 's2'})
        assert again.status == 500 and again.json[0]['ret_code'] & 0x3fff == 501, again.text
        none = self.rest().call('POST', REMOTE + '/restore', {'last_backup': 'no', 'target_rsc_name': 'x2', 'node_name': 's2'})
        assert none.status == 404 and none.json[0]['ret_code'] & 0x3fff == 322, none.text
        pool = self.rest().call('POST', REMOTE + '/restore', {'last_backup': self.id, 'target_rsc_name': 'x2', 'node_name': 's2',
                                                             'stor_pool_map': {'pool1': 'nopool'}})
        assert pool.status == 404, pool.text

    def download_only(self):
        self.rest().call('POST', REMOTE + '/restore', {'last_backup': self.id, 'target_rsc_name': 'only', 'node_name': 's2',
                                                      'download_only': True}).ok()
        wait_for('the snapshot', lambda: self.rest().get('/v1/resource-definitions/only/snapshots/mine').ok().json['flags'] == ['SUCCESSFUL'])
        assert self.rest().get('/v1/resource-definitions/only/resources').ok().json == []
        for name in ('only', 'copy'):
            if name == 'copy':
                self.rest().call('DELETE', '/v1/resource-definitions/copy/resources/s2').ok()
            self.rest().call('DELETE', f'/v1/resource-definitions/{name}/snapshots/mine').ok()
            self.rest().call('DELETE', f'/v1/resource-definitions/{name}').ok()
        wait_for('nothing left of them', lambda: not [p for p in self.pools() if p.startswith(('only', 'copy'))])

    def damaged(self):
        """An object that is not whole: the restoration fails, says why, and leaves nothing."""
        key = next(k for k in self.s3.objects if k.startswith('data_00001_'))
        whole = self.s3.objects[key]
        self.s3.objects[key] = whole[:-100]
        self.rest().call('POST', REMOTE + '/restore', {'last_backup': self.id, 'target_rsc_name': 'torn', 'node_name': 's2'}).ok()
        wait_for('its end', lambda: self.rest().get('/v1/resource-definitions/torn').status == 404)
        reports = self.rest().get('/v1/error-reports').ok().text
        assert "Restoration of snapshot 'mine' of resource 'torn'" in reports, reports
        wait_for('nothing left', lambda: not [p for p in self.pools() if p.startswith('torn')])
        self.s3.objects[key] = whole

    def made(self, snap, count, *more):
        """A backup, when it is done."""
        self.cli('backup', 'create', 'store', 'data', '--snap-name', snap, *more)
        seen = self.done(count)
        (b,) = [b for b in seen.values() if b['origin_snap'] == snap]
        return b

    def put(self, text, at, volume=0):
        fd = os.open(self.device('data', volume), os.O_WRONLY)
        os.pwrite(fd, text, at)
        os.fsync(fd)
        os.close(fd)

    def incremental(self):
        """Only what has changed; a chain is restored; what others are based on goes with them only."""
        self.put(b'changed' * 1000, 3 << 20)
        self.put(bytes(1 << 20), 5 << 20)  # it was not zero
        one = self.made('inc1', 2)
        assert one['based_on_id'] == self.id + '.meta' and one['restorable'], one
        self.put(b'in a hole', 12 << 20)
        self.put(b'of the other volume', 2 << 20, 1)
        want = self.digest('data'), self.digest('data', 1)
        two = self.made('inc2', 3)
        assert two['based_on_id'] == one['id'] + '.meta', two
        sizes = {k: len(v) for k, v in self.s3.objects.items() if k.endswith(('^inc1', '^inc2'))}
        small = [k for k, n in sizes.items() if n < 10000]  # 'restore' has written much into volume 0 before
        assert len(sizes) == 4 and len(small) == 3 and 'data_00000' not in ''.join(k for k in small if k.endswith('inc1')), sizes
        shown = self.rest().call('POST', REMOTE + '/info', {'last_backup': two['id']}).ok().json
        assert shown['count'] == 3 and shown['full'] == self.id and shown['latest'] == two['id'], shown
        self.put(b'later', 3 << 20)
        self.rest().call('POST', REMOTE + '/restore', {'last_backup': two['id'], 'target_rsc_name': 'chain', 'node_name': 's2'}).ok()
        wait_for('the resource', lambda: self.rest().get('/v1/resource-definitions/chain/resources/s2').status == 200)
        assert (self.digest('chain'), self.digest('chain', 1)) == want
        refused = self.rest().call('DELETE', f'{REMOTE}?id={one["id"]}')
        assert refused.status == 500 and refused.json[0]['ret_code'] & 0x3fff == 977 and two['id'] in refused.text, refused.text
        assert self.cli('backup', 'delete', 'id', 'store', self.id, '--cascade', '--dry-run').count('would be') == 3
        missing = next(k for k in self.s3.objects if 'inc1' in k and k.startswith('data_00000'))
        kept = self.s3.objects.pop(missing)
        assert not [b for b in self.backups().values() if b['id'] == two['id']][0]['restorable']
        self.s3.objects[missing] = kept
        meta = one['id'] + '.meta'
        kept = self.s3.objects.pop(two['id'] + '.meta')
        three = self.made('inc3', 3)  # its base is not in the bucket any more: all of it
        assert 'based_on_id' not in three and three['restorable'] and meta in self.s3.objects, three
        self.s3.objects[two['id'] + '.meta'] = kept
        four = self.made('inc4', 5, '--full')
        assert 'based_on_id' not in four, four
        for b in (four, three):
            self.cli('backup', 'delete', 'id', 'store', b['id'])
        assert self.cli('backup', 'delete', 'id', 'store', one['id'], '--cascade').count('deleted') == 2
        assert list(self.backups()) == [self.id + '.meta'], self.backups()
        self.rest().call('DELETE', '/v1/resource-definitions/chain/resources/s2').ok()
        self.rest().call('DELETE', '/v1/resource-definitions/chain/snapshots/inc2').ok()
        self.rest().call('DELETE', '/v1/resource-definitions/chain').ok()
        for snap in ('inc1', 'inc2', 'inc3', 'inc4'):
            self.rest().call('DELETE', f'/v1/resource-definitions/data/snapshots/{snap}').ok()

    def abort(self):
        self.s3.hold(60)
        self.cli('backup', 'create', 'store', 'data', '--snap-name', 'slow')
        wait_for('an upload', lambda: self.s3.uploads)
        shipping = [b for b in self.backups().values() if b['shipping']]
        assert len(shipping) == 1 and shipping[0]['origin_snap'] == 'slow', shipping
        busy = self.rest().call('DELETE', '/v1/resource-definitions/data/snapshots/slow')
        assert busy.status == 500 and busy.json[0]['ret_code'] & 0x3fff == 997, busy.text
        self.cli('backup', 'abort', 'store', 'data', '--create')
        assert len(self.backups()) == 1
        wait_for('the upload ended', lambda: not self.s3.uploads)
        self.s3.hold(0)
        self.rest().call('DELETE', '/v1/resource-definitions/data/snapshots/slow').ok()

    def killed(self):
        """The leader, and then the satellite, die while a backup is on its way: it arrives, once."""
        self.s3.hold(60)
        self.cli('backup', 'create', 'store', 'data', '--snap-name', 'tough')
        wait_for('an upload', lambda: self.s3.uploads)
        leader = self.c.leader()
        self.c.kill(leader)
        self.c.start(leader)
        self.c.leader()
        self.c.kill('s1')
        self.s3.hold(0)
        self.c.start('s1')
        seen = self.done(2)
        assert sum(b['origin_snap'] == 'tough' for b in seen.values()) == 1, seen
        assert not self.s3.uploads, self.s3.uploads
        want = self.digest('data')
        self.rest().call('POST', REMOTE + '/restore', {'src_rsc_name': 'data', 'src_snap_name': 'tough', 'target_rsc_name': 'back',
                                                      'node_name': 's1'}).ok()
        wait_for('the resource', lambda: self.rest().get('/v1/resource-definitions/back/resources/s1').status == 200)
        assert self.digest('back') == want

    def refused(self):
        """Keys that are wrong: said at once where the bucket is asked, and in the list where a node was to send."""
        self.rest().call('PUT', '/v1/remotes/s3/store', {'secret_key': 'wrong'}).ok()
        answer = self.rest().get(REMOTE)
        assert answer.status == 500 and 'SignatureDoesNotMatch' in answer.text and SECRET not in answer.text, answer.text
        self.rest().call('POST', REMOTE, {'rsc_name': 'data', 'snap_name': 'never'}).ok()
        wait_for('a report', lambda: "Backup of snapshot 'never' of resource 'data'" in self.rest().get('/v1/error-reports').ok().text)
        self.rest().call('PUT', '/v1/remotes/s3/store', {'secret_key': SECRET}).ok()
        failed = [b for b in self.backups().values() if not b['success']]
        assert len(failed) == 1 and 'SignatureDoesNotMatch' in failed[0]['fail_messages'], failed

    def delete(self):
        rest = self.rest()
        assert rest.call('DELETE', REMOTE + '?id=none').ok().json[0]['ret_code'] & 0x3fff == 3000
        count = len(self.s3.objects)
        assert 'would be' in rest.call('DELETE', REMOTE + '?all=true&dryrun=true').ok().text and len(self.s3.objects) == count
        self.cli('backup', 'delete', 'id', 'store', self.id, '--cascade')
        assert not [k for k in self.s3.objects if 'mine' in k], sorted(self.s3.objects)
        self.s3.objects['something else'] = b'x'
        assert rest.get(REMOTE).ok().json['other']['files'] == ['something else']
        rest.call('DELETE', REMOTE + '?resource_name=data').ok()
        assert list(self.s3.objects) == ['something else'], sorted(self.s3.objects)
        self.cli('remote', 'delete', 'store')

    def no_traces(self):
        for text in (ACCESS, SECRET):
            found = [p for p in self.c.dir.rglob('*') if p.is_file() and p.suffix != '.img' and text.encode() in p.read_bytes()]
            assert not found, found


def main():
    enter()
    suite = Suite()
    cluster = Cluster(3, 2)
    try:
        tests = Tests(cluster)
        for name in ('prepare', 'create', 'info', 'restore', 'download_only', 'damaged', 'incremental', 'abort', 'killed', 'refused', 'delete', 'no_traces'):
            suite.check(name.replace('_', ' '), getattr(tests, name))
        suite.check('the same state on all members', cluster.same_state)
    finally:
        cluster.close()
    suite.finish()


main()
