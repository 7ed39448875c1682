"""How the noise of the slices of one series goes together along z."""

from medprotect.errors import ConfigError

COHERENT = "coherent"
"""The textures of all slices begin where the key says: neighbours have nearly the same noise."""

INDEPENDENT = "independent"
"""Those of each slice begin at a place of its own: neighbours have other noise."""

ALONG_Z = (COHERENT, INDEPENDENT)


def check_along_z(along_z: str) -> str:
    """Return what was asked for, if it is one of `ALONG_Z`.

    Raises
    ------
    ConfigError
        It is none.
    """
    if along_z not in ALONG_Z:
        raise ConfigError(f"The noise along z is one of {', '.join(ALONG_Z)}.")
    return along_z
