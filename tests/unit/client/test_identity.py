"""What an index reports about a credential before an upload."""

from __future__ import annotations

import pytest

from ppmctl.client import identity
from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.errors import CredentialError
from ppmctl.secret import Secret

HOME = "https://index.test"


class Answering(Transport):
    """Answers each request with a 401 that asks for a credential in this way."""

    def __init__(self, credential: Credential | None, challenge: str) -> None:
        super().__init__(credential, HOME)
        self._headers = {"www-authenticate": challenge}

    def request(self, method: str, url: str, **_options: object) -> Answer:
        assert (method, url) == ("GET", f"{HOME}/api/whoami")
        return Answer(url=url, status=401, reason="Unauthorized", headers=self._headers, body=b"")


@pytest.mark.parametrize("credential", [None, Credential(username="me", secret=Secret("x"), source="a test")])
def test_a_credential_that_ppm_refuses_is_reported_and_another_index_decides_at_the_upload(
    credential: Credential | None,
) -> None:
    """With public reads nothing else shows before an upload that the credential is wrong."""
    address = Address(base=HOME, upload=f"{HOME}/legacy/")
    with pytest.raises(CredentialError, match=r"does not accept|asks for a credential"):
        identity.may_publish(address, Answering(credential, 'Basic realm="ppm"'), [])
    identity.may_publish(address, Answering(credential, 'Bearer realm="x"'), [])
