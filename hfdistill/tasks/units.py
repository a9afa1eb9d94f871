"""Units of measurement, each as a factor, the symbol that it is measured by and that symbol's power; and words for
large numbers, which are factors alone.
"""

from fractions import Fraction


INCH = Fraction(254, 10_000)
POUND = Fraction(45_359_237, 100_000)
LITRE = Fraction(1, 1000)

# Written as they stand: as letters of a formula they would be unknowns.
_SHORT = {
    "m": (1, "m", 1),
    "g": (1, "g", 1),
    "s": (1, "s", 1),
    "h": (3600, "s", 1),
    "l": (LITRE, "m", 3),
    **{letter: (1, letter, 1) for letter in "NJWVK"},
    "L": (LITRE, "m", 3),
}
_LONG = {
    ("mm", "millimeter", "millimetre"): (Fraction(1, 1000), "m", 1),
    ("cm", "centimeter", "centimetre"): (Fraction(1, 100), "m", 1),
    ("dm", "decimeter", "decimetre"): (Fraction(1, 10), "m", 1),
    ("meter", "metre"): (1, "m", 1),
    ("km", "kilometer", "kilometre"): (1000, "m", 1),
    ("in", "inch", "inche"): (INCH, "m", 1),
    ("ft", "foot", "feet"): (12 * INCH, "m", 1),
    ("yd", "yard"): (36 * INCH, "m", 1),
    ("mi", "mile"): (63_360 * INCH, "m", 1),
    ("mg", "milligram"): (Fraction(1, 1000), "g", 1),
    ("gram",): (1, "g", 1),
    ("kg", "kilogram"): (1000, "g", 1),
    ("lb", "pound"): (POUND, "g", 1),
    ("oz", "ounce"): (POUND / 16, "g", 1),
    ("sec", "second"): (1, "s", 1),
    ("min", "minute"): (60, "s", 1),
    ("hr", "hour"): (3600, "s", 1),
    ("day",): (86_400, "s", 1),
    ("week",): (7 * 86_400, "s", 1),
    ("ml", "milliliter", "millilitre"): (LITRE / 1000, "m", 3),
    ("liter", "litre"): (LITRE, "m", 3),
    **{
        (name,): (1, name, 1)
        for name in ("month", "year", "gallon", "acre", "cent", "mph", "hz", "pa", "mol", "newton")
    },
}
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
UNITS = {name: (factor, "m", 0) for name, factor in SCALES.items()} | _SHORT
UNITS |= {name + end: unit for names, unit in _LONG.items() for name in names for end in ("", "s")}
POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


def unit_of(word: str) -> tuple[Fraction | int, str, int] | None:
    """What one of the unit that `word` names is: so many of a symbol to a power; `None` where it names none."""
    return UNITS.get(word if len(word) == 1 else word.lower())
