"""A film that needs no encoder: every frame is a picture that Pillow packs as VP8, which is what WebP holds.

The container is WebM, https://www.matroska.org/technical/elements.html, with the cues before the frames, so that a
player can seek by asking for a range.
"""

import io
import struct

from PIL import Image, ImageDraw

SIZE = (480, 320)  # pixels
TICKS = 1000  # milliseconds of a second

# Elements of EBML, by their numbers.
EBML, SEGMENT, INFO, TRACKS, TRACK, VIDEO, CUES, CUE, CUE_POSITIONS, CLUSTER, BLOCK, VOID = (
    *(0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1C53BB6B, 0xBB, 0xB7, 0x1F43B675, 0xA3, 0xEC),
)
TRACK_NUMBER = 1


def make_film(seconds, frames_per_second=5, padding=0):
    """Return a film in which a ball crosses the picture; each second has ``padding`` bytes that say nothing."""
    clusters = [
        _element(
            CLUSTER,
            _number(0xE7, second * TICKS),
            *(_block(frame, frames_per_second, seconds, second) for frame in range(frames_per_second)),
            _element(VOID, bytes(padding)),
        )
        for second in range(seconds)
    ]
    head = [_info(seconds), _tracks()]
    cues = _cues(clusters, sum(map(len, head)))
    return _header() + _element(SEGMENT, *head, cues, *clusters)


def _header():
    return _element(
        EBML,
        *(_number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8)),
        _element(0x4282, b"webm"),
        *(_number(0x4287, 4), _number(0x4285, 2)),
    )


def _info(seconds):
    return _element(
        INFO,
        _number(0x2AD7B1, 1_000_000),  # nanoseconds of a tick
        _element(0x4489, struct.pack(">d", seconds * TICKS)),
        _element(0x4D80, b"example.film"),
        _element(0x5741, b"example.film"),
    )


def _tracks():
    video = _element(VIDEO, _number(0xB0, SIZE[0]), _number(0xBA, SIZE[1]))
    numbers = (_number(0xD7, TRACK_NUMBER), _number(0x73C5, TRACK_NUMBER), _number(0x83, 1), _number(0x9C, 0))
    return _element(TRACKS, _element(TRACK, *numbers, _element(0x86, b"V_VP8"), video))


def _cues(clusters, before):
    """Return where each second begins, counted from the first byte of the segment's content."""
    # All numbers have eight bytes, so that the length is known before what they say.
    position = before + len(_cue_points([0] * len(clusters)))
    positions = []
    for cluster in clusters:
        positions.append(position)
        position += len(cluster)
    return _cue_points(positions)


def _cue_points(positions):
    return _element(
        CUES,
        *(
            _element(
                CUE,
                _number(0xB3, second * TICKS),
                _element(CUE_POSITIONS, _number(0xF7, TRACK_NUMBER), _number(0xF1, position)),
            )
            for second, position in enumerate(positions)
        ),
    )


def _block(frame, frames_per_second, seconds, second):
    share = (second + frame / frames_per_second) / seconds
    head = struct.pack(">BhB", 0x80 | TRACK_NUMBER, frame * TICKS // frames_per_second, 0x80)  # 0x80: a key frame
    return _element(BLOCK, head, _key_frame(share))


def _key_frame(share):
    """Return the picture after ``share`` (0 to 1) of the film, as VP8."""
    picture = Image.new("RGB", SIZE, "#9ccbe8")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 170, *SIZE), fill="#2f5d45")
    x = 20 + share * (SIZE[0] - 80)
    pen.ellipse((x, 110, x + 60, 170), fill="#d98f7c")
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=60)
    webp = file.getvalue()  # RIFF <size> WEBP "VP8 " <size> <frame>
    return webp[20 : 20 + int.from_bytes(webp[16:20], "little")]


def _number(identity, value):
    return _element(identity, value.to_bytes(8, "big"))


def _element(identity, *content):
    body = b"".join(content)
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body
