"""The command line, one concern a file.

`parser` (options and help); `compare`, `predict` and `demo` (the commands); `reading` and `tables` (any CSV file to
arrays); `categories` (notes on columns of text); `models` (what is compared); `folds` (which rows are held out);
`crossval` (fits and scores); `effects` (what a model makes of the columns); `plot` and `plot_effects` (the picture);
`saved` (a fitted model in a file); `console` (the terminal); `outputs` (the files that are written).
"""
