"""Sphinx configuration. Build: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import os
import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx_gallery.sorting import ExplicitOrder

import skrelu
from skrelu._cli.parser import build_parser

project = "skrelu"
author = "The skrelu developers"
copyright = author
version = release = skrelu.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "inventories"]
templates_path = ["templates"]
default_role = "py:obj"
# Quotes in signatures and primes of derivatives are as they are typed; blocks that say no language are text.
smartquotes = False
highlight_language = "none"
toc_object_entries_show_parents = "hide"

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

# Names in single quotes are mostly parameters; a reference that says what it refers to must be there.
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*")]

# The few names of other packages that the pages mention: the site builds without a network.
intersphinx_mapping = {
    name: (address, f"inventories/{name}.txt")
    for name, address in {
        "python": "https://docs.python.org/3/",
        "numpy": "https://numpy.org/doc/stable/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "sklearn": "https://scikit-learn.org/stable/",
        "matplotlib": "https://matplotlib.org/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "dask": "https://docs.dask.org/en/stable/",
    }.items()
}

# A prompt is not part of a command.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "subsection_order": ["../examples/planted", "../examples/tables", "../examples/use"],
    "ignore_pattern": "benchmarks",
    "within_subsection_order": ExplicitOrder(
        [
            f"plot_{name}.py"
            for name in (
                # planted
                *("relu_against_linear", "phase_transition", "tensor_start", "inertia", "published_experiment"),
                *("quadratic_landscape", "phase_retrieval", "exact_recovery", "two_layer_noise"),
                # tables
                *("standard_regressors", "interactions", "censored_regression"),
                # use
                *("grid_search", "larger_than_memory", "dask"),
            )
        ]
    ),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "doc_module": ("skrelu",),
    "backreferences_dir": "gallery/backreferences",
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skrelu"
html_static_path = ["static"]
html_css_files = ["skrelu.css"]
html_copy_source = False
html_show_sourcelink = False
# Pages of no section need no list of its pages.
html_sidebars = {name: [] for name in ("index", "start", "choose", "benchmarks", "gallery/*")}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_persistent": [],
    "navbar_end": ["search-button", "theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "show_nav_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}


def visit_inline_math(translator, node):
    """Write a formula as MathML, which browsers draw without a script and without network."""
    translator.body.append(mathml(node, "<math "))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """Write a displayed formula."""
    translator.body.append('<div class="formula">' + mathml(node, '<math display="block" ') + "</div>\n")
    raise nodes.SkipNode


def mathml(node, opening):
    """Return the MathML of a formula, which keeps its source as the text for readers that cannot draw it."""
    formula = node.astext()
    return tex2mathml(formula).replace("<math ", f'{opening}alttext="{escape(formula)}" ', 1)


class ProgramHelp(Directive):
    """The help of a command, as the installed program prints it: no second description to keep in step."""

    required_arguments = 1

    def run(self):
        os.environ.update(COLUMNS="100", NO_COLOR="1")
        parser = build_parser()
        commands = next(action.choices for action in parser._actions if isinstance(action.choices, dict))
        text = commands[self.arguments[0]].format_help()
        return [nodes.literal_block(text, text, language="none")]


def escape_docstring(app, what, name, obj, options, lines):
    """Escape what reStructuredText would misread.

    The bars of norms in plain text would open a substitution, an ellipsis in a formula would end the one-sentence
    summary of autosummary, and a shape such as ``(n_features_in_,)`` would be a link.
    """

    def escaped(match):
        return r"\|" if match[0] == "|" else match[0].replace(" ... ", " \u2026 ")

    # A literal, an indented line (a code block or a field), a line of a doctest, or a bar.
    text = re.sub(r"``[^`]*``|^(?: |>>>|\.\.\.).*$|\|", escaped, "\n".join(lines), flags=re.MULTILINE)
    lines[:] = text.replace("_,)", r"\_,)").split("\n")


def setup(app):
    """Register the renderer of formulas, the help of commands and the escapes."""
    app.connect("autodoc-process-docstring", escape_docstring)
    app.add_directive("program-help", ProgramHelp)
    app.add_html_math_renderer("mathml", (visit_inline_math, None), (visit_math_block, None))
