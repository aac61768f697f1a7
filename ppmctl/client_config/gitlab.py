"""GitLab CI jobs that install and publish with the project's masked variables."""

from __future__ import annotations

from ppmctl.client_config import ci
from ppmctl.client_config.index_target import IndexTarget, Snippet

_JOBS = """\
# .gitlab-ci.yml
# store the credential in Settings > CI/CD > Variables, masked: PPMCTL_USERNAME, PPMCTL_TOKEN
default:
  image: python:3.13-slim
  before_script:
    # outside the checkout, so that no artifact has it
    - export NETRC="$CI_PROJECT_DIR.tmp-netrc"
    - @NETRC@
  after_script:
    - rm -f "$CI_PROJECT_DIR.tmp-netrc"
variables:
  @VARIABLES@
test:
  script:
    - python -m pip install .
publish:
  rules:
    - if: $CI_COMMIT_TAG
  variables:
    TWINE_REPOSITORY_URL: @UPLOAD@
  script:
    - python -m pip install build twine
    - python -m build
    - export TWINE_USERNAME="$PPMCTL_USERNAME" TWINE_PASSWORD="$PPMCTL_TOKEN"
    - python -m twine upload --non-interactive dist/*"""


def render(target: IndexTarget) -> Snippet:
    """Return a .gitlab-ci.yml."""
    return ci.render(_JOBS, target, ci.quoted(ci.make_netrc(target, '"$NETRC"')))
