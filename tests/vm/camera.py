"""A USB camera in user space: USB/IP messages on one end of a socket pair, the kernel's vhci-hcd on the other.

uvcvideo sees a UVC 1.1 camera with MJPEG and YUY2 over one bulk endpoint and a brightness control. Used by
scenario.py inside the virtual machine, as root, with vhci-hcd and uvcvideo loaded.
"""
import os
import socket
import struct
import threading
import time

ATTACH = '/sys/devices/platform/vhci_hcd.0/attach'
DETACH = '/sys/devices/platform/vhci_hcd.0/detach'
WIDTH, HEIGHT = 640, 480
# uvcvideo's bulk transfers are at most 32 packets long; a payload in more than one would have headers in the picture.
PAYLOAD = 16384
YUY2 = bytes.fromhex('5955593200001000800000aa00389b71')
STALL = -32
# The request with which pictures begin.
COMMIT = bytes([0x21, 1, 0, 2, 1, 0])
# What a host controller says of every transfer with a device that is not there any more.
GONE = -71
INTERVALS = (666666, 1000000, 2000000)
FRAME_BYTES = WIDTH * HEIGHT * 2


def _frame(subtype):
    body = struct.pack('<BBHHIIIIB', 1, 0, WIDTH, HEIGHT, 1000000, 50000000, FRAME_BYTES, INTERVALS[1], len(INTERVALS))
    body += b''.join(struct.pack('<I', interval) for interval in INTERVALS)
    return struct.pack('BBB', len(body) + 3, 0x24, subtype) + body


def _configuration():
    terminals = bytes([18, 0x24, 2, 1, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0])  # camera
    terminals += bytes([12, 0x24, 5, 2, 1, 0, 0, 2, 0x01, 0, 0, 0])  # processing unit: brightness
    terminals += bytes([9, 0x24, 3, 3, 0x01, 0x01, 0, 2, 0])  # output
    header = struct.pack('<BBBHHIBB', 13, 0x24, 1, 0x0110, 13 + len(terminals), 6000000, 1, 1)
    control = bytes([9, 4, 0, 0, 0, 0x0E, 1, 0, 0]) + header + terminals
    color = bytes([6, 0x24, 0x0D, 1, 1, 4])
    formats = bytes([11, 0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0]) + _frame(7) + color
    formats += bytes([27, 0x24, 4, 2, 1]) + YUY2 + bytes([16, 1, 0, 0, 0, 0]) + _frame(5) + color
    inputs = struct.pack('<BBBBHBBBBBBB', 15, 0x24, 1, 2, 15 + len(formats), 0x81, 0, 3, 0, 0, 0, 1) + bytes([0, 0])
    streaming = bytes([9, 4, 1, 0, 1, 0x0E, 2, 0, 0]) + inputs + formats + bytes([7, 5, 0x81, 2, 0, 2, 0])
    association = bytes([8, 0x0B, 0, 2, 0x0E, 3, 0, 0])
    rest = association + control + streaming
    return struct.pack('<BBHBBBBB', 9, 2, 9 + len(rest), 2, 1, 0, 0x80, 250) + rest


class Camera:
    """One camera on one port, from plugging in to unplugging."""

    def __init__(self, frames, product='Rig Camera', serial=None, vendor=0x1209, model=0x0001, mute=False, liar=False, hung=False):
        self.frames, self.product, self.serial, self.mute = frames, product, serial, mute
        self.vendor, self.model, self.liar, self.hung = vendor, model, liar, hung
        self.brightness, self.hangs = 10, 0
        self.port = None

    def plug(self, port):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket, self.port, self.over = ours, port, False
        self.lock, self.waiting, self.halted = threading.Condition(), [], 0
        self.probe = bytearray(34)
        self.probe[2:8] = struct.pack('<BBI', 1, 1, INTERVALS[1])
        self.server = threading.Thread(target=self._serve, daemon=True)
        self.server.start()
        threading.Thread(target=self._stream, daemon=True).start()
        self.plugged = time.monotonic()
        with open(ATTACH, 'w') as attach:
            attach.write(f'{port} {theirs.fileno()} {port + 1} 3')
        theirs.close()

    def unplug(self):
        """Pulls it out: as on a real bus, what is under way fails at once and so does what is asked after that.

        vhci-hcd by itself leaves a request that is under way to its time limit of 5 s, with the driver's locks
        held, and so it does with one that comes while it detaches. So the device goes first, by its hub's word,
        and then the port, at which nobody asks for anything any more.
        """
        if self.port is None:
            return
        self.unplugged = time.monotonic()
        with self.lock:
            self.over = True
            try:
                for seq, _ in self.waiting:
                    self._reply(seq, GONE, b'')
            except OSError:
                pass
            self.waiting.clear()
            self.lock.notify_all()
        device = f'/sys/bus/usb/devices/1-{self.port + 1}'
        self._write(device + '/remove', '1')
        deadline = time.monotonic() + 10
        while os.path.exists(device) and time.monotonic() < deadline:
            time.sleep(0.005)
        self._write(DETACH, str(self.port))
        self.server.join(5)
        self.socket.close()
        self.port = None

    @staticmethod
    def _write(path, text):
        try:
            with open(path, 'w') as file:
                file.write(text)
        except OSError:
            pass

    # Messages.

    def _read(self, length):
        data = b''
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _serve(self):
        try:
            while True:
                head = self._read(48)
                command, seq, _, inward, endpoint = struct.unpack('>5I', head[:20])
                if command == 2:
                    self._unlink(seq, struct.unpack('>I', head[20:24])[0])
                    continue
                length = struct.unpack('>I', head[24:28])[0]
                out = b'' if inward else self._read(length)
                if self.over:
                    with self.lock:
                        self._reply(seq, GONE, b'')
                elif self.hung and head[40:46] == COMMIT:
                    # Its firmware says nothing more; the driver waits for 5 s.
                    self.hangs += 1
                elif endpoint == 0:
                    self._answer(seq, self._control(head[40:48], out), length, inward)
                else:
                    with self.lock:
                        if self.over:
                            self._reply(seq, GONE, b'')
                        else:
                            self.waiting.append((seq, length))
                            self.lock.notify_all()
        except (EOFError, OSError):
            with self.lock:
                self.over = True
                self.lock.notify_all()

    def _reply(self, seq, status, data, actual=None):
        actual = len(data) if actual is None else actual
        self.socket.sendall(struct.pack('>5IiIIII8x', 3, seq, 0, 0, 0, status, actual, 0, 0, 0) + data)

    def _answer(self, seq, data, length, inward):
        with self.lock:
            if data is None:
                self._reply(seq, STALL, b'')
            elif inward:
                self._reply(seq, 0, data[:length])
            else:
                self._reply(seq, 0, b'', length)

    def _unlink(self, seq, target):
        with self.lock:
            before = len(self.waiting)
            self.waiting = [urb for urb in self.waiting if urb[0] != target]
            status = -104 if len(self.waiting) < before else 0
            self.socket.sendall(struct.pack('>5Ii24x', 4, seq, 0, 0, 0, status))

    # Requests; None stalls.

    def _control(self, setup, out):
        kind, request, value, index, length = struct.unpack('<BBHHH', setup)
        if (kind, request) == (0x80, 6):
            return self._descriptor(value >> 8, value & 255)
        if (kind, request) in ((0x00, 9), (0x01, 11)):
            return b''
        if kind & 0x60 == 0 and request == 0:
            return b'\0\0'
        if kind == 0x02 and request == 1:
            with self.lock:
                self.halted += 1
                self.waiting.clear()
            return b''
        if kind in (0x21, 0xA1):
            selector, unit, interface = value >> 8, index >> 8, index & 255
            if interface == 1 and selector in (1, 2):
                # A liar agrees to everything until it is to be done.
                return None if self.liar and (selector, request) == (2, 1) else self._negotiate(request, out)
            if (interface, unit, selector) == (0, 2, 2):
                return self._brightness(request, out)
        return None

    def _descriptor(self, kind, index):
        if kind == 1:
            serial = 3 if self.serial else 0
            return struct.pack('<BBHBBBBHHHBBBB', 18, 1, 0x0200, 0xEF, 2, 1, 64, self.vendor, self.model, 0x0100, 1, 2, serial, 1)
        if kind == 2:
            return _configuration()
        if kind == 3:
            if index == 0:
                return bytes([4, 3, 9, 4])
            text = {1: 'Rig', 2: self.product, 3: self.serial}.get(index)
            if text:
                data = text.encode('utf-16-le')
                return bytes([len(data) + 2, 3]) + data
        return None

    def _negotiate(self, request, out):
        if request == 1:
            self.probe[:len(out)] = out
            fmt, interval = min(max(self.probe[2], 1), 2), struct.unpack('<I', self.probe[4:8])[0]
            interval = min(INTERVALS, key=lambda offered: abs(offered - interval))
            self.probe[2:8] = struct.pack('<BBI', fmt, 1, interval)
            self.probe[18:26] = struct.pack('<II', FRAME_BYTES, PAYLOAD)
            return b''
        if request == 0x85:
            return struct.pack('<H', 34)
        if request == 0x86:
            return b'\x03'
        self.probe[18:26] = struct.pack('<II', FRAME_BYTES, PAYLOAD)
        return bytes(self.probe)

    def _brightness(self, request, out):
        if request == 1:
            self.brightness = struct.unpack('<h', out[:2])[0]
            return b''
        numbers = {0x81: self.brightness, 0x82: -64, 0x83: 64, 0x84: 1, 0x87: 10}
        if request in numbers:
            return struct.pack('<h', numbers[request])
        return {0x85: struct.pack('<H', 2), 0x86: b'\x03'}.get(request)

    # Pictures.

    def _stream(self):
        count, toggle = 0, 0
        while True:
            with self.lock:
                while not self.over and (not self.waiting or self.mute):
                    self.lock.wait(0.5)
                if self.over:
                    return
                halted = self.halted
            started = time.monotonic()
            frame = self.frames[count % len(self.frames)] if self.probe[2] == 1 else bytes(FRAME_BYTES)
            count += 1
            toggle ^= 1
            if not self._send(frame, toggle, halted):
                continue
            interval = struct.unpack('<I', self.probe[4:8])[0] / 1e7
            time.sleep(max(0, interval - (time.monotonic() - started)))

    def _send(self, frame, toggle, halted):
        at = 0
        while at < len(frame):
            with self.lock:
                while not self.waiting and not self.over and self.halted == halted:
                    self.lock.wait(1)
                if self.over or self.halted != halted:
                    return False
                # Taken and answered under one lock: an unlink in between would lose it.
                seq, length = self.waiting.pop(0)
                part = frame[at:at + min(PAYLOAD, length) - 2]
                at += len(part)
                last = 2 if at >= len(frame) else 0
                try:
                    self._reply(seq, 0, bytes([2, 0x80 | last | toggle]) + part)
                except OSError:
                    return False
        return True
