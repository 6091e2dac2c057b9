"""Networks that were trained before: where their weights are from, and how they fit other data."""

from pipeline.pretrained.adaptation import Head, Pixels, adapt
from pipeline.pretrained.family import check, fill
from pipeline.pretrained.sources import KNOWN, Loaded, load

__all__ = ["KNOWN", "Head", "Loaded", "Pixels", "adapt", "check", "fill", "load"]
