"""A small S3 for tests, in memory: objects, listing in pages, uploads in parts. It checks every signature (AWS Signature Version 4) by its
own arithmetic, and the hash of every body, and refuses what does not fit, as the real one does. Not for anything else.

    server = S3Server('127.0.0.90', 9000, 'access', 'secret', 'region', 'bucket')
    server.objects               key -> bytes
    server.uploads               id -> (key, {part number: bytes})
    server.hold(seconds)         each part takes so long from now on
    server.fail(count)           so many requests are answered with 503
    server.requests              "METHOD path?query" of all that were answered well"""
import hashlib
import hmac
import http.server
import threading
import time
import urllib.parse
import xml.sax.saxutils

PAGE = 3  # a listing has pages, and the tests need not many objects for that


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def answer(self, status, body=b'', headers=()):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        try:
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):  # who asked was stopped, or is dead
            self.close_connection = True

    def refuse(self, status, code):
        self.answer(status, f'<Error><Code>{code}</Code><Message>it was refused</Message></Error>'.encode())

    def signature_ok(self, body):
        """Everything that is signed is taken from the request itself."""
        s = self.server.s3
        try:
            kind, rest = self.headers['Authorization'].split(' ', 1)
            fields = dict(part.strip().split('=', 1) for part in rest.split(','))
            access, day, region, service, end = fields['Credential'].split('/')
        except (KeyError, ValueError, AttributeError):
            return False
        stamp, digest = self.headers.get('x-amz-date', ''), self.headers.get('x-amz-content-sha256', '')
        if (kind, access, region, service, end) != ('AWS4-HMAC-SHA256', s.access, s.region, 's3', 'aws4_request'):
            return False
        if not stamp.startswith(day) or digest != hashlib.sha256(body).hexdigest():
            return False
        split = urllib.parse.urlsplit(self.path)
        pairs = sorted(p.split('=', 1) if '=' in p else [p, ''] for p in split.query.split('&') if p)
        names = fields['SignedHeaders'].split(';')
        if 'host' not in names or names != sorted(names):
            return False
        request = '\n'.join([self.command, split.path, '&'.join('='.join(p) for p in pairs),
                             ''.join(f'{n}:{self.headers[n].strip()}\n' for n in names), ';'.join(names), digest])
        scope = '/'.join((day, region, service, end))
        text = '\n'.join(['AWS4-HMAC-SHA256', stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = ('AWS4' + s.secret).encode()
        for part in (day, region, service, end):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), fields['Signature'])

    def handle_one(self):
        s = self.server.s3
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        split = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(split.path)
        query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        if not self.signature_ok(body):
            return self.refuse(403, 'SignatureDoesNotMatch')
        bucket, _, key = path[1:].partition('/')
        if bucket != s.bucket:
            return self.refuse(404, 'NoSuchBucket')
        with s.lock:
            if s.failing > 0:
                s.failing -= 1
                return self.refuse(503, 'SlowDown')
            s.requests.append(f'{self.command} {self.path}')
        if 'partNumber' in query:
            s.pause()
        with s.lock:
            return self.act(s, key, query, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

    def act(self, s, key, query, body):
        if self.command == 'GET' and not key:
            return self.uploads(s, query) if 'uploads' in query else self.listing(s, query)
        if self.command == 'GET':
            return self.answer(200, s.objects[key]) if key in s.objects else self.refuse(404, 'NoSuchKey')
        if self.command == 'POST' and 'uploads' in query:
            s.count += 1
            name = f'upload+{s.count}/='
            s.uploads[name] = (key, {})
            return self.answer(200, f'<R><UploadId>{name}</UploadId></R>'.encode())
        if 'uploadId' in query:
            return self.part(s, key, query, body)
        if self.command == 'PUT':
            s.objects[key] = body
            return self.answer(200)
        if self.command == 'DELETE':
            s.objects.pop(key, None)
            return self.answer(204)
        return self.refuse(405, 'MethodNotAllowed')

    def listing(self, s, query):
        keys = [k for k in sorted(s.objects) if k.startswith(query.get('prefix', '')) and k > query.get('continuation-token', '')]
        page = keys[:min(PAGE, int(query.get('max-keys', PAGE)))]
        text = ''.join(f'<Contents><Key>{xml.sax.saxutils.escape(k)}</Key><Size>{len(s.objects[k])}</Size></Contents>' for k in page)
        if len(page) < len(keys):
            text += f'<NextContinuationToken>{xml.sax.saxutils.escape(page[-1])}</NextContinuationToken>'
        self.answer(200, f'<ListBucketResult>{text}</ListBucketResult>'.encode())

    def uploads(self, s, query):
        text = ''.join(f'<Upload><Key>{xml.sax.saxutils.escape(k)}</Key><UploadId>{i}</UploadId></Upload>'
                       for i, (k, _) in s.uploads.items() if k.startswith(query.get('prefix', '')))
        self.answer(200, f'<R>{text}</R>'.encode())

    def part(self, s, key, query, body):
        upload = s.uploads.get(query['uploadId'])
        if upload is None or upload[0] != key:
            return self.refuse(404, 'NoSuchUpload')
        if self.command == 'DELETE':
            del s.uploads[query['uploadId']]
            return self.answer(204)
        if self.command == 'PUT':
            upload[1][int(query['partNumber'])] = body
            return self.answer(200, headers=[('ETag', '"' + hashlib.md5(body).hexdigest() + '"')])
        parts = [upload[1][i] for i in sorted(upload[1])]
        wanted = ''.join(f'<Part><PartNumber>{i + 1}</PartNumber><ETag>"{hashlib.md5(p).hexdigest()}"</ETag></Part>' for i, p in enumerate(parts))
        if f'<CompleteMultipartUpload>{wanted}</CompleteMultipartUpload>'.encode() != body or any(len(p) < 5 << 20 for p in parts[:-1]):
            return self.answer(200, b'<Error><Code>InvalidPart</Code></Error>')  # as the real one may
        del s.uploads[query['uploadId']]
        s.objects[key] = b''.join(parts)
        return self.answer(200, b'<R/>')


class S3Server:
    def __init__(self, address, port, access, secret, region, bucket):
        self.access, self.secret, self.region, self.bucket = access, secret, region, bucket
        self.objects, self.uploads, self.requests = {}, {}, []
        self.count, self.failing, self.delay = 0, 0, 0
        self.lock = threading.Lock()
        self.http = http.server.ThreadingHTTPServer((address, port), Handler)
        self.http.daemon_threads = True
        self.http.s3 = self
        self.url = f'http://{address}:{port}'
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def pause(self):
        end = time.monotonic() + self.delay
        while time.monotonic() < end and self.delay > 0:
            time.sleep(0.05)

    def hold(self, seconds):
        self.delay = seconds

    def fail(self, count):
        with self.lock:
            self.failing = count

    def close(self):
        self.http.shutdown()
        self.http.server_close()
