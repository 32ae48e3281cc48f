"""Progress of long work: tqdm's bar in a terminal, else lines for a log."""

import sys

from tqdm import tqdm

LINE_SECONDS = 15  # between two lines
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} so far, about {remaining} left{postfix}"


class Progress(tqdm):
    """tqdm, with its arguments; where standard error is no terminal, a line at the start, every 15 s and at the end.

    tqdm itself separates its updates by carriage returns, which a log shows as one long line, or not before its end.
    """

    disable: bool

    def __init__(self, *arguments, **options):
        self.shown: tuple | None = None
        self.as_lines = not sys.stderr.isatty()
        if self.as_lines:
            options |= {"mininterval": LINE_SECONDS, "miniters": 1, "bar_format": LINE}
        super().__init__(*arguments, **options)

    def display(self, msg=None, pos=None):
        if not self.as_lines:
            return super().display(msg, pos)
        print(self, file=self.fp, flush=True)
        self.shown = self.n, self.postfix
        return True

    def close(self):
        if self.as_lines and not self.disable:
            if self.shown != (self.n, self.postfix):
                self.display()
            self.disable = True  # closed, so that tqdm adds no empty line
            self._decr_instances(self)
        super().close()

    def note(self, text: str) -> None:
        """Print a line of its own on standard output."""
        if self.as_lines or self.disable:
            print(text, flush=True)
        else:
            self.write(text)
