"""Bounds that a network must keep, written the way people write numbers."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Budget(BaseModel):
    """The `budget:` section of a recipe: hard bounds for one image.

    All are upper bounds but `flops_at_least`, which keeps a search from networks far below them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flops: Count | None = Field(
        None, gt=0, description="Most FLOPs (2 x MACs of convolutions and dense layers)"
    )
    macs: Count | None = Field(None, gt=0, description="Most multiply-accumulates")
    params: Count | None = Field(None, gt=0, description="Most parameters")
    tflite_bytes: Count | None = Field(
        None, gt=0, description="Most bytes of the int8 file, quantized after training"
    )
    peak_memory_bytes: Count | None = Field(
        None, gt=0, description="Most bytes of int8 activations alive at once"
    )
    latency_ms: Number | None = Field(
        None, gt=0, description="Longest time of the int8 file on one thread of this machine"
    )
    flops_at_least: Number | None = Field(
        None,
        ge=0,
        le=1,
        description="Fewest FLOPs, as a fraction (0..1) of those that flops or macs allow",
    )

    @model_validator(mode="after")
    def _fraction_of_something(self) -> Self:
        if self.flops_at_least is not None and self.most_flops() is None:
            raise ValueError(
                "flops_at_least is a fraction of another bound. "
                f"Received: flops_at_least={self.flops_at_least}. Set flops or macs as well"
            )
        return self

    @property
    def upper(self) -> dict[str, float]:
        """The upper bounds that are set, by the name of the cost."""
        return self.model_dump(exclude_none=True, exclude={"flops_at_least"})

    def broken_by(self, cost: Mapping[str, float]) -> list[str]:
        """Name the bounds that a network breaks; costs that are not there are not judged.

        >>> Budget(flops="1M", params=9).broken_by({"flops": 1_000_001, "params": 5})
        ['flops']
        >>> Budget(macs="1M", flops_at_least=0.5).broken_by({"macs": 499_999})
        ['flops_at_least']
        """
        broken = [name for name, most in self.upper.items() if cost.get(name, 0) > most]
        most_flops, flops = self.most_flops(), cost.get("flops", 2 * cost.get("macs", math.inf))
        if self.flops_at_least is not None and most_flops is not None:
            broken += ["flops_at_least"] * (flops < self.flops_at_least * most_flops)
        return broken

    def most_flops(self) -> int | None:
        """What `flops` and `macs` allow together, in FLOPs; None: anything."""
        bounds = [self.flops, None if self.macs is None else 2 * self.macs]
        return min((bound for bound in bounds if bound is not None), default=None)
