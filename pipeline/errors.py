"""Errors that a user can cause. Each is a `PipelineError` and a builtin; its text is one line."""


class PipelineError(Exception):
    """Something the user can put right; the command line prints it as one line, exit code 2."""


class RecipeError(PipelineError, ValueError):
    """A recipe, or a setting given on the command line, that cannot be run."""


class DataError(PipelineError, ValueError):
    """A data set that does not exist or holds what cannot be used."""


class BudgetError(PipelineError, ValueError):
    """A budget that no network of the search space can meet."""


class ModelError(PipelineError, ValueError):
    """A model file or layer that cannot be read, counted, converted or compressed."""


class ParityError(ModelError):
    """A file that computes something else than its network; milder compression may avoid that."""


class OutputError(PipelineError, OSError):
    """A directory or file that results cannot be written to."""


class ToolError(PipelineError, RuntimeError):
    """A program or package that is needed and not installed, or that failed."""
