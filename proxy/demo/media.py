"""Computes the demo's picture and sound, so that no binary is kept in the repository."""

import io
import math
import struct
import wave
import zlib
from array import array
from typing import Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TRUECOLOUR: Final = 2
SAMPLE_RATE: Final = 44_100
PENTATONIC_HZ: Final = (392.0, 440.0, 523.25, 587.33, 659.25, 783.99)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def plasma_png(width: int, height: int) -> bytes:
    """An RGB PNG of overlapping waves, `width` by `height` pixels."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # each PNG row opens with its filter type; 0 is "none"
        for x in range(width):
            phase = math.sin(x / 23) + math.sin(y / 17) + math.sin((x + y) / 31)
            rows += bytes(int(127.5 + 127.5 * math.sin(phase * 2 + turn)) for turn in (0, 2, 4))
    header = struct.pack(">IIBBBBB", width, height, 8, TRUECOLOUR, 0, 0, 0)
    return b"".join(
        (
            PNG_SIGNATURE,
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", zlib.compress(bytes(rows))),
            _png_chunk(b"IEND", b""),
        )
    )


def chimes_wav(seconds: int) -> bytes:
    """A mono 16-bit PCM WAV of `seconds`: one struck tone a second, `88,200` bytes each."""
    tones = [_struck_tone(frequency) for frequency in PENTATONIC_HZ]
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        for second in range(seconds):
            # Steps of five through six tones visit each of them before one comes back.
            out.writeframesraw(tones[second * 5 % len(tones)])
    return sound.getvalue()


def _struck_tone(frequency: float) -> bytes:
    """One second of a decaying sine as little-endian 16-bit samples."""
    samples = array(
        "h",
        (
            int(
                20_000
                * math.exp(-4 * n / SAMPLE_RATE)
                * math.sin(2 * math.pi * frequency * n / SAMPLE_RATE)
            )
            for n in range(SAMPLE_RATE)
        ),
    )
    if struct.pack("=h", 1) != struct.pack("<h", 1):
        samples.byteswap()
    return samples.tobytes()
