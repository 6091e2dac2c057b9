.PHONY: check test slow lint types

check: test slow lint types

test:
	pytest

slow:
	pytest -m slow --dist worksteal

lint:
	ruff format --check .
	ruff check .
	lint-imports

types:
	mypy
