"""The system's keyring: Secret Service, KWallet, macOS's Keychain, or whatever `keyring` is set up to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ppmctl.errors import CredentialError

_Found = TypeVar("_Found")


def is_there() -> bool:
    """Whether there is a keyring that keeps something: not the one that stands for none, nor the one that forgets."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:  # not on every processor
        return False
    return not isinstance(_tried(keyring.get_keyring), fail.Keyring | null.Keyring)


def store(service: str, username: str, secret: str) -> None:
    """Have the secret in the keyring, in place of another. CredentialError where the keyring does not take it."""
    import keyring

    _tried(lambda: keyring.set_password(service, username, secret))


def find(service: str, username: str) -> str | None:
    """The secret, or None. CredentialError where the keyring can't be opened."""
    try:
        import keyring
    except ImportError:
        return None
    return _tried(lambda: keyring.get_password(service, username)) or None


def forget(service: str, username: str) -> None:
    """Have the secret in the keyring no more; one that is not there is none."""
    import keyring

    if find(service, username) is not None:
        _tried(lambda: keyring.delete_password(service, username))


def _tried(act: Callable[[], _Found]) -> _Found:
    try:
        return act()
    except Exception as exc:  # each kind of keyring has errors of its own
        said = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise CredentialError(
            f"The system's keyring does not work: {said}.",
            hint="Unlock it, or do without: ppmctl login URL --netrc, PPMCTL_USERNAME and PPMCTL_TOKEN.",
        ) from None  # a backend's error might quote what it was given
