"""A GitHub Actions workflow that installs and publishes with the repository's secrets."""

from __future__ import annotations

from ppmctl.client_config import ci
from ppmctl.client_config.index_target import IndexTarget, Snippet

_WORKFLOW = """\
# .github/workflows/release.yml
# store the credential in the repository's secrets: gh secret set PPMCTL_USERNAME; gh secret set PPMCTL_TOKEN
name: release
on:
  push:
    branches: [main]
    tags: ["v*"]
permissions:
  contents: read
env:
  @VARIABLES@
jobs:
  release:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: "3.13"
      - name: Write the credential for this job
        env:
          PPMCTL_USERNAME: ${{ secrets.PPMCTL_USERNAME }}
          PPMCTL_TOKEN: ${{ secrets.PPMCTL_TOKEN }}
        run: |
          @NETRC@
          echo "NETRC=$RUNNER_TEMP/netrc" >> "$GITHUB_ENV"
      - name: Install
        run: python -m pip install . build twine
      - name: Publish
        if: startsWith(github.ref, 'refs/tags/v')
        env:
          TWINE_USERNAME: ${{ secrets.PPMCTL_USERNAME }}
          TWINE_PASSWORD: ${{ secrets.PPMCTL_TOKEN }}
          TWINE_REPOSITORY_URL: @UPLOAD@
        run: |
          python -m build
          python -m twine upload --non-interactive dist/*"""


def render(target: IndexTarget) -> Snippet:
    """Return a workflow file."""
    return ci.render(_WORKFLOW, target, ci.make_netrc(target, '"$RUNNER_TEMP/netrc"'))
