"""Config files as YAML mappings: read safely, with every mistake in one sentence, and no key given twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError


def read_config(path: str | Path) -> dict[str, Any]:
    """Parse a config file without validating it.

    Raises:
        UserError: the file cannot be read, is no YAML mapping, or gives a key twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a config file such as config/config.yaml"
        ) from None
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {where}not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: a config file is a mapping with the key 'experiments'")
    return dict(value)


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which would let a later key silently replace an equal one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key.value, str) else None)
        return super().construct_mapping(node, deep)
