"""What the router reads of a request, and how engines' metrics are put together."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engineroom.residence.form_field import form_field
from engineroom.residence.labelled_metrics import labelled

FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n\r\nname="model"\r\n\r\nwrong\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--xyz--\r\n'
)


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=xyz", b'Multipart/Form-Data; boundary="xyz"'])
def test_a_field_of_a_form(kind: bytes) -> None:
    assert form_field(kind, FORM, "model") == "whisper"
    assert form_field(kind, FORM, "language") is None


@pytest.mark.parametrize("kind", [b"", b"application/json", b"multipart/form-data", b"multipart/form-data; boundary=q"])
def test_what_is_no_form_has_no_field(kind: bytes) -> None:
    assert form_field(kind, FORM, "model") is None


def test_metrics_of_several_engines_are_one_text() -> None:
    text = (
        "# HELP t Times.\n# TYPE t histogram\n"
        't_bucket{le="1"} 2\nt_bucket{le="+Inf"} 2\nt_count 2\nt_sum 1.5\n'
        '# TYPE n_total counter\nn_total{model="own"} 3\n'
    )
    merged = labelled({"a": text, 'b"': text, "none": ""})
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    assert {sample.labels.get("model") for sample in families["t"].samples} == {"a", 'b"'}
    assert len(families["t"].samples) == 8
    assert [sample.labels["model"] for sample in families["n"].samples] == ["own", "own"]
    assert merged.count("# TYPE t ") == 1
