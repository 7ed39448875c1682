"""What a store, or the SDK that speaks to it, may answer, as errors of ours."""

import re

from medprotect.errors import (
    ConfigError,
    InputChangedError,
    MedprotectError,
    PeerError,
    UnsafePathError,
)
from medprotect.scan.walk import CHANGED

_CHANGED_CODES = frozenset({"NoSuchKey", "404", "PreconditionFailed", "412", "NoSuchVersion"})
TAKEN_CODES = frozenset({"PreconditionFailed", "412"})
UNKNOWN_CODES = frozenset({"NotImplemented", "501"})
_REFUSED_OBJECT_CODES = frozenset(
    {"AccessDenied", "403", "InvalidObjectState", "InvalidRequest", "400", "KMS.DisabledException"}
)
"""What may be the matter with one object: of a cold storage class, or under a key of its own."""

_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "InvalidConfigError",
        "ConfigParseError",
        "NoRegionError",
        "TokenRetrievalError",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
    }
)


def error_of(
    error: Exception, missing: type[MedprotectError], *, of_object: bool = False
) -> MedprotectError:
    """Return the error of ours for one of the SDK, whose own text holds keys.

    Parameters
    ----------
    error : Exception
        What the SDK raised.
    missing : type of MedprotectError
        Our error that there is no such bucket.
    of_object : bool
        Whether one object was asked for, whose fault it may be.
    """
    code, kind = code_of(error), type(error).__name__
    if code == "NoSuchBucket":
        return missing("there is no such bucket in the object store; look at its name")
    if of_object and code in _CHANGED_CODES:
        return InputChangedError(CHANGED)
    if of_object and code in _REFUSED_OBJECT_CODES:
        return UnsafePathError(
            f"the object store does not give it ({code}); see its permissions, encryption key "
            "and storage class"
        )
    if kind in _NO_CREDENTIALS:
        return ConfigError(
            f"The AWS SDK finds no credentials for the object store ({kind}); set AWS_PROFILE, "
            "or what it takes them from where you are."
        )
    return PeerError(
        f"the object store is away or refuses ({code or kind}); nothing is lost; see that it "
        "runs and lets you in, then run again"
    )


def code_of(error: BaseException | None) -> str:
    """Return the store's own word for an error; "" for one that it did not send."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            return code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else "no code"
        error = error.__cause__
    return ""
