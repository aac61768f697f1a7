"""Look up the public index's Simple API in pypiserver's or pip's defaults, because ppm itself names no index."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: public_index
short_description: the URL of the public index's Simple API
description: The default of the pypiserver or the pip in Ansible's own Python.
"""


class LookupModule(LookupBase):
    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        for find in (_of_pypiserver, _of_pip):
            try:
                return [find()]
            except (ImportError, AttributeError):
                continue
        raise AnsibleError(
            "The public index is unknown, because Ansible's Python has neither pypiserver nor pip."
            " Set ppm_upstream_url to its Simple API, or ppm_upstream to none."
        )


def _of_pypiserver() -> str:
    from pypiserver.config import DEFAULTS

    return str(DEFAULTS.FALLBACK_URL)


def _of_pip() -> str:
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)
