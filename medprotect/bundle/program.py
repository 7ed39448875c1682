"""The process that a bundle's own configs run in: ``python -m medprotect.bundle.program``.

It reads what `monai.bundle.run` is to be called with from its standard input, as JSON.
"""

import json
import sys
import warnings


def main() -> int:
    """Run a bundle, and return 0 where it came to its end."""
    # That configs are programs is what MONAI warns of here; the user has allowed this one.
    warnings.filterwarnings("ignore", category=UserWarning, module="monai")
    from monai.bundle.scripts import run

    arguments = json.loads(sys.stdin.read())
    try:
        run(**arguments)
    except Exception as error:  # its text may hold a path or a header value
        print(f"the bundle's own program failed: {_root(error)}", file=sys.stderr)
        return 1
    return 0


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
