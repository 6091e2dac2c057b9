.PHONY: check test slow lint types

check: test slow lint types

test:
	pytest

slow:
	pytest -m slow

lint:
	ruff format --check .
	ruff check .
	lint-imports

types:
	mypy
