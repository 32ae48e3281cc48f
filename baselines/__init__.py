"""Systems that the language model is compared with."""
