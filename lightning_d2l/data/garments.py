"""Synthetic garments: ten classes of grey 28 x 28 drawings in the manner of Fashion-MNIST.

A garment is a signed distance (negative inside), evaluated on the pixel grids of a whole batch at once, together
with a detail: a factor that darkens seams, buttons and prints and leaves the rest at one.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Number = float | Array
Drawing = tuple[Array, Array]

CLASS_NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SIZE = 28
PIXEL = 2 / SIZE
BATCH = 100  # So few drawings that their grids stay in the processor's cache.


class Canvas:
    """The grids x (to the right) and y (down), (n, 28, 28), of n drawings, and the source of their parameters.

    One unit is half a frame. Each drawing has its own position, size, rotation and shear within the frame.
    """

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.rng, self.n = rng, n
        axis = ((np.arange(SIZE) + 0.5) * PIXEL - 1).astype(np.float32)
        size = self.between(0.75, 1.0)
        u = (1 - 2 * self.chance(0.5)) * (axis - self.between(-0.13, 0.13)) / (size * self.between(0.88, 1.06))
        v = (axis[:, None] - self.between(-0.13, 0.13)) / size
        turn, lean = self.between(-0.12, 0.12), self.between(-0.1, 0.1)
        self.x: Array = u + (turn + lean) * v
        self.y: Array = v - turn * u
        # The distance from the axis of symmetry, with one side a little wider than the other.
        self.side: Array = np.abs(self.x) + self.between(-0.08, 0.08) * self.x

    def between(self, low: Number, high: Number) -> Array:
        """One uniform random number for each drawing, (n, 1, 1)."""
        return self.rng.uniform(low, high, (self.n, 1, 1)).astype(np.float32)

    def chance(self, probability: float) -> Array:
        """One for a random share of the drawings and zero for the others, (n, 1, 1)."""
        return (self.rng.random((self.n, 1, 1)) < probability).astype(np.float32)


def box(x: Array, y: Array, left: Number, right: Number, top: Number, bottom: Number) -> Array:
    """Distance to an upright rectangle; bounds that vary over the grid give it slanted or curved sides."""
    return np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))


def ellipse(x: Array, y: Array, rx: Number, ry: Number) -> Array:
    """Approximate distance to an ellipse around the origin."""
    return (np.sqrt((x / rx) ** 2 + (y / ry) ** 2) - 1) * np.minimum(rx, ry)


def bar(x: Array, y: Array, angle: Array, length: Array, start: Number, end: Number) -> Array:
    """Distance to a bar from the origin, at an angle (radians) below the x axis, that narrows from start to end."""
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.abs(np.cos(angle) * y - np.sin(angle) * x)
    return np.maximum(np.abs(along - length / 2) - length / 2, across - start - (end - start) / length * along)


def line(distance: Array, half_width: Number) -> Array:
    """Distance to a line drawn along the edge of a shape."""
    return np.abs(distance) - half_width


def cover(distance: Array) -> Array:
    """Share of each pixel inside a shape: its edge is one pixel wide."""
    return np.clip(0.5 - distance / PIXEL, 0, 1)


def dark(distance: Array, strength: Array) -> Array:
    """Detail that darkens a shape by a strength of up to one, or lightens it where that is negative."""
    return 1 - strength * cover(distance)


def repeated(t: Array, period: Number) -> Array:
    """Coordinate that starts anew, from minus to plus half a period, every period."""
    return t - period * np.rint(t / period)


def rise(t: Array) -> Array:
    """Smooth rise from 0 where t is 0 to 1 where t is 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def sleeved(c: Canvas, sleeve: Array, angle: Array, chest: Array, hem: Array) -> Drawing:
    """Torso with sloping shoulders and two sleeves, and dark seams at the armholes."""
    waist, slope, half = chest - c.between(-0.03, 0.08), c.between(0.2, 0.4), c.between(0.14, 0.19)
    width = waist + (chest - waist) * np.abs(c.y - 0.1)
    torso = box(c.side, c.y, -1, width, slope * c.side - 0.92, hem)
    arm = bar(c.side - chest + 0.12, c.y + 0.9 - slope * chest - half, angle, sleeve, half, half * 0.7)
    return np.minimum(torso, arm), dark(line(c.side - width, 0.02), c.between(0.1, 0.6))


def scoop(c: Canvas, shape: Array) -> Array:
    """Shape with a round neckline cut out."""
    return np.maximum(shape, -ellipse(c.x, c.y + 0.95, c.between(0.17, 0.34), c.between(0.12, 0.3)))


def chest_print(c: Canvas, probability: float) -> Array:
    """Detail of a round print, darker or lighter than the cloth, on some of the drawings."""
    disc = ellipse(c.x, c.y + c.between(-0.1, 0.3), c.between(0.15, 0.35), c.between(0.1, 0.3))
    return dark(disc, c.chance(probability) * c.between(-0.4, 0.8))


def t_shirt(c: Canvas) -> Drawing:
    """Short, spread sleeves and a round neckline."""
    shape, seams = sleeved(c, c.between(0.3, 0.55), c.between(0.5, 1.2), c.between(0.46, 0.6), c.between(0.75, 0.98))
    return scoop(c, shape), seams * chest_print(c, 0.4)


def pullover(c: Canvas) -> Drawing:
    """Long sleeves, a round neckline and a ribbed hem."""
    hem = c.between(0.7, 0.95)
    shape, seams = sleeved(c, c.between(1.1, 1.5), c.between(1.15, 1.4), c.between(0.44, 0.56), hem)
    return scoop(c, shape), seams * chest_print(c, 0.2) * dark(line(c.y - hem + 0.14, 0.02), c.between(0, 0.5))


def coat(c: Canvas) -> Drawing:
    """Long sleeves, a long narrow body, lapels and a front that opens towards the hem."""
    shape, seams = sleeved(c, c.between(1.2, 1.55), c.between(1.2, 1.45), c.between(0.38, 0.52), c.between(0.88, 1.0))
    lapel = c.between(-0.5, 0.0)
    front = np.maximum(c.side - c.between(0, 0.12) * (c.y - lapel) - 0.02, lapel - c.y)
    collar = np.maximum(line(c.side - c.between(0.25, 0.5) * (lapel - c.y), 0.025), c.y - lapel)
    neck = np.maximum(c.side - 0.6 * (-0.7 - c.y), c.y + 0.7)
    return np.maximum(shape, -neck), seams * dark(front, c.between(0.3, 1)) * dark(collar, c.between(0.2, 0.8))


def shirt(c: Canvas) -> Drawing:
    """Sleeves of any length, a pointed collar and a row of buttons."""
    sleeve = c.between(0.35, 1.5)
    shape, seams = sleeved(c, sleeve, 0.6 + 0.5 * sleeve, c.between(0.42, 0.56), c.between(0.75, 1.0))
    point, gap = c.between(-0.65, -0.4), c.between(0.2, 0.35)
    neck = c.side - 0.5 * (point - c.y)
    collar = np.maximum(line(neck - 0.12, 0.02), c.y - point)
    buttons = ellipse(c.x, repeated(c.y - point - gap / 2, gap), 0.045, 0.045)
    placket = line(c.x + 0.08, 0.015)
    below = dark(np.maximum(np.minimum(buttons, placket), point - c.y), c.between(0.3, 0.9))
    return np.maximum(shape, -neck), seams * below * dark(collar, c.between(0.2, 0.8))


def dress(c: Canvas) -> Drawing:
    """Narrow waist and flared skirt, with short sleeves or none."""
    waist = c.between(-0.4, 0.05)
    width = c.between(0.14, 0.26) + np.maximum(c.between(0.1, 0.4) * (waist - c.y), c.between(0.1, 0.5) * (c.y - waist))
    body = box(c.side, c.y, -1, width, 0.3 * c.side - 0.95, c.between(0.8, 1.0))
    sleeve = c.between(0.03, 0.1) + c.chance(0.4) * c.between(0.1, 1.0)
    arm = bar(c.side - 0.2, c.y + 0.72, c.between(0.8, 1.4), sleeve, 0.12, 0.1)
    return scoop(c, np.minimum(body, arm)), dark(line(c.y - waist, 0.03), c.chance(0.5) * c.between(0.1, 0.8))


def trouser(c: Canvas) -> Drawing:
    """Two legs below a belt."""
    hip, foot, crotch = c.between(0.28, 0.42), c.between(0.28, 0.5), c.between(-0.55, -0.25)
    outer = hip + (foot - hip) * (c.y + 1) / 2
    inner = np.minimum(2 * (c.y - crotch), 0.02 + c.between(0, 0.2) * (c.y - crotch))
    shape = box(c.side, c.y, inner, outer, -0.95, c.between(0.75, 1.0))
    return shape, dark(line(c.y + 0.82, 0.025), c.between(0.1, 0.6))


def sandal(c: Canvas) -> Drawing:
    """Thin sole, raised at the heel, with straps over the toes and from the instep to a band round the ankle."""
    above = c.y - 0.65 + c.between(0, 0.5) * rise((c.x + 0.4) / 1.0)
    sole = box(c.x, above, -0.92, 0.88, 0, c.between(0.08, 0.18))
    heel = box(c.x, c.y, 0.88 - c.between(0.12, 0.9), 0.88, c.y - above, 0.7)
    width, ankle = c.between(0.03, 0.08), c.between(0.4, 0.75)
    toes = line(ellipse(c.x + 0.5, above, c.between(0.2, 0.38), c.between(0.22, 0.42)), width)
    band = line(ellipse(c.x - 0.52, above + ankle, 0.3, c.between(0.08, 0.2)), width)
    instep = bar(c.x + 0.35, above, -np.arctan2(ankle, 0.55), np.hypot(ankle, 0.55), width, width)
    back = box(c.x, above, 0.88 - c.between(0.08, 0.2), 0.88, -ankle, 0)
    straps = np.minimum(np.minimum(toes, back), np.minimum(band, instep + c.chance(0.4)))
    shape = np.minimum(np.minimum(sole, heel), np.maximum(straps, above))
    return shape, dark(line(above, 0.03), c.between(0, 0.6))


def shoe_height(c: Canvas, toe: Array, shaft: Array, throat: Array) -> Array:
    """Height of a shoe above the ground at every x: a round toe on the left, then a rise at the throat."""
    return toe * np.sqrt(np.clip((c.x + 0.93) / 0.3, 0, 1)) + (shaft - toe) * rise((c.x - throat) / c.between(0.4, 0.7))


def sneaker(c: Canvas) -> Drawing:
    """Low shoe on a thick sole, with laces and a stripe on its side."""
    ground, throat = c.between(0.4, 0.55), c.between(-0.55, -0.25)
    height = shoe_height(c, c.between(0.35, 0.5), c.between(0.7, 1.05), throat)
    shape = box(c.x, c.y, -0.93, 0.9, ground - height, ground)
    shape = np.maximum(shape, -ellipse(c.x - 0.5, c.y - ground + c.between(0.8, 1.0), 0.3, 0.2))
    sole = line(c.y - ground + c.between(0.12, 0.2), 0.025)
    stripe = bar(c.x - 0.1, c.y - ground + 0.2, c.between(-1.2, -0.4), c.between(0.3, 0.6), 0.06, 0.04)
    laces = line(repeated(c.x - throat, 0.16), 0.03)
    laces = np.maximum(laces, box(c.x, c.y - ground + height, throat, throat + 0.5, 0.04, 0.2))
    detail = dark(sole, c.between(0.2, 0.9)) * dark(stripe, c.between(-0.5, 0.8)) * dark(laces, c.between(0.3, 0.9))
    return shape, detail


def ankle_boot(c: Canvas) -> Drawing:
    """High shaft above a foot, with a heel."""
    ground, left = c.between(0.7, 0.9), c.between(-0.15, 0.15)
    foot = box(
        c.x,
        c.y,
        -0.93,
        0.85,
        ground - shoe_height(c, c.between(0.35, 0.5), 0.8 + 0 * left, left - 0.5),
        ground,
    )
    shaft = box(c.x + c.between(-0.1, 0.1) * c.y, c.y, left, 0.85, c.between(-0.95, -0.4), ground)
    arch = box(c.x, c.y, c.between(-0.1, 0.1), c.between(0.3, 0.6), ground - c.between(0.02, 0.25), 2)
    sole = line(c.y - ground + 0.2, 0.02)
    return np.maximum(np.minimum(foot, shaft), -arch), dark(sole, c.between(0, 0.8))


def bag(c: Canvas) -> Drawing:
    """Wide body with a flap, hanging from a handle."""
    top, half = c.between(-0.4, 0.05), c.between(0.65, 0.92)
    body = box(c.side, c.y, -1, half + c.between(-0.15, 0.1) * (c.y - 0.8), top, c.between(0.7, 0.9))
    reach = c.between(0.3, 0.6)
    handle = np.maximum(line(ellipse(c.x, c.y - top, reach, c.between(0.25, 0.6)), c.between(0.03, 0.08)), c.y - top)
    flap = line(ellipse(c.x, c.y - top, half, c.between(0.2, 0.6)), 0.025)
    return np.minimum(body, handle), dark(flap, c.chance(0.6) * c.between(0.2, 0.8))


GARMENTS = (t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot)


def paint(c: Canvas, shape: Array, detail: Array) -> npt.NDArray[np.uint8]:
    """Pixels, (n, 28, 28), of cloth in the given shape: stripes or checks, light from one side, folds and noise."""
    cloth = 1 - c.chance(0.2) * c.between(0.1, 0.4) * np.sin(c.between(8, 25) * c.y + c.between(0, 6))
    cloth -= c.chance(0.2) * c.between(0.1, 0.4) * np.sin(c.between(8, 25) * c.x + c.between(0, 6))
    light = 1 + c.between(-0.2, 0.2) * c.x + c.between(-0.2, 0.2) * c.y
    light -= c.between(0, 0.3) * np.clip(1 + shape / 0.2, 0, 1)
    noise = 1 + c.between(0.03, 0.4) * (c.rng.random(shape.shape, np.float32) - 0.5)
    tone = c.between(0.2, 0.95) * cloth * light * detail * noise
    return (255 * np.clip(tone, 0.05, 1) * cover(shape)).astype(np.uint8)


def draw_garments(num_samples: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,), in random order, with equally many of each class to within one."""
    source = np.random.SeedSequence([seed, num_samples])
    labels = np.random.Generator(np.random.PCG64(source)).permutation(np.arange(num_samples) % len(GARMENTS))
    images = np.empty((num_samples, SIZE, SIZE), np.uint8)

    def draw(label: int, places: npt.NDArray[np.int64], stream: np.random.SeedSequence) -> None:
        canvas = Canvas(np.random.Generator(np.random.PCG64(stream)), len(places))
        images[places] = paint(canvas, *GARMENTS[label](canvas))

    jobs = [
        (label, members[start : start + BATCH])
        for label in range(len(GARMENTS))
        for members in [np.flatnonzero(labels == label)]
        for start in range(0, len(members), BATCH)
    ]
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(draw, *job, stream) for job, stream in zip(jobs, source.spawn(len(jobs)), strict=True)
        ]:
            done.result()
    return images, labels.astype(np.uint8)
