"""Sample photos, drawn on the spot: ridges that fade into the haze below a sky."""

import io
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

OVERSAMPLING = 2  # drawn at twice the size, so that the ridges come out smooth
HORIZON = 0.62  # share of the height


@dataclass(frozen=True)
class Scene:
    """The palette and the weather of one landscape; colours are ``#rrggbb``."""

    title: str
    sky: tuple[str, str, str]  # zenith, middle, horizon
    near: str  # the colour of the closest ridge; farther ones fade towards the horizon
    light: str
    light_at: tuple[float, float]  # share of width and height
    light_radius: float  # share of the height
    ridges: int = 6
    roughness: float = 0.5
    stars: int = 0
    lake: bool = False
    size: tuple[int, int] = (1200, 800)  # pixels


SCENES = (
    Scene("First light", ("#26406b", "#d98f7c", "#ffd9a0"), "#1d2a3f", "#fff1cf", (0.66, 0.5), 0.05),
    Scene("Blue hour", ("#0b1635", "#2c4a86", "#93a9d6"), "#0a1226", "#f5f3e6", (0.26, 0.2), 0.03, 5, 0.6, 240, True),
    Scene("Morning fog", ("#8ea3a6", "#c3cfcb", "#eef0e6"), "#2f4a45", "#ffffff", (0.5, 0.3), 0.06, 8, 0.42),
    Scene("Red canyon", ("#3e7ea6", "#a9cdd6", "#f7e3c4"), "#6e2a1b", "#fffbe8", (0.8, 0.18), 0.035, 5, 0.58),
    Scene(
        "Lake at dusk", ("#2b1d4f", "#b0508a", "#ffb07a"), "#1c1233", "#ffe3b8", (0.4, 0.42), 0.045, 5, 0.5, 60, True
    ),
    Scene("High meadow", ("#3f86c6", "#9ccbe8", "#f1f5dc"), "#1f5136", "#fffef2", (0.16, 0.16), 0.04, 7, 0.38),
)


def draw(scene):
    """Return ``scene`` as the bytes of a JPEG; the same scene gives the same picture."""
    rng = random.Random(scene.title)
    width, height = (side * OVERSAMPLING for side in scene.size)
    picture = Image.new("RGB", (width, height), scene.sky[2])
    picture.paste(_gradient((width, int(height * HORIZON)), scene.sky))
    _add_stars(picture, scene, rng)
    picture = _add_light(picture, scene)
    _add_ridges(picture, scene, rng)
    if scene.lake:
        _add_lake(picture, scene)
    picture = _add_grain(picture.resize(scene.size, Image.Resampling.LANCZOS))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=86, optimize=True)
    return jpeg.getvalue()


def _gradient(size, colours):
    column = Image.new("RGB", (1, len(colours)))
    column.putdata([_rgb(colour) for colour in colours])
    # Blown up from three pixels; the crop leaves out the flat halves of the outer ones.
    width, height = size
    step = height // (len(colours) - 1)
    tall = column.resize((1, step * len(colours)), Image.Resampling.BILINEAR)
    return tall.crop((0, step // 2, 1, step // 2 + step * (len(colours) - 1))).resize((width, height))


def _add_stars(picture, scene, rng):
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    for _ in range(scene.stars):
        x, y = rng.random() * width, rng.random() ** 1.6 * height * 0.55
        radius = rng.choice((1, 1, 1.5, 2.2))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_mix(scene.sky[0], "#ffffff", 0.75))


def _add_light(picture, scene):
    """Add the sun or the moon, and the glow around it."""
    width, height = picture.size
    x, y = scene.light_at[0] * width, scene.light_at[1] * height
    radius = scene.light_radius * height
    # The glow is blurred small and blown up: the blur of a large picture takes seconds.
    small = Image.new("RGB", (width // 16, height // 16))
    reach = radius * 2.4 / 16
    spot = (x / 16 - reach, y / 16 - reach, x / 16 + reach, y / 16 + reach)
    ImageDraw.Draw(small).ellipse(spot, fill=_mix("#000000", scene.light, 0.5))
    glow = small.filter(ImageFilter.GaussianBlur(reach * 1.2)).resize(picture.size, Image.Resampling.BICUBIC)
    picture = ImageChops.screen(picture, glow)
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=_rgb(scene.light))
    return picture


def _add_ridges(picture, scene, rng):
    width, height = picture.size
    for number in range(scene.ridges):
        nearness = (number + 1) / scene.ridges
        base = height * (0.5 + 0.36 * nearness)
        amplitude = height * (0.06 + 0.12 * nearness) * (0.6 + scene.roughness)
        crest = _crest(width, base, amplitude, scene.roughness, rng)
        top = _mix(scene.sky[2], scene.near, nearness**1.25)
        foot = _mix(top, _mix(scene.sky[2], scene.sky[1], 0.4), 0.45 * (1 - nearness) + 0.1)
        shade = _gradient((width, height), (top, top, foot))
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).polygon([(0, height), *crest, (width, height)], fill=255)
        picture.paste(shade, mask=mask)


def _crest(width, base, amplitude, roughness, rng):
    """Return the outline of a ridge: waves of rising frequency and falling height."""
    waves = [
        (2 ** (octave * 0.9) * rng.uniform(0.7, 1.3), rng.uniform(0, math.tau), roughness**octave)
        for octave in range(8)
    ]
    total = sum(weight for _, _, weight in waves)
    points = []
    for x in range(0, width + 6, 6):
        turn = x / width * math.tau
        lift = sum(weight * (1 - 2 * abs(math.sin(turn * pace / 2 + phase))) for pace, phase, weight in waves)
        points.append((x, base - amplitude * lift / total))
    return points


def _add_lake(picture, scene):
    """Mirror what lies above the shore, darker and softer towards the viewer."""
    width, height = picture.size
    shore = int(height * 0.76)
    depth = height - shore
    mirrored = picture.crop((0, shore - depth, width, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirrored = mirrored.resize((width // 4, depth // 8)).filter(ImageFilter.GaussianBlur(1)).resize((width, depth))
    water = Image.new("RGB", (width, depth), _mix(scene.near, scene.sky[1], 0.35))
    picture.paste(Image.blend(mirrored, water, 0.32), (0, shore))


def _add_grain(picture):
    grain = Image.effect_noise(picture.size, 9).convert("RGB")
    return ImageChops.overlay(picture, Image.blend(Image.new("RGB", picture.size, "#808080"), grain, 0.6))


def _rgb(colour):
    if isinstance(colour, tuple):
        return colour
    return tuple(int(colour[start : start + 2], 16) for start in (1, 3, 5))


def _mix(first, second, share):
    """Return ``first`` with ``share`` (0 to 1) of ``second`` in it."""
    return tuple(round(a + (b - a) * share) for a, b in zip(_rgb(first), _rgb(second), strict=True))
