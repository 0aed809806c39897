"""What of torch the language leaves out, by name, each with its reason. Read only when such a name is met.

Each module here has a mapping `EXCLUDED` from names to reasons: sentences that say what to write instead.
"""

from importlib import import_module
from pkgutil import iter_modules


def reason(name: str) -> str | None:
    """Why the language has no such name; none where it is not left out on purpose."""
    for module in iter_modules(__path__):
        found: str | None = import_module(f"{__name__}.{module.name}").EXCLUDED.get(name)
        if found is not None:
            return found
    return None
