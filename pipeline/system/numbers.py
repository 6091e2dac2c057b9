"""Numbers as people write them: 0.00003, and not 2.9999999999999997e-05."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

DIGITS = 12  # significant digits; a float computes about 16, and the last are noise
SMALLEST, LARGEST = 1e-9, 1e15  # beyond these, an exponent is easier to read than zeros


def plain(value: float) -> str:
    """Write a float without rounding noise, and without an exponent where people use none.

    >>> plain(2.9999999999999997e-05), plain(1e-4), plain(0.1 + 0.2), plain(30.0)
    ('0.00003', '0.0001', '0.3', '30.0')
    >>> plain(1e-12), plain(float("nan"))
    ('1e-12', 'nan')
    """
    return exact(float(f"{value:.{DIGITS}g}"))


def exact(value: float) -> str:
    """Write a float so that reading it gives the same float, without an exponent where possible.

    >>> exact(3e-05), exact(0.5), exact(2.9999999999999997e-05)
    ('0.00003', '0.5', '0.000029999999999999997')
    """
    if not math.isfinite(value) or (value and not SMALLEST <= abs(value) < LARGEST):
        return repr(value)
    return format(Decimal(repr(value)), "f")


def short(value: float, digits: int = 6) -> str:
    """Write a measured number to a few significant digits, as `%g` does but without an exponent.

    >>> short(0.00003), short(1234.56789), short(30.0), short(2e9, 4)
    ('0.00003', '1234.57', '30', '2000000000')
    """
    text = exact(float(f"{value:.{digits}g}"))
    return text.removesuffix(".0")


def written(value: Any) -> str:
    """Write a setting for people: as `str` does, with every float in it `plain`.

    >>> written((0.0, 1e-5)), written("1e-5"), written(None)
    ('(0.0, 0.00001)', '1e-5', 'None')
    """
    return value if isinstance(value, str) else shown(value)


def shown(value: Any) -> str:
    """Write a value for people: as `repr` does, with every float in it `plain`.

    >>> shown({"rate": 3e-05, "kinds": ["a"]})
    "{'rate': 0.00003, 'kinds': ['a']}"
    """
    if isinstance(value, float):
        return plain(float(value))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {shown(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    return repr(value)
