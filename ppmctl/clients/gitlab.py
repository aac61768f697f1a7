"""GitLab CI: jobs that install and publish, with the project's masked variables."""

from __future__ import annotations

from ppmctl.clients import IndexTarget, Snippet, ci
from ppmctl.clients.pip import CONFUSION

_JOBS = """\
# .gitlab-ci.yml
# the credential into Settings > CI/CD > Variables, masked: PPMCTL_USERNAME, PPMCTL_TOKEN
default:
  image: python:3.13-slim
  before_script:
    # beside the checkout, which is what artifacts are taken from
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
    """A .gitlab-ci.yml."""
    variables = "\n  ".join(f"{name}: {ci.quoted(value)}" for name, value in ci.pip_variables(target).items())
    text = (
        _JOBS.replace("@VARIABLES@", variables)
        .replace("@NETRC@", ci.quoted(ci.make_netrc(target, '"$NETRC"')))
        .replace("@UPLOAD@", ci.quoted(target.address.upload))
    )
    confusion = (CONFUSION,) if target.form == "extra" else ()
    return Snippet(text=text, says=(*confusion, *ci.ca_says(target)))
