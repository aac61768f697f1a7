"""The system's keyring: Secret Service, KWallet, macOS's Keychain, or what `keyring` is configured to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ppmctl.errors import CredentialError

_Result = TypeVar("_Result")


def is_available() -> bool:
    """Return whether this machine has a keyring that stores secrets; `keyring` also has two that don't."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:  # not on every processor
        return False
    return not isinstance(_call(keyring.get_keyring), fail.Keyring | null.Keyring)


def store(service: str, username: str, secret: str) -> None:
    """Put the secret into the keyring, and replace an earlier one. Raise CredentialError if that fails."""
    import keyring

    _call(lambda: keyring.set_password(service, username, secret))


def find(service: str, username: str) -> str | None:
    """Return the secret, or None. Raise CredentialError if the keyring can't be opened."""
    try:
        import keyring
    except ImportError:
        return None
    return _call(lambda: keyring.get_password(service, username)) or None


def forget(service: str, username: str) -> None:
    """Delete the secret from the keyring, if it has one."""
    import keyring

    if find(service, username) is not None:
        _call(lambda: keyring.delete_password(service, username))


def _call(act: Callable[[], _Result]) -> _Result:
    try:
        return act()
    except Exception as exc:  # each kind of keyring has errors of its own
        reason = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise CredentialError(
            f"The system's keyring does not work: {reason}.",
            hint="Unlock it, or do without: ppmctl login URL --netrc, PPMCTL_USERNAME and PPMCTL_TOKEN.",
        ) from None  # a backend's error might quote the secret
