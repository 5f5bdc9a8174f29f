"""Clocks of members that jump and drift: the file that clock.c reads in the process."""
import mmap
import struct
import subprocess
import time

LAYOUT = struct.Struct('<Qqqqq')


def build(source, into):
    """The library; None when it cannot be compiled."""
    done = subprocess.run(['cc', '-O2', '-shared', '-fPIC', '-o', str(into), str(source)], capture_output=True)
    return into if done.returncode == 0 else None


class Clock:
    def __init__(self, path, library):
        now = time.monotonic_ns()
        path.write_bytes(LAYOUT.pack(0, now, now, 1000000, 0))
        self.file = open(path, 'r+b')
        self.map = mmap.mmap(self.file.fileno(), LAYOUT.size)
        self.environment = {'LD_PRELOAD': str(library), 'OUTRIGGER_CLOCK': str(path)}

    def set(self, rate=1.0, jump_s=None):
        """From now on the clocks go so fast; jump_s: CLOCK_REALTIME is that far off, None = as far as before."""
        seq, true_ns, own_ns, ppm, jump = LAYOUT.unpack(self.map[:])
        now = time.monotonic_ns()
        own_ns += (now - true_ns) * ppm // 1000000
        jump = jump if jump_s is None else int(jump_s * 1e9)
        self.map[:8] = struct.pack('<Q', seq + 1)
        self.map[8:] = struct.pack('<qqqq', now, own_ns, int(rate * 1000000), jump)
        self.map[:8] = struct.pack('<Q', seq + 2)
