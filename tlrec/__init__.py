"""TLRec's library: everything that the scripts share. It parses no arguments and imports no sibling folder."""
