"""Records to columns: framing, schemas, codecs, mapping, dead letters."""
