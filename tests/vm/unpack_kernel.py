#!/usr/bin/env python3
"""The ELF kernel inside a bzImage: QEMU starts it directly (PVH), which saves the guest the unpacking.
usage: unpack_kernel.py BZIMAGE OUT. Offsets: Documentation/arch/x86/boot.rst of the kernel, fields setup_sects, payload_*."""
import struct
import subprocess
import sys

UNPACKERS = {b'\x02\x21\x4c\x18': ['lz4', '-dc'], b'\xfd7zX': ['xz', '-dc', '--single-stream'],
             b'\x28\xb5\x2f\xfd': ['zstd', '-dc'], b'\x1f\x8b\x08\x00': ['gzip', '-dc']}

with open(sys.argv[1], 'rb') as f:
    image = f.read()
if image[0x202:0x206] != b'HdrS':
    sys.exit(f'{sys.argv[1]} is no bzImage')
start = ((image[0x1f1] or 4) + 1) * 512
offset, length = struct.unpack_from('<II', image, 0x248)
payload = image[start + offset:start + offset + length]
unpacker = UNPACKERS.get(payload[:4])
if unpacker is None:
    sys.exit(f'unknown compression {payload[:4].hex()}')
# the length of the unpacked kernel follows the stream: some unpackers complain about these four bytes
elf = subprocess.run(unpacker, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
if elf[:4] != b'\x7fELF' or len(elf) < struct.unpack('<I', payload[-4:])[0]:
    sys.exit('the kernel could not be unpacked')
with open(sys.argv[2], 'wb') as f:
    f.write(elf)
