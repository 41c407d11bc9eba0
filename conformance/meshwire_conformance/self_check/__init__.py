"""Checks of the suite itself: schema against codec, and coverage of the vectors."""
