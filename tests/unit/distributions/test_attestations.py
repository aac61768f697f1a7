"""Attestations fit their file or are refused, and the provenance object has them unchanged."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from support import wheels
from support.generated import given, st

from ppmctl.distributions import attestations
from ppmctl.distributions.distribution import parse_filename
from ppmctl.errors import InvalidDistribution

MADE = wheels.wheel("Some.Thing", "1.0")
NAME, SHA256 = parse_filename(MADE[0]), hashlib.sha256(MADE[1]).hexdigest()


def changed(path: str, value: Any) -> str:
    """Return attestations with another value at a path; without a value there if it is ...."""
    listed = json.loads(wheels.attestations(MADE))
    *parents, last = path.split(".")
    target = listed[0]
    for parent in parents:
        target = target[parent]
    target.pop(last) if value is ... else target.update({last: value})
    return json.dumps(listed)


def nested(levels: int) -> str:
    """Return attestations whose first one has lists in lists as another field."""
    value: list[Any] = []
    for _level in range(levels - 1):
        value = [value]
    return changed("more", value)


def subject(name: str = MADE[0], sha256: str = SHA256) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}


def test_attestations_of_the_file_are_its_provenance() -> None:
    """Several of them, with subjects in another spelling of the name, and base64 in lines as some tools write it."""
    sent = json.loads(wheels.attestations(MADE)) + json.loads(
        wheels.attestations(MADE, subject=[subject("some_thing-1.0.0-py3-none-any.whl")], predicateType="https://x")
    )
    sent[0]["envelope"]["statement"] = base64.encodebytes(base64.b64decode(sent[0]["envelope"]["statement"])).decode()
    made = attestations.provenance(json.dumps(sent), NAME, SHA256)
    assert made is not None
    assert json.loads(made) == {
        "version": 1,
        "attestation_bundles": [{"publisher": {"kind": "ppm"}, "attestations": sent}],
    }


def test_attestations_may_be_nested() -> None:
    assert attestations.provenance(nested(30), NAME, SHA256) is not None


def test_an_empty_list_is_valid_and_no_provenance() -> None:
    assert attestations.check("[]", NAME, SHA256) == []
    assert attestations.provenance("[]", NAME, SHA256) is None


MALFORMED = "number 1 is malformed"
NO_STATEMENT = "number 1 has no statement of the type https://in-toto.io/Statement/v1"
REFUSED = {
    "no JSON": ("[", "is not a JSON list"),
    "an object": ("{}", "is not a JSON list"),
    "nested too deep": ("[" * 100_000, "is not a JSON list"),
    "nested too deep to be written": (nested(31), "is nested more than 32 levels deep"),
    "a text": ('["x"]', MALFORMED),
    "another version": (changed("version", 2), "number 1 has the version '2', not 1"),
    "no version": (changed("version", ...), MALFORMED),
    "no material": (changed("verification_material", ...), MALFORMED),
    "no certificate": (changed("verification_material.certificate", ""), "number 1 has no certificate"),
    "no base64": (changed("verification_material.certificate", "?"), MALFORMED),
    "no log entries": (changed("verification_material.transparency_entries", []), "has no entry of a transparency"),
    "log entries of texts": (changed("verification_material.transparency_entries", ["x"]), "has no entry of"),
    "no signature": (changed("envelope.signature", " "), "number 1 has no certificate, or no signature"),
    "no statement": (changed("envelope.statement", ""), MALFORMED),
    "a statement of a list": (changed("envelope.statement", base64.b64encode(b"[]").decode()), MALFORMED),
    "another type": (wheels.attestations(MADE, _type="https://in-toto.io/Statement/v0.1"), NO_STATEMENT),
    "no predicate type": (wheels.attestations(MADE, predicateType=None), NO_STATEMENT),
    "no subject": (wheels.attestations(MADE, subject=[]), "number 1 is not about one file"),
    "two subjects": (wheels.attestations(MADE, subject=[subject(), subject()]), "is not about one file"),
    "another file": (wheels.attestations(MADE, subject=[subject("other-1.0.zip")]), "is about 'other-1.0.zip'"),
    "another build": (
        wheels.attestations(MADE, subject=[subject("some_thing-1.0-1-py3-none-any.whl")]),
        "is about 'some_thing-1.0-1-py3-none-any.whl'",
    ),
    "a subject of a number": (wheels.attestations(MADE, subject=[subject(name=1)]), MALFORMED),  # type: ignore[arg-type] # a name is a text
    "another sha256": (wheels.attestations(MADE, subject=[subject(sha256="0" * 64)]), "has another sha256"),
    "no sha256": (wheels.attestations(MADE, subject=[{"name": MADE[0], "digest": {"md5": "0"}}]), MALFORMED),
    "the second is of another": (
        f"{wheels.attestations(MADE)[:-1]}, {wheels.attestations(wheels.sdist('x', '1'))[1:]}",
        "number 2 is about 'x-1.tar.gz'",
    ),
}


@pytest.mark.parametrize(("sent", "reason"), REFUSED.values(), ids=REFUSED)
def test_attestations_that_do_not_fit_are_refused(sent: str, reason: str) -> None:
    with pytest.raises(InvalidDistribution) as refused:
        attestations.check(sent, NAME, SHA256)
    assert reason in refused.value.message
    assert "attestations" in refused.value.message
    assert attestations.provenance(sent, NAME, SHA256) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.sampled_from(["version", "verification_material", "envelope", "envelope.statement"]), JSON_VALUES)
def test_any_value_is_accepted_or_refused(path: str, value: object) -> None:
    attestations.provenance(changed(path, value), NAME, SHA256)
