"""InputError, the one exception for invalid user input, the texts of other errors, and text that is safe to print."""


class InputError(Exception):
    """One line that names the file, the record and the cure. Scripts print it and exit with code 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory: its allocators, or CUDA, cuBLAS and Triton beside them."""
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or any(text in str(error) for text in ("can't allocate memory", "out of memory", "ALLOC_FAILED")))


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its class where the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(text: str) -> str:
    """The text with control characters, lone surrogates and invisible marks written as escapes, as in `\\x1b[2J`.

    A name from a file can then neither break a line, steer a terminal, nor be impossible to encode.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
