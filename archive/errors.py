"""What every module of the packaging raises."""

from model_defs.errors import BundleError


class ArchiveError(BundleError):
    """The archive cannot be made; the message says why and what to do."""
