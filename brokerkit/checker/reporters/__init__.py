"""Reports of a check: terminal, HTML, JSON and JUnit XML."""
