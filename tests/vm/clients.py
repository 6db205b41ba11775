"""Who listens: the dashboard's event stream, a JSON-RPC client over WebSocket, and the kernel's and udev's own
account of devices. Each is a thread that notes what came when, by the monotonic clock; `hear` waits for it.
"""
import base64
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time


class Listener:
    """What came, as (seconds, thing), and a way to wait for some of it."""

    def __init__(self):
        self.heard, self.news, self.ended = [], threading.Condition(), None

    def begin(self):
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            self.listen()
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            self.ended = repr(error)

    def note(self, thing):
        now = time.monotonic()
        with self.news:
            self.heard.append((now, thing))
            self.news.notify_all()

    def hear(self, what, wanted, since=0.0, within=30):
        """When the first thing came at or after `since` that `wanted` says yes to, and the thing."""
        deadline, at = time.monotonic() + within, 0
        with self.news:
            while True:
                for when, thing in self.heard[at:]:
                    if when >= since and wanted(thing):
                        return when, thing
                at = len(self.heard)
                left = deadline - time.monotonic()
                assert left > 0, f'{type(self).__name__}: not within {within} s: {what}; {self.ended or ""}; last {str(self.heard[-3:])[-1500:]}'
                self.news.wait(left)


class Page(Listener):
    """/api/events as a browser reads it: the data of each event `state`."""

    def __init__(self, port):
        super().__init__()
        self.connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        self.connection.request('GET', '/api/events', headers={'Accept': 'text/event-stream'})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.status
        self.begin()

    def listen(self):
        event = ''
        while line := self.response.readline():
            if line.startswith(b'event: '):
                event = line[7:].strip().decode()
            elif line.startswith(b'data: ') and event == 'state':
                self.note({camera['id']: camera for camera in json.loads(line[6:])['cameras']})

    def close(self):
        self.connection.sock.close()


class Rpc(Listener):
    """A WebSocket (RFC 6455) with JSON-RPC: `call` answers, notifications are noted."""

    def __init__(self, port, topics=('camera_status_update', 'recording_status_update')):
        super().__init__()
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f'GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
                            f'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n'.encode())
        self.stream = self.socket.makefile('rb')
        status = self.stream.readline()
        assert b' 101 ' in status, status
        while self.stream.readline().strip():
            pass
        self.number, self.answers = 0, {}
        self.begin()
        self.call('subscribe_events', topics=list(topics))

    def listen(self):
        while True:
            first, second = self.stream.read(2)
            length = second & 127
            if length > 125:
                length = struct.unpack('>H' if length == 126 else '>Q', self.stream.read(2 if length == 126 else 8))[0]
            data = self.stream.read(length)
            if first & 15 == 9:
                self._send(10, data)
            elif first & 15 == 1:
                message = json.loads(data)
                if 'id' in message:
                    self.answers[message['id']] = message
                self.note(message)

    def _send(self, kind, data):
        mask = os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b'\xfe' + struct.pack('>H', len(data))
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.socket.sendall(bytes([0x80 | kind]) + length + mask + body)

    def call(self, method, **params):
        self.number += 1
        id = self.number
        self._send(1, json.dumps({'jsonrpc': '2.0', 'id': id, 'method': method, 'params': params}).encode())
        _, answer = self.hear(f'the answer to {method}', lambda message: message.get('id') == id)
        assert 'error' not in answer, answer
        return answer['result']

    def told(self, what, since=0.0, within=30, topic='camera_status_update', **wanted):
        """When a notification came that says so, and its parameters."""
        fits = lambda params: all(params.get(key) == value for key, value in wanted.items())
        when, message = self.hear(what, lambda m: m.get('method') == topic and fits(m['params']), since, within)
        return when, message['params']

    def close(self):
        self.socket.close()


# The relay runs on its own with nothing else of this file.
UEVENTS = '''
import os, re, socket, sys, time
KERNEL, UDEV = 1, 2
def uevents():
    """(seconds, group, action, node) of each video node, as it comes."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind((0, KERNEL | UDEV))
    while True:
        data = s.recv(65536)
        now = time.monotonic()
        udev = data.startswith(b'libudev')
        action = re.search(rb'ACTION=(\\w+)\\0', data)
        node = re.search(rb'DEVNAME=(?:/dev/)?(video\\d+)\\0', data)
        if action and node:
            yield now, 'udev' if udev else 'kernel', action[1].decode(), node[1].decode()
'''
RELAY = UEVENTS + '''
out = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _, *event in uevents():
    out.sendall((' '.join(event) + '\\n').encode())
'''
exec(UEVENTS)  # noqa: S102 - the same text for here and for the relay


class Kernel(Listener):
    """What the kernel and udev tell of video nodes."""

    def __init__(self):
        super().__init__()
        self.begin()

    def listen(self):
        for _, *event in uevents():  # noqa: F821
            self.note(tuple(event))


class Relay(Listener):
    """The least that a service could do: another process that hears of devices and says so over loopback. What
    it takes is the machine's time and not the service's."""

    def __init__(self):
        super().__init__()
        server = socket.create_server(('127.0.0.1', 0))
        self.process = subprocess.Popen([sys.executable, '-c', RELAY, str(server.getsockname()[1])])
        self.socket, _ = server.accept()
        server.close()
        self.begin()

    def listen(self):
        for line in self.socket.makefile():
            self.note(tuple(line.split()))

    def close(self):
        self.process.kill()
        self.process.wait()
