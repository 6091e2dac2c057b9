"""Every error a user can cause; each is ours and a builtin, and reads as one line."""


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
    """A file that computes something else than the network it was made of; milder ones may not."""


class OutputError(PipelineError, OSError):
    """A place that results cannot be written to."""


class ToolError(PipelineError, RuntimeError):
    """A program or package that is needed and not installed, or that failed."""
