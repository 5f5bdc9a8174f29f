#!/usr/bin/env python3
"""Black-box tests of the REST server: what bad clients, bad networks and members that come and go do to it.

Needs nothing but Python; the server is tests/e2e/http/fake_controller of the build directory (OUTRIGGER_BUILD, or the
current one). Arguments: names of tests; none = all. The last line is "N passed, N failed"."""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = pathlib.Path(os.environ.get('OUTRIGGER_BUILD', '.')).resolve()
SERVER = BUILD / 'tests/e2e/http/fake_controller'
# Sanitizers make everything slower.
PATIENCE = float(os.environ.get('PATIENCE', '1'))
MIB = 1 << 20


class Server:
    def __init__(self, *args, secure=False):
        self.dir = tempfile.mkdtemp(prefix='outrigger-http-')
        self.log = open(os.path.join(self.dir, 'log'), 'w+')
        argv = [str(SERVER), self.dir if secure else '-', *map(str, args)]
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        word, port, tls_port = self.line().split()
        assert word == 'ports'
        self.port, self.tls_port = int(port), int(tls_port)

    def line(self, timeout=20):
        ready, _, _ = select.select([self.p.stdout], [], [], timeout * PATIENCE)
        assert ready, 'the server says nothing'
        return self.p.stdout.readline().strip()

    def say(self, text):
        self.p.stdin.write(text + '\n')
        self.p.stdin.flush()

    def stats(self):
        self.say('stats')
        return json.loads(self.line())

    def end(self):
        if self.p.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.say('close')
            self.p.stdin.close()
            self.p.wait(30 * PATIENCE)
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        shutil.rmtree(self.dir)
        assert self.p.returncode == 0, f'the server ended with {self.p.returncode}:\n{log}'
        assert 'Sanitizer' not in log, log

    def connect(self, timeout=20):
        s = socket.create_connection(('127.0.0.1', self.port), timeout * PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ask(self, method, path, body=None, headers=None, timeout=20):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout * PATIENCE)
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()


@contextlib.contextmanager
def server(*args, **kw):
    s = Server(*args, **kw)
    try:
        yield s
    finally:
        s.end()


def read_answer(f):
    """One answer from a buffered socket file: (status, headers, body), or None at the end."""
    line = f.readline()
    if not line:
        return None
    status = int(line.split()[1])
    headers = {}
    while True:
        line = f.readline().strip()
        if not line:
            break
        name, value = line.split(b':', 1)
        headers[name.decode().lower()] = value.strip().decode()
    return status, headers, f.read(int(headers.get('content-length', 0)))


def raw(s, text, timeout=20):
    """Sends bytes on a fresh connection; returns the answer and whether the server closed."""
    with s.connect(timeout) as c:
        c.sendall(text)
        f = c.makefile('rb')
        answer = read_answer(f)
        c.settimeout(0.4)
        try:
            closed = f.read(1) == b''
        except (TimeoutError, socket.timeout):
            closed = False
        except ConnectionResetError:
            closed = True
        return answer, closed


def eventually(check, seconds=30):
    end = time.monotonic() + seconds * PATIENCE
    while not check():
        assert time.monotonic() < end, 'did not come to pass'
        time.sleep(0.02)


def check_error(answer, status):
    """Every refusal is an array of entries, with a type, a message and the index."""
    got, headers, body = answer
    assert got == status, (got, body)
    assert headers['content-type'] == 'application/json', headers
    assert 'x-outrigger-index' in headers and 'x-outrigger-term' in headers, headers
    entries = json.loads(body)
    assert isinstance(entries, list) and entries and entries[0]['message'], entries
    assert entries[0]['ret_code'] < 0
    return entries


# ---- bodies and heads ----

def test_malformed_json():
    with server() as s:
        for body in (b'{"name":', b'\xff\xfe', b'[1,2', b'nonsense', b'{"name":"a"} trailing', b'"' + b'[' * 100000):
            entries = check_error(s.ask('POST', '/v1/nodes', body), 400)
            assert entries[0]['ret_code'] & 0x0FFFFFFFFFFFFFFF == 0x0FFFFFFFFFFFFFFD
        assert s.stats()['submits'] == 0
        assert s.ask('POST', '/v1/nodes', b'')[0] == 201
        assert s.ask('POST', '/v1/nodes')[0] == 201
        # Without a Content-Type, as python-linstor does; with a body where there should be none.
        assert s.ask('DELETE', '/v1/nodes/x', b'{"a":1}')[0] == 201


def json_of(size):
    return b'{"name":"' + b'x' * (size - 11) + b'"}'


def test_body_limit():
    with server() as s:
        status, headers, body = s.ask('POST', '/v1/nodes', json_of(MIB))
        assert status == 201 and json.loads(body)[0]['details'] == str(MIB), (status, body[:200])
        for n in (MIB + 1, 3 * MIB):
            text = b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % n + json_of(n)
            answer, closed = raw(s, text)
            check_error(answer, 413)
            assert closed and answer[1]['connection'] == 'close'
        # Announced only: no need to wait for it.
        for extra in (b'Content-Length: 99999999999\r\n', b'Content-Length: 2000000\r\nExpect: 100-continue\r\n'):
            answer, closed = raw(s, b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\n' + extra + b'\r\n')
            check_error(answer, 413)
            assert closed
        assert s.stats()['submits'] == 1


def chunked(body, size):
    out = b''
    for i in range(0, len(body), size):
        piece = body[i:i + size]
        out += b'%x\r\n%s\r\n' % (len(piece), piece)
    return out + b'0\r\n\r\n'


def test_chunked():
    head = b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    with server() as s:
        answer, closed = raw(s, head + chunked(json_of(50000), 777))
        assert answer[0] == 201 and json.loads(answer[2])[0]['details'] == '50000', answer
        assert not closed
        answer, closed = raw(s, head + chunked(json_of(MIB + 1), 65536))
        check_error(answer, 413)
        assert closed
        # A stream without an end is cut.
        with s.connect() as c:
            c.sendall(head)
            piece = b'10000\r\n' + b'x' * 65536 + b'\r\n'
            try:
                for _ in range(1000):
                    c.sendall(piece)
                raise AssertionError('the server reads for ever')
            except OSError:
                pass
        answer, closed = raw(s, head + b'zz\r\nboo')
        assert answer[0] == 400 and closed
        eventually(lambda: s.stats()['connections'] == 0)


def test_large_head():
    with server() as s:
        check_error(s.ask('GET', '/v1/nodes?nodes=' + 'n' * 13000), 431)
        check_error(s.ask('GET', '/v1/nodes', headers={f'X-{i}': 'v' * 1000 for i in range(18)}), 431)
        assert s.ask('GET', '/v1/nodes?nodes=' + 'n' * 11000)[0] == 200
        # Beyond what is read at all: refused without JSON, but refused and closed.
        answer, closed = raw(s, b'GET / HTTP/1.1\r\nHost: x\r\nX: ' + b'v' * 200000 + b'\r\n\r\n')
        assert (answer is None or answer[0] in (413, 414, 431)) and closed
        for junk in (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(100) + b'\r\n\r\n', b'GET\r\n\r\n', b'\0' * 100,
                     b'GET / HTTP/9.9\r\n\r\n'):
            with s.connect() as c:
                c.sendall(junk)
                c.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while c.recv(4096):
                        pass
        assert s.ask('GET', '/v1/nodes')[0] == 200
        eventually(lambda: s.stats()['connections'] == 0)


# ---- slow and broken clients ----

def test_slow_loris():
    with server('--head-ms', 1200, '--idle-ms', 2500, '--body-ms', 1200) as s:
        def drip(c, text):
            """Seconds until the server has had enough of a byte every 100 ms."""
            start = time.monotonic()
            try:
                for b in text:
                    c.sendall(bytes([b]))
                    time.sleep(0.1)
                    if select.select([c], [], [], 0)[0] and c.recv(1) == b'':
                        return time.monotonic() - start
            except OSError:
                return time.monotonic() - start
            raise AssertionError('never cut')
        took = {}

        def run(name, before, text):
            with s.connect() as c:
                if before:
                    c.sendall(before)
                    if b'GET' in before:
                        read_answer(c.makefile('rb'))
                try:
                    took[name] = drip(c, text)
                except AssertionError as e:
                    took[name] = str(e)
        head = b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n' + b'X-A: b\r\n' * 50
        threads = [threading.Thread(target=run, args=a) for a in (
            ('head', b'', head),
            ('second head', b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n', head),
            ('body', b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n', b' ' * 100),
            ('silence', b'', b''))]
        for t in threads[:3]:
            t.start()
        with s.connect() as silent:
            start = time.monotonic()
            assert silent.recv(1) == b''
            took['silence'] = time.monotonic() - start
        for t in threads[:3]:
            t.join()
        for name, limit in (('head', 1.2), ('second head', 2.5), ('body', 1.2), ('silence', 1.2)):
            assert isinstance(took[name], float) and limit - 0.2 <= took[name] < limit + 10 * PATIENCE, took
        assert s.stats()['cut'] >= 3


def test_half_sent():
    with server() as s:
        whole = b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"name":"n12345678"}'
        for n in range(0, len(whole), 3):
            with s.connect() as c:
                c.sendall(whole[:n])
                if n % 2:
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')  # a reset
        eventually(lambda: s.stats()['connections'] == 0)
        assert s.stats()['submits'] == 0
        # Half closed is not gone: the answer still comes.
        with s.connect() as c:
            c.sendall(whole)
            c.shutdown(socket.SHUT_WR)
            assert read_answer(c.makefile('rb'))[0] == 201


def test_client_leaves_while_suspended():
    with server() as s:
        for i in range(60):
            with s.connect() as c:
                c.sendall(b'POST /v1/nodes?fake_ms=%d HTTP/1.1\r\nHost: x\r\n\r\n' % (200 + i))
                eventually(lambda: s.stats()['submits'] == i + 1)
                if i % 2:
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        eventually(lambda: s.stats()['connections'] == 0)
        stats = s.stats()
        assert stats['submits'] == 60 and stats['in_flight'] == 0, stats
        assert s.ask('GET', '/v1/nodes')[0] == 200


# ---- many ----

def test_many_keep_alive():
    n = 500
    with server() as s:
        conns = [http.client.HTTPConnection('127.0.0.1', s.port, timeout=30 * PATIENCE) for _ in range(n)]
        errors = []

        def work(mine):
            try:
                for _ in range(3):
                    for c in mine:
                        c.request('POST', '/v1/nodes', b'{"name":"n"}')
                    for c in mine:
                        r = c.getresponse()
                        assert r.status == 201 and json.loads(r.read())
            except Exception as e:
                errors.append(e)
        threads = [threading.Thread(target=work, args=(conns[i::10],)) for i in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors, errors[:3]
        stats = s.stats()
        assert stats['connections'] == n and stats['submits'] == 3 * n and stats['accepted'] == n, stats
        for c in conns:
            c.close()
        eventually(lambda: s.stats()['connections'] == 0)


def test_limits():
    with server('--per-ip', 5) as s:
        held = [s.connect() for _ in range(5)]
        eventually(lambda: s.stats()['connections'] == 5)
        with s.connect() as c:
            c.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert c.recv(1) == b''
        assert s.stats()['refused'] == 1
        held.pop().close()
        eventually(lambda: s.stats()['connections'] == 4)
        assert s.ask('GET', '/v1/nodes')[0] == 200
        for c in held:
            c.close()
    with server('--connections', 5) as s:
        # Busy ones keep the newcomer waiting; it is served as soon as one ends.
        busy = [s.connect() for _ in range(5)]
        start = time.monotonic()
        for c in busy:
            c.sendall(b'POST /v1/nodes?fake_ms=1500 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        eventually(lambda: s.stats()['in_flight'] == 5)
        assert s.ask('GET', '/v1/nodes')[0] == 200
        assert time.monotonic() - start > 1.4
        for c in busy:
            assert read_answer(c.makefile('rb'))[0] == 201
            c.close()
        # Idle ones make room.
        idle = [s.connect() for _ in range(5)]
        for c in idle:
            c.sendall(b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n')
            read_answer(c.makefile('rb'))
        assert s.ask('GET', '/v1/nodes', timeout=10)[0] == 200


def test_pipelining():
    with server() as s, s.connect() as c:
        text = b''
        for i in range(60):
            if i % 3 == 0:
                text += b'POST /v1/nodes?i=%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}' % i
            elif i % 3 == 1:
                text += b'GET /v1/nodes/n%d HTTP/1.1\r\nHost: x\r\n\r\n' % i
            else:
                text += b'GET /v1/controller/version HTTP/1.1\r\nHost: x\r\n\r\n'
        c.sendall(text)
        f = c.makefile('rb')
        for i in range(60):
            status, _, body = read_answer(f)
            if i % 3 == 0:
                assert json.loads(body)[0]['message'] == f'POST /v1/nodes?i={i}', body
            elif i % 3 == 1:
                assert json.loads(body)['params'] == [f'n{i}'], body
            else:
                assert 'rest_api_version' in json.loads(body)


# ---- HTTP features ----

def test_head_and_options():
    with server() as s:
        status, headers, body = s.ask('GET', '/v1/nodes?fill=50')
        status2, headers2, body2 = s.ask('HEAD', '/v1/nodes?fill=50')
        assert (status, headers['content-length']) == (status2, headers2['content-length']) and body and not body2
        # An ordinary OPTIONS is an operation; with Origin and a method asked for it is a preflight, on any path.
        status, headers, body = s.ask('OPTIONS', '/v1/query-max-volume-size', b'{}', {'Origin': 'http://gui'})
        assert json.loads(body)['route'] == 'max_volume_size' and headers['access-control-allow-origin'] == '*'
        for path in ('/v1/query-max-volume-size', '/v1/nodes', '/anything'):
            status, headers, body = s.ask('OPTIONS', path, headers={
                'Origin': 'http://gui', 'Access-Control-Request-Method': 'PUT',
                'Access-Control-Request-Headers': 'content-type'})
            assert status == 200 and not body and 'PUT' in headers['access-control-allow-methods']
            assert 'content-type' in headers['access-control-allow-headers']
            assert headers['access-control-allow-origin'] == '*'
        assert check_error(s.ask('OPTIONS', '/v1/nodes'), 405)
        assert 'access-control-allow-origin' not in s.ask('GET', '/v1/nodes')[1]


def test_unknown():
    with server() as s:
        assert check_error(s.ask('GET', '/v1/nothing'), 404)[0]['ret_code'] & 0x7FFF == 998
        status, headers, body = answer = s.ask('PATCH', '/v1/nodes')
        assert check_error(answer, 405)[0]['ret_code'] & 0x7FFF == 998 and headers['allow'] == 'GET, POST'
        check_error(s.ask('POST', '/internal/error-report', b'{}'), 404)
        check_error(s.ask('BREW', '/v1/nodes'), 405)
        check_error(s.ask('X' * 40, '/v1/nodes'), 405)
        check_error(s.ask('GET', '/v1/%zz%00/..//../x'), 404)
        assert s.stats()['submits'] == 0


def test_gzip():
    with server() as s:
        plain = s.ask('GET', '/v1/nodes?fill=3000')
        assert 'content-encoding' not in plain[1]
        for accept in ('gzip', 'deflate, gzip;q=0.5', 'GZIP', 'gzip, br'):
            status, headers, body = s.ask('GET', '/v1/nodes?fill=3000', headers={'Accept-Encoding': accept})
            assert headers['content-encoding'] == 'gzip', accept
            assert gzip.decompress(body) == plain[2] and len(body) == int(headers['content-length'])
        for accept in ('gzip;q=0', 'gzip; q=0.000', 'identity', 'br', 'xgzipx'):
            assert 'content-encoding' not in s.ask('GET', '/v1/nodes?fill=3000', headers={'Accept-Encoding': accept})[1]
        assert 'content-encoding' not in s.ask('GET', '/v1/nodes?fill=500', headers={'Accept-Encoding': 'gzip'})[1]


def test_bytes_are_kept():
    """Path and query travel as they came: encoded slashes, twice encoded ones, a plus, a lone question mark."""
    with server() as s:
        method = 'DELETE'
        for target in ('/v1/controller/properties/%2Fetc%2Fx%20y', '/v1/controller/properties/%252Fetc%252Fx',
                       '/v1/controller/properties/%2Fa+b?x=%2F&y=a+b&y', '/v1/controller/properties/Aux%2Fk%C3%A9y/rest?',
                       '/v1/nodes/N1?a=%zz&&=&b'):
            answer, _ = raw(s, f'{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}'.encode())
            assert answer[0] == 201, answer
            shown = target if '?' in target else target + '?'
            assert json.loads(answer[2])[0]['message'] == f'{method} {shown}', answer[2]
        answer, _ = raw(s, b'GET http://other.host/v1/nodes/n%2F1 HTTP/1.1\r\nHost: x\r\n\r\n')
        assert json.loads(answer[2])['params'] == ['n/1'], answer
        answer, closed = raw(s, b'GET /v1/nodes/ HTTP/1.0\r\n\r\n')
        assert json.loads(answer[2])['route'] == 'node_list' and closed


def test_headers():
    with server() as s:
        for path in ('/v1/controller/version', '/v1/nodes', '/health', '/metrics'):
            status, headers, body = s.ask('GET', path)
            assert status == 200 and headers['cache-control'] == 'no-store' and int(headers['x-outrigger-index']) > 0
            assert int(headers['x-outrigger-term']) > 0
            assert 'content-type' in headers or not body
        v = json.loads(s.ask('GET', '/v1/controller/version')[2])
        assert v['rest_api_version'] == '1.28.0' and set(v) == {'version', 'git_hash', 'build_time', 'rest_api_version'}
        c = json.loads(s.ask('GET', '/v1/controller/config')[2])
        assert c['log']['level'] == 'INFO' and c['http']['enabled'] is True
        assert s.ask('PUT', '/v1/controller/config', b'{"log":{"level":"WARN"}}')[0] == 200
        assert json.loads(s.ask('GET', '/v1/controller/config')[2])['log']['level'] == 'WARN'
        check_error(s.ask('PUT', '/v1/controller/config', b'{"log":{"level":"LOUD"}}'), 500)
        status, headers, body = s.ask('GET', '/v1/nodes?consistency=stale')
        assert headers['x-outrigger-stale-ms'] == '0' and s.stats()['reads'] == 1
        assert json.loads(s.ask('GET', '/metrics/scrape-target')[2])[0]['targets'] == [f'127.0.0.1:{s.port}']


# ---- outcomes ----

def test_outcomes():
    with server() as s:
        entries = check_error(s.ask('POST', '/v1/nodes?fake_err=1012'), 500)
        assert 'not known' in entries[0]['message'] and entries[0]['cause'] and 'Idempotency-Key' in entries[0]['correction']
        entries = check_error(s.ask('POST', '/v1/nodes?fake_err=1011'), 500)
        assert 'no leader' in entries[0]['message']
        check_error(s.ask('POST', '/v1/nodes?fake_refuse=1'), 500)
        assert s.stats()['reports'] == 0
        for path, n in (('/v1/nodes?fake_err=1006', 1), ('/v1/nodes?fake_garbage=1', 2)):
            entries = check_error(s.ask('POST', path), 500)
            assert entries[0]['error_report_ids'][0].startswith('ErrorReport-'), entries
            eventually(lambda: s.stats()['reports'] == n)
        entries = check_error(s.ask('GET', '/v1/nodes?fake_damage=1'), 500)
        assert entries[0]['error_report_ids']
        for _ in range(30):
            s.ask('POST', '/v1/nodes?fake_err=1007')
        eventually(lambda: s.stats()['reports'] == 10)
        time.sleep(0.2)
        assert s.stats()['reports'] == 10, s.stats()


def test_waits():
    with server() as s:
        status, _, body = s.ask('POST', '/v1/nodes?fake_waits=3')
        entries = json.loads(body)
        assert status == 201 and len(entries) == 2 and entries[1]['ret_code'] & 0x7FFF == 1002, body
        assert s.stats()['waits'] == 3
        status, _, body = s.ask('POST', '/v1/nodes?fake_waits=3&async=true')
        assert len(json.loads(body)) == 1 and s.stats()['waits'] == 3


# ---- coming and going ----

def refused(port):
    try:
        socket.create_connection(('127.0.0.1', port), 5).close()
        return False
    except ConnectionRefusedError:
        return True


def in_flight(s, n, path):
    conns = [s.connect(40) for _ in range(n)]
    for c in conns:
        c.sendall(b'POST ' + path + b' HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}')
    eventually(lambda: s.stats()['in_flight'] == n)
    return conns


def test_quiesce():
    with server() as s:
        for _ in range(3):
            idle = s.connect()
            idle.sendall(b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n')
            read_answer(idle.makefile('rb'))
            conns = in_flight(s, 100, b'/v1/nodes?fake_ms=2000')
            s.say('quiesce')
            eventually(lambda: refused(s.port))
            assert idle.recv(1) == b''
            for c in conns:
                f = c.makefile('rb')
                status, headers, body = read_answer(f)
                assert status == 201 and headers['connection'].lower() == 'close' and json.loads(body)
                assert f.read() == b''
            assert s.line() == 'drained'
            s.say('reopen')
            assert s.line() == 'reopened'
            status, headers, _ = s.ask('GET', '/v1/nodes')
            assert status == 200 and headers.get('connection') != 'close'


def test_quiesce_under_load():
    """Clients that start anew on a refused connect never lose an accepted request."""
    with server() as s:
        lost, done, stop = [], [0], threading.Event()

        def client():
            while not stop.is_set():
                try:
                    c = s.connect()
                except ConnectionRefusedError:
                    time.sleep(0.01)
                    continue
                except OSError as e:
                    lost.append(repr(e))
                    continue
                try:
                    c.sendall(b'POST /v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}')
                    if read_answer(c.makefile('rb'))[0] != 201:
                        lost.append('status')
                except Exception as e:
                    lost.append(repr(e))
                done[0] += 1
                c.close()
        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        for _ in range(8):
            time.sleep(0.15)
            s.say('quiesce')
            assert s.line() == 'drained'
            s.say('reopen')
            assert s.line() == 'reopened'
        stop.set()
        for t in threads:
            t.join()
        assert done[0] > 40 and not lost, (done, lost[:5])


def test_election():
    with server('--unhealthy-ms', 3000, '--leave-ms', 60000) as s:
        s.say('quorum off')
        assert s.ask('GET', '/health')[0] == 200  # for a while
        conns = in_flight(s, 20, b'/v1/nodes')
        reads = s.connect()
        reads.sendall(b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n')
        start = time.monotonic()
        assert s.ask('GET', '/v1/controller/version')[0] == 200
        assert time.monotonic() - start < 10 * PATIENCE  # it is not held
        eventually(lambda: s.ask('GET', '/health')[0] == 500, 20)
        check_error(s.ask('GET', '/health'), 500)
        status, headers, _ = s.ask('GET', '/v1/nodes?consistency=stale')
        assert status == 200 and int(headers['x-outrigger-stale-ms']) >= 3000
        s.say('quorum on')
        for c in conns:
            assert read_answer(c.makefile('rb'))[0] == 201
        assert read_answer(reads.makefile('rb'))[0] == 200
        eventually(lambda: s.ask('GET', '/health')[0] == 200, 3)


def test_no_quorum():
    with server('--unhealthy-ms', 300, '--leave-ms', 3000, '--hold-ms', 5000, secure=True) as s:
        s.say('quorum off')
        conns = in_flight(s, 10, b'/v1/nodes')
        idle = s.connect()
        eventually(lambda: s.ask('GET', '/health')[0] == 500)
        eventually(lambda: refused(s.port) and refused(s.tls_port))
        assert idle.recv(1) == b''
        # Whoever was let in gets an answer, and it says what is the matter.
        for c in conns:
            answer = read_answer(c.makefile('rb'))
            entries = check_error(answer, 500)
            assert 'no leader' in entries[0]['message'] and answer[1]['connection'].lower() == 'close'
        # The administrator still gets in.
        u = socket.socket(socket.AF_UNIX)
        u.connect(os.path.join(s.dir, 'sock'))
        u.sendall(b'GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
        assert read_answer(u.makefile('rb'))[0] == 500
        s.say('quorum on')
        eventually(lambda: not refused(s.port) and not refused(s.tls_port), 4)
        assert s.ask('GET', '/v1/nodes')[0] == 200
        assert os.stat(os.path.join(s.dir, 'sock')).st_mode & 0o777 == 0o600


def test_close():
    for word in ('close', 'cancel'):
        with server() as s:
            conns = in_flight(s, 20, b'/v1/nodes?fake_ms=1500')
            stuck = in_flight_more(s, 5, b'/v1/nodes?fake_never=1')
            s.say(word)
            for c in conns:
                status, headers, _ = read_answer(c.makefile('rb'))
                assert status == (201 if word == 'close' else 500) and headers['connection'].lower() == 'close'
            for c in stuck:
                entries = check_error(read_answer(c.makefile('rb')), 500)
                assert 'not known' in entries[0]['message']
            if word == 'cancel':
                assert s.line() == 'closed'
            else:
                # The back end owes five answers for ever: it has to be closed for the end to come.
                s.p.kill()
                s.p.wait()
                s.p.returncode = 0


def in_flight_more(s, n, path):
    before = s.stats()['in_flight']
    conns = [s.connect(40) for _ in range(n)]
    for c in conns:
        c.sendall(b'POST ' + path + b' HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}')
    eventually(lambda: s.stats()['submits'] >= before + n)
    return conns


# ---- TLS ----

def tls_answer(s, client=None, version=None):
    context = ssl.create_default_context(cafile=os.path.join(s.dir, 'ca.pem'))
    if client:
        context.load_cert_chain(os.path.join(s.dir, client + '.pem'), os.path.join(s.dir, client + '.key'))
    if version:
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(('127.0.0.1', s.tls_port), 10 * PATIENCE) as c, \
            context.wrap_socket(c, server_hostname='127.0.0.1') as t:
        t.sendall(b'GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n')
        return read_answer(t.makefile('rb'))


def test_tls():
    with server(secure=True) as s:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert tls_answer(s, 'client', version)[0] == 200
            for client in (None, 'foreign'):
                try:
                    answer = tls_answer(s, client, version)
                    assert answer is None, answer
                except OSError:
                    pass
        assert s.stats()['reads'] == 2
        with contextlib.suppress(OSError), contextlib.suppress(ValueError), contextlib.suppress(AssertionError):
            import warnings
            warnings.simplefilter('ignore')
            assert tls_answer(s, 'client', ssl.TLSVersion.TLSv1_1) is None
        assert s.stats()['reads'] == 2
        # Junk and plain HTTP on the TLS port do not hurt.
        for junk in (b'GET / HTTP/1.1\r\n\r\n', os.urandom(500)):
            with socket.create_connection(('127.0.0.1', s.tls_port), 10) as c:
                c.sendall(junk)
        errors = []

        def work():
            try:
                for _ in range(5):
                    assert tls_answer(s, 'client')[0] == 200
            except Exception as e:
                errors.append(e)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors, errors[:2]
        eventually(lambda: s.stats()['connections'] == 0)


def main():
    if not SERVER.exists():
        print(f'skipped: {SERVER} is not built')
        sys.exit(77)
    tests = [(k[5:], v) for k, v in globals().items() if k.startswith('test_')]
    if len(sys.argv) > 1:
        tests = [t for t in tests if t[0] in sys.argv[1:]]
    failed = 0
    for name, test in tests:
        start = time.monotonic()
        try:
            test()
            print(f'ok      {name} ({time.monotonic() - start:.1f} s)', flush=True)
        except Exception:
            failed += 1
            print(f'FAILED  {name}\n{traceback.format_exc()}', flush=True)
    print(f'{len(tests) - failed} passed, {failed} failed')
    sys.exit(failed != 0)


if __name__ == '__main__':
    main()
