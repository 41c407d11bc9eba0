"""Reports of a run: its record, the formats, the table in text, and known failures."""
