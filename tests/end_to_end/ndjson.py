"""Lets schemathesis send NDJSON, which it takes for unknown otherwise."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
