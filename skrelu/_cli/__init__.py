"""The command line, one concern a file.

`parser` (options and help), `tables` (any CSV file to arrays), `models` (what is compared), `crossval` (the folds),
`compare` and `demo` (the two commands), `console` (what the terminal shows), `plot`.
"""
