"""How far a command is, shown in a terminal."""


class Progress:
    """A progress bar for something that counts; a plain last line where the output is no terminal.

    Nothing is shown as long as nothing was counted. `is_shown_apart` keeps it off the standard output.
    """

    def __init__(self, title: str, *, is_shown_apart: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=is_shown_apart),
        )
        self._task = self._progress.add_task(title, total=None, visible=False)

    def __enter__(self) -> "Progress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, visible=True)

    def titled(self, title: str, done: int, total: int) -> None:
        """For work of several steps."""
        self._progress.update(self._task, description=title, completed=done, total=total, visible=True)
