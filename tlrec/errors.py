"""The one exception that means: the user's input is wrong, and the message says how to mend it."""


class InputError(Exception):
    """One line that names the file, the record and the cure. Scripts print it and exit with code 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch had no memory left: CUDA's has a class of its own, a CPU's is a RuntimeError with this text."""
    return (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            or "can't allocate memory" in str(error))


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
