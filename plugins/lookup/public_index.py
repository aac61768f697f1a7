"""The public index's Simple API, from pypiserver's or pip's own default: ppm names no archive."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: public_index
short_description: the URL of the public index's Simple API
description: Taken from the pypiserver or the pip that Ansible's own Python has.
"""


class LookupModule(LookupBase):
    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        for find in (_of_pypiserver, _of_pip):
            try:
                return [find()]
            except (ImportError, AttributeError):
                continue
        raise AnsibleError(
            "Where other names are to be looked for is not known: Ansible's Python has neither pypiserver nor pip."
            " Set ppm_upstream_url to the public index's Simple API, or ppm_upstream to none."
        )


def _of_pypiserver() -> str:
    from pypiserver.config import DEFAULTS

    return str(DEFAULTS.FALLBACK_URL)


def _of_pip() -> str:
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)
