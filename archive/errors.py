"""What every module of the packaging raises."""


class ArchiveError(RuntimeError):
    """The archive cannot be made; the message says why and what to do."""
