"""Sphinx configuration. Build: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import os
import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.utils.math.latex2mathml import tex2mathml

import skrelu
from skrelu._cli.parser import build_parser

project = "skrelu"
author = "The skrelu developers"
copyright = author
version = release = skrelu.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["templates"]
default_role = "py:obj"

autosummary_generate = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# A prompt is not part of a command.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": "benchmarks",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "doc_module": ("skrelu",),
    "backreferences_dir": None,
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skrelu"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {name: [] for name in ("start", "projected", "constraints", "command_line", "how_it_is_built", "changes")}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}


def visit_inline_math(translator, node):
    """Write a formula as MathML, which browsers draw without a script and without network."""
    _write_math(translator, node, "<math ")


def visit_math_block(translator, node):
    """Write a displayed formula."""
    translator.body.append('<div class="math">')
    _write_math(translator, node, '<math display="block" ')
    translator.body.append("</div>\n")


def _write_math(translator, node, opening):
    formula = node.astext()
    mathml = tex2mathml(formula).replace("<math ", f'{opening}alttext="{escape(formula)}" ', 1)
    translator.body.append(mathml)
    raise nodes.SkipNode


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
    """Escape what reStructuredText would misread: the bars of norms in plain text, an ellipsis within a literal.

    A bar would open a substitution; an ellipsis would end the one-sentence summary of autosummary.
    """

    def escaped(match):
        return r"\|" if match[0] == "|" else match[0].replace(" ... ", " \u2026 ")

    # A literal, an indented line (a code block or a field), or a bar.
    lines[:] = re.sub(r"``[^`]*``|^ .*$|\|", escaped, "\n".join(lines), flags=re.MULTILINE).split("\n")


def setup(app):
    """Register the renderer of formulas, the help of commands and the escapes."""
    app.connect("autodoc-process-docstring", escape_docstring)
    app.add_directive("program-help", ProgramHelp)
    app.add_html_math_renderer("mathml", (visit_inline_math, None), (visit_math_block, None))
