"""Generated garments: ten classes of grey 28 x 28 drawings, similar to Fashion-MNIST.

A drawing has two arrays: the signed distance to a shape (negative inside), and a detail factor, which darkens seams,
buttons and prints and is 1 elsewhere. Both hold a batch of n drawings as (28, 28, n): rows, columns, drawings.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]  # Always float32, but mypy infers float64 for a float32 array times a number.
Number = float | Array
Drawing = tuple[Array, Array]

VERSION = 1  # of the drawings; cached drawings of another version are not used

SIZE = 28
PIXEL = 2 / SIZE
BATCH = 200  # Larger batches do not fit into the processor's cache, smaller ones spend their time on calls.


class Canvas:
    """Coordinates x (to the right) and y (down) of n drawings, (28, 28, n), and their random parameters.

    One unit is half a frame. Every drawing has a random position, size, rotation, shear and left-right orientation.
    """

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.rng, self.n = rng, n
        axis = ((np.arange(SIZE) + 0.5) * PIXEL - 1).astype(np.float32)
        size, mirror = self.between(0.82, 1.03), 1 - 2 * self.chance(0.5)
        u = mirror * (axis[:, None] - self.between(-0.14, 0.14)) / (size * self.between(0.88, 1.06))
        v = (axis[:, None, None] - self.between(-0.14, 0.14)) / size
        turn, shear = self.between(-0.18, 0.18), self.between(-0.1, 0.1)
        self.x: Array = u + (turn + shear) * v
        self.y: Array = v - turn * u
        # Distance from the axis of symmetry, stretched on one side so that no garment is quite symmetric.
        self.side: Array = np.abs(self.x) + self.between(-0.08, 0.08) * self.x

    def between(self, low: float, high: float) -> Array:
        """One uniform random number for each drawing, (n,)."""
        return self.rng.uniform(low, high, self.n).astype(np.float32)

    def chance(self, probability: float) -> Array:
        """1 with the given probability for each drawing, else 0, (n,)."""
        return (self.rng.random(self.n) < probability).astype(np.float32)


def box(x: Array, y: Array, left: Number, right: Number, top: Number, bottom: Number) -> Array:
    """Distance to a rectangle; a bound that varies over the pixels makes a slanted or curved side."""
    distance: Array = np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))
    return distance


def ellipse(x: Array, y: Array, rx: Number, ry: Number) -> Array:
    """Approximate distance to an ellipse around the origin."""
    return (np.sqrt((x / rx) ** 2 + (y / ry) ** 2) - 1) * np.minimum(rx, ry)


def bar(x: Array, y: Array, angle: Array, length: Array, start: Number, end: Number) -> Array:
    """Distance to a bar from the origin at an angle (radians) to the x axis; start, end: its half-widths."""
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.abs(np.cos(angle) * y - np.sin(angle) * x)
    half_width = start + (end - start) / length * along
    return np.maximum(np.abs(along - length / 2) - length / 2, across - half_width)


def line(distance: Array, half_width: Number) -> Array:
    """Distance to a line drawn along the edge of a shape."""
    return np.abs(distance) - half_width


def rise(t: Array) -> Array:
    """Smooth rise from 0 where t is 0 to 1 where t is 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def cover(distance: Array) -> Array:
    """Share of each pixel that lies inside a shape; its edge is one pixel wide."""
    share: Array = np.clip(0.5 - distance / PIXEL, 0, 1)
    return share


def dark(distance: Array, strength: Array) -> Array:
    """Detail that darkens a shape by a strength of at most one; a negative strength lightens it."""
    return 1 - strength * cover(distance)


def sleeved(c: Canvas, sleeve: Array, angle: Array, chest: Array, hem: Array) -> Drawing:
    """Torso with sloping shoulders and two sleeves, and dark seams between them."""
    waist, slope, half = chest - c.between(-0.03, 0.08), c.between(0.2, 0.4), c.between(0.14, 0.19)
    flank = c.side - waist - (chest - waist) * np.abs(c.y - 0.1)
    torso = np.maximum(flank, np.maximum(slope * c.side - 0.92 - c.y, c.y - hem))
    x, y = c.side - (chest - 0.12), c.y - (slope * chest + half - 0.9)
    shape = np.minimum(torso, bar(x, y, angle, sleeve, half, half * 0.7))
    return shape, dark(line(flank, 0.02), c.between(0.1, 0.6))


def scoop(c: Canvas, shape: Array) -> Array:
    """Shape with a round neckline cut out."""
    return np.maximum(shape, -ellipse(c.x, c.y + 0.95, c.between(0.17, 0.34), c.between(0.12, 0.3)))


def t_shirt(c: Canvas) -> Drawing:
    """Short, spread sleeves, a round neckline and sometimes a print on the chest."""
    hem = c.between(0.75, 0.98)
    shape, seams = sleeved(c, c.between(0.25, 0.65), c.between(0.5, 1.2), c.between(0.42, 0.58), hem)
    print_ = ellipse(c.x, c.y + c.between(-0.1, 0.3), c.between(0.15, 0.35), c.between(0.1, 0.3))
    return scoop(c, shape), seams * dark(print_, c.chance(0.4) * c.between(-0.4, 0.8))


def trouser(c: Canvas) -> Drawing:
    """Two legs below a belt."""
    hip, foot, crotch = c.between(0.28, 0.42), c.between(0.28, 0.5), c.between(-0.55, -0.25)
    outer = hip + (foot - hip) * (c.y + 1) / 2
    inner = np.minimum(2 * (c.y - crotch), 0.02 + c.between(0, 0.2) * (c.y - crotch))
    shape = box(c.side, c.y, inner, outer, -0.95, c.between(0.75, 1.0))
    return shape, dark(line(c.y + 0.82, 0.025), c.between(0.1, 0.6))


def pullover(c: Canvas) -> Drawing:
    """Long sleeves, a round neckline and a seam above the hem."""
    hem = c.between(0.7, 0.95)
    shape, seams = sleeved(c, c.between(0.95, 1.5), c.between(1.1, 1.4), c.between(0.42, 0.56), hem)
    return scoop(c, shape), seams * dark(line(c.y - hem + 0.14, 0.02), c.between(0, 0.5))


def dress(c: Canvas) -> Drawing:
    """Narrow waist with or without a belt, flared skirt, and sleeves of any length."""
    below = c.y - c.between(-0.4, 0.05)
    width = c.between(0.14, 0.32) + np.maximum(-c.between(0.1, 0.4) * below, c.between(0.1, 0.5) * below)
    body = box(c.side, c.y, -1, width, 0.3 * c.side - 0.95, c.between(0.8, 1.0))
    sleeve = c.between(0.03, 0.1) + c.chance(0.5) * c.between(0.1, 1.1)
    arm = bar(c.side - 0.2, c.y + 0.72, c.between(0.8, 1.4), sleeve, 0.12, 0.1)
    return scoop(c, np.minimum(body, arm)), dark(line(below, 0.03), c.chance(0.5) * c.between(0.1, 0.8))


def coat(c: Canvas) -> Drawing:
    """Long sleeves, a long body, lapels and a front that opens towards the hem."""
    hem = c.between(0.82, 1.0)
    shape, seams = sleeved(c, c.between(1.1, 1.5), c.between(1.15, 1.4), c.between(0.4, 0.54), hem)
    below = c.y - c.between(-0.5, 0.0)
    front = np.maximum(c.side - c.between(0, 0.12) * below - 0.02, -below)
    lapels = np.maximum(line(c.side + c.between(0.25, 0.5) * below, 0.025), below)
    neck = np.maximum(c.side + 0.6 * (c.y + 0.7), c.y + 0.7)
    return np.maximum(shape, -neck), seams * dark(np.minimum(front, lapels), c.between(0.4, 1.0))


def sandal(c: Canvas) -> Drawing:
    """Thin sole, raised at the heel, with straps over the toes, up the heel and round the ankle."""
    ground = c.between(0.35, 0.75)
    floor = ground - c.between(0, 0.5) * rise(c.x + 0.4)
    above = c.y - floor
    sole = box(c.x, above, -0.92, 0.88, 0, c.between(0.08, 0.18))
    heel = box(c.x, c.y, 0.88 - c.between(0.12, 0.9), 0.88, floor, ground + 0.05)
    width, ankle = c.between(0.03, 0.08), c.between(0.4, 0.75)
    toes = line(ellipse(c.x + 0.5, above, c.between(0.2, 0.38), c.between(0.22, 0.42)), width)
    band = line(ellipse(c.x - 0.52, above + ankle, 0.3, c.between(0.08, 0.2)), width)
    instep = bar(c.x + 0.35, above, -np.arctan2(ankle, 0.55), np.hypot(ankle, 0.55), width, width)
    back = box(c.x, above, 0.88 - c.between(0.08, 0.2), 0.88, -ankle, 0)
    # A distance of one more moves the instep strap off the drawing: not every sandal has it.
    straps = np.minimum(np.minimum(toes, back), np.minimum(band, instep + c.chance(0.4)))
    shape = np.minimum(np.minimum(sole, heel), np.maximum(straps, above))
    return shape, dark(line(above, 0.03), c.between(0, 0.6))


def shirt(c: Canvas) -> Drawing:
    """Sleeves of any length, a pointed collar and a row of buttons."""
    sleeve = c.between(0.35, 1.5)
    shape, seams = sleeved(c, sleeve, 0.6 + 0.5 * sleeve, c.between(0.42, 0.56), c.between(0.75, 1.0))
    below, gap = c.y - c.between(-0.65, -0.4), c.between(0.2, 0.35)
    neck = c.side + 0.5 * below
    collar = np.maximum(line(neck - 0.12, 0.02), below)
    # The distance from the nearest multiple of the gap repeats one button down the front.
    buttons = np.maximum(np.abs(c.x), np.abs(below - gap * np.rint(below / gap))) - 0.045
    front = np.maximum(np.minimum(buttons, line(c.x + 0.08, 0.015)), -below)
    return np.maximum(shape, -neck), seams * dark(np.minimum(front, collar), c.between(0.4, 1.0))


def shoe_height(c: Canvas, toe: Array, shaft: Number, throat: Array) -> Array:
    """Height of a shoe above the ground at every x: a round toe on the left, then a rise at the throat."""
    front: Array = toe * np.sqrt(np.clip((c.x + 0.93) / 0.3, 0, 1))
    return front + (shaft - toe) * rise((c.x - throat) / c.between(0.4, 0.7))


def sneaker(c: Canvas) -> Drawing:
    """Low shoe on a thick sole, with an opening for the foot and a stripe on its side."""
    above, shaft = c.y - c.between(0.25, 0.7), c.between(0.65, 1.05)
    height = shoe_height(c, c.between(0.35, 0.5), shaft, c.between(-0.55, -0.25))
    opening = ellipse(c.x - 0.5, above + shaft, 0.3, c.between(0.1, 0.25))
    shape = np.maximum(box(c.x, above, -0.93, 0.9, -height, 0), -opening)
    sole = line(above + c.between(0.12, 0.2), 0.025)
    stripe = bar(c.x - 0.1, above + 0.2, c.between(-1.2, -0.4), c.between(0.3, 0.6), 0.06, 0.04)
    return shape, dark(sole, c.between(0.2, 0.9)) * dark(stripe, c.between(-0.5, 0.8))


def bag(c: Canvas) -> Drawing:
    """Wide body that hangs from a handle, often with a flap."""
    top, half, reach = c.between(-0.4, 0.15), c.between(0.55, 0.92), c.between(0.3, 0.6)
    below = c.y - top
    body = box(c.side, below, -1, half + c.between(-0.15, 0.1) * below, 0, c.between(0.6, 0.95) - top)
    handle = line(ellipse(c.x, below, reach, c.between(0.25, 0.6)), c.between(0.03, 0.08))
    flap = line(ellipse(c.x, below, half, c.between(0.2, 0.6)), 0.025)
    return np.minimum(body, np.maximum(handle, below)), dark(flap, c.chance(0.6) * c.between(0.2, 0.8))


def ankle_boot(c: Canvas) -> Drawing:
    """High shaft above a foot, with a heel."""
    ground, left = c.between(0.55, 0.9), c.between(-0.15, 0.15)
    above = c.y - ground
    foot = box(c.x, above, -0.93, 0.85, -shoe_height(c, c.between(0.35, 0.5), 0.8, left - 0.5), 0)
    shaft = box(c.x + c.between(-0.1, 0.1) * c.y, above, left, 0.85, -c.between(0.95, 1.6), 0)
    arch = box(c.x, above, c.between(-0.1, 0.1), c.between(0.3, 0.6), -c.between(0.02, 0.25), 1)
    return np.maximum(np.minimum(foot, shaft), -arch), dark(line(above + 0.2, 0.02), c.between(0, 0.8))


GARMENTS = (t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot)


def paint(c: Canvas, shape: Array, detail: Array) -> npt.NDArray[np.uint8]:
    """Pixels, (28, 28, n), of a shape in plain, striped or checked cloth under light from one side."""
    cloth = c.chance(0.25) * c.between(0.1, 0.4) * np.sin(c.between(8, 25) * c.y + c.between(0, 6))
    cloth += c.chance(0.25) * c.between(0.1, 0.4) * np.sin(c.between(8, 25) * c.x + c.between(0, 6))
    light = c.between(-0.2, 0.2) * c.x + c.between(-0.2, 0.2) * c.y
    light -= c.between(0, 1.5) * np.maximum(shape, -0.2)  # Darker towards the edge, where cloth curves away.
    noise = c.between(0.03, 0.35) * c.rng.random(shape.shape, np.float32)
    tone: Array = np.clip(c.between(0.35, 1.0) * detail * (1 + cloth + light - noise), 0, 1)
    return (255 * tone * cover(shape)).astype(np.uint8)


def draw_garments(num_samples: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,) in random order, equally many of each class to within one."""
    source = np.random.SeedSequence([seed, num_samples])
    order = np.random.Generator(np.random.PCG64(source)).permutation(num_samples)
    labels = (order % len(GARMENTS)).astype(np.uint8)
    images = np.empty((num_samples, SIZE, SIZE), np.uint8)

    def draw(places: npt.NDArray[np.intp], stream: np.random.SeedSequence) -> None:
        canvas = Canvas(np.random.Generator(np.random.PCG64(stream)), len(places))
        images[places] = paint(canvas, *GARMENTS[labels[places[0]]](canvas)).transpose(2, 0, 1)

    classes = [np.flatnonzero(labels == label) for label in range(len(GARMENTS))]
    batches = [places[start : start + BATCH] for places in classes for start in range(0, len(places), BATCH)]
    # Each batch has its own random stream, so the drawings do not depend on which thread takes which batch.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(draw, batches, source.spawn(len(batches))))
    return images, labels
