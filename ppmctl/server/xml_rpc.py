"""Parse XML-RPC calls, and write their answers."""

from __future__ import annotations

import xmlrpc.client  # nosec B411 - it only writes; what a client sends is read by defusedxml
from typing import Any
from xml.parsers.expat import ExpatError

from defusedxml import minidom
from defusedxml.common import DefusedXmlException

# what is raised for XML that is no call: missing elements, an unknown encoding, elements nested too deep
NOT_A_CALL = (ExpatError, DefusedXmlException, AttributeError, LookupError, ValueError, RecursionError)
NO_SUCH_METHOD, INVALID_PARAMETERS = -32601, -32602


class Call:
    """A call in a request's body. Raise one of NOT_A_CALL if it is not one."""

    def __init__(self, body: bytes) -> None:
        self._document = minidom.parseString(body)
        self.method = self.text("methodName")

    def text(self, *names: str) -> str:
        """Return the text of the first element with one of these names. Raise one of NOT_A_CALL if there is none."""
        elements = [element for name in names for element in self._document.getElementsByTagName(name)]
        return str(elements[0].childNodes[0].wholeText.strip())


def answer(value: Any) -> str:
    """Return the answer with a value."""
    return xmlrpc.client.dumps((value,), methodresponse=True)


def fault(code: int, message: str) -> str:
    """Return the answer of a call that failed."""
    return xmlrpc.client.dumps(xmlrpc.client.Fault(code, message))
