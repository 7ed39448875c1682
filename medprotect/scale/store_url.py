"""How a tree in a store is named, and to where a connection may go."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from medprotect.errors import ConfigError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """Where in a store a tree lies.

    Attributes
    ----------
    bucket : str
        Name of the bucket.
    root : str
        What the keys of all objects of the tree begin with: "", or a prefix with its slash.
    """

    bucket: str
    root: str

    @classmethod
    def parse(cls, text: str) -> "StoreUrl":
        """Return the place that ``s3://BUCKET/PREFIX`` names.

        Raises
        ------
        ConfigError
            It names none, or holds credentials.
        """
        scheme, _, rest = text.partition("://")
        if scheme != "s3":
            raise ConfigError(
                "Only URLs like s3://BUCKET/PREFIX are known. Copy other files to a folder first."
            )
        bucket, _, prefix = rest.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
            raise ConfigError(
                "Name a store as s3://BUCKET/PREFIX, without credentials. Those come from the "
                "environment or the files of the AWS SDK."
            )
        prefix = prefix.removesuffix("/")
        if prefix and (set(prefix.split("/")) & {"", ".", ".."} or "\0" in prefix):
            raise ConfigError(
                "The prefix of the URL must not have an empty part, '.' or '..' in it."
            )
        return cls(bucket, prefix + "/" if prefix else "")

    def overlaps(self, other: "StoreUrl") -> bool:
        """Whether one of two trees lies in the other."""
        within = self.root.startswith(other.root) or other.root.startswith(self.root)
        return self.bucket == other.bucket and within


def check_endpoint(endpoint: str) -> None:
    """Refuse a service to which images would go in clear.

    Raises
    ------
    ConfigError
        Plain HTTP, and elsewhere than on this machine.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            "The endpoint of the object store is plain HTTP, which would send images unencrypted. "
            "Use an https endpoint, or one on this machine."
        )
