"""Arithmetic with a bound at every step: exact on rationals, and rounded to 200 bits where there are roots, functions
and unknowns.

What passes a bound is `Unreadable`, on every machine alike, so that no time limit decides what an answer is.
"""

import hashlib
from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial

import mpmath


MOST_BITS = 16_384  # of an exact number
MOST_EXPONENT_BITS = 24  # of the binary exponent of a rounded one
LARGEST_FACTORIAL = 10**6
POINTS = 3

mp = mpmath.MPContext()
mp.prec = 200

# A rational, as long as it stays one, or a rounded number; or one of either at each point.
Scalar = Fraction | mp.mpf | mp.mpc
Value = Scalar | tuple[Scalar, ...]


class Unreadable(Exception):
    """An expression that is not understood, or passes a bound."""


def unknown(name: str) -> tuple[Scalar, ...]:
    """What an unknown is at each point: above 0 at the first, of either sign at the others, by its name alone."""
    values = []
    for point in range(POINTS):
        digest = hashlib.sha256(f"{point} {name}".encode()).digest()
        size = mp.mpf(int.from_bytes(digest[1:17], "big")) / 2**128 + mp.mpf(1) / 2
        values.append(-size if point and (digest[0] + point) % 2 else size)
    return tuple(values)


def each(function: Callable, *values: Value) -> Value:
    """A function of numbers, at each point where one of them has unknowns."""
    if any(isinstance(value, tuple) for value in values):
        columns = zip(*(value if isinstance(value, tuple) else (value,) * POINTS for value in values), strict=True)
        return tuple(bounded(function(*column)) for column in columns)
    return bounded(function(*values))


def bounded(number: Scalar) -> Scalar:
    """The number itself.

    Raises:
        [`Unreadable`]: if it has too many digits, is not finite or out of all proportion.
    """
    if isinstance(number, Fraction):
        if number.numerator.bit_length() + number.denominator.bit_length() > MOST_BITS:
            raise Unreadable("too many digits")
    elif not mp.isfinite(number) or (number and abs(int(mp.mag(number))).bit_length() > MOST_EXPONENT_BITS):
        raise Unreadable("no finite number, or too large a one")
    return number


def rounded(number: Scalar) -> mp.mpf | mp.mpc:
    return mp.mpf(number.numerator) / number.denominator if isinstance(number, Fraction) else number


def exactly(function: Callable[[Fraction, Fraction], Fraction]) -> Callable[[Scalar, Scalar], Scalar]:
    def of(a: Scalar, b: Scalar) -> Scalar:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return function(a, b)
        return function(rounded(a), rounded(b))

    return of


add = exactly(lambda a, b: a + b)
multiply = exactly(lambda a, b: a * b)
divide = exactly(lambda a, b: a / b)


def negate(number: Scalar) -> Scalar:
    return -number


def raise_to(base: Scalar, exponent: Scalar) -> Scalar:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        if abs(base) == 1:
            return base ** int(exponent % 2)
        bits = base.numerator.bit_length() + base.denominator.bit_length()
        if base and abs(exponent) * bits > 2 * MOST_BITS:
            raise Unreadable("too many digits")
        if base:
            return base ** int(exponent)
    if not base:
        if rounded(exponent).real > 0:
            return Fraction(0)
        raise Unreadable("a power of nothing")
    return apply(mp.exp, rounded(exponent) * mp.log(rounded(base)))


def root(radicand: Scalar, degree: Scalar) -> Scalar:
    """The root that is real where there is one: the third root of -8 is -2."""
    odd = isinstance(degree, Fraction) and degree.denominator == 1 and degree % 2 == 1
    if odd and isinstance(radicand, Fraction | mp.mpf) and radicand < 0:
        return -raise_to(-radicand, 1 / degree)
    return raise_to(radicand, divide(Fraction(1), degree))


def apply(function: Callable, number: Scalar) -> Scalar:
    """A transcendental function, for arguments up to the exponent that a result may have."""
    number = rounded(number)
    if number and mp.mag(number) > MOST_EXPONENT_BITS:
        raise Unreadable("too large an argument")
    return function(number)


def factorial_of(number: Scalar) -> Scalar:
    if isinstance(number, Fraction) and number.denominator == 1 and 0 <= number <= 500:
        return Fraction(factorial(int(number)))
    return _gamma(add(number, Fraction(1)))


def binomial(n: Scalar, k: Scalar) -> Scalar:
    if isinstance(n, Fraction) and isinstance(k, Fraction) and n.denominator == k.denominator == 1 and 0 <= n <= 1000:
        return Fraction(comb(int(n), int(k)) if k >= 0 else 0)
    below = multiply(factorial_of(k), factorial_of(add(n, negate(k))))
    return divide(factorial_of(n), below)


def _gamma(number: Scalar) -> Scalar:
    number = rounded(number)
    if abs(number) > LARGEST_FACTORIAL:
        raise Unreadable("too large a factorial")
    return mp.gamma(number)


def floor(number: Scalar) -> Scalar:
    return Fraction(number.__floor__()) if isinstance(number, Fraction) else mp.floor(number)


def ceiling(number: Scalar) -> Scalar:
    return Fraction(number.__ceil__()) if isinstance(number, Fraction) else mp.ceil(number)
