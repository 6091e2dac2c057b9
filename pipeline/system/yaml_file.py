"""YAML as recipes have it: no key twice, and numbers as people write them."""

from typing import Any

import yaml

from pipeline.system import numbers


class _Loader(yaml.SafeLoader):
    """YAML in which a key cannot be given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep) for key, _ in node.value]  # type: ignore[no-untyped-call]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} is given twice", node.start_mark
            )
        return dict(super().construct_mapping(node, deep))


class _Dumper(yaml.SafeDumper):
    """YAML that writes 0.00001 for the float 1e-05, which reads as the same float."""

    def _float(self, value: float) -> Any:
        text = numbers.exact(value)
        if "e" in text or "n" in text:  # an exponent, an infinity or no number
            return self.represent_float(value)
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _Dumper._float)


def read(text: str) -> Any:
    """Read YAML.

    Raises:
        yaml.YAMLError: the text is not YAML, or gives a key twice.
    """
    return yaml.load(text, _Loader)


def write(value: Any) -> str:
    """Write plain data as YAML, in its own order; reading it gives the same data."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
