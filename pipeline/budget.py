"""Upper bounds that a network must keep, written the way people write numbers."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def count(value: Any) -> Any:
    """Read a human number; leaves anything that is not one to the validator.

    >>> count("6M"), count("1.5G"), count("40k"), count(7), count("many")
    (6000000, 1500000000, 40000, 7, 'many')
    """
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?|\.\d+)\s*([kmgt]?)", str(value).strip().lower())
    if isinstance(value, bool) or not match:
        return value
    number = Decimal(match[1]) * SUFFIX[match[2]]  # as a float, 4.1M would not be a whole number
    return int(number) if number == int(number) else float(number)


# strict, or `true` would be taken as 1
Count = Annotated[int, Field(strict=True), BeforeValidator(count)]


class Budget(BaseModel):
    """The `budget:` section of a recipe: hard upper bounds for one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flops: Count | None = Field(
        None, gt=0, description="Most FLOPs (2 x MACs of convolutions and dense layers)"
    )
    params: Count | None = Field(None, gt=0, description="Most parameters")

    def broken_by(self, cost: dict[str, int]) -> list[str]:
        """Name the bounds that a network of this cost exceeds.

        >>> Budget(flops="1M").broken_by({"flops": 1_000_001, "params": 5})
        ['flops']
        """
        bounds = self.model_dump(exclude_none=True)
        return [name for name, limit in bounds.items() if cost[name] > limit]
