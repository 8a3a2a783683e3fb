from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from tandem import asyncapi
from tandem.contracts.topics import TOPICS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_documents_are_what_the_code_generates(tmp_path):
    written = asyncapi.write(tmp_path)
    stale = [
        str(path.relative_to(tmp_path))
        for path in written
        if not (DOCS.parent / path.relative_to(tmp_path)).exists()
        or path.read_text() != (DOCS.parent / path.relative_to(tmp_path)).read_text()
    ]
    assert stale == [], "run `tandem schemas`"
    assert {path.name for path in (DOCS / "schemas").iterdir()} == {
        path.name for path in written if path.parent.name == "schemas"
    }


def test_every_message_travels_on_some_topic_and_every_topic_says_what_it_carries():
    carried = {type_ for topic in TOPICS.values() for type_ in asyncapi.carried(topic)}
    assert carried == set(asyncapi.all_messages())
    assert [t.name for t in TOPICS.values() if not asyncapi.carried(t)] == ["dead-letters"]


def test_references_resolve():
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())

    def references(value):
        if isinstance(value, dict):
            yield from (found for key, item in value.items() if key != "$ref" for found in references(item))
            if "$ref" in value:
                yield value["$ref"]
        elif isinstance(value, list):
            yield from (found for item in value for found in references(item))

    for reference in references(document):
        if reference.startswith("./"):
            assert (DOCS / reference).exists(), reference
            continue
        where = document
        for part in reference.removeprefix("#/").split("/"):
            where = where[part]


@pytest.mark.parametrize("type_", sorted(asyncapi.all_messages()))
def test_schemas_are_schemas(type_):
    jsonschema.Draft202012Validator.check_schema(asyncapi.schema(asyncapi.all_messages()[type_]))
